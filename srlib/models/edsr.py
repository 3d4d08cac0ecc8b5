"""The residual network with a bicubic skip, in the style of EDSR. Taught in chapter 2."""

from __future__ import annotations

import numpy as np

from srlib._backend import keras
from srlib.layers.filters import FilterUpsampling, Luma
from srlib.layers.upsampling import UPSAMPLERS, SubPixelConv2D
from srlib.models.interface import SCALE, image_input, image_model

layers = keras.layers


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

    low = image_input()
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
    return image_model(low, image, "residual")


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
    """A residual network around any upsampler of ``srlib.layers.upsampling.UPSAMPLERS``.

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
    low = image_input()
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
    return image_model(low, image, "with_upsampler")
