"""The classic hourglass network. Taught in chapter 2."""

from __future__ import annotations

from srlib._backend import keras
from srlib.errors import SrlibError
from srlib.layers.normalization import FusedBatchNormalization
from srlib.models.interface import add_bicubic, image_input, image_model

layers = keras.layers


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
        raise SrlibError(f"depth must be 1, 2 or 3, not {depth}")
    widths = (64, 128, 256)[:depth]

    def then(layer: keras.layers.Layer, x: keras.KerasTensor) -> keras.KerasTensor:
        name = layer.name
        x = layers.ReLU(name=f"{name}_relu", dtype=dtype)(layer(x))
        return FusedBatchNormalization(name=f"{name}_bn", dtype=dtype)(x)

    def conv(x, filters, kernel, stride, name, kind=layers.Conv2D):
        options = {"padding": "same", "dtype": dtype, "name": name}
        return then(kind(filters, kernel, stride, **options), x)

    low = image_input()
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
    return image_model(low, add_bicubic(low, x) if skip else x, "hourglass")
