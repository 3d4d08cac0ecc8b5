"""The residual network with a bicubic skip, in the style of EDSR. Taught in chapter 2."""

from __future__ import annotations

import numpy as np

from srlib._backend import keras
from srlib.errors import SrlibError
from srlib.layers.filters import Luma
from srlib.layers.upsampling import UPSAMPLERS, SubPixelConv2D
from srlib.models.interface import SCALE, add_bicubic, image_input, image_model

layers = keras.layers


def residual(
    blocks: int = 6,
    filters: int = 64,
    luma: bool = False,
    box: bool = False,
    dtype: str = "float32",
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
        box: end in a fixed 2x2 mean, in which the differences of the sub-pixel step's four
            phases cancel: no checkerboard (Y. Sugawara et al., arXiv 1806.02658; chapter 5).
        dtype: Keras dtype policy, for example ``"mixed_bfloat16"``.
    """
    low = image_input()
    first = _conv(Luma(name="luma")(low) if luma else low, filters, "stem", dtype)
    x = _conv(_blocks(first, blocks, filters, dtype), filters, "body", dtype)
    x = layers.Add(name="long_skip", dtype=dtype)([first, x])
    # Starting from zero makes the untrained network exactly bicubic; a random
    # start is more than 20 dB worse (chapter 2).
    colours = 1 if luma else 3
    details = SubPixelConv2D(
        colours, SCALE, kernel_initializer="zeros", dtype=dtype, name="upsample"
    )(x)
    if box:
        details = layers.AveragePooling2D(2, 1, padding="same", name="box", dtype=dtype)(details)
    return image_model(low, add_bicubic(low, details), "residual")


def _conv(
    x: keras.KerasTensor, filters: int, name: str, dtype: str, activation: str | None = None
) -> keras.KerasTensor:
    options = {"padding": "same", "activation": activation, "name": name, "dtype": dtype}
    return layers.Conv2D(filters, 3, **options)(x)


def _blocks(x: keras.KerasTensor, blocks: int, filters: int, dtype: str) -> keras.KerasTensor:
    """Residual blocks: two convolutions, and what went into them added."""
    for i in range(blocks):
        inner = _conv(x, filters, f"block{i + 1}a", dtype, "relu")
        inner = _conv(inner, filters, f"block{i + 1}b", dtype)
        x = layers.Add(name=f"block{i + 1}", dtype=dtype)([x, inner])
    return x


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
        raise SrlibError(f"cannot grow {old} blocks to {blocks}")
    stem = model.get_layer("stem")
    deeper = residual(blocks, stem.filters, "luma" in names, "box" in names, stem.dtype_policy.name)
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
        raise SrlibError(f"unknown upsampler {upsampler!r}: choose one of {list(UPSAMPLERS)}")
    low = image_input()
    first = _conv(low, filters, "stem", dtype)
    x = _blocks(first, blocks, filters, dtype)
    x = layers.Add(name="long_skip", dtype=dtype)([first, x])
    x = UPSAMPLERS[upsampler](filters, name="upsample", dtype=dtype)(x)
    # Leaky: a plain ReLU died in some runs, and with it all but the bicubic skip.
    x = layers.LeakyReLU(0.2, name="upsample_relu", dtype=dtype)(x)
    details = _conv(x, 3, "image", dtype)
    return image_model(low, add_bicubic(low, details), "with_upsampler")
