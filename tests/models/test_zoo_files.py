"""The zoo: what is written comes back, whole; and weights are blended."""

import contextlib
import os
import shutil
import socket
from pathlib import Path

import keras
import numpy as np
import pytest

import srlib
from srlib import models
from srlib.layers.upsampling import UPSAMPLERS
from srlib.models import zoo
from srlib.models.cards import WeightsError
from tests.models.zookit import SMALL, randomised, save_small

# --- there and back

NETWORKS = list(SMALL.items()) + [
    ("with_upsampler", {"upsampler": name, "blocks": 1, "filters": 4}) for name in UPSAMPLERS
]


@pytest.fixture
def saved(tmp_path) -> Path:
    return save_small(tmp_path)


@pytest.mark.parametrize(("architecture", "options"), NETWORKS, ids=str)
def test_round_trip_is_float16_rounding_and_nothing_else(architecture, options, tmp_path, rng):
    model = randomised(architecture, options)
    path = zoo.save(model, tmp_path / "deep" / "net.safetensors", architecture, options)
    assert path == tmp_path / "deep" / "net.safetensors"
    again = zoo.load(path)
    changed = 0
    for before, after in zip(model.variables, again.variables, strict=True):
        expected = np.asarray(before, np.float32).astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(np.asarray(after, np.float32), expected)
        changed += np.any(expected != np.asarray(before, np.float32))
        before.assign(expected)
    assert changed  # so the rounding was seen
    low = rng.random((2, 8, 6, 3), np.float32)
    np.testing.assert_array_equal(again(low, training=False), model(low, training=False))


def test_load_gives_the_dtype_asked_for(saved):
    model = zoo.load(str(saved), dtype="mixed_bfloat16")
    assert model.get_layer("stem").compute_dtype == "bfloat16"
    assert model.get_layer("stem").kernel.dtype == "float32"
    assert zoo.load(saved).get_layer("stem").compute_dtype == "float32"


def test_shipped_models_load_without_a_network_and_enlarge(monkeypatch, rng):
    def refused(*_, **__):
        raise AssertionError("load must not use the network")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refused)
    for name in srlib.available():
        model = srlib.load(name)
        card = srlib.card(name)
        assert model.count_params() == card["parameters"]
        residual = card["architecture"] == "residual"
        for height, width in [(7, 13), (1, 5), (16, 8)] if residual else [(16, 8)]:
            low = rng.random((2, height, width, 3), np.float32)
            high = np.asarray(model(low, training=False))
            assert high.shape == (2, 2 * height, 2 * width, 3)
            assert high.dtype == np.float32
            assert high.min() >= 0
            assert high.max() <= 1
            assert np.ptp(high) > 0


# --- between two networks


@pytest.fixture(params=SMALL)
def two(request) -> tuple[keras.Model, keras.Model]:
    options = SMALL[request.param]
    return tuple(randomised(request.param, options, seed) for seed in (1, 2))


@pytest.mark.parametrize("share", [0.0, 1.0, 0.5, 0.25, 1.5, -0.5])
def test_interpolation_mixes_every_weight(two, share):
    first, second = two
    before = [model.get_weights() for model in two]
    mixed = zoo.blend(first, second, share)
    assert mixed is not first and mixed is not second
    assert mixed.name == first.name
    for a, b, found in zip(*before, mixed.get_weights(), strict=True):
        assert np.abs(a - b).max() > 1e-3
        by_hand = a.astype(np.float64) + share * (b.astype(np.float64) - a)
        np.testing.assert_allclose(found, by_hand, atol=1e-7)
    mixed.set_weights([w + 1 for w in mixed.get_weights()])  # the others stay as they are
    for model, was in zip(two, before, strict=True):
        for now, then in zip(model.get_weights(), was, strict=True):
            np.testing.assert_array_equal(now, then)


def test_interpolations_ends_are_the_networks_themselves(two, rng):
    low = rng.random((2, 8, 6, 3), np.float32)
    for share, model in zip((0, 1), two, strict=True):
        np.testing.assert_array_equal(zoo.blend(*two, share)(low), model(low))


def test_an_interpolated_linear_filter_is_the_mean_of_the_pictures(rng):
    """The one network whose output is linear in its weights."""
    two = [randomised("linear", SMALL["linear"], seed) for seed in (1, 2)]
    low = rng.random((1, 8, 6, 3), np.float32) / 4
    pictures = [model(low, training=True) for model in two]
    mixed = zoo.blend(*two, 0.3)(low, training=True)
    np.testing.assert_allclose(mixed, 0.7 * pictures[0] + 0.3 * pictures[1], atol=1e-6)


def test_an_interpolated_network_is_like_any_other(tmp_path, rng):
    two = [models.residual(1, 8, dtype="mixed_bfloat16") for _ in range(2)]
    mixed = zoo.blend(*two, 0.5)
    assert mixed.get_layer("stem").compute_dtype == "bfloat16"
    assert [v.path for v in mixed.variables] == [v.path for v in two[0].variables]
    path = zoo.save(mixed, tmp_path / "mixed.safetensors", "residual", SMALL["residual"])
    assert zoo.load(path).count_params() == mixed.count_params()
    mixed.compile("adam", "mse")
    low = rng.random((2, 8, 6, 3), np.float32)
    assert np.isfinite(mixed.train_on_batch(low, rng.random((2, 16, 12, 3), np.float32)))


@pytest.mark.parametrize(
    "other", [("residual", {"blocks": 2, "filters": 8}), ("residual", {"blocks": 1, "filters": 4}),
              ("linear", {"taps": 5})],
)  # fmt: skip
def test_interpolation_of_different_networks_is_refused(other):
    first, second = randomised("residual", SMALL["residual"]), randomised(*other)
    for pair in ((first, second), (second, first)):
        names = " and ".join(model.name for model in pair)
        with pytest.raises(WeightsError, match=f"^{names} differ in their weights' number or"):
            zoo.blend(*pair, 0.5)


# --- writing


@pytest.mark.parametrize("value", [np.nan, np.inf, 70_000.0])
def test_values_that_float16_cannot_store_are_refused(tmp_path, value):
    model = randomised("residual", SMALL["residual"])
    kernel = np.array(model.get_layer("body").kernel)
    kernel[0, 0, 0, 0] = value
    model.get_layer("body").kernel.assign(kernel)
    with pytest.raises(WeightsError, match=r"net\.safetensors: not written, body/kernel"):
        zoo.save(model, tmp_path / "net.safetensors", "residual", SMALL["residual"])
    assert not list(tmp_path.iterdir())


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"net\.h5: must end in \.safetensors"):
        zoo.save(randomised("linear", {}), tmp_path / "net.h5", "linear")
    assert not list(tmp_path.iterdir())


@contextlib.contextmanager
def files_of_at_most(size: int):
    """The operating system refuses to write more, as on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("fault", ["replace", "write", "card"])
def test_an_interrupted_save_leaves_the_old_model(saved, fault, monkeypatch):
    before = {p.name: p.read_bytes() for p in saved.parent.iterdir()}
    about = {"history": object()} if fault == "card" else {}  # cannot become JSON

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, contextlib.ExitStack() as stack:
        if fault == "replace":
            patch.setattr(os, "replace", killed)
        if fault == "write":
            stack.enter_context(files_of_at_most(5000))
        with pytest.raises((KeyboardInterrupt, OSError, TypeError)):
            save_small(saved.parent, seed=2, **about)
    assert {p.name: p.read_bytes() for p in saved.parent.iterdir()} == before
    zoo.load(saved)


def test_a_file_and_its_card_can_be_moved_together(saved, tmp_path):
    target = tmp_path / "elsewhere" / "renamed.safetensors"
    target.parent.mkdir()
    shutil.copy(saved, target)
    with pytest.raises(WeightsError, match=r"renamed\.json"):
        zoo.load(target)
    shutil.copy(saved.with_suffix(".json"), target.with_suffix(".json"))
    assert zoo.load(target).count_params() == srlib.card(saved)["parameters"]
