"""PSNR and SSIM as Keras metrics, for training; as functions: ``srlib.metrics.psnr_ssim``."""

from __future__ import annotations

from srlib._backend import keras, tf


class _MeanOverImages(keras.metrics.Metric):
    """Mean of a per-image value over all images seen, whatever the batches."""

    def __init__(self, name: str, shave: int = 0, **kwargs):
        super().__init__(name=name, **kwargs)
        self.shave = shave
        self.total = self.add_weight(name="total", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        truth, prediction = (self._eight_bit(x) for x in (y_true, y_pred))
        values = self.per_image(truth, prediction)
        self.total.assign_add(tf.reduce_sum(values))
        self.count.assign_add(tf.cast(tf.size(values), "float32"))

    def _eight_bit(self, images):
        images = tf.cast(images, "float32")
        if self.shave:
            border = self.shave
            images = images[:, border:-border, border:-border]
        return tf.round(tf.clip_by_value(images, 0.0, 1.0) * 255.0)

    def result(self):
        return tf.math.divide_no_nan(self.total, self.count)

    def get_config(self):
        return super().get_config() | {"shave": self.shave}


@keras.saving.register_keras_serializable(package="srlib")
class PSNR(_MeanOverImages):
    """Mean over images of the RGB PSNR in dB, for ``compile(metrics=[PSNR()])``.

    Images in [0, 1] are clipped and rounded to 8 bits. Identical images count
    as 100 dB, so that one of them does not make the mean infinite.
    """

    def __init__(self, name: str = "psnr", shave: int = 0, **kwargs):
        super().__init__(name, shave, **kwargs)

    def per_image(self, truth, prediction):
        error = tf.reduce_mean(tf.square(truth - prediction), axis=(1, 2, 3))
        return (
            10.0 * tf.math.log(255.0**2 / tf.maximum(error, 255.0**2 * 1e-10)) / tf.math.log(10.0)
        )


@keras.saving.register_keras_serializable(package="srlib")
class SSIM(_MeanOverImages):
    """Mean over images of the RGB SSIM, for ``compile(metrics=[SSIM()])``."""

    def __init__(self, name: str = "ssim", shave: int = 0, **kwargs):
        super().__init__(name, shave, **kwargs)

    def per_image(self, truth, prediction):
        return tf.image.ssim(truth, prediction, max_val=255.0)
