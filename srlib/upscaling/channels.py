"""Every kind of picture through a network that knows RGB: grey, transparent, CMYK.

Taught in chapter 10.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import overload

import numpy as np

from srlib.errors import SrlibError
from srlib.imagefile import Animation, Picture
from srlib.resize import taps

#: RGB ``(H, W, 3)``, uint8 or uint16, to ``(scale*H, scale*W, 3)`` of the same type.
Network = Callable[[np.ndarray], np.ndarray]

_BAND = 256  # rows that are computed together, so that memory stays small


@overload
def enlarge(picture: Picture, network: Network, scale: int = ...) -> Picture: ...
@overload
def enlarge(
    picture: Picture | Animation, network: Network, scale: int = ...
) -> Picture | Animation: ...
def enlarge(picture: Picture | Animation, network: Network, scale: int = 2) -> Picture | Animation:
    """Enlarge a picture, or an animation frame by frame as each is asked for.

    See :func:`enlarge_pixels`; all else that belongs to the picture stays with it.
    """
    if isinstance(picture, Animation):
        frames = (enlarge(frame, network, scale) for frame in picture.frames)
        return replace(picture, frames=frames)
    pixels = enlarge_pixels(picture.pixels, picture.kind, network, scale)
    return replace(picture, pixels=pixels)


def enlarge_pixels(pixels: np.ndarray, kind: str, network: Network, scale: int = 2) -> np.ndarray:
    """Enlarge a picture of any kind with a network for RGB.

    Grey goes through as three equal channels, whose mean comes back. Colour
    under full transparency is undefined, often black, and would show as a dark
    fringe; so the visible colour is spread there first, and the transparency
    itself is enlarged bicubically. Of CMYK, the three inks go through as
    colour and black as grey.

    Args:
        pixels: ``(H, W, C)``, uint8 or uint16.
        kind: one of :data:`srlib.imagefile.picture.KINDS`.
        network: called once, for CMYK twice.
        scale: what the network multiplies the sides by.

    Returns:
        ``(scale*H, scale*W, C)`` of the same type.

    Raises:
        ValueError: when the network returns anything else than promised.
    """
    if kind == "L":
        return _through(network, pixels.repeat(3, axis=-1), scale, grey=True)
    if kind == "RGB":
        return _through(network, pixels, scale)
    if kind == "CMYK":  # inverted, inks are light: near to red, green and blue
        inks = ~_through(network, ~pixels[..., :3], scale)
        black = ~_through(network, (~pixels[..., 3:]).repeat(3, axis=-1), scale, grey=True)
        return np.concatenate((inks, black), axis=-1)
    alpha = pixels[..., -1]
    colour = spread(pixels[..., :-1], alpha)
    colour = enlarge_pixels(colour, kind[:-1], network, scale)
    out = np.empty((*colour.shape[:2], pixels.shape[-1]), pixels.dtype)
    out[..., :-1] = colour
    out[..., -1] = _bicubic(alpha, scale)
    return out


def _through(network: Network, rgb: np.ndarray, scale: int, grey: bool = False) -> np.ndarray:
    rgb = np.ascontiguousarray(rgb)
    large = np.asarray(network(rgb))
    expected = (rgb.shape[0] * scale, rgb.shape[1] * scale, 3)
    if large.shape != expected or large.dtype != rgb.dtype:
        raise SrlibError(
            f"the network returned {large.dtype} {large.shape} instead of {rgb.dtype} {expected}"
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
