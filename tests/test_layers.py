"""Every layer of srlib: one generic test for all, then what each promises."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srlib.normalization import FusedBatchNormalization
from srlib.resize import upscale
from srlib.upsampling import ClipAtInference, FilterUpsampling, SubPixelConv2D

# name -> (layer, its arguments, enlargement, output channels for 3 input channels)
LAYERS = {
    "bicubic": (FilterUpsampling, {"kernel": "bicubic"}, 2, 3),
    "lanczos": (FilterUpsampling, {"kernel": "lanczos", "scale": 3}, 3, 3),
    "nearest": (FilterUpsampling, {"kernel": "nearest"}, 2, 3),
    "linear": (FilterUpsampling, {"kernel": None, "taps": 7}, 2, 3),
    "subpixel": (SubPixelConv2D, {"filters": 5}, 2, 5),
    "subpixel3": (SubPixelConv2D, {"filters": 2, "scale": 3, "kernel_size": 5}, 3, 2),
    "clip": (ClipAtInference, {}, 1, 3),
    "batch_norm": (FusedBatchNormalization, {"momentum": 0.8, "epsilon": 0.01}, 1, 3),
}
ALWAYS_FLOAT32 = {"bicubic", "lanczos", "nearest", "linear"}


def make(name: str, dtype: str = "float32") -> keras.layers.Layer:
    kind, options, *_ = LAYERS[name]
    return kind(**options, dtype=dtype)


@pytest.fixture(params=LAYERS)
def name(request):
    return request.param


@pytest.fixture
def batch(rng):
    return rng.uniform(0, 1, (2, 6, 5, 3)).astype(np.float32)


def test_survives_serialisation(name, batch, tmp_path):
    kind, options, *_ = LAYERS[name]
    layer = make(name)
    copy = kind.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    for option, value in options.items():
        assert getattr(copy, option) == value

    low = keras.Input((None, None, 3))
    model = keras.Model(low, layer(low))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1]) is kind
    np.testing.assert_array_equal(loaded(batch), model(batch))


@pytest.mark.parametrize("size", [(6, 4), (5, 7), (1, 1), (2, 3), (1, 9)])
def test_shape(name, size, rng):
    *_, scale, channels = LAYERS[name]
    expected = (2, size[0] * scale, size[1] * scale, channels)
    images = rng.uniform(0, 1, (2, *size, 3)).astype(np.float32)
    assert make(name)(images).shape == expected
    assert make(name).compute_output_shape(images.shape) == expected

    low = keras.Input((None, None, 3))
    symbolic = make(name)(low)
    assert symbolic.shape == (None, None, None, channels)
    output = keras.Model(low, symbolic).predict(images, verbose=0)  # as a graph
    assert output.shape == expected and np.isfinite(output).all()


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_dtype(name, dtype, batch):
    layer = make(name, dtype)
    half = dtype == "mixed_bfloat16" and name not in ALWAYS_FLOAT32
    expected = "bfloat16" if half else "float32"
    output = layer(batch)
    assert output.dtype == expected
    assert layer(keras.Input((None, None, 3))).dtype == expected
    assert all(weight.dtype == "float32" for weight in layer.weights)
    exact = make(name)
    exact.build(batch.shape)
    exact.set_weights(layer.get_weights())
    tolerance = 0.04 if half else 1e-6
    np.testing.assert_allclose(tf.cast(output, "float32"), exact(batch), atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_one_training_step(name, dtype, batch):
    *_, scale, channels = LAYERS[name]
    low = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(3, 1, dtype=dtype)(low)  # so that every layer passes gradients on
    layer = make(name, dtype)
    model = keras.Model(low, layer(x))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    truth = np.random.default_rng(0).normal(size=(2, 6 * scale, 5 * scale, channels))

    with tf.GradientTape() as tape:
        output = tf.cast(model(batch, training=True), tf.float32)
        loss = tf.reduce_mean(tf.square(output - truth))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert len(gradients) == 2 + len(layer.trainable_variables)
    for gradient in gradients[:1] + gradients[2:]:
        assert gradient is not None
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0

    before = [w.numpy() for w in model.trainable_variables]
    assert np.isfinite(model.train_on_batch(batch, truth))
    changed = [
        np.abs(w.numpy() - b).max() for w, b in zip(model.trainable_variables, before, strict=True)
    ]
    assert changed[0] > 0 and all(change > 0 for change in changed[2:])
    assert np.isfinite(changed).all()


# --- FilterUpsampling


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kernel", ["bicubic", "lanczos", "nearest", "bilinear"])
def test_filter_upsampling_equals_resize_everywhere(kernel, scale, rng):
    layer = FilterUpsampling(scale, kernel)
    for height, width in [(1, 1), (1, 2), (2, 3), (3, 1), (4, 4), (5, 5), (7, 9)]:
        images = rng.uniform(0, 1, (2, height, width, 3)).astype(np.float32)
        expected = upscale(images, scale, kernel)
        np.testing.assert_allclose(layer(images), expected, atol=1e-5)


def test_filter_upsampling_starts_as_bicubic(rng):
    images = rng.uniform(0, 1, (1, 5, 6, 3)).astype(np.float32)
    for taps in (5, 7, 9):
        layer = FilterUpsampling(2, None, taps)
        np.testing.assert_allclose(layer(images), upscale(images), atol=1e-5)
        assert layer.filters.shape == (taps, taps, 4)


@pytest.mark.parametrize("taps", [3, 4, 6])
def test_filter_upsampling_refuses_taps_it_cannot_have(taps):
    with pytest.raises(ValueError, match=f"taps.*{taps}"):
        FilterUpsampling(2, None, taps).build((None, None, None, 3))


def test_filter_upsampling_filters_every_colour_alone(rng):
    images = rng.uniform(0, 1, (1, 5, 6, 4)).astype(np.float32)
    layer = FilterUpsampling(2, "lanczos")
    alone = [layer(images[..., c : c + 1]) for c in range(4)]
    np.testing.assert_allclose(layer(images), np.concatenate(alone, -1), atol=1e-6)


def test_filter_upsampling_is_exact_under_a_global_half_precision_policy(rng):
    images = rng.uniform(0, 1, (1, 8, 8, 3)).astype(np.float32)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        output = FilterUpsampling(2, "bicubic")(images)
    finally:
        keras.config.set_dtype_policy(before)
    np.testing.assert_allclose(output, upscale(images), atol=1e-5)


# --- SubPixelConv2D


@pytest.mark.parametrize("scale", [2, 3])
def test_subpixel_starts_as_a_nearest_enlargement_of_a_convolution(scale, rng):
    images = rng.normal(size=(2, 5, 4, 6)).astype(np.float32)
    layer = SubPixelConv2D(3, scale)
    output = layer(images).numpy()
    one_phase = layer.conv_kernel[..., :3]
    features = tf.nn.conv2d(images, one_phase, 1, "SAME").numpy()
    assert np.std(features) > 0.1
    np.testing.assert_allclose(output, upscale(features, scale, "nearest"), atol=1e-5)


def test_subpixel_puts_channels_where_they_belong():
    """Channel ``(dy * 2 + dx) * filters + c`` becomes pixel ``(dy, dx)`` of colour ``c``."""
    layer = SubPixelConv2D(3, 2, 1)
    layer.build((None, None, None, 1))
    layer.set_weights([np.zeros((1, 1, 1, 12)), np.arange(12.0)])
    output = layer(np.zeros((1, 1, 1, 1), np.float32)).numpy()
    np.testing.assert_array_equal(output[0], np.arange(12).reshape(2, 2, 3))


def test_subpixel_weights_follow_the_seed():
    def kernel(seed):
        keras.utils.set_random_seed(seed)
        layer = SubPixelConv2D(3)
        layer.build((None, None, None, 8))
        return layer.conv_kernel.numpy()

    np.testing.assert_array_equal(kernel(1), kernel(1))
    assert np.abs(kernel(1) - kernel(2)).max() > 0.01


# --- ClipAtInference


def test_clipping_only_when_predicting():
    layer, values = ClipAtInference(), tf.constant([[-1.0, 0.25, 3.0]])
    np.testing.assert_array_equal(layer(values), [[0, 0.25, 1]])
    np.testing.assert_array_equal(layer(values, training=False), [[0, 0.25, 1]])
    with tf.GradientTape() as tape:
        tape.watch(values)
        output = layer(values, training=True)
    np.testing.assert_array_equal(output, values)
    np.testing.assert_array_equal(tape.gradient(output, values), [[1, 1, 1]])


# --- FusedBatchNormalization


@pytest.fixture
def both(rng):
    """The fused layer and Keras' own, with the same uneven weights."""
    layers = [
        kind(momentum=0.9, epsilon=1e-3)
        for kind in (FusedBatchNormalization, keras.layers.BatchNormalization)
    ]
    weights = [rng.uniform(0.5, 1.5, 6).astype(np.float32) for _ in range(4)]
    for layer in layers:
        layer.build((None, None, None, 6))
        layer.set_weights(weights)
    return layers


@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (1, 2, 1, 6), (1, 1, 1, 6)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("trainable", [True, False])
def test_fused_normalisation_equals_keras(both, rng, shape, training, trainable):
    images = tf.constant(rng.normal(2, 3, shape).astype(np.float32))
    weights = rng.normal(size=shape).astype(np.float32)
    results = []
    for layer in both:
        layer.trainable = trainable
        variables = [layer.gamma, layer.beta]
        with tf.GradientTape() as tape:
            tape.watch([images, *(v.value for v in variables)])
            for _ in range(2):  # twice: the moving statistics move twice
                output = layer(images, training=training)
            loss = tf.reduce_sum(output * weights)
        sources = [images, *(v.value for v in variables)]
        results.append([output, *tape.gradient(loss, sources), *layer.get_weights()])
    names = ["output", "to images", "to gamma", "to beta", "gamma", "beta", "mean", "variance"]
    for name, ours, theirs in zip(names, *results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5, err_msg=name)


def test_fused_normalisation_moves_its_statistics_only_in_training(both, rng):
    layer, _ = both
    images = rng.normal(2, 3, (3, 5, 4, 6)).astype(np.float32)
    before = layer.get_weights()
    layer(images)
    layer(images, training=False)
    for was, now in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    layer(images, training=True)
    assert np.abs(layer.get_weights()[2] - before[2]).min() > 0
    assert np.abs(layer.get_weights()[3] - before[3]).min() > 0
