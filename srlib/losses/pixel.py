"""Losses of pixels, counted in grey levels. Taught in chapter 3."""

from __future__ import annotations

import math
from collections.abc import Callable

from srlib._backend import tf

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
    return tf.square(tf.tensordot(error, tf.constant([[0.299], [0.587], [0.114]]), 1))


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
#: in dB, whose average is the number that is reported). Chapter 8 compares them.
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
