"""Interpolation as a Keras layer: the baselines, and the skip of the residual networks.

Taught in chapter 2.
"""

from __future__ import annotations

import math

import numpy as np

from srlib._backend import keras, tf
from srlib.errors import SrlibError
from srlib.layers.reach import Step, convolution, repetition
from srlib.pixels import LUMA
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
    # Never negative: tf2onnx exports `%` with the division's sign, and borders would be wrong.
    index = (tf.range(-radius, length + radius) + 2 * length * radius) % (2 * length)
    return tf.gather(images, tf.minimum(index, 2 * length - 1 - index), axis=axis)


@keras.saving.register_keras_serializable(package="srlib")
class FilterUpsampling(keras.layers.Layer):
    """Enlarge each colour channel with one linear filter for each output phase.

    With a named ``kernel`` this is interpolation, equal to
    ``srlib.resize.interpolate`` to rounding, borders included. With
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
        super().__init__(**kwargs | {"dtype": "float32"})
        self.scale = scale
        self.kernel = kernel
        self.taps = taps

    def build(self, input_shape):
        start = polyphase_kernel(self.kernel or "bicubic", self.scale)
        if self.kernel is None:
            grow = (self.taps - start.shape[0]) // 2
            if grow < 0 or self.taps % 2 == 0:
                raise SrlibError(f"taps must be odd and at least {len(start)}, not {self.taps}")
            start = np.pad(start, ((grow, grow), (grow, grow), (0, 0)))
            self.filters = self.add_weight(
                name="filters",
                shape=start.shape,
                initializer=lambda shape, dtype=None: tf.constant(start, dtype or "float32"),
            )
        else:
            self.filters = start
        self._radius = start.shape[0] // 2

    def call(self, inputs):
        images = tf.cast(inputs, "float32")
        padded = _mirror(_mirror(images, self._radius, axis=1), self._radius, axis=2)
        # One convolution for all colours, with zeros between different ones: more
        # operations than colour by colour, but nothing is transposed, and it is faster.
        channels = inputs.shape[-1]
        filters = tf.cast(self.filters, "float32")[:, :, None, :, None]
        apart = filters * tf.eye(channels)[:, None, :]  # (taps, taps, C, scale**2, C)
        kernel = tf.reshape(apart, (*self.filters.shape[:2], channels, -1))
        return tf.nn.depth_to_space(tf.nn.conv2d(padded, kernel, 1, "VALID"), self.scale)

    def compute_output_shape(self, input_shape):
        n, h, w, c = input_shape
        return (n, h and h * self.scale, w and w * self.scale, c)

    def get_config(self):
        return super().get_config() | {
            "scale": self.scale,
            "kernel": self.kernel,
            "taps": self.taps,
        }

    def reach(self) -> list[Step]:
        return [convolution(self.filters.shape[0]), repetition(self.scale)]

    def flops(self, height: int, width: int) -> int:
        return 2 * math.prod(self.filters.shape) * 3 * height * width


@keras.saving.register_keras_serializable(package="srlib")
class ClipAtInference(keras.layers.Layer):
    """Clip to [0, 1] when predicting; pass everything through when training.

    A picture has no value outside [0, 1], but a clipped value has no gradient.
    """

    def call(self, inputs, training=None):
        return inputs if training else tf.clip_by_value(inputs, 0.0, 1.0)

    def compute_output_shape(self, input_shape):
        return input_shape

    def reach(self) -> list[Step]:
        return []


@keras.saving.register_keras_serializable(package="srlib")
class Luma(keras.layers.Layer):
    """The luma of an RGB image, by the weights of ITU-R BT.601, in the image's own range.

    Call arguments:
        inputs: ``(N, H, W, 3)``.

    Returns:
        ``(N, H, W, 1)`` float32.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs | {"dtype": "float32"})

    def call(self, inputs):
        return tf.tensordot(tf.cast(inputs, "float32"), tf.constant(LUMA, "float32"), 1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:3], 1)

    def reach(self) -> list[Step]:
        return []
