"""From an image file, or a PIL image, to a picture in memory.

Taught in chapter 10.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from srlib.errors import PhotoError
from srlib.imagefile import animation, metadata, sixteen_bit, targets
from srlib.imagefile.opening import check_file, open_image, read_errors
from srlib.imagefile.picture import Animation, Picture, as_known_kind, to_array, upright


def read(
    path: str | os.PathLike, target: str | os.PathLike | None = None, scale: int = 1
) -> Picture | Animation:
    """Read an image file, with all that belongs to it.

    Args:
        path: the file.
        target: the file that is going to be written of it. What that cannot
            hold is refused before any pixel is read; colours that its format
            has no place for come as sRGB.
        scale: how many times as large it is going to be.

    Returns:
        The picture; of an animated file an animation, whose frames are read
        when they are asked for.

    Raises:
        PhotoError: one line that names the file, says what is wrong and what
            to do; of a frame, when it is asked for.
    """
    check_file(path)
    format = "" if target is None else targets.check_target(target, path)
    with open_image(path) as image:
        if target is not None:
            targets.check_size(target, format, image, scale)
        with read_errors(path):
            count = animation.frame_count(image)
        if count > 1:
            return Animation(_frames(path), animation.plays(image))
        with read_errors(path):
            pixels, kind = _pixels(image, path)
            kept = metadata.collect(image, path)
            lossless = _is_lossless(image, path)
            image.close()  # its pixels are in memory twice by now
    picture = Picture(upright(pixels, kept.orientation), kind, kept, lossless)
    return picture if target is None else targets.fitted(picture, target, format)


def _pixels(image: Image.Image, path: str | os.PathLike | None = None) -> tuple[np.ndarray, str]:
    """``(H, W, C)`` and kind. Without a path, 16 bits are kept of grey alone."""
    if sixteen_bit.is_grey(image) or (path and sixteen_bit.has_16_bits(image)):
        return sixteen_bit.read(image, lambda: open_image(path or ""))
    image.load()
    known = as_known_kind(image)
    return to_array(known), known.mode


def _is_lossless(image: Image.Image, path: str | os.PathLike) -> bool:
    return image.format == "WEBP" and animation.is_lossless_webp(
        Path(os.fsdecode(path)).read_bytes()
    )


def _frames(path: str | os.PathLike) -> Iterator[Picture]:
    """Every frame, whole.

    All have the size and kind of the first; a GIF's are RGBA, because later
    frames may be transparent where the first is not.
    """
    with open_image(path) as image:
        with read_errors(path):
            image.load()
            kept = metadata.collect(image, path)
            lossless = _is_lossless(image, path)
            size, kind = image.size, "RGBA" if image.format == "GIF" else None
            indices = animation.frame_indices(image)
        for index in indices:
            with read_errors(path):
                image.seek(index)
                image.load()
                frame = image if image.size == size else image.crop((0, 0, *size))
                frame = as_known_kind(frame)
                kind = kind or frame.mode
                frame = frame if frame.mode == kind else frame.convert(kind)
                milliseconds = float(image.info.get("duration", 0) or 0)
                pixels = upright(to_array(frame), kept.orientation)
            yield Picture(pixels, kind, kept, lossless, milliseconds)


def from_pil(image: Image.Image) -> Picture:
    """Read a PIL image; of an animation, the frame that it stands at.

    Args:
        image: of any mode with 8 bits, or greyscale with 16.

    Raises:
        PhotoError: when it cannot be read or has values of 32 bits.
    """
    with read_errors(getattr(image, "filename", "") or "image"):
        if not image.width or not image.height:
            raise PhotoError("has no pixels")
        pixels, kind = _pixels(image)
        kept = metadata.collect(image)
    return Picture(upright(pixels, kept.orientation), kind, kept)


def pixel_count(path: str | os.PathLike) -> int:
    """Pixels of all frames of an image file, from its header alone.

    Raises:
        PhotoError: when it is no image that can be read.
    """
    check_file(path)
    with open_image(path) as image, read_errors(path):
        return image.width * image.height * animation.frame_count(image)
