"""From photos to training pairs: one line from a source to ``tf.data``.

A pair is a high-resolution square, the truth, and the low-resolution image
made from it by a stated kernel. Taught in chapter 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from srlib.data.degrade import degrade
from srlib.data.photoset import PhotoSet
from srlib.errors import PhotoError
from srlib.pixels import to_float
from srlib.resize import resize


class Pairs(NamedTuple):
    """Training or test pairs as arrays.

    Attributes:
        low: uint8 ``(N, size/2, size/2, 3)``, what a network sees.
        high: uint8 ``(N, size, size, 3)``, the truth.
        names: the file each pair came from.
        labels: its class, or ``""``.
    """

    low: np.ndarray
    high: np.ndarray
    names: list[str]
    labels: list[str]


def square(photo: np.ndarray, size: int, kernel: str = "bicubic") -> np.ndarray:
    """Cut the largest central square and reduce it to ``size`` pixels a side.

    Raises:
        PhotoError: when the photo is smaller than that: enlarging it would
            make a "truth" without detail.
    """
    side = min(photo.shape[:2])
    if side < size:
        raise PhotoError(f"{photo.shape[1]}x{photo.shape[0]} pixels, smaller than {size}")
    top, left = ((length - side) // 2 for length in photo.shape[:2])
    photo = photo[top : top + side, left : left + side]
    return photo if side == size else resize(photo, (size, size), kernel)


def centre(image: np.ndarray, share: float = 0.5) -> np.ndarray:
    """The central part of an image, ``share`` of each side, to look at its pixels."""
    height, width = image.shape[:2]
    top, left = (round(length * (1 - share) / 2) for length in (height, width))
    return image[top : height - top, left : width - left]


def even(photo: np.ndarray) -> np.ndarray:
    """The photo without its last row or column where a side is odd: half of it is whole."""
    height, width = (length - length % 2 for length in photo.shape[:2])
    return photo[:height, :width]


def pair(
    photo: np.ndarray, size: int | None = 128, kernel: str = "bicubic"
) -> tuple[np.ndarray, np.ndarray]:
    """Make one ``(low, high)`` pair from a photo.

    The low-resolution image is made from the *reduced* square, so that the
    truth is exactly what the network is asked to recover.

    Args:
        photo: uint8 ``(H, W, 3)``.
        size: side of the truth in pixels, even; None for the whole photo in
            its own size, cut to even sides.
        kernel: ``"bicubic"`` (antialiased), ``"box"`` as in the classic system,
            or any steps that :mod:`srlib.data.degrade` knows, such as ``"jpeg 75"``.

    Returns:
        uint8 ``(size/2, size/2, 3)`` and ``(size, size, 3)``.
    """
    high = square(photo, size) if size else even(photo)
    return degrade(high, kernel), high


def pairs(
    photos: PhotoSet, size: int = 128, kernel: str = "bicubic", limit: int | None = None
) -> Pairs:
    """All pairs of a photo set as arrays, for sets that fit in memory.

    Unreadable and too small photos are skipped with a named, counted warning.
    """
    photos = photos.take(limit)
    kept = []
    for index, (path, label) in enumerate(zip(photos.paths, photos.labels, strict=True)):
        try:
            kept.append((*pair(photos[index], size, kernel), path.name, label))
        except PhotoError as error:
            photos.skip(index, str(error))
    if not kept:
        raise PhotoError(f"{photos.source}: none of its {len(photos)} photos could be used")
    low, high, names, labels = zip(*kept, strict=True)
    return Pairs(np.stack(low), np.stack(high), list(names), list(labels))


def as_float(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """``(low, high)`` as float32 arrays in [0, 1]."""
    return to_float(pairs.low), to_float(pairs.high)
