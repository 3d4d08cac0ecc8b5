"""Losses of pixels, counted in grey levels. Taught in chapter 3."""

from __future__ import annotations

import math
from collections.abc import Callable

from srlib._backend import keras, tf
from srlib.errors import SrlibError
from srlib.pixels import LUMA

GREY_LEVELS = 255.0


def _mean(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(values, axis=(1, 2, 3))


def _mse(error: tf.Tensor) -> tf.Tensor:
    return _mean(tf.square(error))


def _l1(error: tf.Tensor) -> tf.Tensor:
    return _mean(tf.abs(error))


def _charbonnier(error: tf.Tensor) -> tf.Tensor:
    return _mean(tf.sqrt(tf.square(error) + 1.0) - 1.0)


def _squared_luma(error: tf.Tensor) -> tf.Tensor:
    # Of 0..255: what published tables score, studio range apart.
    return tf.square(tf.tensordot(error, tf.constant(LUMA, error.dtype), 1))


def _luma(error: tf.Tensor) -> tf.Tensor:
    return _mean(_squared_luma(error))


def _mse_and_luma(error: tf.Tensor) -> tf.Tensor:
    return _mean((tf.square(error) + _squared_luma(error)) / 2.0)


def _negative_psnr(error: tf.Tensor) -> tf.Tensor:
    # A hundredth of a squared grey level bounds the gradient of a perfect image.
    pooled = (_mse_and_luma(error) + 0.01) / GREY_LEVELS**2
    return 10 * tf.math.log(pooled) / math.log(10)


#: Pixel losses by name, each from errors in grey levels ``(N, H, W, 3)`` to one value an image,
#: ``(N,)``. They are ``"mse"``, ``"l1"``, ``"charbonnier"`` (an L1 rounded off below one grey
#: level; P. Charbonnier et al., 1994), ``"luma"`` (the squared error of Y alone, which leaves
#: colour free), ``"mse+luma"`` (the mean of both) and ``"psnr"`` (the negative PSNR of that mean
#: in dB, whose average is the number that is reported). Chapter 8 compares most of them.
#:
#: :meta hide-value:
PIXEL_LOSSES: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "mse": _mse,
    "l1": _l1,
    "charbonnier": _charbonnier,
    "luma": _luma,
    "mse+luma": _mse_and_luma,
    "psnr": _negative_psnr,
}


@keras.saving.register_keras_serializable(package="srlib")
class PixelLoss(keras.losses.Loss):
    """A loss of pixels in grey levels: one value for each image.

    Args:
        kind: a key of :data:`PIXEL_LOSSES`.
        reduction: as in Keras.
        name: as in Keras.

    Call arguments:
        y_true: ``(N, H, W, 3)`` RGB in [0, 1].
        y_pred: the same shape.
    """

    def __init__(
        self,
        kind: str = "mse",
        *,
        reduction: str = "sum_over_batch_size",
        name: str = "pixel_loss",
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        if kind not in PIXEL_LOSSES:
            raise SrlibError(f"unknown loss {kind!r}: choose one of {list(PIXEL_LOSSES)}")
        self.kind = kind

    def call(self, y_true, y_pred):
        return PIXEL_LOSSES[self.kind]((y_pred - y_true) * GREY_LEVELS)

    def get_config(self):
        return {"name": self.name, "reduction": self.reduction, "kind": self.kind}
