"""The interface of every model.

RGB ``(N, H, W, 3)`` in [0, 1] to ``(N, 2H, 2W, 3)`` in [0, 1]; the result is always float32.
"""

from __future__ import annotations

from srlib._backend import keras
from srlib.layers.filters import ClipAtInference, FilterUpsampling

#: How many times as wide and high the result is.
SCALE = 2


def image_input() -> keras.KerasTensor:
    """RGB images of any number and size."""
    return keras.Input((None, None, 3), name="low")


def image_model(low: keras.KerasTensor, image: keras.KerasTensor, name: str) -> keras.Model:
    """A model from ``low`` to ``image``, whose values are clipped when it predicts."""
    return keras.Model(low, ClipAtInference(name="clip", dtype="float32")(image), name=name)


def add_bicubic(low: keras.KerasTensor, details: keras.KerasTensor) -> keras.KerasTensor:
    """The skip: what a network draws, added in float32 to the bicubic enlargement of ``low``."""
    enlarged = FilterUpsampling(SCALE, "bicubic", name="bicubic")(low)
    return keras.layers.Add(dtype="float32", name="skip")([enlarged, details])
