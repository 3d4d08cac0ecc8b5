"""Layers that learn to enlarge an image inside a network, at any height and width.

The sub-pixel convolution is taught in chapter 2; the others, and which of them
can draw a checkerboard, in chapter 5.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction

from srlib._backend import keras, tf
from srlib.layers.reach import Step, convolution, repetition, transposed_convolution


@keras.saving.register_keras_serializable(package="srlib")
class SubPixelConv2D(keras.layers.Layer):
    """Convolution to ``filters * scale**2`` channels, rearranged into a larger image.

    W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an
    Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016.

    Args:
        filters: channels of the enlarged image.
        scale: integer enlargement.
        kernel_size: of the convolution.
        kernel_initializer: ``"icnr"`` (A. Aitken et al., arXiv 1707.02937)
            makes all phases equal, so that the untrained layer is a
            nearest-neighbour enlargement and draws no checkerboard; or any
            Keras initialiser.

    Call arguments:
        inputs: ``(N, H, W, C)``.

    Returns:
        ``(N, H*scale, W*scale, filters)``.
    """

    def __init__(
        self,
        filters: int,
        scale: int = 2,
        kernel_size: int = 3,
        kernel_initializer: str = "icnr",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.scale = scale
        self.kernel_size = kernel_size
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape):
        phases = self.scale**2
        glorot = keras.initializers.GlorotUniform()

        def icnr(shape, dtype=None):
            one = glorot((*shape[:3], shape[3] // phases), dtype=dtype)
            return tf.tile(one, (1, 1, 1, phases))

        start = self.kernel_initializer
        self.conv_kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size,) * 2 + (input_shape[-1], self.filters * phases),
            initializer=icnr if start == "icnr" else start,
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.filters * phases,), initializer="zeros"
        )

    def call(self, inputs):
        features = tf.nn.conv2d(inputs, self.conv_kernel, 1, "SAME")
        return tf.nn.depth_to_space(tf.nn.bias_add(features, self.bias), self.scale)

    def compute_output_shape(self, input_shape):
        n, h, w, _ = input_shape
        return (n, h and h * self.scale, w and w * self.scale, self.filters)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "scale": self.scale,
            "kernel_size": self.kernel_size,
            "kernel_initializer": self.kernel_initializer,
        }

    def reach(self) -> list[Step]:
        return [convolution(self.kernel_size), repetition(self.scale)]

    def flops(self, height: int, width: int) -> int:
        return 2 * math.prod(self.conv_kernel.shape) * height * width


@keras.saving.register_keras_serializable(package="srlib")
class ResizeConv2D(keras.layers.Layer):
    """Enlarge by interpolation, then convolve at the new size.

    A. Odena et al., "Deconvolution and Checkerboard Artifacts" (2016). Flat
    features stay flat whatever the weights, away from the zero-padded border.

    Args:
        filters: channels of the enlarged image.
        scale: integer enlargement.
        kernel_size: of the convolution.
        interpolation: ``"nearest"`` or ``"bilinear"``.

    Call arguments:
        inputs: ``(N, H, W, C)``.

    Returns:
        ``(N, H*scale, W*scale, filters)``.
    """

    def __init__(
        self,
        filters: int,
        scale: int = 2,
        kernel_size: int = 3,
        interpolation: str = "nearest",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.scale = scale
        self.kernel_size = kernel_size
        self.interpolation = interpolation
        self.conv = keras.layers.Conv2D(
            filters, kernel_size, padding="same", dtype=self.dtype_policy, name="conv"
        )

    def build(self, input_shape):
        self.conv.build(input_shape)

    def call(self, inputs):
        size = tf.shape(inputs)[1:3] * self.scale
        enlarged = tf.image.resize(inputs, size, self.interpolation)
        enlarged = tf.ensure_shape(enlarged, (None, None, None, inputs.shape[-1]))
        return self.conv(tf.cast(enlarged, inputs.dtype))  # bilinear answers in float32

    def compute_output_shape(self, input_shape):
        n, h, w, _ = input_shape
        return (n, h and h * self.scale, w and w * self.scale, self.filters)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "scale": self.scale,
            "kernel_size": self.kernel_size,
            "interpolation": self.interpolation,
        }

    def reach(self) -> list[Step]:
        bilinear = Step(Fraction(self.scale), Fraction(1), Fraction(1))
        enlarged = repetition(self.scale) if self.interpolation == "nearest" else bilinear
        return [enlarged, convolution(max(self.conv.kernel_size))]

    def flops(self, height: int, width: int) -> int:
        return 2 * math.prod(self.conv.kernel.shape) * height * width * self.scale**2


@keras.saving.register_keras_serializable(package="srlib")
class BoxedConv2DTranspose(keras.layers.Layer):
    """Twofold transposed convolution, then a fixed 2x2 mean.

    Y. Sugawara et al., "Super-resolution using convolutional neural networks
    without any checkerboard artifacts" (arXiv 1806.02658): every 2x2 window
    holds each phase once, so that their differences cancel. Flat features stay
    flat whatever the weights, away from the border; the price is a blur.

    Args:
        filters: channels of the enlarged image.
        kernel_size: of the transposed convolution.

    Call arguments:
        inputs: ``(N, H, W, C)``.

    Returns:
        ``(N, 2*H, 2*W, filters)``.
    """

    def __init__(self, filters: int, kernel_size: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.transposed = keras.layers.Conv2DTranspose(
            filters, kernel_size, 2, padding="same", dtype=self.dtype_policy, name="transposed"
        )
        self.box = keras.layers.AveragePooling2D(2, 1, padding="same", dtype=self.dtype_policy)

    def build(self, input_shape):
        self.transposed.build(input_shape)

    def call(self, inputs):
        return self.box(self.transposed(inputs))

    def compute_output_shape(self, input_shape):
        n, h, w, _ = input_shape
        return (n, h and h * 2, w and w * 2, self.filters)

    def get_config(self):
        return super().get_config() | {"filters": self.filters, "kernel_size": self.kernel_size}

    def reach(self) -> list[Step]:
        box = Step(Fraction(1), Fraction(0), Fraction(1))
        return [transposed_convolution(max(self.transposed.kernel_size), 2), box]

    def flops(self, height: int, width: int) -> int:
        return 2 * math.prod(self.transposed.kernel.shape) * height * width


_deconv = functools.partial(keras.layers.Conv2DTranspose, strides=2, padding="same")


#: Chapter 5's twofold upsamplers by name; ``UPSAMPLERS[name](filters)`` makes a layer.
UPSAMPLERS: dict[str, Callable[..., keras.layers.Layer]] = {
    "deconv k4s2": functools.partial(_deconv, kernel_size=4),
    "deconv k3s2": functools.partial(_deconv, kernel_size=3),
    "sub-pixel": functools.partial(SubPixelConv2D, kernel_initializer="glorot_uniform"),
    "sub-pixel ICNR": SubPixelConv2D,
    "nearest + conv": ResizeConv2D,
    "bilinear + conv": functools.partial(ResizeConv2D, interpolation="bilinear"),
    "deconv + box": BoxedConv2DTranspose,
}
