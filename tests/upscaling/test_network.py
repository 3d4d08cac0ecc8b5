"""A batch of images in, one twice as large out, or one clear error."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srlib import models
from srlib._backend import tf
from srlib.upscaling import network
from srlib.upscaling.network import predict

# --- arrays


def test_many_models_are_no_model_that_is_traced_again(caplog):
    """Of which TensorFlow warns from the fifth on, in the reader's notebook too."""
    for _ in range(8):
        predict(models.nearest(), np.zeros((1, 4, 4, 3), np.uint8))
        network.compiled(models.nearest())(tf.zeros((1, 4, 4, 3)))
    assert "retracing" not in caplog.text


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 3))
def test_any_size_is_doubled_and_in_range(residual, height, width, count):
    images = np.random.default_rng(height * width).random((count, height, width, 3))
    high = predict(residual, images)
    assert high.shape == (count, 2 * height, 2 * width, 3)
    assert high.dtype == np.float32
    assert high.min() >= 0
    assert high.max() <= 1


def test_sizes_are_padded_by_mirroring_and_cut_again(rng, monkeypatch):
    seen = []

    def record(images):
        seen.append(images)
        return images

    def double(images, training):
        assert not training
        images = tf.numpy_function(record, [images], tf.float32)
        return tf.repeat(tf.repeat(images, 2, axis=1), 2, axis=2)

    monkeypatch.setattr(network, "size_multiple", lambda _: 8)
    images = rng.random((2, 5, 11, 3), np.float32)
    high = predict(double, images)
    (padded,) = seen
    assert padded.shape == (2, 8, 16, 3)
    np.testing.assert_array_equal(padded[:, :5, :11], images)
    np.testing.assert_array_equal(padded[:, 5:, :11], images[:, 4:1:-1])
    np.testing.assert_array_equal(padded[:, :5, 11:], images[:, :, 10:5:-1])
    np.testing.assert_array_equal(high, images.repeat(2, axis=1).repeat(2, axis=2))


def test_new_weights_give_new_results(rng):
    model = models.linear(5)
    images = rng.uniform(0.4, 0.6, (1, 4, 4, 3)).astype(np.float32)  # nothing to clip
    before = predict(model, images)
    layer = model.get_layer("linear")
    layer.set_weights([weight * 0.5 for weight in layer.get_weights()])
    np.testing.assert_allclose(predict(model, images), before * 0.5, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 16)])
def test_the_hourglass_takes_any_size(size, rng):
    keras.utils.set_random_seed(1)
    model = models.hourglass(depth=1)
    images = rng.random((1, *size, 3), np.float32)
    high = predict(model, images)
    assert high.shape == (1, 2 * size[0], 2 * size[1], 3)
    pad = [(0, 0), *((0, -n % 2) for n in size), (0, 0)]
    whole = np.asarray(model(np.pad(images, pad, "symmetric"), training=False))
    np.testing.assert_array_equal(high, whole[:, : 2 * size[0], : 2 * size[1]])


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batches_do_not_change_results(residual, batch_size, rng):
    images = rng.integers(0, 256, (5, 6, 9, 3), np.uint8)
    one_by_one = np.stack([predict(residual, image[None])[0] for image in images])
    np.testing.assert_allclose(predict(residual, images, batch_size), one_by_one, atol=1e-6)


@pytest.mark.parametrize(
    "shape", [(4, 4), (4, 4, 3), (1, 4, 4, 4), (1, 4, 4, 1), (0, 4, 4, 3), (1, 0, 4, 3), (3,)]
)
def test_predict_refuses_what_is_no_batch_of_images(bicubic, shape):
    with pytest.raises(ValueError, match=r"expected RGB images \(N, H, W, 3\)") as caught:
        predict(bicubic, np.zeros(shape, np.float32))
    assert str(shape) in str(caught.value)
