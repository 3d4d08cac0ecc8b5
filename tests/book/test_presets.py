"""The one switch: its three positions, and that the largest one runs."""

import numpy as np
import pytest
from conftest import smooth_photo
from PIL import Image

from srlib import data, models
from srlib._backend import tf
from srlib.book import presets
from srlib.data import photoset
from srlib.data.download import DATASETS
from srlib.training.recipe import Recipe, compile_model


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv("SRLIB_PRESET", raising=False)
    monkeypatch.delenv("SRLIB_SOURCE", raising=False)


def pretend_gpus(monkeypatch, count):
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind=None: ["a GPU"] * count * (kind == "GPU")
    )


@pytest.mark.parametrize("name", ["smoke", "cpu", "gpu"])
def test_the_variable_chooses(name, monkeypatch):
    monkeypatch.setenv("SRLIB_PRESET", name)
    assert presets.current() is presets.PRESETS[name]
    assert presets.current().name == name


@pytest.mark.parametrize(("gpus", "name"), [(0, "cpu"), (1, "gpu"), (2, "gpu")])
def test_the_machine_chooses_where_the_variable_does_not(gpus, name, monkeypatch):
    pretend_gpus(monkeypatch, gpus)
    assert presets.current().name == name
    monkeypatch.setenv("SRLIB_PRESET", "")
    assert presets.current().name == name
    monkeypatch.setenv("SRLIB_PRESET", "smoke")
    assert presets.current().name == "smoke"


def test_an_unknown_preset_lists_the_known(monkeypatch):
    monkeypatch.setenv("SRLIB_PRESET", "huge")
    with pytest.raises(ValueError, match=r"SRLIB_PRESET='huge'.*smoke.*cpu.*gpu"):
        presets.current()


def test_the_source_can_be_replaced(monkeypatch):
    monkeypatch.setenv("SRLIB_PRESET", "gpu")
    monkeypatch.setenv("SRLIB_SOURCE", "linnaeus5")
    changed, original = presets.current(), presets.PRESETS["gpu"]
    assert changed.source == "linnaeus5"
    assert original.source == "flower_photos"
    assert vars(changed) | {"source": original.source} == vars(original)


@pytest.mark.parametrize("preset", presets.PRESETS.values(), ids=list(presets.PRESETS))
def test_every_preset_is_possible(preset):
    assert presets.PRESETS[preset.name] is preset
    assert preset.source == "embedded" or preset.source in DATASETS
    assert 0 < preset.crop <= Recipe().size // 2
    if preset.source == "embedded":
        photos = photoset.embedded("train")
        assert (preset.train_photos or 0) <= len(photos)
        assert preset.batch_size < len(photos)


def test_presets_grow():
    def work(preset):
        steps = preset.epochs * preset.steps_per_epoch
        return steps * preset.batch_size * preset.crop**2 * preset.blocks * preset.filters**2

    smoke, cpu, gpu = (work(presets.PRESETS[name]) for name in ("smoke", "cpu", "gpu"))
    assert 100 * smoke < cpu
    assert 10 * cpu < gpu


def test_the_gpu_preset_trains(tmp_path):
    """Its network and crop, on one pair: no surprise after the download on Colab."""
    preset = presets.PRESETS["gpu"]
    Image.fromarray(smooth_photo(128, 128, 0)).save(tmp_path / "photo.png")
    photos = data.photos(tmp_path, "all")
    recipe = Recipe(epochs=preset.epochs, steps_per_epoch=preset.steps_per_epoch, crop=preset.crop)
    model = models.residual(preset.blocks, preset.filters)
    compile_model(model, recipe)
    model.run_eagerly = True  # one step is done sooner than a graph is traced
    low, high = next(iter(data.dataset(photos, 1, crop=preset.crop)))
    assert low.shape == (1, preset.crop, preset.crop, 3)
    before = [np.array(v) for v in model.trainable_variables]
    loss = model.train_on_batch(low, high)
    assert np.isfinite(loss).all()
    moved = [
        variable.path
        for variable, old in zip(model.trainable_variables, before, strict=True)
        if np.any(np.array(variable) != old)
    ]
    assert any(path.startswith("upsample") for path in moved)
