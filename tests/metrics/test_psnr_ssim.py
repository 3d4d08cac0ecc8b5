"""srlib.metrics against scikit-image, hand-computed values and published ones."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srlib.metrics.keras_metrics import PSNR, SSIM
from srlib.metrics.psnr_ssim import psnr, ssim
from srlib.pixels import to_uint8, y_channel
from srlib.resize import downscale, interpolate


@pytest.fixture
def images(rng):
    """Four pairs, uint8, of very different quality; the last is nearly flat."""
    truth = rng.integers(0, 256, (4, 20, 24, 3), np.uint8)
    truth[3] = 100
    noise = rng.normal(0, 1, truth.shape) * np.array([1, 10, 60, 2]).reshape(4, 1, 1, 1)
    return truth, to_uint8((truth + noise) / 255)


def reference_ssim(truth: np.ndarray, prediction: np.ndarray) -> float:
    return structural_similarity(
        truth.astype(np.float64),
        prediction.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=-1,
    )


def test_psnr_equals_scikit_image(images):
    truth, prediction = images
    expected = [peak_signal_noise_ratio(t, p, data_range=255) for t, p in zip(*images, strict=True)]
    np.testing.assert_allclose(psnr(truth, prediction), expected, atol=1e-4)
    cropped = [
        peak_signal_noise_ratio(t[3:-3, 3:-3], p[3:-3, 3:-3], data_range=255)
        for t, p in zip(*images, strict=True)
    ]
    np.testing.assert_allclose(psnr(truth, prediction, shave=3), cropped, atol=1e-4)


def test_psnr_of_luminance_equals_scikit_image(images):
    truth, prediction = images
    expected = [
        peak_signal_noise_ratio(
            rgb2ycbcr(t)[2:-2, 2:-2, 0], rgb2ycbcr(p)[2:-2, 2:-2, 0], data_range=255
        )
        for t, p in zip(*images, strict=True)
    ]
    np.testing.assert_allclose(psnr(truth, prediction, channel="y", shave=2), expected, atol=1e-4)


def test_ssim_equals_scikit_image(images):
    truth, prediction = images
    expected = [reference_ssim(t, p) for t, p in zip(*images, strict=True)]
    assert min(expected) < 0.95 < max(expected)
    np.testing.assert_allclose(ssim(truth, prediction), expected, atol=1e-6)
    luminance = [
        reference_ssim(rgb2ycbcr(t)[2:-2, 2:-2, :1], rgb2ycbcr(p)[2:-2, 2:-2, :1])
        for t, p in zip(*images, strict=True)
    ]
    np.testing.assert_allclose(ssim(truth, prediction, channel="y", shave=2), luminance, atol=1e-6)


def test_luminance_equals_scikit_image(images):
    truth, _ = images
    assert y_channel(truth).shape == (4, 20, 24, 1)
    np.testing.assert_allclose(y_channel(truth)[..., 0], rgb2ycbcr(truth)[..., 0], atol=1e-9)
    np.testing.assert_allclose(y_channel(truth / 255.0), y_channel(truth), atol=1e-9)


@pytest.mark.parametrize(
    ("colour", "level"),
    [((0, 0, 0), 16), ((255, 255, 255), 235), ((255, 0, 0), 81.481), ((0, 255, 0), 144.553),
     ((0, 0, 255), 40.966)],
)  # fmt: skip
def test_luminance_of_known_colours(colour, level):
    assert y_channel(np.array([[colour]], np.uint8))[0, 0, 0] == pytest.approx(level)


BLACK = np.zeros((9, 9, 3), np.uint8)


def marked(where, level) -> np.ndarray:
    image = BLACK.copy()
    image[where] = level
    return image


@pytest.mark.parametrize(
    ("prediction", "shave", "decibels"),
    [
        (BLACK + np.uint8(1), 0, 48.1308036),
        (BLACK + np.uint8(16), 0, 24.0484),
        (BLACK + np.uint8(51), 0, 13.9794001),
        (BLACK + np.uint8(255), 0, 0.0),
        (marked(np.s_[..., 1], 9), 0, 10 * np.log10(255**2 / 27)),  # one channel: a third of it
        (marked(np.s_[1, 4], 255), 2, np.inf),  # shaving hides the border, and only the border
        (marked(np.s_[1, 4], 255), 1, 10 * np.log10(49)),
        (marked(np.s_[:, -2], 255), 2, np.inf),
        (marked(np.s_[:, -2], 255), 1, 10 * np.log10(7)),
    ],
)
def test_psnr_by_hand(prediction, shave, decibels):
    assert psnr(BLACK, prediction, shave=shave) == pytest.approx(decibels, abs=1e-4)


def test_ssim_of_two_flat_images_by_hand():
    """No variance, no covariance: only the luminance term is left."""
    truth, other = (np.full((12, 12, 3), level, np.uint8) for level in (100, 150))
    expected = (2 * 100 * 150 + 6.5025) / (100**2 + 150**2 + 6.5025)
    assert ssim(truth, other) == pytest.approx(expected, abs=1e-9)


def test_equal_images():
    image = np.arange(13 * 13 * 3, dtype=np.uint8).reshape(13, 13, 3)
    assert psnr(image, image) == np.inf
    assert ssim(image, image) == pytest.approx(1, abs=1e-12)
    assert psnr(image, image / 255.0) == np.inf  # 8 bits against [0, 1]


def test_an_inverted_image_has_negative_ssim(rng):
    image = rng.integers(0, 256, (16, 16, 3), np.uint8)
    assert ssim(image, 255 - image) < -0.5


def test_rounding_and_clipping():
    truth = np.full((4, 4, 3), 100, np.uint8)
    near = np.full((4, 4, 3), 100.4 / 255)
    assert psnr(truth, near) == np.inf
    assert psnr(truth, near, rounded=False) == pytest.approx(10 * np.log10(255**2 / 0.16), abs=1e-6)
    white = np.full((4, 4, 3), 255, np.uint8)
    for rounded in (True, False):
        assert psnr(white, np.full((4, 4, 3), 1.3), rounded=rounded) == np.inf
        assert psnr(white * 0, np.full((4, 4, 3), -0.3), rounded=rounded) == np.inf


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_one_image_gives_a_float_and_a_batch_an_array(images, metric):
    truth, prediction = images
    values = metric(truth, prediction)
    assert values.shape == (4,) and values.dtype == np.float64
    for value, t, p in zip(values, truth, prediction, strict=True):
        single = metric(t, p)
        assert type(single) is float and single == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("part", "other", "options", "message"),
    [
        (np.s_[:], np.s_[:11], {}, "same size"),
        (np.s_[:], np.s_[None], {}, "same size"),
        (np.s_[..., 0], np.s_[..., 0], {}, "expected"),
        (np.s_[..., :2], np.s_[..., :2], {}, "expected"),
        (np.s_[:], np.s_[:], {"channel": "Y"}, "'Y'"),
        (np.s_[..., :1], np.s_[..., :1], {"channel": "y"}, "one channel"),
        (np.s_[:], np.s_[:], {"shave": 6}, "shaving 6"),
    ],
)
def test_errors_say_what_is_wrong(metric, part, other, options, message):
    image = np.zeros((12, 12, 3), np.uint8)
    with pytest.raises(ValueError, match=message):
        metric(image[part], image[other], **options)


def test_ssim_refuses_images_smaller_than_its_window():
    image = np.zeros((12, 12, 3), np.uint8)
    with pytest.raises(ValueError, match="11x11"):
        ssim(image, image, shave=1)


def test_functions_need_no_tensorflow():
    """Nor do the checkerboard and the detail: it takes many seconds to import."""
    code = (
        "import sys, srlib, srlib.metrics.checkerboard, srlib.metrics.detail; srlib.psnr, "
        "srlib.metrics.ssim; assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- as Keras metrics


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(7)
    truth = rng.uniform(0, 1, (6, 14, 15, 3)).astype(np.float32)
    noise = rng.normal(0, 1, truth.shape) * np.geomspace(0.01, 0.5, 6).reshape(6, 1, 1, 1)
    return truth, (truth + noise).astype(np.float32)  # leaves [0, 1] here and there


@pytest.mark.parametrize(("metric", "function"), [(PSNR, psnr), (SSIM, ssim)])
@pytest.mark.parametrize("shave", [0, 1])
@given(cuts=st.sets(st.integers(1, 5)))
def test_keras_metric_is_the_mean_of_the_function_however_batched(
    pairs, metric, function, shave, cuts
):
    truth, prediction = pairs
    running = metric(shave=shave)
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 6], strict=True):
        running.update_state(truth[start:end], prediction[start:end])
    expected = function(truth, prediction, shave=shave).mean()
    tolerance = 1e-3 if metric is PSNR else 1e-5
    assert float(running.result()) == pytest.approx(expected, abs=tolerance)
    running.reset_state()
    assert float(running.result()) == 0


def test_keras_psnr_of_equal_images_is_finite(pairs):
    running = PSNR()
    running.update_state(pairs[0][:1], pairs[0][:1])
    assert float(running.result()) == pytest.approx(100, abs=1e-3)


@pytest.mark.parametrize("metric", [PSNR, SSIM])
def test_keras_metric_survives_serialisation(metric, pairs):
    original = metric(name="mine", shave=1)
    copy = metric.from_config(original.get_config())
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(original))
    for other in (copy, again):
        assert type(other) is metric and other.name == "mine" and other.shave == 1
        for m in (original, other):
            m.reset_state()
            m.update_state(*pairs)
        assert float(other.result()) == float(original.result())


def test_keras_metrics_in_compile_and_evaluate(pairs):
    truth, prediction = pairs
    model = keras.Sequential([keras.Input((14, 15, 3)), keras.layers.Identity()])
    model.compile(loss="mse", metrics=[PSNR(), SSIM(shave=1)])
    logs = model.evaluate(prediction, truth, batch_size=4, verbose=0, return_dict=True)
    assert logs["psnr"] == pytest.approx(psnr(truth, prediction).mean(), abs=1e-3)
    assert logs["ssim"] == pytest.approx(ssim(truth, prediction, shave=1).mean(), abs=1e-5)


# --- published values

BENCHMARKS = Path(
    os.environ.get("SRLIB_BENCHMARKS")
    or Path(__file__).resolve().parents[3] / "shared" / "benchmarks"
)


@pytest.mark.parametrize(("name", "published"), [("Set5", 33.66), ("Set14", 30.24)])
def test_bicubic_scores_what_the_field_prints(name, published):
    """x2, MATLAB bicubic, Y channel, two pixels shaved, mean of the images' PSNR."""
    files = sorted((BENCHMARKS / name).glob("*.png"))
    if not files:
        pytest.skip("Set5/Set14 not present: set SRLIB_BENCHMARKS to run the published-value check")
    assert len(files) == int(name[3:])
    values = []
    for file in files:
        with Image.open(file) as opened:
            pixels = np.asarray(opened)
        grey = pixels.ndim == 2
        pixels = pixels[..., None] if grey else pixels
        pixels = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
        restored = interpolate(downscale(pixels))
        # The field takes the values of a greyscale file as its luminance.
        values.append(psnr(pixels, restored, channel="rgb" if grey else "y", shave=2))
    assert np.mean(values) == pytest.approx(published, abs=0.05)
