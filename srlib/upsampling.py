"""Layers that enlarge an image inside a network; all work on any height and width.

A fixed or fitted linear filter (the baselines, and the skip of the residual
network) and the sub-pixel convolution are taught in chapter 2; the others, and
which of them can draw a checkerboard, in chapter 5.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from srlib.backend import keras, tf
from srlib.resize import taps


def polyphase_kernel(kernel: str, scale: int) -> np.ndarray:
    """An interpolation kernel as one small filter for each of the ``scale**2`` phases.

    Enlarging by an integer repeats the same ``scale`` sets of weights over and
    over: that makes interpolation a convolution with ``scale**2`` outputs.

    Returns:
        ``(taps, taps, scale**2)``, an odd number of taps, each filter summing to 1.
    """
    middle, size = 8, 17
    indices, weights = taps(size, size * scale, kernel)
    phases = np.zeros((scale, size))
    for phase in range(scale):
        np.add.at(phases[phase], indices[middle * scale + phase], weights[middle * scale + phase])
    used = np.nonzero(np.abs(phases).max(axis=0) > 1e-12)[0]
    radius = max(middle - used[0], used[-1] - middle)
    phases = phases[:, middle - radius : middle + radius + 1]
    return np.einsum("ai,bj->ijab", phases, phases).reshape(2 * radius + 1, 2 * radius + 1, -1)


def _mirror(images: tf.Tensor, radius: int, axis: int) -> tf.Tensor:
    """Mirrored borders; ``tf.pad`` refuses images smaller than the border."""
    length = tf.shape(images)[axis]
    index = tf.range(-radius, length + radius) % (2 * length)
    return tf.gather(images, tf.minimum(index, 2 * length - 1 - index), axis=axis)


@keras.saving.register_keras_serializable(package="srlib")
class FilterUpsampling(keras.layers.Layer):
    """Enlarge each colour channel with one linear filter for each output phase.

    With a named ``kernel`` this is interpolation, equal to
    ``srlib.resize.upscale`` to rounding, borders included. With
    ``kernel=None`` the filters are weights, to be fitted or trained.

    Args:
        scale: integer enlargement.
        kernel: a name from ``srlib.resize.KERNELS``, or None.
        taps: filter width when ``kernel`` is None; odd.

    Call arguments:
        inputs: ``(N, H, W, C)``, any range.

    Returns:
        ``(N, H*scale, W*scale, C)``.
    """

    def __init__(self, scale: int = 2, kernel: str | None = "bicubic", taps: int = 5, **kwargs):
        # Interpolation carries the picture itself: bfloat16 would cost it 5 bits.
        super().__init__(autocast=False, **kwargs)
        self.scale = scale
        self.kernel = kernel
        self.taps = taps

    def build(self, input_shape):
        start = polyphase_kernel(self.kernel or "bicubic", self.scale)
        if self.kernel is None:
            grow = (self.taps - start.shape[0]) // 2
            if grow < 0 or self.taps % 2 == 0:
                raise ValueError(f"taps must be odd and at least {len(start)}, not {self.taps}")
            start = np.pad(start, ((grow, grow), (grow, grow), (0, 0)))
            self.filters = self.add_weight(
                name="filters",
                shape=start.shape,
                initializer=lambda shape, dtype=None: tf.constant(start, dtype or "float32"),
                autocast=False,
            )
        else:
            self.filters = start
        self._radius = start.shape[0] // 2

    def call(self, inputs):
        images = tf.cast(inputs, "float32")
        padded = _mirror(_mirror(images, self._radius, axis=1), self._radius, axis=2)
        shape = tf.shape(padded)
        channels = inputs.shape[-1]
        # Every colour is filtered alone: fold colours into the batch.
        planes = tf.reshape(
            tf.transpose(padded, (0, 3, 1, 2)), (shape[0] * channels, shape[1], shape[2], 1)
        )
        filters = tf.cast(self.filters, "float32")[:, :, None, :]
        phases = tf.nn.conv2d(planes, filters, 1, "VALID")
        planes = tf.nn.depth_to_space(phases, self.scale)
        size = tf.shape(inputs)[1:3] * self.scale
        planes = tf.reshape(planes, (shape[0], channels, size[0], size[1]))
        return tf.transpose(planes, (0, 2, 3, 1))

    def compute_output_shape(self, input_shape):
        n, h, w, c = input_shape
        return (n, h and h * self.scale, w and w * self.scale, c)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), "float32")

    def get_config(self):
        return super().get_config() | {
            "scale": self.scale,
            "kernel": self.kernel,
            "taps": self.taps,
        }


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


_deconv = functools.partial(keras.layers.Conv2DTranspose, strides=2, padding="same")

#: The twofold upsamplers of chapter 5, by name: ``UPSAMPLERS[name](filters)``.
UPSAMPLERS: dict[str, Callable[..., keras.layers.Layer]] = {
    "deconv k4s2": functools.partial(_deconv, kernel_size=4),
    "deconv k3s2": functools.partial(_deconv, kernel_size=3),
    "sub-pixel": functools.partial(SubPixelConv2D, kernel_initializer="glorot_uniform"),
    "sub-pixel ICNR": SubPixelConv2D,
    "nearest + conv": ResizeConv2D,
    "bilinear + conv": functools.partial(ResizeConv2D, interpolation="bilinear"),
    "deconv + box": BoxedConv2DTranspose,
}


@keras.saving.register_keras_serializable(package="srlib")
class ClipAtInference(keras.layers.Layer):
    """Clip to [0, 1] when predicting; pass everything through when training.

    A picture has no value outside [0, 1], but a clipped value has no gradient.
    """

    def call(self, inputs, training=None):
        return inputs if training else tf.clip_by_value(inputs, 0.0, 1.0)

    def compute_output_shape(self, input_shape):
        return input_shape
