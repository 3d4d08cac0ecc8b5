"""The speed experiment: what is timed, by which engine, and what a row says."""

import importlib.util
import json

import keras
import numpy as np
import pytest

import srlib
from experiments import speed, speed_networks, speed_profile
from experiments.speed_networks import KERAS_NORMALIZATION, Network, Settings
from srlib import export, models, training
from srlib._backend import tf
from srlib.book import results, timing
from srlib.export import write
from srlib.models import anatomy, cards, zoo
from srlib.upscaling import network

TINY = Settings(
    16, 8, 2, 1, 8, (4,), (8, 12), (1,), (4,), 8, rounds=1, patience=0.0
)  # fmt: skip


@pytest.mark.parametrize("xla", [False, True])
def test_compiled_computes_what_the_model_computes(xla, rng):
    keras.utils.set_random_seed(2)
    model = models.with_upsampler("sub-pixel", blocks=1, filters=4)
    call = network.compiled(model, xla)
    for shape in ((1, 6, 9, 3), (2, 5, 5, 3)):
        images = rng.random(shape, np.float32)
        np.testing.assert_allclose(call(images), model(images, training=False), atol=1e-5)


@pytest.mark.parametrize(
    ("model", "width"),
    [
        (lambda: models.residual(2, 24), 24),
        (lambda: models.residual(1, 8, luma=True), 8),
        (models.hourglass, 64),
        (lambda: models.hourglass(depth=1), 64),
    ],
    ids=["residual", "luma", "hourglass", "shallow hourglass"],
)
def test_main_width(model, width):
    assert anatomy.main_width(model()) == width


# --- networks


def test_perceptual_twins_are_measured_once():
    found = speed_networks.networks()
    keys = [json.dumps([n.architecture, n.options], sort_keys=True) for n in found]
    assert len(keys) == len(set(keys))
    cards = [cards.card(name) for name in srlib.available()]
    assert set(keys) == {
        json.dumps([c["architecture"], c["options"]], sort_keys=True) for c in cards
    }
    assert {n.name for n in found} <= set(srlib.available())


def test_only_networks_with_a_choice_are_measured_in_bfloat16():
    residual = Network("any", "residual", {"blocks": 1, "filters": 4})
    assert residual.precisions() == ("float32", "mixed_bfloat16")
    model = residual.build("mixed_bfloat16")
    assert model.get_layer("stem").compute_dtype == "bfloat16"
    assert model.get_layer("stem").filters == 4
    linear = Network("any", "linear", {"taps": 5})
    assert linear.precisions() == ("float32",)
    assert linear.build("float32").get_layer("linear").taps == 5


def test_what_the_machine_cannot_do_is_called_emulated(monkeypatch):
    monkeypatch.setattr(training, "fast_precision", lambda: "float32")
    assert speed_networks.emulated("mixed_bfloat16")
    assert not speed_networks.emulated("float32")
    monkeypatch.setattr(training, "fast_precision", lambda: "mixed_bfloat16")
    assert not speed_networks.emulated("mixed_bfloat16")
    assert not speed_networks.emulated("float32")


def test_megapixels_are_those_of_the_enlarged_picture():
    found = speed_networks.rates(seconds=2.0, side=500)  # 1000 x 1000
    assert found == {"megapixels_per_second": 0.5, "seconds_per_megapixel": 2.0}


def test_training_crops_fit_the_network():
    settings = Settings()
    assert speed_networks.training_crop(models.residual(1, 4), settings) == 48
    assert speed_networks.training_crop(models.hourglass(), settings) == 64
    for crop in (8, 16, 20):
        side = speed_networks.training_crop(models.hourglass(), Settings(crop=crop))
        assert side > 0 and side % 8 == 0


@pytest.fixture
def small(monkeypatch) -> Network:
    """A small network in the place of a shipped one, drawing something."""
    network = Network("small", "residual", {"blocks": 1, "filters": 4})

    def load(name, dtype="float32"):
        assert name == "small"
        keras.utils.set_random_seed(6)
        model = network.build(dtype)
        upsample = model.get_layer("upsample")
        upsample.set_weights([np.random.default_rng(6).normal(0, 0.1, v.shape) for v in
                              upsample.variables])  # fmt: skip
        return model

    monkeypatch.setattr(zoo, "load", load)
    monkeypatch.setattr(training, "fast_precision", lambda: "float32")
    return network


def test_the_exported_network_is_equal_up_to_the_borders(small, tmp_path, rng):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    model = zoo.load("small")
    run, difference = speed_networks.onnx_engine(model, tmp_path)
    assert difference < 1e-5
    for shape in ((1, 7, 11, 3), (2, 1, 2, 3), (1, 16, 16, 3)):
        images = rng.random(shape, np.float32)
        np.testing.assert_allclose(run(images), model(images, training=False), atol=1e-5)


def test_an_export_that_differs_is_not_timed(small, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    monkeypatch.setattr(write, "TOLERANCE", -1.0)
    with pytest.raises(export.ExportError, match="not written, for its picture differs"):
        speed_networks.onnx_engine(zoo.load("small"), tmp_path)


def one_second(self, contenders, once=False):
    """Every contender is called once, and said to take a second."""
    for call in contenders.values():
        call()
    return dict.fromkeys(contenders, 1.0)


def test_a_network_at_work(small, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    monkeypatch.setattr(Settings, "fastest", one_second)
    rows = speed_networks.inference(small, {4: {"inference": 0.01, "training": 0.02}}, TINY)
    assert [(row["precision"], row["engine"], row["side"]) for row in rows] == [
        *[("float32", engine, 16) for engine in (*speed_networks.ENGINES, "onnxruntime")],
        *[("mixed_bfloat16", engine, 8) for engine in speed_networks.ENGINES],
    ]
    model = small.build()
    for row in rows:
        side = row["side"]
        assert row["emulated"] == (row["precision"] != "float32")
        assert row["gflops"] == pytest.approx(models.flops(model, side, side) / 1e9)
        assert row["share"] == pytest.approx(row["gflops"] / 0.01)
        assert row["megapixels_per_second"] == pytest.approx(4 * side**2 / 1e6)
        assert row["channels"] == 4
        assert row["parameters"] == model.count_params()
        assert ("difference" in row) == (row["engine"] == "onnxruntime")


@pytest.mark.parametrize("native", [False, True])
def test_what_is_emulated_is_timed_by_a_single_call(small, monkeypatch, native):
    fast = "mixed_bfloat16" if native else "float32"
    monkeypatch.setattr(training, "fast_precision", lambda: fast)
    monkeypatch.setattr(speed_networks, "step", lambda *_: None)
    rounds = []

    def record(contenders, turns, patience):
        rounds.append(turns)
        return dict.fromkeys(contenders, 1.0)

    monkeypatch.setattr(timing, "fastest", record)
    rows = speed_networks.train(small, {4: {"inference": 1.0, "training": 1.0}}, TINY)
    assert rounds == [TINY.rounds, TINY.rounds if native else 0]
    assert {row["batch_size"] for row in rows} == ({2} if native else {1, 2})


def test_a_network_in_training(small, monkeypatch):
    monkeypatch.setattr(Settings, "fastest", one_second)
    rows = speed_networks.train(small, {4: {"inference": 0.01, "training": 0.02}}, TINY)
    assert [row["engine"] for row in rows] == [*speed_networks.ENGINES] * 2
    forward = models.flops(small.build(), 8, 8) / 1e9
    for row in rows:
        batch = 2 if row["precision"] == "float32" else 1
        assert (row["crop"], row["batch_size"], row["images_per_second"]) == (8, batch, batch)
        assert row["gflops"] == pytest.approx(3 * batch * forward)
        assert row["share"] == pytest.approx(row["gflops"] / 0.01)
        assert row["share_of_stack"] == pytest.approx(row["gflops"] / 0.02)


def test_fused_normalisation_meets_keras_own(monkeypatch):
    normalised = []

    def record(model, batch_size, crop, engine):
        normalised.append([type(layer).__name__ for layer in model.layers])
        return lambda: None

    monkeypatch.setattr(speed_networks, "step", record)
    monkeypatch.setattr(Settings, "fastest", one_second)
    monkeypatch.setattr(Network, "precisions", lambda self: ("float32",))
    network = Network("any", "hourglass", {"depth": 1})
    rows = speed_networks.train(network, {64: {"inference": 1.0, "training": 1.0}}, TINY)
    assert [row["engine"] for row in rows] == [*speed_networks.ENGINES, KERAS_NORMALIZATION]
    *ours, keras_own = normalised
    assert all("FusedBatchNormalization" in names for names in ours)
    assert "FusedBatchNormalization" not in keras_own
    assert keras_own.count("BatchNormalization") == ours[0].count("FusedBatchNormalization")


@pytest.mark.parametrize("engine", speed_networks.ENGINES)
def test_a_step_trains_by_the_engine_it_names(engine):
    keras.utils.set_random_seed(3)
    model = models.residual(1, 4)
    before = model.get_weights()
    step = speed_networks.step(model, 2, 8, engine)
    assert (model.jit_compile, model.run_eagerly) == (engine == "XLA", engine == "eager")
    step()
    moved = [np.abs(a - b).max() for a, b in zip(before, model.get_weights(), strict=True)]
    assert max(moved) > 0
    assert model.optimizer.iterations.numpy() == 1


# --- the profile


def test_the_parts_are_those_of_the_network():
    whole = models.residual()
    bicubic = models.flops(models.bicubic(), 10, 12)
    for skips in (False, True):
        bare = speed_profile.convolutions(skips)
        bare = keras.models.clone_model(
            bare, input_tensors=keras.Input((None, None, 3), name="low")
        )
        assert bare.count_params() == whole.count_params()
        additions = sum(isinstance(layer, keras.layers.Add) for layer in bare.layers)
        assert additions == (7 if skips else 0)
        assert models.flops(bare, 10, 12) == models.flops(whole, 10, 12) - bicubic


def test_gradients_sum_to_the_slope_of_the_loss(monkeypatch):
    monkeypatch.setattr(tf.random, "uniform", lambda shape, seed: tf.fill(shape, seed / 20))
    keras.utils.set_random_seed(4)
    model = speed_profile.convolutions(skips=True, blocks=1, filters=4)
    total = float(speed_profile.gradients(model, 2, 6)())
    low, start = np.full((2, 6, 6, 3), 0.45, np.float32), model.get_weights()

    def loss(shift: float) -> float:
        model.set_weights([weight + shift for weight in start])
        return float(np.mean((np.asarray(model(low), np.float64) - 0.5) ** 2))

    assert total == pytest.approx((loss(1e-3) - loss(-1e-3)) / 2e-3, rel=0.02)


# --- the whole


def test_peaks_take_the_best_shape(monkeypatch):
    def measured(width, shapes, training=False, rounds=5):
        return {shape: width + 10.0 * i for i, shape in enumerate(shapes)}

    monkeypatch.setattr(timing, "convolution_speed", measured)
    found = speed.peaks({8, 4}, TINY)
    assert list(found) == [4, 8]
    assert found[8] == {
        "channels": 8,
        "inference": 18.0,
        "inference_shapes": {"1x16x16": 8.0, "2x8x8": 18.0},
        "training": 8.0,
    }
    assert set(speed.peaks({4}, Settings())[4]["inference_shapes"]) == {
        "1x64x64", "1x128x128", "1x256x256", "16x48x48",
    }  # fmt: skip


def test_opencv_enlarges_what_the_networks_enlarge(monkeypatch):
    cv2 = pytest.importorskip("cv2")
    seen = []
    resize = cv2.resize

    def record(array, size, interpolation):
        seen.append((array.dtype.name, size, interpolation))
        return resize(array, size, interpolation=interpolation)

    monkeypatch.setattr(cv2, "resize", record)
    monkeypatch.setattr(Settings, "fastest", one_second)
    rows = speed.interpolation(TINY)
    assert seen == [
        (kind, (32, 32), flag)
        for flag in (cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
        for kind in ("uint8", "float32")
    ]
    assert [row["method"] for row in rows][-1] == "srlib bicubic, float32"
    assert {row["seconds_per_megapixel"] for row in rows} == {1 / (32 * 32 / 1e6)}


def test_area_and_size_are_measured_for_every_setting(monkeypatch):
    monkeypatch.setattr(Settings, "fastest", one_second)
    area = speed.area(TINY)
    assert [row["side"] for row in area] == [8, 12]
    memory = [row["megabytes"] for row in area]
    assert memory == sorted(memory) and memory[0] >= 0
    size = speed.size({4: {"inference": 0.5}, 64: {"inference": 0.25}}, TINY)
    assert [(row["blocks"], row["filters"]) for row in size] == [(1, 64), (6, 4)]
    for row in size:
        model = models.residual(row["blocks"], row["filters"])
        assert row["parameters"] == model.count_params()
        assert row["gflops"] == pytest.approx(models.flops(model, 8, 8) / 1e9)
        assert row["share"] == pytest.approx(row["gflops"] / (0.5 if row["filters"] == 4 else 0.25))


def test_what_is_missing_is_named_before_anything_is_measured(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n in ("cv2", "tf2onnx") else find(n)
    )
    monkeypatch.setattr(speed, "measure", lambda _: pytest.fail("measured"))
    assert speed.main([]) == 1
    if all(find(name) for name in ("onnx", "onnxruntime")):
        message = "first install: python -m pip install opencv-python-headless tf2onnx\n"
        assert capsys.readouterr().err == message


def test_the_record_says_how_it_was_made(monkeypatch, tmp_path):
    monkeypatch.setattr(speed, "measure", lambda settings: {"x": [{"y": 1.23456789, "n": 7}]})
    monkeypatch.setattr(speed, "NEEDED", {})
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    write = results.write
    monkeypatch.setattr(results, "write", lambda *a, **k: write(*a, folder=tmp_path, **k))
    for arguments, quick in (([], False), (["--quick"], True)):
        assert speed.main(arguments) == 0
        found = results.read("speed")
        assert found["quick"] is quick
        assert found["x"] == [{"y": 1.235, "n": 7}]
        assert found["made_by"]["command"].endswith("--quick") is quick


def test_the_recorded_numbers_agree_with_each_other():
    record = results.read("speed")
    roof = {row["channels"]: row for row in record["peaks"]}
    measured = {row["model"] for row in record["inference"]}
    assert measured == {row["model"] for row in record["training"]}
    assert set(record["quality"]["psnr"]) >= measured
    for row in record["inference"]:
        model = models.build(row["architecture"], **row["options"])
        gflop = models.flops(model, row["side"], row["side"]) / 1e9
        assert row["gflops"] == pytest.approx(gflop / row["seconds"], rel=2e-3)
        assert row["share"] == pytest.approx(
            row["gflops"] / roof[row["channels"]]["inference"], rel=2e-3
        )
        assert row.get("difference", 0) <= export.TOLERANCE
    for row in record["training"]:
        assert row["images_per_second"] == pytest.approx(
            row["batch_size"] / row["seconds"], rel=2e-3
        )
