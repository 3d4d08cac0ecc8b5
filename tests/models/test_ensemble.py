"""Self-ensemble against a NumPy loop, and the symmetry that it must have."""

import numpy as np
import pytest
from conftest import smooth_photo
from hypothesis import given
from hypothesis import strategies as st

import srlib
from srlib import models
from srlib._backend import keras, tf
from srlib.models.ensemble import VIEWS, self_ensemble, turn, turn_back


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A small network with random weights, which treats no two directions alike."""
    keras.utils.set_random_seed(3)
    model = models.build("residual", blocks=1, filters=4)
    rng = np.random.default_rng(3)
    model.set_weights([w + rng.normal(0, 0.1, w.shape) for w in model.get_weights()])
    return model


def by_numpy(model, images):
    """Quarter turns with and without a mirror: the same eight, found another way."""
    parts = []
    for mirror in (False, True):
        for quarters in range(4):
            seen = images[:, :, ::-1] if mirror else images
            seen = np.rot90(seen, quarters, axes=(1, 2))
            out = np.rot90(srlib.predict(model, seen), -quarters, axes=(1, 2))
            parts.append(out[:, :, ::-1] if mirror else out)
    return np.mean(parts, axis=0)


def photos(height, width, count=2):
    return np.stack([smooth_photo(height, width, i) for i in range(count)]) / np.float32(255)


def test_the_views_are_the_eight_symmetries_of_a_square():
    image = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    seen = {np.asarray(turn(tf.constant(image), view)).tobytes() for view in VIEWS}
    expected = {
        np.rot90(flipped, k, axes=(1, 2)).tobytes()
        for flipped in (image, image[:, :, ::-1])
        for k in range(4)
    }
    assert seen == expected
    assert len(seen) == 8


@given(st.integers(1, 7), st.integers(1, 7), st.sampled_from(VIEWS))
def test_turning_back_undoes_turning(height, width, view):
    image = tf.random.stateless_uniform((2, height, width, 3), (height, width))
    turned = turn(image, view)
    assert turned.shape == ((2, width, height, 3) if view[2] else image.shape)
    np.testing.assert_array_equal(turn_back(turned, view), image)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (11, 18), (9, 7)])
def test_it_is_the_mean_of_an_explicit_loop(network, height, width):
    images = photos(height, width)
    result = srlib.predict(self_ensemble(network), images)
    assert result.shape == (2, 2 * height, 2 * width, 3)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, by_numpy(network, images), atol=2e-6)
    assert np.abs(result - srlib.predict(network, images)).max() > 1e-3


@pytest.mark.parametrize("view", VIEWS)
def test_its_result_turns_with_its_input(network, view):
    images = tf.constant(photos(12, 9))
    ensemble = self_ensemble(network)
    first = turn(ensemble(images), view)
    np.testing.assert_allclose(ensemble(turn(images, view)), first, atol=2e-6)
    # The network itself does not: the test can tell.
    if any(view):
        alone = np.abs(network(turn(images, view)) - turn(network(images), view))
        assert alone.max() > 1e-3


def test_of_a_symmetric_model_nothing_changes():
    images = photos(10, 13)
    result = srlib.predict(self_ensemble(models.bicubic()), images)
    np.testing.assert_allclose(result, srlib.predict(models.bicubic(), images), atol=1e-6)


def test_networks_that_need_certain_sides_work_too():
    keras.utils.set_random_seed(1)
    model = models.build("hourglass", depth=1)
    images = photos(9, 12, 1)
    result = srlib.predict(self_ensemble(model), images)
    assert result.shape == (1, 18, 24, 3)
    padded = np.pad(images, ((0, 0), (0, 1), (0, 0), (0, 0)), "symmetric")
    np.testing.assert_allclose(result, by_numpy(model, padded)[:, :18], atol=1e-5)


def test_upscale_and_evaluate_take_it(network, photo_folder):
    ensemble = self_ensemble(network)
    photo = smooth_photo(14, 10, 0)
    large = srlib.upscale(photo, ensemble)
    assert large.shape == (28, 20, 3)
    assert large.dtype == np.uint8
    scores = srlib.evaluate({"ensemble": ensemble}, srlib.photos(photo_folder, "all").take(2))
    assert np.isfinite(scores.psnr["ensemble"]).all()


def test_it_uses_the_weights_and_does_not_copy_them(network):
    ensemble = self_ensemble(network)
    assert ensemble.count_params() == network.count_params()
    assert all(a is b for a, b in zip(ensemble.weights, network.weights, strict=True))
    assert ensemble.name == "residual_self_ensemble"


def test_it_can_be_saved_and_loaded(network, tmp_path):
    ensemble = self_ensemble(network)
    images = tf.constant(photos(8, 6, 1))
    expected = ensemble(images)
    ensemble.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(images), expected, atol=1e-6)


@pytest.mark.parametrize("wrong", ["residual-mse", None, np.zeros((1, 2, 2, 3))])
def test_something_else_is_refused_by_name(wrong):
    with pytest.raises(TypeError, match=type(wrong).__name__):
        self_ensemble(wrong)
