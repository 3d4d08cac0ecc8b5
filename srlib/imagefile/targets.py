"""Where a picture may be written and as what, known before anything is computed.

Taught in chapter 10.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from srlib.errors import PhotoError, one_line
from srlib.imagefile import sixteen_bit, tiff
from srlib.imagefile.metadata import profile_space
from srlib.imagefile.opening import LONGEST_WEBP, check_file, describe, open_image
from srlib.imagefile.picture import Picture, as_srgb

#: The formats that can be written, with their endings; the first of those is the default.
FORMATS: dict[str, tuple[str, ...]] = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
}
#: The same by ending.
ENDINGS = {ending: format for format, endings in FORMATS.items() for ending in endings}
#: The longest side in pixels that a format can hold.
LONGEST = {"png": 2**31 - 1, "jpeg": 65_500, "webp": LONGEST_WEBP, "tiff": 2**31 - 1}
#: What files are written as by default, by Pillow's name of what they are.
_OWN = {"JPEG": "jpeg", "MPO": "jpeg", "WEBP": "webp", "TIFF": "tiff"}

_REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room on the disk",
    errno.EFBIG: "make room on the disk",
    errno.EACCES: "change its access rights, or choose another folder",
    errno.EPERM: "change its access rights, or choose another folder",
    errno.EROFS: "choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextlib.contextmanager
def write_errors(target: str | os.PathLike) -> Iterator[None]:
    """Turn whatever encoders and disks raise into one line about the file."""
    try:
        yield
    except (PhotoError, MemoryError):
        raise
    except Exception as error:
        remedy = _REMEDIES.get(getattr(error, "errno", None) or 0, "choose another name or format")
        raise PhotoError(
            f"{describe(target)}: cannot be written ({one_line(error)}); {remedy}"
        ) from error


def target_format(source: str | os.PathLike, name: str | None = None) -> str:
    """The format to write a file in.

    Args:
        source: the file to enlarge. Its ending decides, or its content where
            the ending says nothing; what cannot be written becomes PNG: it
            loses nothing, and holds animations.
        name: a key of :data:`srlib.imagefile.targets.FORMATS` or an ending, to choose another.

    Returns:
        A key of :data:`srlib.imagefile.targets.FORMATS`.

    Raises:
        PhotoError: for an unknown ``name``.
    """
    if name is not None:
        ending = "." + name.lower().lstrip(".")  # every format's own name is one of its endings
        if ending not in ENDINGS:
            raise PhotoError(f"{name}: cannot be written; choose one of {', '.join(FORMATS)}")
        return ENDINGS[ending]
    known = Image.registered_extensions().get(_ending(source))
    if known is None:
        try:
            check_file(source)
            with open_image(source) as image:
                known = image.format
        except PhotoError:
            known = "PNG"  # whoever enlarges it will be told what is wrong
    return _OWN.get(known or "", "png")


def _ending(path: str | os.PathLike) -> str:
    return Path(os.fsdecode(path)).suffix.lower()


def format_of(target: str | os.PathLike) -> str:
    """The format that a file's ending asks for.

    Raises:
        PhotoError: when it is none of :data:`srlib.imagefile.targets.FORMATS`.
    """
    ending = _ending(target)
    if ending not in ENDINGS:
        raise PhotoError(
            f"{describe(target)}: cannot write {ending or 'a file without ending'}; "
            f"choose one of {', '.join(ENDINGS)}"
        )
    return ENDINGS[ending]


def check_target(target: str | os.PathLike, source: str | os.PathLike) -> str:
    """See to it that a file could be written there; returns the format.

    Raises:
        PhotoError: when its ending is unknown, its folder is missing or closed,
            or something else has its name that must not be replaced.
    """
    format = format_of(target)
    name, path = describe(target), Path(os.fsdecode(target))
    with write_errors(target):
        if path.is_dir():
            raise PhotoError(f"{name}: is a folder; name a file")
        if not path.parent.is_dir():
            raise PhotoError(f"{name}: there is no folder {describe(path.parent)}; make it first")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PhotoError(
                f"{name}: no permission to write to {describe(path.parent)}; choose another folder"
            )
        try:
            os.stat(path)
        except FileNotFoundError:
            return format
        if os.path.samefile(path, source):
            raise PhotoError(f"{name}: is the input itself; choose another name")
        if not path.is_file():
            raise PhotoError(f"{name}: is a pipe or a device; choose another name")
    return format


def check_size(target: str | os.PathLike, format: str, image: Image.Image, scale: int) -> None:
    """Refuse what would be larger than a format can say.

    Args:
        target: for the message.
        format: a key of :data:`srlib.imagefile.targets.FORMATS`.
        image: opened, and not yet loaded.
        scale: what its sides will be multiplied by.
    """
    width, height = image.width * scale, image.height * scale
    size = f"{describe(target)}: would be {width} x {height} pixels"
    if max(width, height) > LONGEST[format]:
        raise PhotoError(
            f"{size}, but {format.upper()} ends at {LONGEST[format]} a side; choose PNG or TIFF"
        )
    channels = len(image.getbands()) * (2 if sixteen_bit.has_16_bits(image) else 1)
    if format == "tiff" and width * height * channels > tiff.LARGEST:
        raise PhotoError(f"{size}, but TIFF ends at 4 GB; choose PNG")


def fitted(picture: Picture, target: str | os.PathLike, format: str) -> Picture:
    """The picture as far as a format has a place for it; otherwise as sRGB.

    Raises:
        PhotoError: for transparency in a JPEG.
    """
    pixels, kind, icc = picture.pixels, picture.kind, picture.metadata.icc
    if format == "jpeg" and kind.endswith("A"):
        if (pixels[..., -1] != np.iinfo(pixels.dtype).max).any():
            raise PhotoError(
                f"{describe(target)}: JPEG cannot hold transparency; choose PNG, WebP or TIFF"
            )
        return replace(picture, pixels=pixels[..., :-1], kind=kind[:-1])
    no_inks = kind == "CMYK" and format in ("png", "webp")
    # WebP is RGB, which a profile for grey does not fit.
    no_grey = kind in ("L", "LA") and format == "webp" and profile_space(icc) == b"GRAY"
    if no_inks or no_grey:
        pixels, kind = as_srgb(pixels, kind, icc)
        return replace(picture, pixels=pixels, kind=kind)
    return picture
