"""The perceptual loss, alone and beside a pixel loss. Taught in chapter 4.

J. Johnson et al., "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution" (2016). Losses are for images in [0, 1]; their values are in
the units of the classic system, which counts grey levels: pixel losses of
0..255, features of images of 0..255.
"""

from __future__ import annotations

import os

from srlib._backend import keras, tf
from srlib.errors import SrlibError
from srlib.losses.pixel import PixelLoss
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
            raise SrlibError("a PerceptualLoss with its own features cannot be serialised")
        return {"name": self.name, "reduction": self.reduction} | self._config


@keras.saving.register_keras_serializable(package="srlib")
class PixelAndPerceptualLoss(keras.losses.Loss):
    """``pixel_weight * pixel loss + perceptual_weight * perceptual loss``.

    With its defaults it is the sum that the classic system set out to minimise.

    Args:
        pixel: a :class:`~srlib.losses.pixel.PixelLoss`, or its kind.
        perceptual: by default with its defaults; none is made for a weight of 0.
        pixel_weight: factor of the pixel loss.
        perceptual_weight: factor of the perceptual loss.
        reduction: as in Keras; of the sum of both for each image.
        name: as in Keras.
    """

    def __init__(
        self,
        pixel: PixelLoss | str = "mse",
        perceptual: PerceptualLoss | None = None,
        *,
        pixel_weight: float = 1.0,
        perceptual_weight: float = 1.0,
        reduction: str = "sum_over_batch_size",
        name: str = "pixel_and_perceptual_loss",
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.pixel = PixelLoss(pixel) if isinstance(pixel, str) else pixel
        if perceptual is None and perceptual_weight:
            perceptual = PerceptualLoss()
        self.perceptual = perceptual
        self.pixel_weight = pixel_weight
        self.perceptual_weight = perceptual_weight

    def call(self, y_true, y_pred):
        value = self.pixel_weight * self.pixel.call(y_true, y_pred)
        if self.perceptual_weight:
            value += self.perceptual_weight * self.perceptual.call(y_true, y_pred)
        return value

    def get_config(self):
        return {
            "name": self.name,
            "reduction": self.reduction,
            "pixel": keras.saving.serialize_keras_object(self.pixel),
            "perceptual": keras.saving.serialize_keras_object(self.perceptual),
            "pixel_weight": self.pixel_weight,
            "perceptual_weight": self.perceptual_weight,
        }

    @classmethod
    def from_config(cls, config):
        # A pixel loss is its kind alone in models saved before PixelLoss was a class.
        parts = {
            part: keras.saving.deserialize_keras_object(config[part])
            for part in ("pixel", "perceptual")
        }
        return cls(**config | parts)
