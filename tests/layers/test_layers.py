"""Every layer of srlib: one generic test for all, then what each promises."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from srlib.layers.filters import ClipAtInference, FilterUpsampling, Luma
from srlib.layers.normalization import FusedBatchNormalization
from srlib.layers.upsampling import UPSAMPLERS, BoxedConv2DTranspose, ResizeConv2D, SubPixelConv2D
from srlib.pixels import y_channel
from srlib.resize import interpolate

# name -> (layer, its arguments, enlargement, output channels for 3 input channels)
LAYERS = {
    "bicubic": (FilterUpsampling, {"kernel": "bicubic"}, 2, 3),
    "lanczos": (FilterUpsampling, {"kernel": "lanczos", "scale": 3}, 3, 3),
    "nearest": (FilterUpsampling, {"kernel": "nearest"}, 2, 3),
    "linear": (FilterUpsampling, {"kernel": None, "taps": 7}, 2, 3),
    "subpixel": (SubPixelConv2D, {"filters": 5}, 2, 5),
    "subpixel3": (SubPixelConv2D, {"filters": 2, "scale": 3, "kernel_size": 5}, 3, 2),
    "clip": (ClipAtInference, {}, 1, 3),
    "luma": (Luma, {}, 1, 1),
    "batch_norm": (FusedBatchNormalization, {"momentum": 0.8, "epsilon": 0.01}, 1, 3),
    "nearest3_conv": (ResizeConv2D, {"filters": 2, "scale": 3, "kernel_size": 5}, 3, 2),
    "bilinear_conv": (ResizeConv2D, {"filters": 5, "interpolation": "bilinear"}, 2, 5),
    "boxed3": (BoxedConv2DTranspose, {"filters": 2, "kernel_size": 3}, 2, 2),
} | {f"UPSAMPLERS: {name}": (make, {"filters": 4}, 2, 4) for name, make in UPSAMPLERS.items()}
ALWAYS_FLOAT32 = {"bicubic", "lanczos", "nearest", "linear", "luma"}


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
    _, options, *_ = LAYERS[name]
    layer = make(name)
    kind = type(layer)
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
    assert tuple(make(name).compute_output_shape(images.shape)) == expected

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
        expected = interpolate(images, scale, kernel)
        np.testing.assert_allclose(layer(images), expected, atol=1e-5)


def test_filter_upsampling_starts_as_bicubic(rng):
    images = rng.uniform(0, 1, (1, 5, 6, 3)).astype(np.float32)
    for taps in (5, 7, 9):
        layer = FilterUpsampling(2, None, taps)
        np.testing.assert_allclose(layer(images), interpolate(images), atol=1e-5)
        assert layer.filters.shape == (taps, taps, 4)


def test_luma_is_studio_range_luma_stretched_to_the_full_range(batch):
    full = (y_channel(batch) - 16) / 219
    np.testing.assert_allclose(Luma()(batch), full, atol=1e-4)


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
    np.testing.assert_allclose(output, interpolate(images), atol=1e-5)


# --- SubPixelConv2D


@pytest.mark.parametrize("scale", [2, 3])
def test_subpixel_starts_as_a_nearest_enlargement_of_a_convolution(scale, rng):
    images = rng.normal(size=(2, 5, 4, 6)).astype(np.float32)
    layer = SubPixelConv2D(3, scale)
    output = layer(images).numpy()
    one_phase = layer.conv_kernel[..., :3]
    features = tf.nn.conv2d(images, one_phase, 1, "SAME").numpy()
    assert np.std(features) > 0.1
    np.testing.assert_allclose(output, interpolate(features, scale, "nearest"), atol=1e-5)


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


# --- ResizeConv2D and BoxedConv2DTranspose, against plain NumPy


def randomised(layer: keras.layers.Layer, channels: int, seed: int = 1) -> keras.layers.Layer:
    """The layer with weights and biases none of which is what it started with."""
    layer.build((None, None, None, channels))
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(0, 0.3, w.shape) for w in layer.get_weights()])
    return layer


def plain_convolution(images, kernel, bias):
    size = len(kernel)
    before = (size - 1) // 2
    padded = np.pad(
        images, ((0, 0), (before, size - 1 - before), (before, size - 1 - before), (0, 0))
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))
    return np.einsum("nyxcij,ijcf->nyxf", windows, kernel) + bias


def plain_bilinear(images, scale):
    """Each axis alone, between the pixels' middles; borders continue."""
    for axis in (1, 2):
        length = images.shape[axis]
        places = (np.arange(length * scale) + 0.5) / scale - 0.5
        images = np.apply_along_axis(
            lambda line, at=places, n=length: np.interp(at, np.arange(n), line), axis, images
        )
    return images


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_resize_convolution_by_hand(interpolation, scale, kernel_size, rng):
    images = rng.normal(size=(2, 5, 4, 3)).astype(np.float32)
    layer = randomised(ResizeConv2D(4, scale, kernel_size, interpolation), 3)
    if interpolation == "nearest":
        enlarged = images.repeat(scale, axis=1).repeat(scale, axis=2)
    else:
        enlarged = plain_bilinear(images, scale)
    expected = plain_convolution(enlarged, *layer.get_weights())
    np.testing.assert_allclose(layer(images), expected, atol=1e-4)


def plain_transposed_convolution(images, kernel, bias):
    """Every input pixel stamps the kernel two pixels further; "same" cuts the border."""
    n, height, width, _ = images.shape
    size, filters = len(kernel), kernel.shape[2]
    large = np.zeros((n, 2 * height + size, 2 * width + size, filters))
    for y, x in np.ndindex(height, width):
        stamp = np.einsum("nc,ijfc->nijf", images[:, y, x], kernel)
        large[:, 2 * y : 2 * y + size, 2 * x : 2 * x + size] += stamp
    before = (size - 2) // 2
    return large[:, before : before + 2 * height, before : before + 2 * width] + bias


def plain_box(images):
    """Mean of each pixel, its right and its lower neighbours, as far as there are any."""
    total, count = np.zeros_like(images), np.zeros_like(images)
    height, width = images.shape[1:3]
    for dy, dx in np.ndindex(2, 2):
        total[:, : height - dy, : width - dx] += images[:, dy:, dx:]
        count[:, : height - dy, : width - dx] += 1
    return total / count


@pytest.mark.parametrize("kernel_size", [3, 4, 5])
def test_boxed_transposed_convolution_by_hand(kernel_size, rng):
    images = rng.normal(size=(2, 5, 4, 3)).astype(np.float32)
    layer = randomised(BoxedConv2DTranspose(4, kernel_size), 3)
    transposed = plain_transposed_convolution(images, *layer.get_weights())
    np.testing.assert_allclose(layer(images), plain_box(transposed), atol=1e-4)


@pytest.mark.parametrize(("name", "size"), [("deconv k4s2", 4), ("deconv k3s2", 3)])
def test_transposed_convolutions_are_what_they_are_called(name, size, rng):
    images = rng.normal(size=(2, 5, 4, 3)).astype(np.float32)
    layer = randomised(UPSAMPLERS[name](6), 3)
    assert layer.kernel.shape == (size, size, 6, 3)
    expected = plain_transposed_convolution(images, *layer.get_weights())
    np.testing.assert_allclose(layer(images), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["nearest + conv", "bilinear + conv", "deconv + box"])
def test_weights_have_the_same_names_in_every_layer(name):
    """The zoo's files go by them."""
    layers = [UPSAMPLERS[name](4, name="upsample") for _ in range(2)]
    for layer in layers:
        layer.build((None, None, None, 3))
    first, second = ([w.path for w in layer.weights] for layer in layers)
    assert first == second


# --- flat features

#: Whether flat features stay flat: whatever the weights, and before training.
FLAT = {
    "deconv k4s2": (False, False),
    "deconv k3s2": (False, False),
    "sub-pixel": (False, False),
    "sub-pixel ICNR": (False, True),
    "nearest + conv": (True, True),
    "bilinear + conv": (True, True),
    "deconv + box": (True, True),
}


def ripple(name: str, seed: int, height: int, width: int, channels: int) -> float:
    """Range of a layer's answer to flat features, away from the border."""
    rng = np.random.default_rng(seed)
    layer = UPSAMPLERS[name](3)
    flat = np.ones((1, height, width, 1)) * rng.normal(size=channels)
    layer = randomised(layer, channels, seed)
    inside = layer(flat.astype(np.float32))[:, 4:-4, 4:-4].numpy()
    assert np.abs(inside).max() > 1e-3
    return float(np.ptp(inside, axis=(1, 2)).max())


@pytest.mark.parametrize("name", UPSAMPLERS)
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(6, 12),
    width=st.integers(6, 12),
    channels=st.integers(1, 8),
)
def test_flat_features_stay_flat_or_not_whatever_the_weights(name, seed, height, width, channels):
    drawn = ripple(name, seed, height, width, channels)
    assert drawn < 1e-5 if FLAT[name][0] else drawn > 1e-2


@pytest.mark.parametrize("name", UPSAMPLERS)
@given(seed=st.integers(0, 2**31), channels=st.integers(1, 8))
@settings(max_examples=10)
def test_flat_features_stay_flat_or_not_before_training(name, seed, channels):
    keras.utils.set_random_seed(seed)
    flat = np.ones((1, 8, 7, channels), np.float32)
    inside = UPSAMPLERS[name](3)(flat)[:, 4:-4, 4:-4].numpy()
    drawn = np.ptp(inside, axis=(1, 2)).max()
    assert drawn < 1e-5 if FLAT[name][1] else drawn > 1e-3


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
