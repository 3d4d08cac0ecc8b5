"""What a network is, read from its layers: how far it sees, what it costs. Taught in chapter 2."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TypeVar

from srlib._backend import keras
from srlib.errors import SrlibError
from srlib.layers.reach import Step, convolution, repetition, transposed_convolution

layers = keras.layers

#: Keras' layers that compute every pixel from the same pixel alone.
_POINTWISE = (
    layers.Add,
    layers.Concatenate,
    layers.ReLU,
    layers.LeakyReLU,
    layers.Activation,
    layers.Dropout,
    layers.BatchNormalization,
)
_Value = TypeVar("_Value")
#: Pixels for one input pixel, and the reach before and after.
_Sight = tuple[Fraction, Fraction, Fraction]


class TilingError(SrlibError):
    """A network that cannot be applied in tiles; the message says why."""


def network_of(model: keras.Model) -> keras.Model:
    """The network that a self-ensemble asks; any other model is one itself."""
    return getattr(model, "model", model)


def size_multiple(model: keras.Model) -> int:
    """What a side of the input must be a multiple of: 8 for the hourglass, else 1."""
    known = getattr(model, "layers", ())
    return math.prod(layer.strides[0] for layer in known if type(layer) is keras.layers.Conv2D)


def flops(model: keras.Model, height: int = 64, width: int = 64) -> int:
    """Multiplications plus additions of all convolutions for one input image.

    Counted from the layers' shapes: two for each weight and output position
    (input position for a transposed convolution).
    """
    if hasattr(model, "flops"):  # a self-ensemble counts its own
        return model.flops(height, width)
    return sum(operations for _, operations, _ in _costs(model, height, width))


def main_width(model: keras.Model, side: int = 64) -> int:
    """The number of channels in which most of a network's operations happen.

    Counted by each convolution's output channels; its yardstick is the speed
    of bare convolutions with as many.
    """
    widths: Counter[int] = Counter()
    for layer, operations, channels in _costs(model, side, side):
        if layer.weights:  # interpolation has none
            widths[channels] += operations
    return widths.most_common(1)[0][0]


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
    model = network_of(model)
    name = getattr(model, "name", type(model).__name__)
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        raise TilingError(f"{name}: is no network of known layers, so how far it sees is unknown")

    def seen(layer: keras.layers.Layer, sources: list[_Sight]) -> _Sight:
        if len(layer._inbound_nodes) > 1:
            raise TilingError(f"{layer.name}: is used more than once in {name}")
        densities, befores, afters = zip(*sources, strict=True)
        if len(set(densities)) > 1:
            raise TilingError(f"{layer.name}: joins images of different sizes")
        density, before, after = densities[0], max(befores), max(afters)
        for step in _reach(layer):
            before, after = before + step.before / density, after + step.after / density
            density *= step.enlargement
        return density, before, after

    *_, (_, _, (_, before, after)) = _walk(model, (Fraction(1), Fraction(0), Fraction(0)), seen)
    return math.ceil(max(before, after))


def _walk(
    model: keras.Model, start: _Value, step: Callable[[keras.layers.Layer, list[_Value]], _Value]
) -> Iterator[tuple[keras.layers.Layer, list[_Value], _Value]]:
    """Each layer in the order of computation, what comes into it, and what comes out of it.

    ``start`` goes into the network; ``step`` says what a layer makes of its sources.
    """
    known: dict[str, _Value] = {}
    for layer in model.operations:
        tensors = layer._inbound_nodes[0].input_tensors
        sources = [known[tensor._keras_history.operation.name] for tensor in tensors]
        known[layer.name] = step(layer, sources) if sources else start
        yield layer, sources, known[layer.name]


def _costs(
    model: keras.Model, height: int, width: int
) -> Iterator[tuple[keras.layers.Layer, int, int]]:
    """Each layer that convolves, its operations for one image, and its output channels."""

    def shape(layer: keras.layers.Layer, sources: list[tuple]) -> tuple:
        if isinstance(layer, layers.Add):  # also where a side is no multiple of the strides
            return sources[0]
        return layer.compute_output_shape(sources[0] if len(sources) == 1 else sources)

    start = (1, height, width, model.inputs[0].shape[-1])
    for layer, sources, result in _walk(model, start, shape):
        if hasattr(layer, "flops"):
            yield layer, layer.flops(*sources[0][1:3]), result[-1]
        elif isinstance(layer, (keras.layers.Conv2D, keras.layers.Conv2DTranspose)):
            positions = min(math.prod(image[1:3]) for image in (sources[0], result))
            yield layer, 2 * math.prod(layer.kernel.shape) * positions, result[-1]


def _reach(layer: keras.layers.Layer) -> list[Step]:
    """The steps of a layer: srlib's layers say them, Keras' are listed here."""
    if hasattr(layer, "reach"):
        return layer.reach()
    if isinstance(layer, _POINTWISE):
        return []
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return [transposed_convolution(*_square(layer))]
    if isinstance(layer, keras.layers.Conv2D):
        return [convolution(*_square(layer))]
    if isinstance(layer, (layers.AveragePooling2D, layers.MaxPooling2D)):
        sizes, strides = set(layer.pool_size), set(layer.strides)
        if len(sizes) == 1 and strides == {1} and layer.padding == "same":
            return [convolution(sizes.pop())]
    square = isinstance(layer, layers.UpSampling2D) and len(set(layer.size)) == 1
    if square and layer.interpolation == "nearest":
        return [repetition(layer.size[0])]
    raise TilingError(
        f"{layer.name}: a {type(layer).__name__} layer is not known to see only a neighbourhood"
    )


def _square(layer: keras.layers.Conv2D | keras.layers.Conv2DTranspose) -> tuple[int, int]:
    """Kernel and stride of a convolution that has one of each."""
    kernels, strides = set(layer.kernel_size), set(layer.strides)
    plain = len(kernels) == len(strides) == 1 and set(layer.dilation_rate) == {1}
    if not plain or layer.padding != "same":
        raise TilingError(f"{layer.name}: only square kernels with 'same' padding can be tiled")
    return kernels.pop(), strides.pop()
