"""The perceptual loss, alone and beside a pixel loss. Taught in chapter 4.

J. Johnson et al., "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution" (2016). Losses are for images in [0, 1]; their values are in
the units of the classic system, which counts grey levels: pixel losses of
0..255, features of images of 0..255.
"""

from __future__ import annotations

import os

from srlib._backend import keras, tf
from srlib.losses.pixel import GREY_LEVELS, PIXEL_LOSSES
from srlib.losses.vgg import VGG16


@keras.saving.register_keras_serializable(package="srlib")
class PerceptualLoss(keras.losses.Loss):
    """Mean squared difference of VGG16 features of truth and prediction.

    One value for each image, averaged over the batch by ``reduction``. The
    gradient reaches the prediction alone.

    Args:
        layer: of VGG16; ``"block2_conv2"`` is the classic choice, relu2_2.
        weights: where VGG16's weights come from; see ``srlib.losses.vgg.load_weights``.
        pooling: ``"max"`` or ``"average"``.
        dtype: Keras dtype policy of VGG16. Half precision is faster and rounds
            features to 8 bits.
        features: another network from images in [0, 1] to features, in place
            of VGG16. A loss with one is not serialisable.
        reduction: as in Keras.
        name: as in Keras.

    Call arguments:
        y_true: ``(N, H, W, 3)`` RGB in [0, 1].
        y_pred: the same shape.

    Raises:
        srlib.losses.vgg.VGGWeightsError: when there are no weights.
    """

    def __init__(
        self,
        layer: str = "block2_conv2",
        weights: str | os.PathLike | None = None,
        *,
        pooling: str = "max",
        dtype: str = "float32",
        features: keras.Model | None = None,
        reduction: str = "sum_over_batch_size",
        name: str = "perceptual_loss",
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self._config = {
            "layer": layer,
            "weights": weights and os.fspath(weights),
            "pooling": pooling,
            "dtype": dtype,
        }
        self._own = features is None
        self.features = features or VGG16(layer, weights, pooling=pooling, dtype=dtype)

    def __dir__(self):
        # Keras saves whatever it finds here: without this, VGG16 would go into every
        # checkpoint of a compiled model, and loading one would replace it.
        return [name for name in super().__dir__() if name != "features"]

    def call(self, y_true, y_pred):
        difference = self.features(y_pred) - tf.stop_gradient(self.features(y_true))
        return tf.reduce_mean(tf.square(difference), axis=(1, 2, 3))

    def get_config(self):
        if not self._own:
            raise ValueError("a PerceptualLoss with its own features cannot be serialised")
        return {"name": self.name, "reduction": self.reduction} | self._config


@keras.saving.register_keras_serializable(package="srlib")
class PixelAndPerceptualLoss(keras.losses.Loss):
    """``pixel_weight * pixel loss + perceptual_weight * perceptual loss``.

    With MSE and both weights 1 it is the sum that the classic system set out
    to minimise.

    Args:
        pixel: a key of :data:`PIXEL_LOSSES`.
        pixel_weight: factor of the pixel loss.
        perceptual_weight: factor of the perceptual loss.
        perceptual: a :class:`PerceptualLoss`; by default with its defaults, and
            none where its weight is 0.
        reduction: as in Keras.
        name: as in Keras.
    """

    def __init__(
        self,
        pixel: str = "mse",
        pixel_weight: float = 1.0,
        perceptual_weight: float = 1.0,
        perceptual: PerceptualLoss | None = None,
        reduction: str = "sum_over_batch_size",
        name: str = "pixel_and_perceptual_loss",
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        if pixel not in PIXEL_LOSSES:
            raise ValueError(f"unknown loss {pixel!r}: choose one of {list(PIXEL_LOSSES)}")
        self.pixel = pixel
        self.pixel_weight = pixel_weight
        self.perceptual_weight = perceptual_weight
        self.perceptual = perceptual
        if perceptual is None and perceptual_weight:
            self.perceptual = PerceptualLoss()

    def call(self, y_true, y_pred):
        pixel = PIXEL_LOSSES[self.pixel]((y_pred - y_true) * GREY_LEVELS)
        if not self.perceptual_weight:
            return self.pixel_weight * pixel
        perceptual = self.perceptual.call(y_true, y_pred)
        return self.pixel_weight * pixel + self.perceptual_weight * perceptual

    def get_config(self):
        return {
            "name": self.name,
            "reduction": self.reduction,
            "pixel": self.pixel,
            "pixel_weight": self.pixel_weight,
            "perceptual_weight": self.perceptual_weight,
            "perceptual": self.perceptual and keras.saving.serialize_keras_object(self.perceptual),
        }

    @classmethod
    def from_config(cls, config):
        perceptual = config["perceptual"]
        perceptual = perceptual and keras.saving.deserialize_keras_object(perceptual)
        return cls(**config | {"perceptual": perceptual})
