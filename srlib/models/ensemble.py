"""Geometric self-ensemble: one network's answers to eight views of a photo, averaged."""

from __future__ import annotations

from itertools import product

from srlib._backend import keras, tf
from srlib.models.anatomy import flops, size_multiple

#: The symmetries of a square: flipped top to bottom, flipped left to right, transposed.
VIEWS = tuple(product((False, True), repeat=3))


def turn(images: tf.Tensor, view: tuple[bool, bool, bool]) -> tf.Tensor:
    """One view of images ``(N, H, W, C)``; a transposed one is ``(N, W, H, C)``."""
    upside_down, mirrored, transposed = view
    images = images[:, ::-1] if upside_down else images
    images = images[:, :, ::-1] if mirrored else images
    return tf.transpose(images, (0, 2, 1, 3)) if transposed else images


def turn_back(images: tf.Tensor, view: tuple[bool, bool, bool]) -> tf.Tensor:
    """What undoes :func:`turn`: the same three steps in the reverse order."""
    upside_down, mirrored, transposed = view
    images = tf.transpose(images, (0, 2, 1, 3)) if transposed else images
    images = images[:, :, ::-1] if mirrored else images
    return images[:, ::-1] if upside_down else images


@keras.saving.register_keras_serializable(package="srlib")
class SelfEnsemble(keras.Model):
    """See :func:`self_ensemble`, which makes it.

    Call arguments:
        images: RGB ``(N, H, W, 3)`` in [0, 1].

    Returns:
        ``(N, 2H, 2W, 3)`` float32.
    """

    def __init__(self, model: keras.Model, **kwargs):
        super().__init__(name=kwargs.pop("name", f"{model.name}_self_ensemble"), **kwargs)
        self.model = model
        self.built = model.built

    def call(self, images, training=None):
        # A mirrored border where the network needs sides of a certain multiple.
        height, width = tf.unstack(tf.shape(images)[1:3])
        multiple = size_multiple(self.model)
        if multiple > 1:  # padding costs a graph its knowledge of the channels: LiteRT needs it
            more = [-side % multiple for side in (height, width)]
            images = tf.pad(images, ((0, 0), (0, more[0]), (0, more[1]), (0, 0)), "SYMMETRIC")
        total = 0.0
        for view in VIEWS:
            # One view after the other: at once they would need eight times the memory.
            with tf.control_dependencies([total] if tf.is_tensor(total) else []):
                enlarged = self.model(turn(images, view), training=training)
            total = total + turn_back(enlarged, view)
        return total[:, : 2 * height, : 2 * width] / float(len(VIEWS))

    def compute_output_spec(self, images, training=None):
        return self.model.compute_output_spec(images, training=training)

    def flops(self, height: int, width: int) -> int:
        return len(VIEWS) * flops(self.model, height, width)

    def get_config(self):
        return {"name": self.name, "model": keras.saving.serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        inner = keras.saving.deserialize_keras_object(config.pop("model"), custom_objects)
        return cls(inner, **config)


def self_ensemble(model: keras.Model) -> SelfEnsemble:
    """The model, asked eight times: each flip and quarter turn, turned back and averaged.

    R. Timofte et al., "Seven Ways to Improve Example-Based Single Image Super
    Resolution" (CVPR 2016). It takes eight times as long and has the same
    weights. Its result turns with its input exactly, up to rounding, whatever
    the network does. Taught in chapter 8.

    Args:
        model: from ``srlib.load`` or ``srlib.models``; it is used, not copied.

    Returns:
        A Keras model from RGB ``(N, H, W, 3)`` in [0, 1] to ``(N, 2H, 2W, 3)``
        in [0, 1], for ``srlib.predict``, ``srlib.upscale`` and ``srlib.evaluate``.

    Raises:
        TypeError: when ``model`` is not a Keras model.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"model must be a Keras model, for example from srlib.load, not {type(model).__name__}"
        )
    return SelfEnsemble(model)
