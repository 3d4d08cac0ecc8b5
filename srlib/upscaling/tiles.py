"""Photos of any size, a tile at a time, without a seam.

A pixel of the result depends on a neighbourhood of the input, the receptive
field. When every tile is computed with that much of its surroundings, and only
its own part is kept, the tiles together are the very picture that the network
would have made at once; and memory depends on the tile, not on the photo.
Taught in chapter 10.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise, product

import numpy as np

from srlib._backend import keras
from srlib.errors import SrlibError
from srlib.models.anatomy import TilingError, network_of, receptive_field, size_multiple
from srlib.models.interface import SCALE
from srlib.pixels import check_range, to_float, to_integers
from srlib.upscaling.network import predict

#: What "auto" keeps of each tile, in pixels a side: large beside the overlap, which is
#: computed for nothing, and small enough that a tile's features fit in memory.
SMALLEST, LARGEST = 128, 256

#: How often a network is applied for each scale.
PASSES = {SCALE: 1, SCALE**2: 2}

#: Rows and columns of a rectangle.
Spans = tuple[slice, ...]


def enlarge(
    model: keras.Model,
    image: np.ndarray,
    scale: int = 2,
    tile: int | str | None = "auto",
    on_tile: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Enlarge one RGB image of any size, a tile at a time.

    Args:
        model: from ``srlib.load``, ``srlib.models`` or ``srlib.self_ensemble``.
        image: ``(H, W, 3)``, uint8, uint16, or float in [0, 1].
        scale: 2, or 4 for the network applied twice.
        tile: pixels of the input a side that each tile adds; ``"auto"``
            chooses; None computes the whole image at once.
        on_tile: called after each tile with the number of input pixels done.
            What it raises ends the work: that is how it is stopped.

    Returns:
        ``(scale*H, scale*W, 3)``, uint8 and uint16 as they came, float as float32.

    Raises:
        ValueError: when the array is not an RGB image, or for another scale.
        TilingError: when the network cannot be tiled and the image is too large
            for one tile.
    """
    image = _checked(image)
    passes = _passes(scale)
    core = _core(model, image.shape, passes, tile)
    overlaps = [0] * passes if core is None else _overlaps(model, passes)
    multiple = size_multiple(network_of(model))
    height, width = image.shape[:2]
    integers = image.dtype.kind == "u"
    kind = image.dtype if integers else np.float32
    result = np.empty((scale * height, scale * width, 3), kind)
    whole = slice(0, height), slice(0, width)
    for own in product(_steps(height, core, multiple), _steps(width, core, multiple)):
        part = _tile(model, image, own, overlaps, multiple)
        result[_inside(own, whole, scale)] = to_integers(part, kind) if integers else part
        if on_tile:
            on_tile(math.prod(span.stop - span.start for span in own))
    return result


def _tile(
    model: keras.Model,
    image: np.ndarray,
    own: Spans,
    overlaps: list[int],
    multiple: int,
) -> np.ndarray:
    """A tile's own part of the result, computed with what each pass must see around it."""

    def around(overlap: int) -> Spans:
        # A network with strides sees a grid: what it looks at starts and ends on that grid.
        return tuple(
            slice(
                max(0, span.start - overlap) // multiple * multiple,
                min(size, -(-(span.stop + overlap) // multiple) * multiple),
            )
            for span, size in zip(own, image.shape[:2], strict=True)
        )

    views = [around(overlap) for overlap in (*overlaps, 0)]
    window = to_float(image[views[0]])
    scale = 1
    for outer, inner in pairwise(views):
        scale *= SCALE
        window = predict(model, window[None])[0][_inside(inner, outer, scale)]
    return window


def _inside(inner: Spans, outer: Spans, scale: int) -> Spans:
    """Where one rectangle of the input lies in the enlargement of another around it."""
    return tuple(
        slice(scale * (i.start - o.start), scale * (i.stop - o.start))
        for i, o in zip(inner, outer, strict=True)
    )


def _checked(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise SrlibError(
            f"expected an RGB image (H, W, 3), not an array of shape {image.shape}; "
            "for grey or transparent pictures give a PIL image"
        )
    if image.dtype != np.uint16:
        check_range(image)
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise SrlibError("the image has values that are not numbers (NaN or infinite)")
    return image


def _passes(scale: int) -> int:
    if not isinstance(scale, int) or scale not in PASSES:
        raise SrlibError(f"scale must be 2 or 4, not {scale!r}")
    return PASSES[scale]


def _overlaps(model: keras.Model, passes: int) -> list[int]:
    """Before each pass, in input pixels; a later pass sees a picture twice as dense."""
    radius = receptive_field(model)
    reach = [math.ceil(radius / SCALE**done) for done in range(passes)]
    return [sum(reach[done:]) for done in range(passes)]


def _core(
    model: keras.Model, shape: tuple[int, ...], passes: int, tile: int | str | None
) -> int | None:
    """A tile's own pixels a side; None for the whole image."""
    if tile is None:
        return None
    if tile == "auto":
        try:
            ample = 16 * receptive_field(model)
        except TilingError as error:
            if max(shape[:2]) <= SMALLEST:
                return None
            raise TilingError(
                f"{error}, and {shape[1]}x{shape[0]} pixels are too many for one tile; "
                "tile=None computes them at once, if memory allows"
            ) from error
        return min(max(ample, SMALLEST), LARGEST) // passes
    if isinstance(tile, bool) or not isinstance(tile, (int, np.integer)) or tile < 1:
        raise SrlibError(f"tile must be 'auto', None or a whole number of pixels, not {tile!r}")
    return int(tile)


def _steps(size: int, core: int | None, multiple: int) -> Iterator[slice]:
    """Along one axis: what each tile adds."""
    step = size if core is None else -(-core // multiple) * multiple
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))
