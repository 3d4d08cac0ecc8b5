"""Value ranges and luma: integers, floats in [0, 1], and Y of BT.601."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srlib.errors import SrlibError

#: Shares of R, G and B in luma, ``(3, 1)``. ITU-R BT.601.
LUMA = np.array([[0.299], [0.587], [0.114]])


def to_float(images: npt.ArrayLike) -> np.ndarray:
    """Float32 in [0, 1]: unsigned integers divided by the largest of their type, floats as is."""
    images = np.asarray(images)
    if images.dtype.kind == "u":
        return images.astype(np.float32) / np.float32(np.iinfo(images.dtype).max)
    return images.astype(np.float32, copy=False)


def to_integers(images: npt.ArrayLike, kind: npt.DTypeLike) -> np.ndarray:
    """[0, 1] floats to an unsigned type: clipped, then rounded. Never truncated, never wrapped."""
    top = float(np.iinfo(kind).max)
    # NumPy's rint: halves go to even, as everywhere in srlib.
    return np.rint(np.clip(images, 0.0, 1.0) * top).astype(kind)


def to_uint8(images: npt.ArrayLike) -> np.ndarray:
    """[0, 1] floats to 8-bit: see :func:`to_integers`."""
    return to_integers(images, np.uint8)


def y_channel(images: npt.ArrayLike) -> np.ndarray:
    """Luminance of ITU-R BT.601 in studio range, as MATLAB's ``rgb2ycbcr``.

    Args:
        images: ``(..., 3)`` RGB, uint8 or float in [0, 1].

    Returns:
        float64 ``(..., 1)`` in grey levels, 16 (black) to 235 (white).
    """
    images = np.asarray(images)
    unit = images / 255.0 if images.dtype == np.uint8 else images.astype(np.float64)
    return 16.0 + unit @ (219.0 * LUMA)


def check_range(images: np.ndarray) -> None:
    """Refuse 0..255 floats and other integers: clipped to [0, 1] they would all be white."""
    if images.dtype != np.uint8 and (images.dtype.kind not in "f" or images.max(initial=0) > 4):
        raise SrlibError(
            f"got {images.dtype} values up to {images.max(initial=0):g}: "
            "give uint8, or floats in [0, 1] (divide by 255)"
        )
