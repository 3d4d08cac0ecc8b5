"""srlib.training: the loss falls, and a killed run ends like one that was not."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import smooth_photo
from PIL import Image

from srlib import data
from srlib.data.photoset import PhotoSet
from srlib.losses import vgg
from srlib.losses.perceptual import PixelAndPerceptualLoss
from srlib.losses.pixel import PixelLoss
from srlib.metrics.psnr_ssim import psnr
from srlib.resize import downscale
from srlib.training import hardware, loop
from srlib.training.checkpoint import Checkpoint
from srlib.training.loop import train
from srlib.training.recipe import Recipe, build_for, compile_model

TINY = Recipe(
    epochs=4, steps_per_epoch=3, batch_size=4, crop=6, size=32, precision="float32", seed=5
)
LOGGED = ("loss", "psnr", "val_loss", "val_psnr")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i in range(12):
        Image.fromarray(smooth_photo(36, 40, i)).save(folder / f"photo{i:02}.png")
    return photos_of(folder)


def photos_of(folder) -> PhotoSet:
    paths = tuple(sorted(Path(folder).iterdir()))
    return PhotoSet("test", "train", paths, ("",) * len(paths))


def validation_pairs() -> data.Pairs:
    high = np.stack([smooth_photo(32, 32, seed) for seed in (100, 101, 102)])
    return data.Pairs(downscale(high), high, ["a", "b", "c"], [""] * 3)


@pytest.fixture(scope="module")
def validation():
    return validation_pairs()


@pytest.fixture(scope="module")
def whole(photos, validation, tmp_path_factory):
    """A run that nothing disturbed: its model, history and folder."""
    folder, model = tmp_path_factory.mktemp("whole"), tiny()
    return model, train(model, photos, validation, TINY, folder, verbose=0), folder


def tiny(recipe: Recipe = TINY) -> keras.Model:
    return build_for("residual", recipe, blocks=1, filters=8)


def logs(history):
    return [[row[key] for key in LOGGED] for row in history]


def assert_same_weights(ours: keras.Model, theirs: keras.Model, atol: float = 0.0):
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=atol, rtol=0)


def test_the_loss_goes_down_and_history_is_complete(photos, validation, tmp_path):
    recipe = replace(TINY, steps_per_epoch=12, learning_rate=3e-3)
    model = tiny()
    before = psnr(validation.high, model(validation.low / np.float32(255)).numpy()).mean()
    history = train(model, photos, validation, recipe, tmp_path / "run", verbose=0)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    for row in history:
        assert set(row) == {"epoch", "seconds", *LOGGED}
        assert all(np.isfinite(value) for value in row.values())
        assert row["seconds"] > 0
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert history[-1]["val_psnr"] > before  # which is bicubic's, see test_models
    # What is left in the model is the best epoch, and its PSNR is the one reported.
    best = max(row["val_psnr"] for row in history)
    left = psnr(validation.high, model(validation.low / np.float32(255)).numpy()).mean()
    assert left == pytest.approx(best, abs=1e-3)
    kept = json.loads((tmp_path / "run" / "state.json").read_text())
    assert kept["history"] == history
    assert kept["seconds"] == pytest.approx(sum(row["seconds"] for row in history))
    assert len(list((tmp_path / "run").iterdir())) <= 3  # the state and two weight files


def test_the_same_seed_gives_the_same_weights(whole, photos, validation, tmp_path):
    again = tiny()
    history = train(again, photos, validation, TINY, tmp_path, verbose=0)
    assert_same_weights(again, whole[0])
    assert logs(history) == logs(whole[1])


def test_another_seed_gives_other_weights():
    ours, same, other = tiny(), tiny(), tiny(replace(TINY, seed=6))
    assert_same_weights(ours, same)
    for a, b in zip(ours.weights, other.weights, strict=True):
        starts_at_zero = a.path.endswith("bias") or a.path.startswith("upsample")
        assert starts_at_zero or np.abs(a.numpy() - b.numpy()).max() > 1e-3, a.path


class Stopped(Exception):
    pass


class Stop(keras.callbacks.Callback):
    """Interrupts a training after so many steps."""

    def __init__(self, steps: int):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise Stopped


@pytest.mark.parametrize(
    ("epoch", "step", "save_seconds"), [(0, 0, 60), (2, 0, 60), (2, 0, 0), (3, 1, 0)]
)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    whole, photos, validation, tmp_path, epoch, step, save_seconds
):
    """Whatever was saved last: the very step, or the end of the epoch before it."""
    expected_model, expected, expected_folder = whole

    run, stop = tmp_path / "run", Stop(epoch * TINY.steps_per_epoch + step + 1)
    options = {"save_seconds": save_seconds, "callbacks": [stop]}
    with pytest.raises(Stopped):
        train(tiny(), photos, validation, TINY, run, 0, **options)
    if (run / "state.json").exists():
        state = json.loads((run / "state.json").read_text())
        assert (state["epoch"], state["step"]) == (epoch, 0 if save_seconds else step + 1)
    else:
        assert save_seconds and epoch == 0

    again = tiny(replace(TINY, seed=99)) if epoch or not save_seconds else tiny()
    history = train(again, photos, validation, TINY, run, verbose=0)
    assert logs(history) == logs(expected)
    assert_same_weights(again, expected_model)
    for a, b in zip(last_state(run), last_state(expected_folder), strict=True):
        np.testing.assert_array_equal(a, b)


def kinds(folder) -> list[str]:
    return sorted(path.name.split("-")[0].split(".")[0] for path in folder.iterdir())


def last_state(folder):
    """Weights, Adam's moments and its step count after the last epoch."""
    model = compile_model(tiny(), TINY)
    checkpoint = Checkpoint(folder)
    assert checkpoint.restore(model) == TINY.epochs
    assert int(model.optimizer.iterations) == TINY.epochs * TINY.steps_per_epoch
    moments = [v.numpy() for v in model.optimizer.variables if "learning_rate" not in v.path]
    assert max(np.abs(m).max() for m in moments[1:]) > 0
    return model.get_weights() + moments


def test_an_average_of_weights_is_what_is_kept(photos, validation, tmp_path):
    recipe = replace(TINY, ema=0.9, epochs=2, size=(None, 32), candidates=2)
    plain = tiny(recipe)
    train(plain, photos, validation, replace(recipe, ema=0.0), tmp_path / "plain", verbose=0)
    whole = tiny(recipe)
    history = train(whole, photos, validation, recipe, tmp_path / "whole", verbose=0)
    start = tiny(recipe)
    moved = [
        np.abs(a - b).sum() for a, b in zip(whole.get_weights(), start.get_weights(), strict=True)
    ]
    farther = [
        np.abs(a - b).sum() for a, b in zip(plain.get_weights(), start.get_weights(), strict=True)
    ]
    assert 0 < sum(moved) < sum(farther)  # an average lags behind

    left = whole.evaluate(data.evaluation_dataset(validation), verbose=0, return_dict=True)
    best = max(history, key=lambda row: row["val_psnr"])
    assert left["psnr"] == pytest.approx(best["val_psnr"], abs=1e-4)


def test_a_finished_run_is_not_trained_again(photos, validation, tmp_path):
    recipe = replace(TINY, epochs=1)
    first = tiny()
    history = train(first, photos, validation, recipe, tmp_path, verbose=0)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.is_file()}
    again = tiny(replace(recipe, seed=8))
    assert train(again, photos, validation, recipe, tmp_path, verbose=0) == history
    assert_same_weights(again, first)
    for path, written in files.items():
        assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize("change", [{"learning_rate": 2e-3}, {"seed": 6}, {"loss": "mse"}])
def test_another_recipe_in_the_same_folder_is_refused(photos, validation, tmp_path, change):
    recipe = replace(TINY, epochs=1, steps_per_epoch=1)
    folder = tmp_path / "run"
    train(tiny(), photos, validation, recipe, folder, verbose=0)
    before = (folder / "state.json").read_text()
    with pytest.raises(ValueError, match=f"other settings .{next(iter(change))}.*another folder"):
        train(tiny(), photos, validation, replace(recipe, **change), folder, verbose=0)
    with pytest.raises(ValueError, match=r"\(photos\)"):
        train(tiny(), photos.take(5), validation, recipe, folder, verbose=0)
    assert (folder / "state.json").read_text() == before


@pytest.mark.parametrize("first", [20.0, float("nan")])
@pytest.mark.parametrize(
    ("monitor", "values", "best"),
    [
        ("val_psnr", [31.0, 25.0, 30.0], 1),
        ("val_loss", [200.0, 100.0, 150.0], 2),  # the smallest
    ],
)
def test_the_best_epoch_is_kept_even_if_it_is_not_the_last(monitor, values, best, first, tmp_path):
    checkpoint = Checkpoint(tmp_path, monitor)
    model = compile_model(tiny(), TINY)
    model.optimizer.build(model.trainable_variables)
    checkpoint.set_model(model)
    kernel = model.get_layer("stem").kernel
    first = first * 15 if monitor == "val_loss" else first
    for epoch, value in enumerate([first, *values]):
        checkpoint.on_epoch_begin(epoch)
        kernel.assign(tf.fill(kernel.shape, float(epoch)))
        # PSNR falls while a perceptual loss improves, and would choose the first.
        checkpoint.on_epoch_end(epoch, {"loss": 1.0, "val_psnr": 30.0 - epoch} | {monitor: value})
    assert checkpoint.state["epoch"] == 4
    checkpoint.load_best(model)
    assert (kernel.numpy() == best).all()
    other = compile_model(tiny(), TINY)
    assert Checkpoint(tmp_path).restore(other) == 4
    assert (other.get_layer("stem").kernel.numpy() == 3).all()
    assert kinds(tmp_path) == ["best", "state", "weights"]


def test_a_run_that_only_diverged_still_has_weights(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    model = compile_model(tiny(), TINY)
    checkpoint.set_model(model)
    checkpoint.on_epoch_begin(0)
    checkpoint.on_epoch_end(0, {"loss": 1.0, "val_psnr": float("nan")})
    Checkpoint(tmp_path).load_best(model)


@pytest.mark.parametrize(
    ("loss", "expected"), [("mse", lambda e: np.mean(e**2)), ("l1", lambda e: np.mean(np.abs(e)))]
)
def test_losses_are_in_grey_levels(loss, expected, rng):
    model = keras.Sequential([keras.Input((6, 5, 3)), keras.layers.Identity()])
    compile_model(model, replace(TINY, loss=loss))
    truth = rng.uniform(0, 1, (4, 6, 5, 3)).astype(np.float32)
    prediction = rng.uniform(0, 1, (4, 6, 5, 3)).astype(np.float32)
    result = model.evaluate(prediction, truth, batch_size=2, verbose=0, return_dict=True)
    by_hand = expected(truth.astype(float) * 255 - prediction.astype(float) * 255)
    assert result["loss"] == pytest.approx(by_hand, rel=1e-5)
    assert result["psnr"] == pytest.approx(psnr(truth, prediction).mean(), abs=1e-3)


def test_the_schedule_and_the_optimiser_are_the_recipes():
    recipe = replace(TINY, learning_rate=0.01, epsilon=1e-8)
    optimizer = compile_model(tiny(), recipe).optimizer
    assert isinstance(optimizer, keras.optimizers.Adam) and optimizer.epsilon == 1e-8
    rates = []
    for step in (0, 6, 12):  # of twelve
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(rates, [0.01, 0.005, 0], atol=1e-8)
    constant = compile_model(tiny(), replace(recipe, schedule="constant")).optimizer
    constant.iterations.assign(12)
    assert float(constant.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_float16_and_nothing_else_scales_its_loss(precision):
    """A gradient of less than 6e-8 would be zero in float16."""
    recipe = replace(TINY, precision=precision, epsilon=1e-8, clip_value=0.5)
    optimizer = compile_model(tiny(recipe), recipe).optimizer
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    assert scales == (precision == "mixed_float16")
    inner = optimizer.inner_optimizer if scales else optimizer
    assert (inner.epsilon, inner.clipvalue) == (1e-8, 0.5)


def test_the_largest_entry_of_a_gradient_is_the_recipes():
    """Adam's first moment after one step is a tenth of the gradient it saw."""
    for value, expected in ((0.5, [0.05, -0.05, 0.02]), (None, [10.0, -5.0, 0.02])):
        optimizer = compile_model(tiny(), replace(TINY, clip_value=value)).optimizer
        variable = keras.Variable([0.0, 0.0, 0.0])
        optimizer.build([variable])
        optimizer.apply([tf.constant([100.0, -50.0, 0.2])])
        moments = [v.numpy() for v in optimizer.variables if "momentum" in v.path]
        np.testing.assert_allclose(moments, [expected], rtol=1e-5)


# --- with a perceptual loss

PERCEPTUAL = replace(TINY, loss="mse", perceptual_weight=0.25, perceptual_layer="relu1_2")


@pytest.fixture
def random_vgg(monkeypatch):
    monkeypatch.setenv(vgg.VARIABLE, "random")


def test_a_recipe_without_a_perceptual_loss_needs_no_vgg(monkeypatch):
    monkeypatch.setenv(vgg.VARIABLE, "gone.npz")
    assert isinstance(compile_model(tiny(), TINY).loss, PixelLoss)
    with pytest.raises(vgg.VGGWeightsError, match=r"gone\.npz"):
        compile_model(tiny(), PERCEPTUAL)


@pytest.mark.parametrize("pixel", ["mse", "l1"])
def test_the_perceptual_recipes_loss_by_hand(pixel, random_vgg, monkeypatch, rng):
    monkeypatch.setattr("srlib.training.recipe.fast_precision", lambda: "float32")
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Identity()])
    compile_model(model, replace(PERCEPTUAL, loss=pixel))
    truth = rng.uniform(0, 1, (4, 8, 6, 3)).astype(np.float32)
    prediction = rng.uniform(0, 1, (4, 8, 6, 3)).astype(np.float32)
    result = model.evaluate(prediction, truth, batch_size=2, verbose=0, return_dict=True)
    error = 255 * truth.astype(float) - 255 * prediction.astype(float)
    pixels = np.mean(error**2 if pixel == "mse" else np.abs(error))
    features = vgg.VGG16("relu1_2", "random")
    feature_error = features(truth).numpy() - features(prediction).numpy()
    by_hand = pixels + 0.25 * np.mean(feature_error.astype(float) ** 2)
    assert result["loss"] == pytest.approx(by_hand, rel=1e-4)
    assert result["psnr"] == pytest.approx(psnr(truth, prediction).mean(), abs=1e-3)


def test_the_perceptual_recipes_parts(monkeypatch):
    monkeypatch.setenv(vgg.VARIABLE, "gone.npz")  # the recipe's come before it
    recipe = replace(PERCEPTUAL, perceptual_layer="conv2_1", vgg16="random")
    loss = compile_model(tiny(), recipe).loss
    assert isinstance(loss, PixelAndPerceptualLoss)
    assert (loss.pixel.kind, loss.pixel_weight, loss.perceptual_weight) == ("mse", 1.0, 0.25)
    features = loss.perceptual.features
    assert features.origin == "random weights, seed 0"
    assert features.name == "vgg16_block2_conv1"
    assert features.get_layer("block2_conv1").activation.__name__ == "linear"


@pytest.mark.parametrize(
    ("precision", "fastest", "expected"),
    [
        ("float32", "mixed_bfloat16", "float32"),
        ("mixed_bfloat16", "float32", "mixed_bfloat16"),
        ("auto", "mixed_bfloat16", "mixed_bfloat16"),
    ],
)
def test_vgg_computes_in_the_recipes_precision(
    precision, fastest, expected, random_vgg, monkeypatch
):
    monkeypatch.setattr("srlib.training.recipe.fast_precision", lambda: fastest)
    loss = compile_model(tiny(), replace(PERCEPTUAL, precision=precision)).loss
    assert loss.perceptual.features.get_layer("block1_conv1").dtype_policy.name == expected


def test_perceptual_training_lowers_its_loss_and_keeps_the_best_by_it(
    random_vgg, photos, validation, tmp_path, monkeypatch
):
    monitors = []

    class Seen(Checkpoint):
        def __init__(self, folder, monitor, *rest, **options):
            super().__init__(folder, monitor, *rest, **options)
            monitors.append(monitor)

    monkeypatch.setattr(loop, "Checkpoint", Seen)
    recipe = replace(PERCEPTUAL, epochs=2, steps_per_epoch=8, learning_rate=3e-3, clip_value=0.5)
    model = tiny(recipe)
    history = train(model, photos, validation, recipe, tmp_path / "run", verbose=0)
    assert history[-1]["loss"] < history[0]["loss"]
    best = min(row["val_loss"] for row in history)
    left = model.evaluate(data.evaluation_dataset(validation), verbose=0, return_dict=True)
    assert left["loss"] == pytest.approx(best, rel=1e-5)
    again = tiny(replace(recipe, seed=99))  # a finished run
    assert train(again, photos, validation, recipe, tmp_path / "run", verbose=0) == history
    assert_same_weights(again, model)
    assert monitors == ["val_loss", "val_loss"]
    for change in ({"perceptual_weight": 0.5}, {"perceptual_layer": "relu2_2"}, {"clip_value": 1}):
        with pytest.raises(ValueError, match=f"other settings .{next(iter(change))}"):
            other = replace(recipe, **change)
            train(again, photos, validation, other, tmp_path / "run", verbose=0)


@pytest.mark.parametrize("change", [{"loss": "l2"}, {"schedule": "linear"}])
def test_unknown_settings_are_refused(change):
    (value,) = change.values()
    with pytest.raises(ValueError, match=f"unknown {next(iter(change))} '{value}'"):
        compile_model(tiny(), replace(TINY, **change))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [(set(), "float32"), ({"avx512f", "avx2"}, "float32"), ({"avx512_bf16"}, "mixed_bfloat16"),
     ({"amx_bf16", "sse"}, "mixed_bfloat16")],
)  # fmt: skip
def test_half_precision_only_where_the_processor_has_it(monkeypatch, flags, expected):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    monkeypatch.setattr(hardware, "_cpu_info", lambda key: " ".join(flags))
    assert hardware.fast_precision() == expected
    model = build_for("residual", replace(TINY, precision="auto"), blocks=1, filters=8)
    assert model.get_layer("stem").dtype_policy.name == expected
    forced = build_for("residual", replace(TINY, precision="float32"), blocks=1, filters=8)
    assert forced.get_layer("stem").dtype_policy.name == "float32"


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((8, 0), "mixed_bfloat16"), ((7, 5), "mixed_float16"), ((6, 1), "float32"), (None, "float32")],
)
def test_half_precision_by_generation_of_the_gpu(monkeypatch, capability, expected):
    details = {"compute_capability": capability} if capability else {}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["gpu"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    assert hardware.fast_precision() == expected


def test_machine_says_what_computed():
    machine = hardware.machine()
    assert machine["tensorflow"] == tf.__version__ and machine["keras"] == keras.__version__
    assert machine["python"] == ".".join(map(str, sys.version_info[:3]))
    assert machine["device"]
