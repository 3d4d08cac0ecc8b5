"""The networks and the baselines, all with one interface.

Every model maps RGB ``(N, H, W, 3)`` in [0, 1] to ``(N, 2H, 2W, 3)`` in
[0, 1]; the result is always float32. Taught in chapter 2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from srlib.backend import keras
from srlib.interpolation import ClipAtInference, FilterUpsampling, Luma
from srlib.normalization import FusedBatchNormalization
from srlib.resize import to_float
from srlib.upsampling import UPSAMPLERS, BoxedConv2DTranspose, ResizeConv2D, SubPixelConv2D

layers = keras.layers

SCALE = 2


def _image_input() -> keras.KerasTensor:
    return keras.Input((None, None, 3), name="low")


def _model(low: keras.KerasTensor, image: keras.KerasTensor, name: str) -> keras.Model:
    return keras.Model(low, ClipAtInference(name="clip", dtype="float32")(image), name=name)


def bicubic() -> keras.Model:
    """Bicubic interpolation (a = -0.5) as a model without weights."""
    low = _image_input()
    return _model(low, FilterUpsampling(SCALE, "bicubic", name="bicubic")(low), "bicubic")


def lanczos() -> keras.Model:
    """Lanczos interpolation (three lobes) as a model without weights."""
    low = _image_input()
    return _model(low, FilterUpsampling(SCALE, "lanczos", name="lanczos")(low), "lanczos")


def nearest() -> keras.Model:
    """Nearest-neighbour enlargement as a model without weights."""
    low = _image_input()
    return _model(low, FilterUpsampling(SCALE, "nearest", name="nearest")(low), "nearest")


def linear(taps: int = 7) -> keras.Model:
    """One linear filter for each of the four output phases, to be fitted.

    Starts as bicubic; :func:`fit_linear` finds the best filters in one step.
    """
    low = _image_input()
    return _model(low, FilterUpsampling(SCALE, None, taps, name="linear")(low), "linear")


def fit_linear(model: keras.Model, low: np.ndarray, high: np.ndarray) -> keras.Model:
    """Fit :func:`linear` by least squares: the best any linear filter can do here.

    Args:
        model: from :func:`linear`; its weights are replaced.
        low: uint8 ``(N, H, W, 3)``.
        high: uint8 ``(N, 2H, 2W, 3)``.

    Returns:
        ``model``, fitted.
    """
    layer = model.get_layer("linear")
    taps, radius = layer.taps, layer.taps // 2
    gram = np.zeros((taps**2, taps**2))
    moment = np.zeros((taps**2, SCALE**2))
    for small, large in zip(low, high, strict=True):
        padded = np.pad(to_float(small), ((radius, radius), (radius, radius), (0, 0)), "symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (taps, taps), axis=(0, 1))
        inputs = windows.reshape(-1, taps**2).astype(np.float64)  # (H*W*3, taps**2)
        h, w, c = small.shape
        phases = to_float(large).reshape(h, SCALE, w, SCALE, c).transpose(0, 2, 4, 1, 3)
        gram += inputs.T @ inputs
        moment += inputs.T @ phases.reshape(-1, SCALE**2)
    # A trace of ridge keeps flat photos, whose windows are all alike, solvable.
    gram += 1e-6 * np.trace(gram) / taps**2 * np.eye(taps**2)
    filters = np.linalg.solve(gram, moment).reshape(taps, taps, SCALE**2)
    layer.set_weights([filters.astype(np.float32)])
    return model


def hourglass(depth: int = 3, skip: bool = False, dtype: str = "float32") -> keras.Model:
    """The classic network: squeeze the picture to 8x8, then draw it again at 128x128.

    After J. C. Trinidad, "Reconstructing Obfuscated Human Faces" (2017) and
    J. Johnson et al., "Perceptual Losses for Real-Time Style Transfer and
    Super-Resolution" (2016). Every layer is followed by ReLU, then batch
    normalisation, except the last. 6,076,303 parameters with the defaults.

    Args:
        depth: how often the encoder halves the image: 3 is the classic network
            (64 -> 8); 2 and 1 keep 16x16 and 32x32. Fewer channels go with a
            larger bottleneck, so that its cost stays the same.
        skip: add the network's output to a bicubic enlargement of the input,
            so that it only has to draw what bicubic lacks. Not classic.
        dtype: Keras dtype policy, for example ``"mixed_bfloat16"``.

    Returns:
        A model for images whose sides are multiples of ``2**depth``.
    """
    if depth not in (1, 2, 3):
        raise ValueError(f"depth must be 1, 2 or 3, not {depth}")
    widths = (64, 128, 256)[:depth]

    def then(layer: layers.Layer, x: keras.KerasTensor) -> keras.KerasTensor:
        name = layer.name
        x = layers.ReLU(name=f"{name}_relu", dtype=dtype)(layer(x))
        return FusedBatchNormalization(name=f"{name}_bn", dtype=dtype)(x)

    def conv(x, filters, kernel, stride, name, kind=layers.Conv2D):
        options = {"padding": "same", "dtype": dtype, "name": name}
        return then(kind(filters, kernel, stride, **options), x)

    low = _image_input()
    # Batch normalisation makes the network blind to the scale of its input,
    # so [0, 1] here is the classic system's 0..255.
    x = FusedBatchNormalization(name="input_bn", dtype=dtype)(low)
    x = conv(x, 64, 9, 1, "stem")
    for i, width in enumerate(widths):
        x = conv(x, width, 4, 2, f"down{i + 1}")
    for i in range(3):
        block = conv(x, widths[-1], 3, 1, f"block{i + 1}a")
        block = conv(block, widths[-1], 3, 1, f"block{i + 1}b")
        x = then(layers.Add(name=f"block{i + 1}", dtype=dtype), [x, block])
    for i, width in enumerate((*reversed(widths), 64)):
        x = conv(x, width, 4, 2, f"up{i + 1}", layers.Conv2DTranspose)
    x = layers.Conv2DTranspose(3, 9, padding="same", dtype=dtype, name="image")(x)
    # tanh in float32: half of its range is unusable, and bfloat16 has 8 bits in all.
    x = layers.Activation("tanh", dtype="float32", name="tanh")(x)
    if skip:
        enlarged = FilterUpsampling(SCALE, "bicubic", name="bicubic")(low)
        x = layers.Add(dtype="float32", name="skip")([enlarged, x])
    return _model(low, x, "hourglass")


def residual(
    blocks: int = 6, filters: int = 64, luma: bool = False, dtype: str = "float32"
) -> keras.Model:
    """A residual network in the style of EDSR with a global bicubic skip.

    B. Lim et al., "Enhanced Deep Residual Networks for Single Image
    Super-Resolution" (2017): no batch normalisation, all work at low
    resolution, sub-pixel enlargement at the end. Fully convolutional: any
    height and width. 0.49 M parameters with the defaults.

    Args:
        blocks: residual blocks of two 3x3 convolutions.
        filters: channels.
        luma: see only the luma and draw only its details, the same for all
            three colours; colour differences are bicubic. As SRCNN, ESPCN and
            FSRCNN do: the eye and the published tables mind luma most.
        dtype: Keras dtype policy, for example ``"mixed_bfloat16"``.
    """

    def conv(x, name, activation=None):
        options = {"padding": "same", "dtype": dtype, "name": name, "activation": activation}
        return layers.Conv2D(filters, 3, **options)(x)

    low = _image_input()
    x = first = conv(Luma(name="luma")(low) if luma else low, "stem")
    for i in range(blocks):
        inner = conv(x, f"block{i + 1}a", "relu")
        x = layers.Add(name=f"block{i + 1}", dtype=dtype)([x, conv(inner, f"block{i + 1}b")])
    x = layers.Add(name="long_skip", dtype=dtype)([first, conv(x, "body")])
    # Starting from zero makes the untrained network exactly bicubic; a random
    # start is more than 20 dB worse (chapter 2).
    colours = 1 if luma else 3
    details = SubPixelConv2D(
        colours, SCALE, kernel_initializer="zeros", dtype=dtype, name="upsample"
    )(x)
    enlarged = FilterUpsampling(SCALE, "bicubic", name="bicubic")(low)
    image = layers.Add(dtype="float32", name="skip")([enlarged, details])
    return _model(low, image, "residual")


def deepen(model: keras.Model, blocks: int) -> keras.Model:
    """A :func:`residual` network with more blocks that computes the very same picture.

    T. Chen et al., "Net2Net" (2016): new blocks end in zeros, so that they add
    nothing at first and training goes on where the smaller network stopped.
    Taught in chapter 8.

    Args:
        model: from :func:`residual`, trained.
        blocks: how many the new network has; at least as many as before.

    Raises:
        ValueError: when ``blocks`` are fewer, or ``model`` has none to grow from.
    """
    names = {layer.name for layer in model.layers}
    old = sum(f"block{i + 1}" in names for i in range(len(names)))
    if not 0 < old <= blocks:
        raise ValueError(f"cannot grow {old} blocks to {blocks}")
    stem = model.get_layer("stem")
    deeper = residual(blocks, stem.filters, "luma" in names, stem.dtype_policy.name)
    for layer in deeper.layers:
        if layer.name in names:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    for i in range(old, blocks):
        last = deeper.get_layer(f"block{i + 1}b")
        last.set_weights([np.zeros_like(weight) for weight in last.get_weights()])
    return deeper


def with_upsampler(
    upsampler: str, blocks: int = 3, filters: int = 32, dtype: str = "float32"
) -> keras.Model:
    """A residual network around any upsampler of ``srlib.upsampling.UPSAMPLERS``.

    For chapter 5's comparison: everything but the upsampler is the same, and
    nothing is initialised so as to hide what an untrained upsampler draws.

    Args:
        upsampler: a key of ``UPSAMPLERS``.
        blocks: residual blocks of two 3x3 convolutions.
        filters: channels, before and after the upsampler.
        dtype: Keras dtype policy.
    """
    if upsampler not in UPSAMPLERS:
        raise ValueError(f"unknown upsampler {upsampler!r}: choose one of {list(UPSAMPLERS)}")
    options = {"padding": "same", "dtype": dtype}
    low = _image_input()
    x = first = layers.Conv2D(filters, 3, name="stem", **options)(low)
    for i in range(blocks):
        inner = layers.Conv2D(filters, 3, activation="relu", name=f"block{i + 1}a", **options)(x)
        inner = layers.Conv2D(filters, 3, name=f"block{i + 1}b", **options)(inner)
        x = layers.Add(name=f"block{i + 1}", dtype=dtype)([x, inner])
    x = layers.Add(name="long_skip", dtype=dtype)([first, x])
    x = UPSAMPLERS[upsampler](filters, name="upsample", dtype=dtype)(x)
    # Leaky: a plain ReLU died in some runs, and with it all but the bicubic skip.
    x = layers.LeakyReLU(0.2, name="upsample_relu", dtype=dtype)(x)
    details = layers.Conv2D(3, 3, name="image", **options)(x)
    enlarged = FilterUpsampling(SCALE, "bicubic", name="bicubic")(low)
    image = layers.Add(dtype="float32", name="skip")([enlarged, details])
    return _model(low, image, "with_upsampler")


#: Everything :func:`build` can make. The first three need no training.
ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {
    "nearest": nearest,
    "bicubic": bicubic,
    "lanczos": lanczos,
    "linear": linear,
    "hourglass": hourglass,
    "residual": residual,
    "with_upsampler": with_upsampler,
}


def build(name: str, **options) -> keras.Model:
    """Make an untrained model by name.

    Raises:
        ValueError: for a name that is not in :data:`ARCHITECTURES`.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}: choose one of {list(ARCHITECTURES)}")
    return ARCHITECTURES[name](**options)


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
