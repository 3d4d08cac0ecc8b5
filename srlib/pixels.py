"""Value ranges and luma: 8-bit grey levels, floats in [0, 1], and Y of BT.601."""

from __future__ import annotations

import numpy as np


def y_channel(images: np.ndarray) -> np.ndarray:
    """Luminance of ITU-R BT.601 in studio range, as MATLAB's ``rgb2ycbcr``.

    Args:
        images: ``(..., 3)`` RGB, uint8 or float in [0, 1].

    Returns:
        float64 ``(..., 1)`` in grey levels, 16 (black) to 235 (white).
    """
    images = np.asarray(images)
    unit = images / 255.0 if images.dtype == np.uint8 else images.astype(np.float64)
    return 16.0 + unit @ np.array([[65.481], [128.553], [24.966]])


def check_range(images: np.ndarray) -> None:
    """Refuse 0..255 floats and other integers: clipped to [0, 1] they would all be white."""
    if images.dtype != np.uint8 and (images.dtype.kind not in "f" or images.max(initial=0) > 4):
        raise ValueError(
            f"got {images.dtype} values up to {images.max(initial=0):g}: "
            "give uint8, or floats in [0, 1] (divide by 255)"
        )


def to_uint8(images: np.ndarray) -> np.ndarray:
    """[0, 1] floats to 8-bit: clipped, then rounded. Never truncated, never wrapped."""
    return np.rint(np.clip(images, 0.0, 1.0) * 255.0).astype(np.uint8)


def to_float(images: np.ndarray) -> np.ndarray:
    """8-bit to float32 in [0, 1]."""
    return np.asarray(images, np.float32) / 255.0
