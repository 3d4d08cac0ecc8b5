"""What protocol alone decides: the same method, scored in different ways.

Every variant enlarges by bicubic and changes one choice of the field's
protocol. `experiments.benchmark` records them on Set5; chapter 6 builds the same
in front of the reader, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from srlib.pixels import LUMA, to_float, to_uint8, y_channel
from srlib.resize import interpolate, resize


def _wrap(images: np.ndarray) -> np.ndarray:
    return np.rint(images * 255).astype(np.int64).astype(np.uint8)


def _truncate(images: np.ndarray) -> np.ndarray:
    return (np.clip(images, 0, 1) * 255).astype(np.uint8)


def _not_rounded(images: np.ndarray) -> np.ndarray:
    return np.clip(images, 0, 1) * 255.0


def _full_range_y(images: np.ndarray) -> np.ndarray:
    return images @ LUMA


def _studio_y(images: np.ndarray) -> np.ndarray:
    return y_channel(images / 255.0)


def _rgb(images: np.ndarray) -> np.ndarray:
    return images


#: The field's protocol: every variant is this with one choice changed.
FIELD: dict[str, Any] = {
    "kernel": "bicubic",
    "antialias": True,
    "quantise": to_uint8,
    "channel": _studio_y,
    "shave": 2,
    "pool_errors": False,
}

#: By name, the choices that a variant changes.
VARIANTS: dict[str, dict[str, Any]] = {
    "the field's protocol": {},
    "RGB instead of Y": {"channel": _rgb},
    "full-range instead of studio-range Y": {"channel": _full_range_y},
    "nothing shaved": {"shave": 0},
    "PSNR of the mean error": {"pool_errors": True},
    "wrap-around instead of clipping": {"quantise": _wrap},
    "truncation instead of rounding": {"quantise": _truncate},
    "no rounding to 8 bits": {"quantise": _not_rounded},
    "input by aliased bicubic": {"antialias": False},
    "input by the 2x2 box": {"kernel": "box"},
    "input by every second pixel, shifted": {"kernel": "nearest"},
}


def bicubic_psnr(truths: Sequence[np.ndarray], variant: str = "the field's protocol") -> float:
    """Mean PSNR of bicubic enlargement on photos, by one variant of the protocol.

    Args:
        truths: uint8 ``(H, W, 3)`` each, with even sides.
        variant: a key of :data:`VARIANTS`.

    Returns:
        dB.
    """
    choices = FIELD | VARIANTS[variant]
    quantise: Callable = choices["quantise"]
    errors = []
    for truth in truths:
        half = tuple(length // 2 for length in truth.shape[:2])
        low = resize(to_float(truth), half, choices["kernel"], choices["antialias"])
        enlarged = quantise(interpolate(to_float(to_uint8(low))))
        difference = choices["channel"](truth.astype(float)) - choices["channel"](
            enlarged.astype(float)
        )
        edge = choices["shave"]
        inner = difference[edge : len(truth) - edge, edge : truth.shape[1] - edge]
        errors.append(np.mean(inner**2))
    if choices["pool_errors"]:
        return float(10 * np.log10(255**2 / np.mean(errors)))
    return float(np.mean(10 * np.log10(255**2 / np.array(errors))))
