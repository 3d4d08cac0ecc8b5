"""The losses that chapters 4 and 5 compare, sound ones and exhibits."""

from __future__ import annotations

from dataclasses import dataclass

from srlib import losses, training
from srlib._backend import keras, tf
from srlib.losses import vgg


@dataclass(frozen=True)
class Arm:
    """One loss: a pixel loss and, times a weight, a loss on features.

    Attributes:
        pixel: ``"mse"`` or ``"l1"``.
        features: what is compared besides pixels; empty for nothing.
        dose: its weight, in units of the weight whose gradient is as large as
            the pixel loss's.
        weighed_as: the features whose gradient is measured for that; by
            default its own.
    """

    pixel: str = "mse"
    features: str = ""
    dose: float = 1.0
    weighed_as: str = ""


CORE = {"MSE": Arm(), "MSE + relu2_2": Arm(features="relu2_2")}
SIDE = {
    "L1": Arm(pixel="l1"),
    "MSE + relu2_2, average pools": Arm(features="relu2_2 average"),
    "MSE + relu1_2, before any pool": Arm(features="relu1_2"),
    "MSE + strided random net": Arm(features="strided"),
    "MSE + mis-wired relu2_2": Arm(features="mis-wired"),
}
DOSES = {
    f"MSE + {dose} x relu2_2": Arm(features="relu2_2", dose=dose) for dose in (0.1, 0.3, 3, 10)
}
#: For chapter 4: features of images that VGG16 does not expect, and untrained ones.
MISTAKES = {
    "MSE + relu2_2 of [0, 1], same weight": Arm(features="unprepared", weighed_as="relu2_2"),
    "MSE + relu2_2 of [0, 1], own weight": Arm(features="unprepared"),
    "MSE + relu2_2, red and blue swapped": Arm(features="swapped"),
    "MSE + relu2_2, random weights": Arm(features="random"),
}


class MisWiredLoss(losses.PerceptualLoss):
    """The published mistake: truth and prediction are added, batch mates 0 and 1 compared."""

    def call(self, y_true, y_pred):
        both = self.features(y_true + y_pred)
        return tf.reduce_mean(tf.square(both[0] - both[1])) * tf.ones(tf.shape(y_pred)[0])


def strided_random_net(seed: int = 0) -> keras.Model:
    """Untrained features as deep as relu2_2, with strides where VGG16 has pools."""
    keras.utils.set_random_seed(seed)
    options = {"padding": "same", "activation": "relu", "kernel_initializer": "he_normal"}
    options["dtype"] = training.fast_precision()
    images = keras.Input((None, None, 3))
    x = vgg.Preprocessing()(images)
    for filters, stride in ((64, 1), (64, 2), (128, 1), (128, 2)):
        x = keras.layers.Conv2D(filters, 3, stride, **options)(x)
    network = keras.Model(images, keras.layers.Activation("linear", dtype="float32")(x))
    network.trainable = False
    return network


def swapped(network: keras.Model) -> keras.Model:
    """The same features of images whose red and blue were exchanged."""
    images = keras.Input((None, None, 3))
    return keras.Model(images, network(keras.ops.flip(images, -1)))


def feature_losses(weights: str | None) -> dict[str, losses.PerceptualLoss]:
    """Every feature loss of the arms, built once."""
    options = {"weights": weights, "dtype": training.fast_precision()}
    unprepared = vgg.VGG16("relu2_2", preprocessing=False, **options)
    found = {layer: losses.PerceptualLoss(layer, **options) for layer in ("relu1_2", "relu2_2")}
    return found | {
        "relu2_2 average": losses.PerceptualLoss("relu2_2", pooling="average", **options),
        "strided": losses.PerceptualLoss(features=strided_random_net()),
        "mis-wired": MisWiredLoss("relu2_2", **options),
        "unprepared": losses.PerceptualLoss(features=unprepared),
        "swapped": losses.PerceptualLoss(features=swapped(found["relu2_2"].features)),
        "random": losses.PerceptualLoss(**options | {"weights": "random"}),
    }
