"""Pictures of 16 bits, read to the last bit.

Pillow keeps grey of 16 bits, but silently halves colour to 8. Its decoders can
be asked twice, though, once for each byte. Taught in chapter 10.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from PIL import Image, ImageFile


def has_16_bits(image: Image.Image) -> bool:
    """Whether an opened, not yet loaded, image has 16 bits that :func:`read` can keep."""
    return is_grey(image) or bool(_raw_mode(image))


def is_grey(image: Image.Image) -> bool:
    """Whether an image is greyscale of 16 bits."""
    # PGM, and PNG in older Pillows, come as 32-bit integers of which 16 are used.
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def _raw_mode(image: Image.Image) -> str:
    """How the file keeps its colour: ``"RGB;16B"`` for one; empty if not in 16 bits."""
    tile = (getattr(image, "tile", None) or [("", (), 0, "")])[0]
    arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
    raw = str(arguments[0]) if arguments else ""
    if tile[0] in ("zip", "raw", "libtiff") and image.format in ("PNG", "TIFF"):
        return raw if raw[-4:] in (";16B", ";16L", ";16N") and raw[0] != "I" else ""
    if tile[0] == "ppm" and raw == "RGB" and arguments[1] > 255:
        return "RGB;16B"
    return ""


def read(image: Image.Image, again: Callable[[], ImageFile.ImageFile]) -> tuple[np.ndarray, str]:
    """Read a picture of 16 bits.

    Args:
        image: opened, and not yet loaded.
        again: opens the same once more.

    Returns:
        uint16 ``(H, W, C)``, and its kind: ``"L"``, ``"LA"``, ``"RGB"``,
        ``"RGBA"`` or ``"CMYK"``.
    """
    if is_grey(image):
        return _grey(image)
    assert isinstance(image, ImageFile.ImageFile)  # grey alone is had without a file
    raw = _raw_mode(image)
    if raw == "LA;16B":  # four bytes a pixel, as RGBA of 8 bits has
        four = _decoded(image, "RGBA").astype(np.uint16)
        return four[..., ::2] << 8 | four[..., 1::2], "LA"
    top = cast(Any, image.tile)[0][3][1] if image.format == "PPM" else 65535
    big = raw[-1] == "B" or (raw[-1] == "N" and sys.byteorder == "big")
    base = raw.replace("RGBa", "RGBA")[:-1]  # Pillow would divide by alpha in 8 bits
    pixels = _decoded(image, base + "LB"[big]).astype(np.uint16)
    pixels <<= 8
    with again() as copy:
        pixels |= _decoded(copy, base + "BL"[big])
    if top != 65535:
        pixels = np.rint(pixels.clip(0, top) * (65535 / top)).astype(np.uint16)
    if raw.startswith("RGBa"):
        pixels = _divided_by_alpha(pixels)
    if "transparency" in image.info:  # one colour that counts as transparent
        return _keyed(pixels, image.info["transparency"]), "RGBA"
    return pixels, image.mode


def _decoded(image: ImageFile.ImageFile, raw: str) -> np.ndarray:
    """Decode, taking the bytes of each pixel as ``raw`` says."""
    tiles: Any = []
    for tile in cast(Any, image.tile):
        codec, extents, offset, arguments = tile
        if codec == "ppm":
            codec, arguments = "raw", (raw, 0, 1)
        else:
            arguments = (raw, *arguments[1:]) if isinstance(arguments, tuple) else raw
        make = getattr(type(tile), "_make", tuple)
        tiles.append(make((codec, extents, offset, arguments)))
    image.tile = tiles
    image.load()
    return np.asarray(image)


def _grey(image: Image.Image) -> tuple[np.ndarray, str]:
    twelve = "I;12" in str(getattr(image, "tile", ""))
    white_is_zero = hasattr(image, "tag_v2") and image.tag_v2.get(262) == 0
    image.load()
    pixels: np.ndarray = np.asarray(image).clip(0, 65535).astype(np.uint16)[..., None]
    if twelve:
        pixels = pixels << 4 | pixels >> 8
    if white_is_zero:
        pixels = ~pixels
    if "transparency" in image.info:
        return _keyed(pixels, image.info["transparency"]), "LA"
    return pixels, "L"


def _keyed(pixels: np.ndarray, key: int | tuple[int, ...]) -> np.ndarray:
    alpha = (pixels != np.asarray(key, np.uint16)).any(axis=-1, keepdims=True)
    return np.concatenate((pixels, alpha * np.uint16(65535)), axis=-1)


def _divided_by_alpha(pixels: np.ndarray) -> np.ndarray:
    alpha = np.maximum(pixels[..., 3:], 1).astype(np.float64)
    for channel in range(3):
        plane = pixels[..., channel] * 65535.0 / alpha[..., 0]
        pixels[..., channel] = np.rint(plane.clip(0, 65535))
    return pixels
