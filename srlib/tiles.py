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
from fractions import Fraction
from itertools import pairwise

import numpy as np

from srlib.backend import keras
from srlib.ensemble import SelfEnsemble
from srlib.inference import predict
from srlib.interpolation import ClipAtInference, FilterUpsampling, Luma
from srlib.metrics import check_range
from srlib.models import SCALE, size_multiple
from srlib.upsampling import BoxedConv2DTranspose, ResizeConv2D, SubPixelConv2D

layers = keras.layers

#: What "auto" keeps of each tile, in pixels a side: large beside the overlap, which is
#: computed for nothing, and small enough that a tile's features fit in memory.
SMALLEST, LARGEST = 128, 256

#: How often a network is applied for each scale.
PASSES = {SCALE: 1, SCALE**2: 2}

#: Layers that compute every pixel from the same pixel alone.
_POINTWISE = (
    layers.InputLayer,
    layers.Add,
    layers.Concatenate,
    layers.ReLU,
    layers.LeakyReLU,
    layers.Activation,
    layers.Dropout,
    layers.BatchNormalization,
    ClipAtInference,
    Luma,
)


class TilingError(ValueError):
    """A network that cannot be applied in tiles; the message says why."""


def receptive_field(model: keras.Model) -> int:
    """How far, in input pixels, a pixel of the result can see to any side.

    Followed through the network layer by layer, as kernels, strides and
    enlargements say it: an upper bound that holds for any weights.

    Args:
        model: from ``srlib.load``, ``srlib.models`` or ``srlib.self_ensemble``.

    Raises:
        TilingError: when a layer is not known to see only a neighbourhood, as
            one that averages over the whole image does not.
    """
    if isinstance(model, SelfEnsemble):
        return receptive_field(model.model)
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        raise TilingError(
            f"{_name(model)}: is no network of known layers, so how far it sees is unknown"
        )
    # Of each layer's result: pixels for one input pixel, and the reach before and after.
    known: dict[str, tuple[Fraction, Fraction, Fraction]] = {}
    for layer in model.operations:
        if len(layer._inbound_nodes) > 1:
            raise TilingError(f"{layer.name}: is used more than once in {_name(model)}")
        makers = layer._inbound_nodes[0].parent_nodes
        sources = [known[node.operation.name] for node in makers] or [
            (Fraction(1),) + (Fraction(0),) * 2
        ]
        densities, befores, afters = zip(*sources, strict=True)
        if len(set(densities)) > 1:
            raise TilingError(f"{layer.name}: joins images of different sizes")
        density, before, after = densities[0], max(befores), max(afters)
        for scale, left, right in _reach(layer):
            before, after = before + left / density, after + right / density
            density *= scale
        known[layer.name] = (density, before, after)
    return math.ceil(max(before, after))


def _name(model: object) -> str:
    return getattr(model, "name", type(model).__name__)


def _reach(layer: layers.Layer) -> list[tuple[Fraction, Fraction, Fraction]]:
    """Steps of a layer: enlargement, and how far a pixel sees before and after itself."""
    if isinstance(layer, _POINTWISE):
        return []
    if isinstance(layer, layers.Conv2DTranspose):
        return [_transposed(layer)]
    if isinstance(layer, layers.Conv2D):
        return [_convolution(layer)]
    if isinstance(layer, SubPixelConv2D):
        return [_same(layer.kernel_size), _repeated(layer.scale)]
    if isinstance(layer, FilterUpsampling):
        return [_same(layer.filters.shape[0]), _repeated(layer.scale)]
    square = isinstance(layer, layers.UpSampling2D) and len(set(layer.size)) == 1
    if square and layer.interpolation == "nearest":
        return [_repeated(layer.size[0])]
    if isinstance(layer, ResizeConv2D):
        bilinear = (Fraction(layer.scale), Fraction(1), Fraction(1))
        nearest = _repeated(layer.scale)
        enlarged = nearest if layer.interpolation == "nearest" else bilinear
        return [enlarged, _convolution(layer.conv)]
    if isinstance(layer, BoxedConv2DTranspose):
        return [_transposed(layer.transposed), (Fraction(1), Fraction(0), Fraction(1))]
    raise TilingError(
        f"{layer.name}: a {type(layer).__name__} layer is not known to see only a neighbourhood"
    )


def _same(kernel: int, stride: int = 1) -> tuple[Fraction, Fraction, Fraction]:
    """A convolution with as much padding as TensorFlow's "same" gives it."""
    left = max(kernel - stride, 0) // 2
    return Fraction(1, stride), Fraction(left), Fraction(kernel - 1 - left)


def _repeated(scale: int) -> tuple[Fraction, Fraction, Fraction]:
    """Each pixel becomes ``scale`` pixels a side, the last of which lies beyond it."""
    return Fraction(scale), Fraction(scale - 1, scale), Fraction(0)


def _square(layer: layers.Conv2D) -> tuple[int, int]:
    kernels, strides = set(layer.kernel_size), set(layer.strides)
    plain = len(kernels) == len(strides) == 1 and set(layer.dilation_rate) == {1}
    if not plain or layer.padding != "same":
        raise TilingError(f"{layer.name}: only square kernels with 'same' padding can be tiled")
    return kernels.pop(), strides.pop()


def _convolution(layer: layers.Conv2D) -> tuple[Fraction, Fraction, Fraction]:
    return _same(*_square(layer))


def _transposed(layer: layers.Conv2DTranspose) -> tuple[Fraction, Fraction, Fraction]:
    kernel, stride = _square(layer)
    left = max(kernel - stride, 0) // 2
    return Fraction(stride), Fraction(max(kernel - 1 - left, 0), stride), Fraction(left, stride)


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
    multiple = _multiple(model)
    height, width = image.shape[:2]
    kind = image.dtype if image.dtype.kind == "u" else np.dtype(np.float32)
    result = np.empty((scale * height, scale * width, 3), kind)
    for rows in _steps(height, core, multiple):
        for columns in _steps(width, core, multiple):
            unit = _tile(model, image, (rows, columns), overlaps, multiple)
            result[_scaled(rows, scale), _scaled(columns, scale)] = _as_kind(unit, kind)
            if on_tile:
                on_tile((rows.stop - rows.start) * (columns.stop - columns.start))
    return result


def _tile(
    model: keras.Model,
    image: np.ndarray,
    own: tuple[slice, slice],
    overlaps: list[int],
    multiple: int,
) -> np.ndarray:
    """A tile's own part of the result, computed with what each pass must see around it."""

    def around(overlap: int) -> list[slice]:
        # A network with strides sees a grid: what it looks at starts and ends on that grid.
        return [
            slice(
                max(0, span.start - overlap) // multiple * multiple,
                min(size, -(-(span.stop + overlap) // multiple) * multiple),
            )
            for span, size in zip(own, image.shape[:2], strict=True)
        ]

    views = [around(overlap) for overlap in (*overlaps, 0)]
    window = _as_unit(image[tuple(views[0])])[None]
    scale = 1
    for outer, inner in pairwise(views):
        window = predict(model, window)
        scale *= SCALE
        kept = [
            slice(scale * (i.start - o.start), scale * (i.stop - o.start))
            for i, o in zip(inner, outer, strict=True)
        ]
        window = window[:, kept[0], kept[1]]
    return window[0]


def _checked(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(
            f"expected an RGB image (H, W, 3), not an array of shape {image.shape}; "
            "for grey or transparent pictures give a PIL image"
        )
    if image.dtype != np.uint16:
        check_range(image)
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ValueError("the image has values that are not numbers (NaN or infinite)")
    return image


def _passes(scale: int) -> int:
    if not isinstance(scale, int) or scale not in PASSES:
        raise ValueError(f"scale must be 2 or 4, not {scale!r}")
    return PASSES[scale]


def _multiple(model: keras.Model) -> int:
    inner = model.model if isinstance(model, SelfEnsemble) else model
    return size_multiple(inner) if isinstance(inner, keras.Model) else 1


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
        raise ValueError(f"tile must be 'auto', None or a whole number of pixels, not {tile!r}")
    return int(tile)


def _steps(size: int, core: int | None, multiple: int) -> Iterator[slice]:
    """Along one axis: what each tile adds."""
    step = size if core is None else -(-core // multiple) * multiple
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


def _scaled(span: slice, scale: int) -> slice:
    return slice(scale * span.start, scale * span.stop)


def _as_unit(image: np.ndarray) -> np.ndarray:
    if image.dtype.kind == "u":
        return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    return image.astype(np.float32)


def _as_kind(unit: np.ndarray, kind: np.dtype) -> np.ndarray:
    if kind.kind == "u":
        # NumPy's rint: halves go to even, as everywhere in srlib.
        return np.rint(unit * np.float32(np.iinfo(kind).max)).astype(kind)
    return unit
