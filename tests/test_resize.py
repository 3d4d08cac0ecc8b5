"""srlib.resize against Pillow, against hand-computed values, against itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from srlib.pixels import to_float, to_uint8
from srlib.resize import KERNELS, downscale, interpolate, resize, taps

PILLOW = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
# (input, output) as (height, width). No ratio puts a pixel exactly on the edge
# of the box kernel, where the two libraries may choose differently.
SIZES = [
    ((48, 64), (24, 32)),
    ((48, 64), (96, 128)),
    ((45, 60), (15, 20)),
    ((40, 52), (29, 37)),
    ((31, 37), (53, 71)),
    ((36, 36), (9, 72)),
]


def with_pillow(image: np.ndarray, size: tuple[int, int], kernel: str) -> np.ndarray:
    planes = [
        Image.fromarray(plane.astype(np.float32)).resize(size[::-1], PILLOW[kernel])
        for plane in np.moveaxis(image, -1, 0)
    ]
    return np.stack([np.asarray(plane) for plane in planes], -1)


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize("kernel", PILLOW)
def test_equals_pillow(rng, kernel, before, after):
    image = rng.uniform(0, 255, (*before, 3)).astype(np.float32)
    ours, pillow = resize(image, after, kernel), with_pillow(image, after, kernel)
    assert ours.shape == pillow.shape and ours.dtype == np.float32
    # Pillow drops the weights that fall outside, MATLAB mirrors the image: they
    # agree wherever the kernel, as wide as it gets, stays inside.
    _, support = KERNELS[kernel]
    growth = [max(1.0, o / i) for i, o in zip(before, after, strict=True)]
    edge = [int(np.ceil(support / 2 * factor)) + 1 for factor in growth]
    inside = (slice(edge[0], -edge[0]), slice(edge[1], -edge[1]))
    assert ours[inside].size > 0
    np.testing.assert_allclose(ours[inside], pillow[inside], atol=2e-2)


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize("kernel", PILLOW)
def test_equals_pillow_within_reason_at_borders(kernel, before, after):
    y, x = np.mgrid[0 : before[0], 0 : before[1]]
    image = (100 + 40 * np.sin(y / 9) + 40 * np.cos(x / 11))[..., None].astype(np.float32)
    difference = np.abs(resize(image, after, kernel) - with_pillow(image, after, kernel))
    assert difference.max() < 2.5


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("kernel", KERNELS)
@given(before=st.integers(1, 40), after=st.integers(1, 40))
def test_weights_sum_to_one_and_stay_inside(kernel, antialias, before, after):
    indices, weights = taps(before, after, kernel, antialias)
    assert indices.shape == weights.shape and len(indices) == after
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    assert indices.min() >= 0 and indices.max() < before


@pytest.mark.parametrize("kernel", KERNELS)
@given(
    before=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    after=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    level=st.integers(0, 255),
)
def test_flat_stays_flat(kernel, before, after, level):
    flat = np.full((*before, 3), level, np.uint8)
    np.testing.assert_array_equal(
        resize(flat, after, kernel), np.full((*after, 3), level, np.uint8)
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_same_size_is_the_same_image(rng, kernel):
    image = rng.integers(0, 256, (7, 9, 3), np.uint8)
    np.testing.assert_array_equal(resize(image, (7, 9), kernel), image)
    exact = rng.uniform(0, 1, (7, 9, 3)).astype(np.float32)
    np.testing.assert_allclose(resize(exact, (7, 9), kernel), exact, atol=1e-6)


# "nearest" and "box" must choose a side when a centre falls between two pixels.
@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "lanczos"])
@given(
    image=hnp.arrays(np.float32, (7, 10, 1), elements=st.floats(0, 1, width=32)),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_flips_commute_with_resizing(kernel, image, size):
    resized = resize(image, size, kernel)
    np.testing.assert_allclose(resize(image[::-1], size, kernel), resized[::-1], atol=2e-6)
    np.testing.assert_allclose(resize(image[:, ::-1], size, kernel), resized[:, ::-1], atol=2e-6)
    turned = resize(image.swapaxes(0, 1), size[::-1], kernel)
    np.testing.assert_allclose(turned.swapaxes(0, 1), resized, atol=2e-6)


@pytest.mark.parametrize(("kernel", "degree"), [("bicubic", 2), ("bilinear", 1)])
def test_enlarging_reproduces_polynomials(kernel, degree):
    at = np.arange(20.0)
    fine = (np.arange(60) + 0.5) / 3 - 0.5
    image = (0.02 * at**degree)[None, :, None].astype(np.float32)
    enlarged = resize(image, (1, 60), kernel)[0, 9:-9, 0]
    np.testing.assert_allclose(enlarged, 0.02 * fine[9:-9] ** degree, atol=1e-5)


def test_lanczos_does_not_reproduce_a_parabola():
    """The control of the test above: it must be able to fail."""
    at, fine = np.arange(20.0), (np.arange(60) + 0.5) / 3 - 0.5
    enlarged = resize((0.02 * at**2)[None, :, None], (1, 60), "lanczos")[0, 9:-9, 0]
    assert np.abs(enlarged - 0.02 * fine[9:-9] ** 2).max() > 1e-3


def test_halving_by_hand():
    """Keys' cubic (a = -1/2), stretched twofold, is sampled at 1/4, 3/4, 5/4 and 7/4.

    1.5/64 - 2.5/16 + 1 = 111/128, 81/128 - 2.5*9/16 + 1 = 29/128, and on the
    far piece -9/128 and -3/128: eight weights that sum to two.
    """
    w = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    step = np.array([0.0] * 8 + [100.0] * 8)
    # Output pixel k covers 2k and 2k+1, its eight weights are those of 2k-3 ... 2k+4.
    padded = np.concatenate([step[2::-1], step, step[:-4:-1]])
    expected = [w @ padded[2 * k : 2 * k + 8] for k in range(8)]
    assert expected[3] == pytest.approx(100 * (29 - 9 - 3) / 256)
    np.testing.assert_allclose(resize(step[None, :, None], (1, 8))[0, :, 0], expected, atol=1e-4)


def test_doubling_by_hand():
    """A phase samples the cubic at 7/4, 3/4, 1/4, 5/4: -3, 29, 111, -9 of 128."""
    impulse = np.zeros((1, 9, 1), np.float32)
    impulse[0, 4, 0] = 128
    expected = np.zeros(18)
    expected[5:13] = [-3, -9, 29, 111, 111, 29, -9, -3]
    np.testing.assert_allclose(resize(impulse, (1, 18))[0, :, 0], expected, atol=1e-4)


def test_borders_are_mirrored():
    row = np.array([10.0, 20, 40, 80, 160, 10, 0, 30], np.float32)
    mirrored = np.concatenate([row[::-1], row, row[::-1]])
    for kernel in ("bicubic", "lanczos", "bilinear"):
        wide = resize(mirrored[None, :, None], (1, 12), kernel)[0, 4:8, 0]
        np.testing.assert_allclose(resize(row[None, :, None], (1, 4), kernel)[0, :, 0], wide, 1e-5)


def test_without_antialiasing_halving_reads_only_four_pixels():
    """At half size each centre lies midway: the cubic's weights are -1, 9, 9, -1 of 16."""
    row = np.array([0.0, 3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5])
    expected = [np.dot([-1, 9, 9, -1], row[k - 1 : k + 3]) / 16 for k in (2, 4, 6, 8)]
    plain = resize(row[None, :, None], (1, 6), antialias=False)[0, 1:5, 0]
    np.testing.assert_allclose(plain, expected, atol=1e-5)


def test_box_halving_is_the_mean_of_four(rng):
    image = rng.integers(0, 256, (2, 10, 14, 3), np.uint8)
    means = image.reshape(2, 5, 2, 7, 2, 3).astype(float).mean(axis=(2, 4))
    np.testing.assert_array_equal(downscale(image.astype(np.float32), 2, "box"), means)
    np.testing.assert_array_equal(downscale(image, 2, "box"), np.rint(means).astype(np.uint8))


def test_nearest_copies_pixels(rng):
    image = rng.integers(0, 256, (5, 6, 3), np.uint8)
    expected = image.repeat(3, axis=0).repeat(3, axis=1)
    np.testing.assert_array_equal(interpolate(image, 3, "nearest"), expected)
    np.testing.assert_array_equal(downscale(expected, 3, "nearest"), image)
    halved = resize(image[:4], (2, 3), "nearest")
    assert all((pixel == image[:4].reshape(-1, 3)).all(1).any() for pixel in halved.reshape(-1, 3))


def test_a_batch_is_its_images(rng):
    batch = rng.integers(0, 256, (3, 8, 6, 3), np.uint8)
    together = resize(batch, (5, 9))
    assert together.shape == (3, 5, 9, 3) and together.dtype == np.uint8
    for one, image in zip(together, batch, strict=True):
        np.testing.assert_array_equal(one, resize(image, (5, 9)))


def test_eight_bits_are_rounded_and_clipped_once(rng):
    image = rng.choice(np.array([0, 255], np.uint8), (12, 12, 3))
    exact = resize(image.astype(np.float32), (24, 24))
    assert exact.min() < -5 and exact.max() > 260  # bicubic overshoots: clipping matters
    expected = np.clip(np.rint(exact), 0, 255)
    np.testing.assert_array_equal(resize(image, (24, 24)), expected)


def test_the_input_is_left_alone(rng):
    image = rng.uniform(0, 1, (6, 6, 3)).astype(np.float32)
    before = image.copy()
    resize(image, (3, 3))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-0.3, 0), (0.49 / 255, 0), (0.51 / 255, 1), (254.4 / 255, 254), (1.0, 255), (1.01, 255),
     (7.0, 255)],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_to_uint8(value, expected, dtype):
    result = to_uint8(np.full((2, 2, 3), value, dtype))
    assert result.dtype == np.uint8 and (result == expected).all()


def test_eight_bits_survive_the_way_to_float_and_back():
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    unit = to_float(every)
    assert unit.dtype == np.float32 and unit.min() == 0 and unit.max() == 1
    np.testing.assert_array_equal(to_uint8(unit), every)


@pytest.mark.parametrize(("height", "width"), [(5, 4), (4, 5)])
def test_downscale_refuses_what_it_cannot_divide(height, width):
    with pytest.raises(ValueError, match=f"{height}x{width}.*crop"):
        downscale(np.zeros((height, width, 3), np.uint8))


def test_errors_say_what_is_wrong():
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=r"cubic.*choose one of.*bicubic"):
        resize(image, (2, 2), "cubic")
    with pytest.raises(ValueError, match=r"\(H, W, C\)"):
        resize(image[..., 0], (2, 2))
    with pytest.raises(ValueError, match="from 4 to 0"):
        resize(image, (0, 2))
