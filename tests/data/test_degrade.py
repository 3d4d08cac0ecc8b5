"""Damaged inputs against SciPy, TensorFlow and hand computation."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import smooth_photo
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from srlib import resize
from srlib.data.degrade import CHANGES, REDUCTIONS, degrade, describe

#: One of each step, and steps in a row.
NAMES = [
    *REDUCTIONS,
    *("blur 0.5", "noise 5", "jpeg 50", "bilateral 30"),
    *("noise 10, bicubic", "box, noise 2, jpeg 75, bilateral 20"),
]


@pytest.fixture
def truth() -> np.ndarray:
    return smooth_photo(48, 64, 3)


def flat(level: int, side: int = 256) -> np.ndarray:
    return np.full((side, side, 3), level, np.uint8)


def test_there_is_a_name_for_every_step():
    words = {step.strip().rpartition(" ")[0] for name in NAMES for step in name.split(",")}
    assert set(CHANGES) <= words
    assert set(REDUCTIONS) <= set(NAMES)


# --- reductions


@pytest.mark.parametrize("kernel", resize.KERNELS)
def test_a_kernel_alone_is_srlib_s_own_reduction(truth, kernel):
    np.testing.assert_array_equal(degrade(truth, kernel), resize.downscale(truth, 2, kernel))


def test_as_trained_by_default(truth):
    np.testing.assert_array_equal(degrade(truth), resize.downscale(truth))


def test_aliased_bicubic_is_what_tensorflow_does_by_default(truth):
    size = (truth.shape[0] // 2, truth.shape[1] // 2)
    expected = tf.image.resize(truth[None].astype(np.float32), size, "bicubic")[0].numpy()
    expected = np.rint(expected.clip(0, 255))
    found = degrade(truth, "aliased bicubic").astype(float)
    # TensorFlow drops the taps outside the image, MATLAB mirrors it.
    np.testing.assert_allclose(found[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1)
    assert np.mean(found[1:-1, 1:-1] != expected[1:-1, 1:-1]) < 0.01
    assert (degrade(truth, "bicubic") != degrade(truth, "aliased bicubic")).mean() > 0.05


# --- blur, JPEG, noise, and the filter


@pytest.mark.parametrize("sigma", [0.5, 0.7, 2.0])
def test_blur_is_scipy_s(truth, sigma):
    low = degrade(truth)
    radius = int(np.ceil(3 * sigma))
    for channel in range(3):
        expected = gaussian_filter(
            low[..., channel].astype(float), sigma, mode="reflect", radius=radius
        )
        found = degrade(truth, f"blur {sigma}")[..., channel]
        np.testing.assert_allclose(found, expected, atol=0.5001)


@pytest.mark.parametrize("quality", [90, 50, 10])
def test_jpeg_is_tensorflow_s(truth, quality):
    """Written by another program: quality, halved colours and the order of the colours agree."""
    low = degrade(truth)
    found = degrade(truth, f"jpeg {quality}").astype(int)
    difference = {}
    for halved in (True, False):
        file = tf.io.encode_jpeg(low, quality=quality, chroma_downsampling=halved)
        other = tf.io.decode_jpeg(file, dct_method="INTEGER_ACCURATE").numpy().astype(int)
        difference[halved] = np.abs(found - other).mean()
    assert difference[True] < 0.2
    assert difference[False] > 0.5
    assert np.abs(found - low).mean() > 0.5


def test_lower_quality_damages_more(truth):
    error = [
        np.mean((degrade(truth, f"jpeg {quality}") - degrade(truth).astype(float)) ** 2)
        for quality in (95, 75, 30, 5)
    ]
    assert error == sorted(error)
    assert error[0] < error[-1] / 5


@pytest.mark.parametrize("sigma", [2, 5, 10])
def test_noise_has_the_level_it_says(sigma):
    change = degrade(flat(120), f"noise {sigma}").astype(float) - 120
    count = change.size
    expected = np.sqrt(sigma**2 + 1 / 12)  # rounding to 8 bits adds its own
    assert change.std() == pytest.approx(expected, rel=4 / np.sqrt(2 * count))
    assert abs(change.mean()) < 4 * sigma / np.sqrt(count)
    planes = change.reshape(-1, 3).T
    off_diagonal = np.corrcoef(planes)[np.triu_indices(3, 1)]
    assert np.abs(off_diagonal).max() < 4 / np.sqrt(count / 3)
    neighbours = np.corrcoef(change[:, 1:].ravel(), change[:, :-1].ravel())[0, 1]
    assert abs(neighbours) < 4 / np.sqrt(count)


def test_two_images_have_two_noises():
    noises = [degrade(flat(level), "noise 10").astype(float) - level for level in (120, 121)]
    correlation = np.corrcoef(noises[0].ravel(), noises[1].ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(noises[0].size)


def test_noise_is_cut_off_at_black_and_white():
    assert degrade(flat(0), "noise 10").max() > 20
    assert np.mean(degrade(flat(0), "noise 10") == 0) > 0.45
    assert np.mean(degrade(flat(255), "noise 10") == 255) > 0.45


def test_the_order_of_the_steps_counts():
    """Noise that lies in the large photo is averaged when the photo is reduced."""
    _, weights = resize.taps(256, 128)
    left = (weights[64] ** 2).sum()  # of the standard deviation, by the reduction of both axes
    first = degrade(flat(120), "noise 10, bicubic").astype(float).std()
    last = degrade(flat(120), "bicubic, noise 10").astype(float).std()
    assert first == pytest.approx(10 * left, rel=0.02)
    assert last == pytest.approx(10, rel=0.02)
    np.testing.assert_array_equal(
        degrade(flat(120), "bicubic, noise 10"), degrade(flat(120), "noise 10")
    )


@pytest.mark.parametrize("levels", [10, 30])
def test_the_bilateral_filter_by_its_definition(truth, levels):
    """One pixel at a time, as Tomasi and Manduchi write it down."""
    noisy = degrade(truth, "noise 10")
    found = degrade(truth, f"noise 10, bilateral {levels}")
    height, width = noisy.shape[:2]
    for y, x in ((0, 0), (11, 20), (5, width - 1), (height - 2, 3)):
        total, norm = np.zeros(3), 0.0
        for dy in (-2, -1, 0, 1, 2):
            for dx in (-2, -1, 0, 1, 2):
                ny, nx = y + dy, x + dx  # mirrored at the border: -1 is 0, height is height - 1
                ny = -1 - ny if ny < 0 else min(ny, 2 * height - 1 - ny)
                nx = -1 - nx if nx < 0 else min(nx, 2 * width - 1 - nx)
                neighbour = noisy[ny, nx].astype(float)
                closeness = np.exp(-(np.hypot(dy, dx) ** 2) / (2 * 1.5**2))
                distance = np.linalg.norm(neighbour - noisy[y, x])
                similarity = np.exp(-(distance**2) / (2 * levels**2))
                total += closeness * similarity * neighbour
                norm += closeness * similarity
        np.testing.assert_allclose(found[y, x], total / norm, atol=0.501)
    assert np.abs(found.astype(int) - noisy).mean() > 1


def test_the_bilateral_filter_takes_noise_and_leaves_edges():
    step = flat(60)
    step[:, 128:] = 190
    low = degrade(step, "box, noise 10").astype(float)
    filtered = degrade(step, "box, noise 10, bilateral 30").astype(float)
    blurred = degrade(step, "box, noise 10, blur 1").astype(float)
    assert filtered[:, :60].std() < 0.5 * low[:, :60].std()
    edge = [image[:, 64].mean() - image[:, 63].mean() for image in (filtered, blurred)]
    assert edge[0] > 125
    assert edge[1] < 70


# --- what holds for all


@pytest.mark.parametrize("name", NAMES)
def test_alone_or_in_a_batch_and_again(truth, name):
    batch = np.stack([truth, truth[::-1], smooth_photo(48, 64, 4)])
    before = batch.copy()
    found = degrade(batch, name)
    assert found.shape == (3, 24, 32, 3)
    assert found.dtype == np.uint8
    for image, low in zip(batch, found, strict=True):
        np.testing.assert_array_equal(degrade(image, name), low)
    np.testing.assert_array_equal(batch, before)


@given(
    arrays(np.uint8, st.tuples(*[st.integers(1, 9).map(lambda n: 2 * n)] * 2, st.just(3))),
    st.sampled_from(NAMES),
)
def test_any_photo_gives_half_its_size(truth, name):
    low = degrade(truth, name)
    assert low.dtype == np.uint8
    assert low.shape == (truth.shape[0] // 2, truth.shape[1] // 2, 3)


@given(st.integers(0, 255), st.sampled_from([n for n in NAMES if "noise" not in n]))
def test_a_flat_photo_stays_as_it_is(level, name):
    found = degrade(flat(level, 16), name).astype(int)
    # JPEG of quality 50 stores a block's mean in steps of two levels.
    assert np.abs(found - level).max() <= ("jpeg" in name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bicubic", "antialiased bicubic"),
        ("aliased bicubic", "aliased bicubic"),
        ("box", "box"),
        ("jpeg 75", "antialiased bicubic, then JPEG of quality 75 (4:2:0)"),
        ("blur 0.5", "antialiased bicubic, then Gaussian blur of 0.5 pixels"),
        ("noise 5,lanczos", "Gaussian noise of 5 grey levels, then lanczos"),
        ("bilateral 30", "antialiased bicubic, then bilateral filter of 30 grey levels"),
    ],
)
def test_the_steps_in_words(name, words):
    assert describe(name) == words


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Bicubic", "unknown step 'Bicubic'; choose from bicubic,.*jpeg AMOUNT"),
        ("", "unknown step ''"),
        ("jpeg", "unknown step 'jpeg'"),
        ("box, grain 3", "'box, grain 3': unknown step 'grain 3'"),
        ("jpeg 0", "jpeg takes a whole number from 1 to 95, not '0'"),
        ("jpeg 99", "1 to 95"),
        ("jpeg 75.5", "whole number"),
        ("jpeg high", "not 'high'"),
        ("noise nan", "noise takes a number from 0.1 to 100, not 'nan'"),
        ("noise -1", "not '-1'"),
        ("blur inf", "not 'inf'"),
        ("box, bicubic", "reduces twice"),
    ],
)
def test_a_wrong_name_says_what_is_wrong(truth, name, message):
    for function in (lambda: degrade(truth, name), lambda: describe(name)):
        with pytest.raises(ValueError, match=message):
            function()


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((8, 8, 3), np.float32, "uint8.*float32"),
        ((8, 8), np.uint8, r"\(8, 8\)"),
        ((8, 8, 4), np.uint8, r"\(8, 8, 4\)"),
        ((1, 8, 7, 3), np.uint8, "even, not .8, 7."),
    ],
)
def test_an_unfit_array_is_refused(shape, dtype, message):
    with pytest.raises(ValueError, match=message):
        degrade(np.zeros(shape, dtype), "jpeg 75")
