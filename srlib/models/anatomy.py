"""What a network is, read from its layers: how far it sees, what it costs. Taught in chapter 2."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np

from srlib._backend import keras, tf
from srlib.errors import SrlibError
from srlib.layers.filters import ClipAtInference, FilterUpsampling, Luma
from srlib.layers.upsampling import BoxedConv2DTranspose, ResizeConv2D, SubPixelConv2D

layers = keras.layers


def size_multiple(model: keras.Model) -> int:
    """What a side of the input must be a multiple of: 8 for the hourglass, else 1."""
    strides = [layer.strides[0] for layer in model.layers if type(layer) is layers.Conv2D]
    return int(np.prod(strides)) if strides else 1


def flops(model: keras.Model, height: int = 64, width: int = 64) -> int:
    """Multiplications plus additions of all convolutions for one input image.

    Counted from the layers' shapes: two for each weight and output position
    (input position for a transposed convolution).
    """
    sizes = {"low": (height, width)}
    total = 0
    for layer in model.layers:
        if layer.name in sizes:
            continue
        source = layer.input[0] if isinstance(layer.input, list) else layer.input
        h, w = sizes[source._keras_history.operation.name]
        out_h, out_w = _output_size(layer, h, w)
        sizes[layer.name] = (out_h, out_w)
        kernel = getattr(layer, "conv_kernel", getattr(layer, "kernel", None))
        if isinstance(layer, layers.Conv2DTranspose):
            total += 2 * int(np.prod(kernel.shape)) * h * w
        elif isinstance(layer, layers.Conv2D):
            total += 2 * int(np.prod(kernel.shape)) * out_h * out_w
        elif isinstance(layer, SubPixelConv2D):
            total += 2 * int(np.prod(kernel.shape)) * h * w
        elif isinstance(layer, ResizeConv2D):
            total += 2 * int(np.prod(layer.conv.kernel.shape)) * out_h * out_w
        elif isinstance(layer, BoxedConv2DTranspose):
            total += 2 * int(np.prod(layer.transposed.kernel.shape)) * h * w
        elif isinstance(layer, FilterUpsampling):
            total += 2 * int(np.prod(layer.filters.shape)) * 3 * h * w
    return total


def _output_size(layer: layers.Layer, height: int, width: int) -> tuple[int, int]:
    if isinstance(layer, layers.Add):
        return height, width
    shape = layer.compute_output_shape((1, height, width, layer.input.shape[-1]))
    return shape[1], shape[2]


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


class TilingError(SrlibError):
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
    model = getattr(model, "model", model)  # of a self-ensemble, what it asks
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


def main_width(model: keras.Model, side: int = 64) -> int:
    """The number of channels in which most of a network's operations happen.

    Counted by each convolution's output channels; its roof is that of bare
    convolutions with as many.
    """
    found = {}
    for layer in model.layers:
        kernel = getattr(layer, "conv_kernel", getattr(layer, "kernel", None))
        if isinstance(layer, keras.layers.Layer) and getattr(kernel, "shape", None):
            found[layer.name] = (layer, int(np.prod(kernel.shape)))
    outputs = [[layer.input, layer.output] for layer, _ in found.values()]
    maps = keras.Model(model.input, outputs)(tf.zeros((1, side, side, 3)), training=False)
    operations: Counter[int] = Counter()
    for (layer, weights), (before, after) in zip(found.values(), maps, strict=True):
        positions = min(before.shape[1] * before.shape[2], after.shape[1] * after.shape[2])
        operations[layer.filters] += weights * positions
    return operations.most_common(1)[0][0]
