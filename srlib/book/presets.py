"""The only place where the size of a run is decided.

``SRLIB_PRESET`` is ``smoke``, ``cpu`` or ``gpu``; without it, ``gpu`` where
TensorFlow sees one and ``cpu`` elsewhere. The chapters run the same cells in
all three.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from srlib._backend import tf
from srlib.errors import SrlibError


@dataclass(frozen=True)
class Preset:
    """How much a chapter computes.

    Attributes:
        name: ``"smoke"``, ``"cpu"`` or ``"gpu"``.
        source: photos to train on and to look at; see ``srlib.data.photos``.
        train_photos: at most so many of them; None for all.
        test_photos: at most so many of the test split; None for all.
        blocks: residual blocks of the network trained live.
        filters: its channels.
        epochs: of the live training.
        steps_per_epoch: of the live training.
        batch_size: of the live training.
        crop: side of its training crops in low-resolution pixels.
        vgg16: weights of VGG16; None to find them, see ``srlib.losses.vgg.load_weights``.
    """

    name: str
    source: str
    train_photos: int | None
    test_photos: int | None
    blocks: int
    filters: int
    epochs: int
    steps_per_epoch: int
    batch_size: int
    crop: int
    vgg16: str | None = None


PRESETS = {
    # Seconds a chapter: does every cell run? Its figures are never published.
    "smoke": Preset("smoke", "embedded", 24, 8, 1, 8, 2, 4, 4, 16, "random"),
    # Minutes a chapter on two laptop cores: the published figures.
    "cpu": Preset("cpu", "embedded", None, None, 2, 32, 8, 150, 16, 32),
    # About ten minutes a chapter on a Colab T4, on a real data set, to the end.
    "gpu": Preset("gpu", "flower_photos", None, 500, 6, 64, 20, 500, 32, 48),
}


def current() -> Preset:
    """The preset of this run.

    ``SRLIB_SOURCE`` replaces its photos, for example by ``linnaeus5`` or a folder.

    Raises:
        ValueError: when ``SRLIB_PRESET`` names none.
    """
    default = "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    name = os.environ.get("SRLIB_PRESET") or default
    if name not in PRESETS:
        raise SrlibError(f"SRLIB_PRESET={name!r}: choose one of {list(PRESETS)}")
    preset = PRESETS[name]
    source = os.environ.get("SRLIB_SOURCE")
    return replace(preset, source=source) if source else preset
