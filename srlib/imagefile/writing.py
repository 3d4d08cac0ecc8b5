"""From a picture in memory to an image file, whole or not at all, or to a PIL image.

Taught in chapter 10.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from PIL import Image

from srlib._files import aside
from srlib.errors import PhotoError
from srlib.imagefile import animation, metadata, png, tiff
from srlib.imagefile.metadata import Metadata
from srlib.imagefile.opening import describe
from srlib.imagefile.picture import Animation, Picture, to_8_bits, to_image
from srlib.imagefile.targets import fitted, format_of, write_errors

#: How well JPEG and WebP are written; a WebP without loss stays without.
QUALITY = {"jpeg": {"quality": 95, "subsampling": 0}, "webp": {"quality": 95}}
#: What of a PIL image's ``info`` is still true of an enlarged one.
_LASTING_INFO = ("icc_profile", "dpi", "comment", "gamma", "chromaticity", "srgb")


def write(picture: Picture | Animation, target: str | os.PathLike, strip: bool = False) -> None:
    """Write an image file, with all that belongs to it.

    It is written aside, then renamed: it is whole or not there, and a file that
    it replaces stays until then.

    Args:
        picture: from :func:`srlib.imagefile.read`, with other pixels perhaps.
        target: the file to write; its ending decides the format.
        strip: leave out EXIF, XMP, captions, comments and resolution. The
            colour profile stays, or the colours would be others.

    Raises:
        PhotoError: one line that names the file, says what is wrong and what to do.
    """
    format = format_of(target)
    if isinstance(picture, Animation):
        if format not in ("png", "webp"):
            raise PhotoError(
                f"{describe(target)}: {format.upper()} cannot hold an animation; choose PNG or WebP"
            )
        with _whole(target) as file:
            _write_frames(file, picture, target, format, strip)
        return
    picture = fitted(picture, target, format)
    with _whole(target) as file, write_errors(target):
        _write_picture(file, picture, format, strip)


@contextlib.contextmanager
def _whole(target: str | os.PathLike) -> Iterator[BinaryIO]:
    """:func:`srlib._files.aside`, whose own errors become one line; what is raised inside stays."""
    with contextlib.ExitStack() as stack:
        with write_errors(target):
            file = stack.enter_context(aside(Path(os.fsdecode(target))))
        yield file
        with write_errors(target):
            stack.close()


def _kept(picture: Picture, kind: str, strip: bool) -> Metadata:
    height, width = picture.pixels.shape[:2]
    kept = picture.metadata.stripped() if strip else picture.metadata
    return kept.resized(width, height).for_kind(kind)


def _quality(picture: Picture, format: str) -> dict:
    if format == "webp" and picture.lossless:
        return {"lossless": True}
    return QUALITY.get(format, {})


class _WithoutDescriptor:
    """A file of which Pillow sees no descriptor.

    It would write a JPEG straight to that, and not notice that the disk is full.
    """

    def __init__(self, file: BinaryIO):
        self.write, self.flush = file.write, file.flush


def _write_picture(file: BinaryIO, picture: Picture, format: str, strip: bool) -> None:
    pixels, kind = picture.pixels, picture.kind
    kept = _kept(picture, kind, strip)
    wide = pixels.dtype == np.uint16
    if format == "tiff":
        if wide and kind == "LA":  # which hardly any program opens
            pixels, kind = pixels[..., [0, 0, 0, 1]], "RGBA"
        order, tags = metadata.tiff_tags(kept)
        tiff.write(file, pixels, kind, tags, order)
    elif format == "png" and wide:
        png.write(file, pixels, kind, metadata.png_chunks(kept))
    else:
        image = to_image(to_8_bits(pixels), kind)
        options = _quality(picture, format) | metadata.save_options(kept, format)
        image.save(cast(BinaryIO, _WithoutDescriptor(file)), format.upper(), **options)


def _write_frames(
    file: BinaryIO, moving: Animation, target: str | os.PathLike, format: str, strip: bool
) -> None:
    writer: animation.PngFrames | animation.WebPFrames | None = None
    for picture in moving.frames:
        with write_errors(target):
            if writer is None:
                kept = _kept(picture, "RGB", strip)
                make = animation.PngFrames if format == "png" else animation.WebPFrames
                writer = make(file, picture, kept, moving.plays, **_quality(picture, format))
            writer.add(picture)
    assert writer  # an animation has frames
    with write_errors(target):
        writer.finish()


def to_pil(picture: Picture, info: dict) -> Image.Image:
    """A picture as a PIL image.

    Args:
        picture: from :func:`srlib.imagefile.from_pil`, with other pixels perhaps.
        info: of the image that it was.

    Returns:
        Of the same mode, or of the nearest that PIL has; with the colour
        profile, EXIF, XMP and resolution of the old one.
    """
    pixels, kind = picture.pixels, picture.kind
    if kind != "L":
        pixels = to_8_bits(pixels)  # PIL has no colour of 16 bits
    height, width = pixels.shape[:2]
    kept = picture.metadata.resized(width, height)
    image = to_image(pixels, kind)
    image.info = {key: info[key] for key in _LASTING_INFO if key in info}
    if kept.exif:
        image.info["exif"] = b"Exif\0\0" + kept.exif
    if kept.xmp:
        image.info["xmp"] = kept.xmp
    return image
