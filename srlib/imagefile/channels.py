"""Every kind of picture through a network that knows RGB: grey, transparent, CMYK.

Taught in chapter 10.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

from srlib.errors import PhotoError
from srlib.resize import taps

#: RGB ``(H, W, 3)``, uint8 or uint16, to ``(scale*H, scale*W, 3)`` of the same type.
Enlarge = Callable[[np.ndarray], np.ndarray]

#: The channels of each kind of picture.
KINDS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}
_BAND = 256  # rows that are computed together, so that memory stays small


def plain(image: Image.Image) -> Image.Image:
    """An image of 8 bits as one of :data:`KINDS`, without loss.

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
    """A plain image as ``(H, W, C)`` uint8."""
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
        out[top : top + _BAND] = (pixels[top : top + _BAND].astype(np.uint32) + 128) // 257
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
        rgb = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(icc or b"")),
            ImageCms.createProfile("sRGB"),
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):  # none, or one that cannot be used
        rgb = image.convert("RGB")
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


def enlarge_pixels(pixels: np.ndarray, kind: str, enlarge: Enlarge, scale: int = 2) -> np.ndarray:
    """Enlarge a picture of any kind with a network for RGB.

    Grey goes through as three equal channels, whose mean comes back. Colour
    under full transparency is undefined, often black, and would show as a dark
    fringe; so the visible colour is spread there first, and the transparency
    itself is enlarged bicubically. Of CMYK, the three inks go through as
    colour and black as grey.

    Args:
        pixels: ``(H, W, C)``, uint8 or uint16.
        kind: a key of :data:`KINDS`.
        enlarge: the network.
        scale: what ``enlarge`` multiplies the sides by.

    Returns:
        ``(scale*H, scale*W, C)`` of the same type.

    Raises:
        ValueError: when ``enlarge`` returns anything else than promised.
    """
    if kind == "L":
        return _through(enlarge, pixels.repeat(3, axis=-1), scale, grey=True)
    if kind == "RGB":
        return _through(enlarge, pixels, scale)
    if kind == "CMYK":  # inverted, inks are light: near to red, green and blue
        inks = ~_through(enlarge, ~pixels[..., :3], scale)
        black = ~_through(enlarge, (~pixels[..., 3:]).repeat(3, axis=-1), scale, grey=True)
        return np.concatenate((inks, black), axis=-1)
    alpha = pixels[..., -1]
    colour = spread(pixels[..., :-1], alpha)
    colour = enlarge_pixels(colour, kind[:-1], enlarge, scale)
    out = np.empty((*colour.shape[:2], pixels.shape[-1]), pixels.dtype)
    out[..., :-1] = colour
    out[..., -1] = _bicubic(alpha, scale)
    return out


def _through(enlarge: Enlarge, rgb: np.ndarray, scale: int, grey: bool = False) -> np.ndarray:
    rgb = np.ascontiguousarray(rgb)
    large = np.asarray(enlarge(rgb))
    expected = (rgb.shape[0] * scale, rgb.shape[1] * scale, 3)
    if large.shape != expected or large.dtype != rgb.dtype:
        raise ValueError(
            f"enlarge returned {large.dtype} {large.shape} instead of {rgb.dtype} {expected}"
        )
    if not grey:
        return large
    out = np.empty((*large.shape[:2], 1), large.dtype)
    for top in range(0, len(out), _BAND):
        total = large[top : top + _BAND].sum(axis=-1, dtype=np.uint32)
        out[top : top + _BAND, :, 0] = (total + 1) // 3
    return out


def _bicubic(plane: np.ndarray, scale: int) -> np.ndarray:
    """``(H, W)`` enlarged as :func:`srlib.resize.interpolate` does, in its own type, by bands."""
    height, width = plane.shape
    top_value = np.iinfo(plane.dtype).max
    if (plane == plane[0, 0]).all():
        return np.full((height * scale, width * scale), plane[0, 0])
    rows, row_weights = taps(height, height * scale)
    columns, column_weights = taps(width, width * scale)
    out = np.empty((height * scale, width * scale), plane.dtype)
    for top in range(0, len(out), _BAND):
        part = slice(top, top + _BAND)
        tall = _weighted(plane, rows[part], row_weights[part, :, None])
        wide = _weighted(tall.T, columns, column_weights[:, :, None]).T
        out[part] = np.rint(wide.clip(0, top_value))
    return out


def _weighted(lines: np.ndarray, indices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return sum(
        lines[indices[:, tap]] * weights[:, tap].astype(np.float32)
        for tap in range(indices.shape[1])
    )


def spread(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Give fully transparent pixels the colour of the visible ones around them.

    Pull-push: means of visible pixels, weighted by their alpha, over ever
    larger squares; each hidden pixel takes the smallest square that holds a
    visible one. Source: S. J. Gortler et al., "The Lumigraph", 1996.

    Args:
        colour: ``(H, W, C)``, uint8 or uint16.
        alpha: ``(H, W)`` of the same type; 0 is transparent.

    Returns:
        ``(H, W, C)``; visible pixels are as they were.
    """
    out = np.array(colour, order="C")
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return out
    pulled = [
        _halved(colour[top : top + _BAND], alpha[top : top + _BAND].astype(np.float32))
        for top in range(0, len(out), _BAND)
    ]
    sums, weights = (np.concatenate(parts) for parts in zip(*pulled, strict=True))
    means = np.rint(_filled(sums, weights)).astype(out.dtype)
    width = out.shape[1]
    for top in range(0, len(out), _BAND):
        part, below = out[top : top + _BAND], hidden[top : top + _BAND]
        coarse = means[top // 2 : (top + _BAND) // 2].repeat(2, 0).repeat(2, 1)
        part[below] = coarse[: len(part), :width][below]
    return out


def _halved(colour: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of squares of two by two: the sum of weighted colours, and of weights."""
    sums = colour * weights[..., None]
    return _quarter(sums), _quarter(weights)


def _quarter(values: np.ndarray) -> np.ndarray:
    height, width = values.shape[:2]
    values = np.pad(values, [(0, height % 2), (0, width % 2), (0, 0)][: values.ndim])
    return values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]


def _filled(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    means = sums / np.maximum(weights, 1.0)[..., None]  # a weight is 0, or 1 at least
    empty = weights == 0
    if empty.any():
        coarse = _filled(_quarter(sums), _quarter(weights)).repeat(2, 0).repeat(2, 1)
        means[empty] = coarse[: means.shape[0], : means.shape[1]][empty]
    return means
