"""A picture in memory, and what its channels can be turned into.

Taught in chapter 10.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

from srlib.errors import PhotoError
from srlib.imagefile.metadata import Metadata
from srlib.pixels import to_float, to_uint8

#: What the channels of a picture can be, by Pillow's names.
KINDS = ("L", "LA", "RGB", "RGBA", "CMYK")
_BAND = 256  # rows that are computed together, so that memory stays small


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture, or one frame of an animation.

    Attributes:
        pixels: ``(H, W, C)``, uint8 or uint16, upright.
        kind: one of :data:`srlib.imagefile.picture.KINDS`.
        metadata: what else its file says; sizes in it are those of that file.
        lossless: whether it was a WebP without loss, and is to be one again.
        milliseconds: how long a frame is shown.
    """

    pixels: np.ndarray
    kind: str
    metadata: Metadata
    lossless: bool = False
    milliseconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Animation:
    """Pictures of one size and kind that are shown one after another.

    Attributes:
        frames: gives them once, each when it is asked for.
        plays: how often they are shown; 0 for ever.
    """

    frames: Iterator[Picture]
    plays: int


def as_known_kind(image: Image.Image) -> Image.Image:
    """An image of 8 bits as one of :data:`srlib.imagefile.picture.KINDS`, without loss.

    A palette becomes colour, with transparency where it has any; black and
    white become grey; the rarer colour spaces become RGB.

    Raises:
        PhotoError: for values of 32 bits.
    """
    if image.mode[0] in "IF":
        raise PhotoError(
            f"has values of 32 bits (mode {image.mode}), whose range is unknown; "
            "convert it to 16 bits"
        )
    if image.has_transparency_data:
        kind = "LA" if image.mode in ("1", "L", "LA", "La") else "RGBA"
    elif image.mode in ("1", "L"):
        kind = "L"
    else:
        kind = "CMYK" if image.mode == "CMYK" else "RGB"
    return image if image.mode == kind else image.convert(kind)


def to_array(image: Image.Image) -> np.ndarray:
    """An image of a known kind as ``(H, W, C)`` uint8."""
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def to_image(pixels: np.ndarray, kind: str) -> Image.Image:
    """``(H, W, C)`` as a PIL image: uint8 of any kind, or uint16 grey."""
    if kind == "CMYK":
        height, width = pixels.shape[:2]
        return Image.frombuffer("CMYK", (width, height), pixels, "raw", "CMYK", 0, 1)
    return Image.fromarray(pixels[..., 0] if kind == "L" else pixels)


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """uint16 to uint8, rounded to the nearest; uint8 as it is."""
    if pixels.dtype == np.uint8:
        return pixels
    out = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(out), _BAND):
        out[top : top + _BAND] = to_uint8(to_float(pixels[top : top + _BAND]))
    return out


def as_srgb(pixels: np.ndarray, kind: str, icc: bytes | None) -> tuple[np.ndarray, str]:
    """CMYK or grey as sRGB of 8 bits, through its profile where it has a sound one.

    Relative colorimetric with black point compensation, as photo editors do.

    Returns:
        ``(H, W, C)`` and its kind, ``"RGB"`` or ``"RGBA"``.
    """
    inks = 4 if kind == "CMYK" else 1
    pixels = np.ascontiguousarray(to_8_bits(pixels))
    image = to_image(np.ascontiguousarray(pixels[..., :inks]), "CMYK" if inks == 4 else "L")
    try:
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(icc or b"")),
            ImageCms.createProfile("sRGB"),
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):  # none, or one that cannot be used
        converted = None
    rgb = converted or image.convert("RGB")
    if pixels.shape[-1] == inks:
        return to_array(rgb), "RGB"
    return np.concatenate((to_array(rgb), pixels[..., inks:]), axis=-1), "RGBA"


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn ``(H, W, C)`` as the EXIF tag says (1 to 8; anything else is 1)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
