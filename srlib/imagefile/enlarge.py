"""Image files as people have them: enlarged whole, or refused in one line.

What is kept: colour profile, EXIF, XMP, captions, comments, resolution,
transparency, 16 bits, CMYK, and every frame of an animation. What changes:
the picture stands upright, as its EXIF orientation says, its size in the
metadata is the new one, and its small preview is gone. JPEG and WebP hold 8
bits, so deeper pictures are rounded to that, and PNG and WebP have no CMYK, so
it becomes sRGB. Taught in chapter 10.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from srlib.errors import PhotoError
from srlib.imagefile import animation, metadata, sixteen_bit, tiff
from srlib.imagefile.channels import (
    Enlarge,
    as_srgb,
    enlarge_pixels,
    plain,
    to_8_bits,
    to_array,
    to_image,
    upright,
)
from srlib.imagefile.metadata import Metadata, profile_space
from srlib.imagefile.opening import check_file, describe, open_image, reading
from srlib.imagefile.saving import Checked, aside, check_place, saving

__all__ = ["FORMATS", "Enlarge", "enlarge_file", "enlarge_image", "pixel_count", "target_format"]

#: The formats that can be written, with their endings; the first of those is the default.
FORMATS: dict[str, tuple[str, ...]] = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
}
#: How well JPEG and WebP are written; a WebP without loss stays without.
QUALITY = {"jpeg": {"quality": 95, "subsampling": 0}, "webp": {"quality": 95}}
#: The longest side in pixels that a format can hold.
LONGEST = {"png": 2**31 - 1, "jpeg": 65_500, "webp": 16_383, "tiff": 2**31 - 1}
_OWN = {"JPEG": "jpeg", "MPO": "jpeg", "WEBP": "webp", "TIFF": "tiff"}
#: What of a PIL image's ``info`` is still true of an enlarged one.
_LASTING_INFO = ("icc_profile", "dpi", "comment", "gamma", "chromaticity", "srgb")


def pixel_count(path: str | os.PathLike) -> int:
    """Pixels of all frames of an image file, from its header alone.

    Raises:
        PhotoError: when it is no image that can be enlarged.
    """
    with open_image(path) as image, reading(path):
        return image.width * image.height * animation.frame_count(image)


def target_format(source: str | os.PathLike, name: str | None = None) -> str:
    """The format to write a file in.

    Args:
        source: the file to enlarge. Its ending decides, or its content where
            the ending says nothing; what cannot be written becomes PNG: it
            loses nothing, and holds animations.
        name: a key of :data:`FORMATS` or an ending, to choose another.

    Returns:
        A key of :data:`FORMATS`.

    Raises:
        PhotoError: for an unknown ``name``.
    """
    if name is not None:
        for format, endings in FORMATS.items():
            if name.lower() == format or "." + name.lower().lstrip(".") in endings:
                return format
        raise PhotoError(f"{name}: cannot be written; choose one of {', '.join(FORMATS)}")
    known = Image.registered_extensions().get(Path(os.fsdecode(source)).suffix.lower())
    if known is None:
        try:
            with open_image(source) as image:
                known = image.format
        except PhotoError:
            known = "PNG"  # whoever enlarges it will be told what is wrong
    return _OWN.get(known, "png")


def enlarge_file(
    source: str | os.PathLike,
    target: str | os.PathLike,
    enlarge: Enlarge,
    scale: int = 2,
    strip: bool = False,
) -> tuple[int, int]:
    """Enlarge an image file, with all that belongs to it.

    The target is written aside, then renamed: it is whole or not there, and a
    file that it replaces stays until then.

    Args:
        source: the file to read.
        target: the file to write; its ending decides the format.
        enlarge: RGB ``(H, W, 3)``, uint8 or uint16, to
            ``(scale*H, scale*W, 3)`` of the same type. For a greyscale or
            transparent picture it is called once, for CMYK twice, for an
            animation once for each frame.
        scale: what it multiplies the sides by.
        strip: leave out EXIF, XMP, captions, comments and resolution. The
            colour profile stays, or the colours would be others.

    Returns:
        The new width and height in pixels.

    Raises:
        PhotoError: one line that names the file, says what is wrong and what to do.
    """
    check_file(source)
    format = _check_target(source, target)
    with open_image(source) as image:
        try:
            _check_fits(target, format, image, scale)
            with reading(source):
                moving = animation.frame_count(image) > 1
            if moving:
                return _enlarge_frames(image, source, target, format, enlarge, scale, strip)
            return _enlarge_still(image, source, target, format, enlarge, scale, strip)
        except MemoryError as error:
            raise PhotoError(
                f"{describe(source)}: does not fit in memory; cut it into parts first"
            ) from error


def _check_target(source: str | os.PathLike, target: str | os.PathLike) -> str:
    ending = Path(os.fsdecode(target)).suffix.lower()
    for format, endings in FORMATS.items():
        if ending in endings:
            check_place(source, target)
            return format
    known = ", ".join(ending for endings in FORMATS.values() for ending in endings)
    raise PhotoError(
        f"{describe(target)}: cannot write {ending or 'a file without ending'}; "
        f"choose one of {known}"
    )


def _check_fits(target: str | os.PathLike, format: str, image: Image.Image, scale: int) -> None:
    width, height = image.width * scale, image.height * scale
    size = f"{describe(target)}: would be {width} x {height} pixels"
    if max(width, height) > LONGEST[format]:
        raise PhotoError(
            f"{size}, but {format.upper()} ends at {LONGEST[format]} a side; choose PNG or TIFF"
        )
    channels = len(image.getbands()) * (2 if sixteen_bit.is_deep(image) else 1)
    if format == "tiff" and width * height * channels > tiff.LARGEST:
        raise PhotoError(f"{size}, but TIFF ends at 4 GB; choose PNG")


def _enlarge_still(image, source, target, format, enlarge, scale, strip) -> tuple[int, int]:
    with reading(source):
        if sixteen_bit.is_deep(image):
            pixels, kind = sixteen_bit.read(image, lambda: open_image(source))
        else:
            image.load()
            pixels, kind = _plain_pixels(image)
        kept = metadata.collect(image, source)
        quality = _quality(image, source, format)
        image.close()  # its pixels are in memory twice by now
    pixels, kind = _for_format(pixels, kind, format, kept.icc, target)
    pixels = enlarge_pixels(upright(pixels, kept.orientation), kind, enlarge, scale)
    height, width = pixels.shape[:2]
    kept = kept.stripped() if strip else kept
    kept = kept.enlarged(width, height).for_kind(kind)
    with aside(target) as file, saving(target):
        _write(file, pixels, kind, format, kept, quality)
    return width, height


def _plain_pixels(image: Image.Image) -> tuple[np.ndarray, str]:
    picture = plain(image)
    return to_array(picture), picture.mode


def _quality(image: Image.Image, source: str | os.PathLike, format: str) -> dict:
    if format == "webp" and image.format == "WEBP":
        data = Path(os.fsdecode(source)).read_bytes()
        if animation.is_lossless_webp(data):
            return {"lossless": True}
    return QUALITY.get(format, {})


def _for_format(
    pixels: np.ndarray, kind: str, format: str, icc: bytes | None, target: str | os.PathLike
) -> tuple[np.ndarray, str]:
    """The picture as far as a format has a place for it; otherwise as sRGB."""
    if format == "jpeg" and kind.endswith("A"):
        if (pixels[..., -1] != np.iinfo(pixels.dtype).max).any():
            raise PhotoError(
                f"{describe(target)}: JPEG cannot hold transparency; choose PNG, WebP or TIFF"
            )
        return pixels[..., :-1], kind[:-1]
    if kind == "CMYK" and format in ("png", "webp"):
        return as_srgb(pixels, kind, icc)
    if kind in ("L", "LA") and format == "webp" and profile_space(icc) == b"GRAY":
        return as_srgb(pixels, kind, icc)  # WebP is RGB, which a profile for grey does not fit
    return pixels, kind


def _write(
    file: BinaryIO, pixels: np.ndarray, kind: str, format: str, kept: Metadata, quality: dict
) -> None:
    wide = pixels.dtype == np.uint16
    if format == "tiff":
        if wide and kind == "LA":  # which hardly any program opens
            pixels, kind = pixels[..., [0, 0, 0, 1]], "RGBA"
        order, tags = metadata.tiff_tags(kept)
        tiff.write(file, pixels, kind, tags, order)
    elif format == "png" and wide:
        sixteen_bit.write_png(file, pixels, kind, metadata.png_chunks(kept))
    else:
        options = metadata.save_options(kept, format)
        image = to_image(to_8_bits(pixels), kind)
        image.save(Checked(file), format.upper(), **quality, **options)


def _enlarge_frames(image, source, target, format, enlarge, scale, strip) -> tuple[int, int]:
    if format not in ("png", "webp"):
        raise PhotoError(
            f"{describe(target)}: {format.upper()} cannot hold an animation; choose PNG or WebP"
        )
    with reading(source):
        image.load()
        kept = metadata.collect(image, source)
        quality = _quality(image, source, format)
        frames = animation.frames(image)
    width, height = image.width * scale, image.height * scale
    size = (height, width) if kept.orientation in (5, 6, 7, 8) else (width, height)
    new = (kept.stripped() if strip else kept).enlarged(*size).for_kind("RGB")
    with aside(target) as file:
        with saving(target):
            make = animation.PngFrames if format == "png" else animation.WebPFrames
            writer = make(file, size, new, animation.plays(image), **quality)
        while True:
            with reading(source):
                frame = next(frames, None)
            if frame is None:
                break
            pixels, kind, milliseconds = frame
            pixels = enlarge_pixels(upright(pixels, kept.orientation), kind, enlarge, scale)
            with saving(target):
                writer.add(pixels, kind, milliseconds)
        with saving(target):
            writer.finish()
    return size


def enlarge_image(image: Image.Image, enlarge: Enlarge, scale: int = 2) -> Image.Image:
    """Enlarge a PIL image; of an animation, the frame that it stands at.

    Args:
        image: of any mode with 8 bits, or greyscale with 16. A palette comes
            back as RGB or RGBA, black and white as grey.
        enlarge: see :func:`enlarge_file`.
        scale: see :func:`enlarge_file`.

    Returns:
        The enlarged image, upright, with the colour profile, EXIF, XMP and
        resolution of the old one.

    Raises:
        PhotoError: when it cannot be read or has values of 32 bits.
    """
    name = getattr(image, "filename", "") or "image"
    with reading(name):
        if not image.width or not image.height:
            raise PhotoError("has no pixels")
        if sixteen_bit.is_grey(image):
            pixels, kind = sixteen_bit.read(image, image.copy)
        else:
            image.load()
            pixels, kind = _plain_pixels(image)
        kept = metadata.collect(image)
    pixels = enlarge_pixels(upright(pixels, kept.orientation), kind, enlarge, scale)
    if pixels.dtype == np.uint16 and kind != "L":
        pixels = to_8_bits(pixels)  # PIL has no such mode
    height, width = pixels.shape[:2]
    kept = kept.enlarged(width, height)
    large = to_image(pixels, kind)
    large.info = {key: image.info[key] for key in _LASTING_INFO if key in image.info}
    if kept.exif:
        large.info["exif"] = b"Exif\0\0" + kept.exif
    if kept.xmp:
        large.info["xmp"] = kept.xmp
    return large
