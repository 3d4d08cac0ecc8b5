"""Settings and small helpers shared by all tests."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything imports TensorFlow

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

settings.register_profile("srlib", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("srlib")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)


def smooth_photo(height: int, width: int, seed: int) -> np.ndarray:
    """A picture with slopes and edges, uint8 ``(height, width, 3)``."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    channels = []
    for _ in range(3):
        slope = rng.uniform(-1, 1, 2)
        wave = rng.uniform(0.1, 0.6, 2)
        plane = 128 + 50 * (slope[0] * y / height + slope[1] * x / width)
        channels.append(plane + 40 * np.sin(wave[0] * y + wave[1] * x) + 25 * (x > width / 2))
    return np.clip(np.stack(channels, -1), 0, 255).round().astype(np.uint8)


def write_photos(folder: Path, height: int, width: int) -> Path:
    """Make a folder of twelve different PNG photos."""
    folder.mkdir()
    for i in range(12):
        Image.fromarray(smooth_photo(height, width, i)).save(folder / f"photo{i:02}.png")
    return folder


@pytest.fixture
def photo_folder(tmp_path) -> Path:
    """Twelve different PNG photos, 36 pixels high and 40 wide."""
    return write_photos(tmp_path / "photos", 36, 40)


@pytest.fixture(scope="module")
def bicubic():
    from srlib import models  # here, for the tests that need no TensorFlow

    return models.bicubic()


@pytest.fixture(scope="module")
def residual():
    """A small network whose last layer does not start at zero."""
    from srlib import models
    from srlib._backend import keras

    keras.utils.set_random_seed(5)
    model = models.residual(blocks=1, filters=4)
    for variable in model.get_layer("upsample").variables:
        noise = np.random.default_rng(5).normal(0, 0.1, variable.shape)
        variable.assign(noise.astype(np.float32))
    return model


@pytest.fixture(scope="module")
def no_screen():
    """Figures are drawn into memory."""
    before = plt.get_backend()
    plt.switch_backend("agg")
    yield
    plt.switch_backend(before)


@pytest.fixture
def closed_figures():
    """No figure of one test is left to the next."""
    yield
    plt.close("all")
