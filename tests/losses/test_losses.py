"""srlib.losses: what a perceptual loss must promise, and how the published one fails."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.loss_arms import MisWiredLoss
from srlib import losses
from srlib.losses import perceptual, vgg
from srlib.losses.perceptual import PerceptualLoss, PixelAndPerceptualLoss
from srlib.losses.pixel import PixelLoss
from srlib.losses.vgg import VARIABLE, VGG16

REAL = Path(__file__).resolve().parents[3] / "shared/weights/vgg16_keras_block1_block2.npz"


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def own_features() -> keras.Model:
    keras.utils.set_random_seed(1)
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, 2, padding="same", activation="tanh")(images)
    return keras.Model(images, keras.layers.Conv2D(5, 3, padding="same")(x))


def both(pixel: str, **options) -> PixelAndPerceptualLoss:
    return PixelAndPerceptualLoss(
        pixel, PerceptualLoss("relu1_2", "random"),
        pixel_weight=0.5, perceptual_weight=0.25, reduction="none", **options,
    )  # fmt: skip


def perceptual_of(*args, **options) -> PerceptualLoss:
    return PerceptualLoss(*args, **{"weights": "random", "reduction": "none"} | options)


#: Every loss here, one value an image. Each must have every property below.
LOSSES = {
    "relu2_2": perceptual_of,
    "average pools": lambda: perceptual_of(pooling="average"),
    "before a ReLU": lambda: perceptual_of("conv2_1"),
    "half precision": lambda: perceptual_of(dtype="mixed_bfloat16"),
    "own features": lambda: perceptual_of(features=own_features()),
    "MSE + relu1_2": lambda: both("mse"),
    "L1 + relu1_2": lambda: both("l1"),
} | {
    kind: lambda kind=kind: PixelLoss(kind, reduction="none")
    for kind in ("mse", "l1", "charbonnier", "luma", "mse+luma")
}


@pytest.fixture(scope="module")
def built():
    """Losses, each built once."""
    known: dict[str, keras.losses.Loss] = {}

    def get(name: str) -> keras.losses.Loss:
        return known.setdefault(name, known.get(name) or LOSSES[name]())

    return get


@pytest.fixture(scope="module", params=LOSSES)
def loss(request, built):
    return built(request.param)


@pytest.fixture(scope="module")
def mis_wired():
    return MisWiredLoss("relu2_2", "random", reduction="none")


def pairs(seed: int, n: int = 4, height: int = 8, width: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Photos and predictions, both different in every image."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 1, (n, height, width, 3))
    prediction = truth + rng.normal(0, 0.2, truth.shape)
    return truth.astype(np.float32), prediction.astype(np.float32)


def same(ours, theirs, rel=1e-4):
    """Equal up to the order of sums; half precision rounds alike in every batch."""
    np.testing.assert_allclose(ours, theirs, rtol=rel, atol=1e-6)


# --- the properties


def zero_at_identity(loss, seed):
    truth, _ = pairs(seed)
    np.testing.assert_array_equal(loss(truth, truth), np.zeros(4))


def never_negative(loss, seed):
    assert (loss(*pairs(seed)).numpy() >= 0).all()


def positive_where_images_differ(loss, seed):
    truth, prediction = pairs(seed)
    prediction[1] = truth[1]
    values = loss(truth, prediction).numpy()
    assert (values[[0, 2, 3]] > 1e-3).all()


def symmetric(loss, seed):
    truth, prediction = pairs(seed)
    same(loss(truth, prediction), loss(prediction, truth))


def gradient(loss, seed):
    truth, prediction = (tf.constant(x) for x in pairs(seed))
    with tf.GradientTape() as tape:
        tape.watch([truth, prediction])
        value = tf.reduce_sum(loss(truth, prediction))
    return tape.gradient(value, [truth, prediction])


def gradient_reaches_every_prediction(loss, seed):
    _, to_prediction = gradient(loss, seed)
    assert to_prediction is not None
    assert np.isfinite(to_prediction).all()
    assert (np.abs(to_prediction).max(axis=(1, 2, 3)) > 1e-4).all()


def permuting_the_batch_permutes_the_losses(loss, seed):
    truth, prediction = pairs(seed)
    order = np.random.default_rng(seed).permutation(4)
    if (order == np.arange(4)).all():
        order = order[::-1]
    values = loss(truth, prediction).numpy()
    assert len(set(values.round(5))) == 4  # so that an order can be seen
    same(loss(truth[order], prediction[order]), values[order])


def batch_mates_do_not_matter(loss, seed):
    truth, prediction = pairs(seed)
    others = pairs(seed + 1)
    values = loss(truth, prediction).numpy()
    for i in range(4):
        mixed = [other.copy() for other in others]
        mixed[0][i], mixed[1][i] = truth[i], prediction[i]
        same(loss(*mixed)[i], values[i])


def an_image_may_be_alone(loss, seed):
    truth, prediction = pairs(seed)
    values = loss(truth, prediction).numpy()
    alone = [loss(truth[i : i + 1], prediction[i : i + 1]).numpy() for i in range(4)]
    same(np.concatenate(alone), values)


PROPERTIES = {
    check.__name__: check
    for check in (
        zero_at_identity,
        never_negative,
        positive_where_images_differ,
        symmetric,
        gradient_reaches_every_prediction,
        permuting_the_batch_permutes_the_losses,
        batch_mates_do_not_matter,
        an_image_may_be_alone,
    )
}


@pytest.mark.parametrize("name", PROPERTIES)
@given(seed=st.integers(0, 2**31))
@settings(max_examples=4)
def test_every_loss_has_every_property(loss, name, seed):
    PROPERTIES[name](loss, seed)


def gradient_goes_through_the_prediction_alone(loss, seed):
    to_truth, _ = gradient(loss, seed)
    assert to_truth is None or not np.any(to_truth)


@pytest.mark.parametrize(
    "name", ["relu2_2", "average pools", "before a ReLU", "half precision", "own features"]
)
def test_no_gradient_goes_through_the_truth(name, built):
    gradient_goes_through_the_prediction_alone(built(name), 3)


def fails(check, loss, seed) -> bool:
    try:
        check(loss, seed)
    except (AssertionError, tf.errors.InvalidArgumentError):  # the latter: there is no image 1
        return True
    return False


def test_the_mis_wired_loss_fails_exactly_these(mis_wired):
    """The classic system's loss adds truth and prediction and compares batch mates 0 and 1."""
    checks = PROPERTIES | {"only": gradient_goes_through_the_prediction_alone}
    for seed in (1, 2):
        assert {name for name, check in checks.items() if fails(check, mis_wired, seed)} == {
            "zero_at_identity",
            "gradient_reaches_every_prediction",
            "permuting_the_batch_permutes_the_losses",
            "batch_mates_do_not_matter",
            "an_image_may_be_alone",
            "only",
        }


def test_the_mis_wired_loss_compares_the_first_two_photos(mis_wired, built):
    """Hand-made: what it calls a loss is 0 when photos 0 and 1 are alike, however wrong."""
    truth, prediction = pairs(5)
    truth[1], prediction[1] = truth[0], prediction[0]
    np.testing.assert_array_equal(mis_wired(truth, prediction), np.zeros(4))
    _, to_prediction = gradient(mis_wired, 6)
    assert np.abs(to_prediction[:2]).max() > 0
    assert not np.any(to_prediction[2:])
    assert (built("relu2_2")(truth, prediction).numpy() > 1).all()


# --- the value, by hand


def plain_features(image: np.ndarray, arrays, pool=np.max) -> np.ndarray:
    """VGG16 after its last ReLU in float64, one picture in [0, 1], nothing but NumPy."""
    x = image[..., ::-1].astype(np.float64) * 255 - [103.939, 116.779, 123.68]
    for name, (kernel, bias) in arrays.items():
        if name.endswith("conv1") and name != "block1_conv1":
            h, w, c = (x.shape[0] // 2, x.shape[1] // 2, x.shape[2])
            x = pool(x[: 2 * h, : 2 * w].reshape(h, 2, w, 2, c), axis=(1, 3))
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        windows = [
            [padded[i : i + 3, j : j + 3] for j in range(x.shape[1])] for i in range(x.shape[0])
        ]
        x = np.maximum(np.tensordot(windows, kernel.astype(np.float64), 3) + bias, 0)
    return x


def by_hand(truth, prediction, weights, layer, pool=np.max) -> list[float]:
    arrays = vgg.load_weights(weights, layer).arrays
    return [
        np.mean((plain_features(t, arrays, pool) - plain_features(p, arrays, pool)) ** 2)
        for t, p in zip(truth, prediction, strict=True)
    ]


@pytest.fixture(params=["random", "ImageNet"])
def weights(request):
    if request.param == "random":
        return "random"
    if not REAL.exists():
        pytest.skip(f"ImageNet weights not present: no {REAL.name} in ../shared/weights")
    return REAL


@pytest.mark.parametrize(
    ("layer", "pooling"),
    [("relu1_1", "max"), ("relu1_2", "max"), ("block2_conv2", "max"), ("relu2_1", "average")],
)
def test_equals_a_plain_numpy_computation(weights, layer, pooling):
    truth, prediction = pairs(11, n=3, height=7, width=10)
    loss = PerceptualLoss(layer, weights, pooling=pooling, reduction="none")
    pool = {"max": np.max, "average": np.mean}[pooling]
    expected = by_hand(truth, prediction, weights, layer, pool)
    assert min(expected) > 10  # features of grey levels, not of [0, 1]
    np.testing.assert_allclose(loss(truth, prediction), expected, rtol=1e-4)


def test_mean_and_channel_order_are_vggs():
    """A loss without the mean, or of RGB, has another value, far beyond rounding."""
    truth, prediction = pairs(12, n=2)
    expected = by_hand(truth, prediction, "random", "relu2_2")
    value = PerceptualLoss(weights="random", reduction="none")(truth, prediction).numpy()
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    raw = VGG16("relu2_2", "random", preprocessing=False)
    offset = np.float32([103.939, 116.779, 123.68])
    for wrong in (
        lambda x: x * 255.0,  # RGB without the mean
        lambda x: x[..., ::-1] * 255.0,  # without the mean
        lambda x: x * 255.0 - offset[::-1],  # RGB
        lambda x: x[..., ::-1] * 255.0 - offset[::-1],  # the mean in RGB's order
    ):
        other = np.mean((raw(wrong(truth)) - raw(wrong(prediction))) ** 2, axis=(1, 2, 3))
        assert np.abs(other / value - 1).min() > 0.002


def test_own_features_by_hand():
    brightness = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Rescaling(10.0)])
    loss = PerceptualLoss(features=brightness, reduction="none")
    truth = np.zeros((2, 4, 5, 3), np.float32)
    prediction = truth.copy()
    prediction[1] = 0.3
    np.testing.assert_allclose(loss(truth, prediction), [0, 9], rtol=1e-6)


@pytest.mark.parametrize(
    ("pixel_weight", "perceptual_weight"), [(1.0, 1.0), (2.5, 0.004), (0.0, 1.0), (1.0, 0.0)]
)
@pytest.mark.parametrize("pixel", ["mse", "l1"])
def test_the_sum_by_hand(pixel, pixel_weight, perceptual_weight):
    truth, prediction = pairs(14, n=3)
    error = 255 * truth.astype(np.float64) - 255 * prediction.astype(np.float64)
    pixels = (error**2 if pixel == "mse" else np.abs(error)).mean(axis=(1, 2, 3))
    features = np.array(by_hand(truth, prediction, "random", "relu1_2"))
    loss = PixelAndPerceptualLoss(
        pixel, PerceptualLoss("relu1_2", "random"),
        pixel_weight=pixel_weight, perceptual_weight=perceptual_weight, reduction="none",
    )  # fmt: skip
    expected = pixel_weight * pixels + perceptual_weight * features
    np.testing.assert_allclose(loss(truth, prediction), expected, rtol=1e-4)


LUMA_ERROR = (0.299 * 6) ** 2 / 16  # of one of 16 pixels
BY_HAND = {
    "mse": 36 / 48,
    "l1": 6 / 48,
    "charbonnier": (37**0.5 - 1) / 48,
    "luma": LUMA_ERROR,
    "mse+luma": (36 / 48 + LUMA_ERROR) / 2,
    "psnr": -10 * np.log10(255**2 / ((36 / 48 + LUMA_ERROR) / 2 + 0.01)),
}


@pytest.mark.parametrize("kind", losses.PIXEL_LOSSES)
def test_one_wrong_grey_level_by_hand(kind):
    truth = np.full((1, 4, 4, 3), 0.5, np.float32)
    prediction = truth.copy()
    prediction[0, 1, 2, 0] += 6 / 255  # one of 48 numbers
    value = float(PixelLoss(kind)(truth, prediction))
    assert value == pytest.approx(BY_HAND[kind], rel=1e-4)
    alone = PixelAndPerceptualLoss(kind, perceptual_weight=0.0)
    assert float(alone(truth, prediction)) == value


def test_no_vgg_is_built_where_its_weight_is_zero(monkeypatch):
    def refused(*_, **__):
        raise AssertionError("VGG16 was built")

    monkeypatch.setattr(perceptual, "VGG16", refused)
    assert PixelAndPerceptualLoss(perceptual_weight=0.0).perceptual is None
    with pytest.raises(AssertionError, match="VGG16 was built"):
        PixelAndPerceptualLoss(perceptual_weight=0.1)


def test_the_default_is_the_classic_sum(monkeypatch):
    monkeypatch.setenv(VARIABLE, "random")
    truth, prediction = pairs(15)
    classic = PixelAndPerceptualLoss()
    expected = 255**2 * np.mean((truth - prediction) ** 2) + np.mean(
        by_hand(truth, prediction, "random", "block2_conv2")
    )
    assert float(classic(truth, prediction)) == pytest.approx(expected, rel=1e-4)
    assert classic.perceptual.features.origin == "random weights, seed 0"


@pytest.mark.parametrize("name", ["l2", "MSE", "mae", "", None])
def test_an_unknown_pixel_loss_is_refused(name):
    with pytest.raises(ValueError, match=r"unknown loss .*choose one of \['mse', 'l1'"):
        PixelLoss(name)


# --- as any Keras loss


@pytest.mark.parametrize("name", ["relu2_2", "MSE + relu1_2"])
def test_reductions_and_sample_weights(name, built):
    truth, prediction = pairs(16, n=3)
    per_image = built(name)(truth, prediction).numpy()
    config = built(name).get_config()
    by_reduction = {
        reduction: type(built(name)).from_config(config | {"reduction": reduction})
        for reduction in ("none", "sum", "sum_over_batch_size")
    }
    weights = np.array([1.0, 0.0, 3.0], np.float32)
    none, total, mean = by_reduction.values()
    np.testing.assert_allclose(none(truth, prediction), per_image, rtol=1e-5)
    assert float(total(truth, prediction)) == pytest.approx(per_image.sum(), rel=1e-5)
    assert float(mean(truth, prediction)) == pytest.approx(per_image.mean(), rel=1e-5)
    np.testing.assert_allclose(
        none(truth, prediction, sample_weight=weights), weights * per_image, rtol=1e-5
    )
    assert float(mean(truth, prediction, sample_weight=weights)) == pytest.approx(
        (weights * per_image).sum() / 3, rel=1e-5
    )


CONFIGURED = {
    "perceptual": lambda: PerceptualLoss(
        "conv1_2", "random", pooling="average", dtype="mixed_bfloat16", reduction="sum", name="mine"
    ),
    "sum": lambda: both("l1", name="ours"),
    "pixels": lambda: PixelLoss("charbonnier", reduction="sum", name="mine"),
    "pixels by a sum": lambda: PixelAndPerceptualLoss(
        PixelLoss("luma"), pixel_weight=2.0, perceptual_weight=0.0
    ),
}


@pytest.mark.parametrize("name", CONFIGURED)
@pytest.mark.parametrize("way", ["config", "keras", "JSON"])
def test_survives_serialisation(name, way):
    loss = CONFIGURED[name]()
    if way == "config":
        copy = type(loss).from_config(loss.get_config())
    else:
        description = keras.losses.serialize(loss)
        if way == "JSON":
            description = json.loads(json.dumps(description))
        copy = keras.losses.deserialize(description)
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()
    assert (copy.name, copy.reduction) == (loss.name, loss.reduction)
    images = pairs(17)
    np.testing.assert_array_equal(copy(*images), loss(*images))


#: Of a model that was saved before there was a PixelLoss, letter by letter.
OLD = """{"module": "srlib.losses", "class_name": "PixelAndPerceptualLoss", "config": {"name":
"pixel_and_perceptual_loss", "reduction": "none", "pixel": "l1", "pixel_weight": 0.5,
"perceptual_weight": %s, "perceptual": %s}, "registered_name": "srlib>PixelAndPerceptualLoss"}"""
OLD_FEATURES = """{"module": "srlib.losses", "class_name": "PerceptualLoss", "config": {"name":
"perceptual_loss", "reduction": "sum_over_batch_size", "layer": "relu1_2", "weights": "random",
"pooling": "max", "dtype": "float32"}, "registered_name": "srlib>PerceptualLoss"}"""


@pytest.mark.parametrize(("weight", "part"), [(0.25, OLD_FEATURES), (0.0, "null")])
def test_losses_of_older_models_are_read(weight, part, built):
    truth, prediction = pairs(20)
    loss = keras.losses.deserialize(json.loads(OLD % (weight, part)))
    expected = (0.5 * built("l1")(truth, prediction)).numpy()
    if weight:
        expected = expected + weight * PerceptualLoss("relu1_2", "random", reduction="none")(
            truth, prediction
        )
    np.testing.assert_allclose(loss(truth, prediction), expected, rtol=1e-6)


def test_a_path_of_weights_survives_serialisation(tmp_path):
    arrays = vgg.load_weights("random", "relu1_1", seed=4).arrays["block1_conv1"]
    path = tmp_path / "weights.npz"
    np.savez(path, **{"block1_conv1/kernel": arrays[0], "block1_conv1/bias": arrays[1]})
    loss = PerceptualLoss("relu1_1", path)
    description = json.loads(json.dumps(keras.losses.serialize(loss)))
    copy = keras.losses.deserialize(description)
    assert copy.features.origin == "ImageNet weights (weights.npz)"
    np.testing.assert_array_equal(copy(*pairs(18)), loss(*pairs(18)))


def test_a_loss_with_its_own_features_says_that_it_cannot_be_serialised():
    loss = PerceptualLoss(features=own_features())
    with pytest.raises(ValueError, match="own features cannot be serialised"):
        loss.get_config()
    with pytest.raises(ValueError, match="own features cannot be serialised"):
        PixelAndPerceptualLoss(perceptual=loss).get_config()


def enlarger(dtype="float32") -> keras.Model:
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.UpSampling2D(2),
            keras.layers.Conv2D(3, 3, padding="same", dtype=dtype),
        ]
    )


def training_pairs():
    truth, _ = pairs(19, n=8)
    return truth[:, ::2, ::2], truth


@pytest.mark.parametrize("name", CONFIGURED)
def test_a_compiled_model_is_saved_and_loaded_with_its_loss(name, tmp_path):
    model = enlarger()
    model.compile("sgd", CONFIGURED[name]())
    low, high = training_pairs()
    value = model.evaluate(low, high, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is type(model.loss)
    assert loaded.loss.get_config() == model.loss.get_config()
    assert loaded.evaluate(low, high, verbose=0) == pytest.approx(value, rel=1e-5)


def test_vgg_is_not_in_the_models_files(built, tmp_path):
    sizes = {}
    for name in ("mse", "relu2_2"):
        model = enlarger()
        model.compile("sgd", built(name))
        model.save_weights(tmp_path / f"{name}.weights.h5")
        sizes[name] = (tmp_path / f"{name}.weights.h5").stat().st_size
    assert sizes["relu2_2"] == sizes["mse"]


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_trained_on_pixels_load_into_a_model_compiled_with_vgg(built, tmp_path):
    before, after = enlarger(), enlarger()
    before.compile("sgd", built("mse"))
    after.compile("sgd", built("relu2_2"))
    before.layers[-1].kernel.assign(before.layers[-1].kernel + 1)
    before.save_weights(tmp_path / "pixels.weights.h5")
    after.load_weights(tmp_path / "pixels.weights.h5")
    np.testing.assert_array_equal(after.layers[-1].kernel, before.layers[-1].kernel)


def test_loading_a_model_leaves_the_losss_own_weights(tmp_path):
    """Weights saved beside random features must not bring them along."""
    model, loss = enlarger(), PerceptualLoss("relu1_1", "random")
    model.compile("sgd", loss)
    model.save_weights(tmp_path / "random.weights.h5")
    kernel = loss.features.get_layer("block1_conv1").kernel
    kernel.assign(np.full(kernel.shape, 7.0))  # as if these were ImageNet's
    model.load_weights(tmp_path / "random.weights.h5")
    assert (kernel.numpy() == 7).all()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("relu2_2", "float32"), ("half precision", "mixed_bfloat16"), ("own features", "float32"),
     ("L1 + relu1_2", "mixed_bfloat16")],
)  # fmt: skip
def test_anyone_can_compile_and_fit(name, dtype, built):
    loss = built(name)
    features = (loss.perceptual if isinstance(loss, PixelAndPerceptualLoss) else loss).features
    frozen = [w.numpy() for w in features.weights]
    model = enlarger(dtype)
    model.compile(keras.optimizers.Adam(0.01), loss)
    assert len(model.weights) == len(model.trainable_weights) == 2
    low, high = training_pairs()
    before = [w.numpy() for w in model.weights]
    history = model.fit(low, high, batch_size=4, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for weight, was in zip(model.weights, before, strict=True):
        assert np.abs(weight.numpy() - was).max() > 1e-3
    first = model.evaluate(low, high, verbose=0)
    model.fit(low, high, batch_size=4, epochs=5, verbose=0)
    assert model.evaluate(low, high, verbose=0) < first
    for weight, was in zip(features.weights, frozen, strict=True):
        np.testing.assert_array_equal(weight, was)
