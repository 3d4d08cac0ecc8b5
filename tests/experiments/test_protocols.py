"""Variants of the protocol, against scikit-image; and chapter 6, which builds the same."""

import numpy as np
import pytest
from conftest import smooth_photo
from skimage.metrics import peak_signal_noise_ratio

import srlib
from experiments.protocols import FIELD, VARIANTS, bicubic_psnr
from srlib import models
from srlib.pixels import to_float
from srlib.resize import downscale, interpolate, resize
from srlib.upscaling.network import predict


@pytest.fixture(scope="module")
def truths() -> list[np.ndarray]:
    sizes = [(32, 40), (48, 32), (36, 36)]
    return [smooth_photo(h, w, i) for i, (h, w) in enumerate(sizes)]


def bicubic_of(truth: np.ndarray) -> np.ndarray:
    """Bicubic enlargement of the half-size photo, 8-bit, by the model."""
    high = predict(models.bicubic(), downscale(truth)[None])[0]
    return np.rint(high * 255).astype(np.uint8)


def luma(image: np.ndarray, black=16.0, gain=219.0) -> np.ndarray:
    return black + gain * (image / 255.0) @ np.array([0.299, 0.587, 0.114])


def test_the_fields_protocol_is_psnr_of_y_with_two_pixels_shaved(truths):
    values = [srlib.psnr(t, bicubic_of(t), channel="y", shave=2) for t in truths]
    assert bicubic_psnr(truths) == pytest.approx(np.mean(values), abs=1e-3)
    edge = (slice(2, -2), slice(2, -2))
    by_hand = [
        peak_signal_noise_ratio(luma(t)[edge], luma(bicubic_of(t))[edge], data_range=255)
        for t in truths
    ]
    assert bicubic_psnr(truths) == pytest.approx(np.mean(by_hand), abs=2e-3)


def test_rgb_and_full_range_y(truths):
    edge = (slice(2, -2), slice(2, -2))
    rgb = [peak_signal_noise_ratio(t[edge], bicubic_of(t)[edge], data_range=255) for t in truths]
    assert bicubic_psnr(truths, "RGB instead of Y") == pytest.approx(np.mean(rgb), abs=2e-3)
    # Studio range squeezes errors by 219/255 and so flatters by 1.32 dB, on any photo.
    full = bicubic_psnr(truths, "full-range instead of studio-range Y")
    gain = 20 * np.log10(255 / 219)
    assert bicubic_psnr(truths) - full == pytest.approx(gain, abs=1e-3)


def test_pooled_errors_never_score_higher(truths):
    field = bicubic_psnr(truths)
    pooled = bicubic_psnr(truths, "PSNR of the mean error")
    assert pooled < field
    errors = [255**2 / 10 ** (bicubic_psnr([t]) / 10) for t in truths]
    assert pooled == pytest.approx(10 * np.log10(255**2 / np.mean(errors)))
    one = truths[:1]
    assert bicubic_psnr(one, "PSNR of the mean error") == bicubic_psnr(one)


def test_wrap_around_ruins_a_picture_with_overshoot():
    sharp = np.zeros((32, 32, 3), np.uint8)
    sharp[:, 15:] = 255
    low = to_float(downscale(sharp))
    assert interpolate(low).max() > 1.005  # bicubic overshoots here
    wrapped = bicubic_psnr([sharp], "wrap-around instead of clipping")
    assert wrapped < bicubic_psnr([sharp]) - 5
    soft = np.full((32, 32, 3), 100, np.uint8) + np.arange(32, dtype=np.uint8)[:, None, None] ** 2
    assert bicubic_psnr([soft], "wrap-around instead of clipping") == (bicubic_psnr([soft]))


def test_truncation_darkens(truths):
    enlarged = [interpolate(to_float(downscale(t))).clip(0, 1) for t in truths]
    edge = (slice(2, -2), slice(2, -2))
    by_hand = [
        peak_signal_noise_ratio(
            luma(t)[edge], luma(np.floor(e.astype(np.float32) * 255))[edge], data_range=255
        )
        for t, e in zip(truths, enlarged, strict=True)
    ]
    truncated = bicubic_psnr(truths, "truncation instead of rounding")
    assert truncated == pytest.approx(np.mean(by_hand), abs=2e-3)
    assert truncated != pytest.approx(bicubic_psnr(truths), abs=1e-3)
    unrounded = bicubic_psnr(truths, "no rounding to 8 bits")
    assert abs(unrounded - bicubic_psnr(truths)) < abs(truncated - bicubic_psnr(truths))


def test_nothing_shaved_counts_the_border():
    truth = smooth_photo(32, 32, 5)
    truth[0] = 255 - truth[0]  # one odd row that bicubic cannot keep
    whole = bicubic_psnr([truth], "nothing shaved")
    by_hand = peak_signal_noise_ratio(luma(truth), luma(bicubic_of(truth)), data_range=255)
    assert whole == pytest.approx(by_hand, abs=2e-3)
    assert whole < bicubic_psnr([truth]) - 3


@pytest.mark.parametrize(
    ("variant", "low_of"),
    [
        ("input by every second pixel, shifted", lambda t: t[1::2, 1::2]),
        (
            "input by the 2x2 box",
            lambda t: np.rint(t.reshape(16, 2, 16, 2, 3).mean((1, 3)) + 1e-6).astype(np.uint8),
        ),
        (
            "input by aliased bicubic",
            lambda t: resize(t, (16, 16), "bicubic", antialias=False),
        ),
    ],
)
def test_other_inputs(variant, low_of):
    truth = smooth_photo(32, 32, 7)
    enlarged = interpolate(low_of(truth))
    expected = srlib.psnr(truth, enlarged, channel="y", shave=2)
    assert bicubic_psnr([truth], variant) == pytest.approx(expected, abs=0.05)
    assert bicubic_psnr([truth], variant) != bicubic_psnr([truth])


def test_every_variant_changes_one_choice():
    assert [name for name, change in VARIANTS.items() if not change] == ["the field's protocol"]
    for change in VARIANTS.values():
        assert change.keys() <= FIELD.keys()
        assert all(FIELD[key] != value for key, value in change.items())
