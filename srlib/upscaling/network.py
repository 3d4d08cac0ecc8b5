"""Batches of images of one size in, twice as large out."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from srlib._backend import keras, tf
from srlib.errors import SrlibError
from srlib.models.anatomy import size_multiple
from srlib.pixels import check_range, to_float


def predict(model: keras.Model, images: np.ndarray, batch_size: int = 16) -> np.ndarray:
    """Enlarge images of one size, whatever that size is, a batch at a time.

    Networks that need sides of a certain multiple get a mirrored border, which
    is cut off again.

    Args:
        model: from ``srlib.load`` or ``srlib.models``.
        images: uint8, or float in [0, 1], ``(N, H, W, 3)``.
        batch_size: how many are computed together.

    Returns:
        float32 in [0, 1], ``(N, 2H, 2W, 3)``.

    Raises:
        ValueError: when the array is not a batch of RGB images.
    """
    if not callable(model):
        raise TypeError(
            f"model must be a Keras model, for example from srlib.load, not {type(model).__name__}"
        )
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or not images.size:
        raise SrlibError(f"expected RGB images (N, H, W, 3), not an array of shape {images.shape}")
    check_range(images)
    images = to_float(images)
    height, width = images.shape[1:3]
    multiple = size_multiple(model)
    padding = ((0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0))
    if any(after for _, after in padding):
        images = np.pad(images, padding, "symmetric")
    batches = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
    graph = _graph(model)
    parts = [graph(tf.constant(batch)).numpy() for batch in batches]
    return np.concatenate(parts)[:, : 2 * height, : 2 * width]


@functools.lru_cache(maxsize=8)
def _graph(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Traced once. Called directly, Keras keeps every layer's output until the end."""
    return compiled(model)


def compiled(model: keras.Model, xla: bool = False) -> Callable[[tf.Tensor], tf.Tensor]:
    """A model as one graph for inference, by ``tf.function``, with XLA or without.

    Takes any number of images of any size; XLA compiles anew for each size.
    """
    function = tf.function(lambda images: model(images, training=False), jit_compile=xla)
    # Traced here, once: by its calls TensorFlow would count many models as one that is retraced.
    traced = function.get_concrete_function(tf.TensorSpec((None, None, None, 3), "float32"))
    return lambda images: traced(tf.convert_to_tensor(images))
