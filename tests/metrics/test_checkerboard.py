"""srlib.metrics.checkerboard on patterns whose every reading is known."""

import keras
import numpy as np
import pytest
from conftest import smooth_photo
from hypothesis import given, settings
from hypothesis import strategies as st

from srlib import data, models
from srlib.layers.upsampling import UPSAMPLERS
from srlib.metrics import checkerboard
from srlib.metrics.checkerboard import checker, excess, flat_response, index, lines, spectrum
from srlib.pixels import to_uint8
from srlib.resize import downscale, interpolate

GREY = 0.5
#: What a thousandth of a grey level, which keeps flat images finite, adds to every power.
FLOOR = 1e-6


def grey(height: int, width: int, pattern=0.0) -> np.ndarray:
    """One flat grey picture with a pattern of grey levels on it, float64."""
    y, x = np.mgrid[:height, :width]
    levels = pattern(y, x) if callable(pattern) else pattern
    return np.broadcast_to((GREY + levels / 255 + 0 * x)[None, ..., None], (1, height, width, 3))


def decibels(power: float) -> float:
    """Reading of a line of that power on a picture without anything else."""
    return 10 * np.log10((power + FLOOR) / FLOOR)


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    """The embedded test photos, uint8 (44, 128, 128, 3)."""
    return data.pairs(data.photos("embedded", "test")).high


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(3).normal(0.5, 0.05, (300, 64, 64, 3))


# --- lines: which is which, and how high

# A unit pattern of period 2 -> the readings of its three lines.
PERIOD_2 = {
    "columns": (lambda y, x: (-1.0) ** x, 0),
    "rows": (lambda y, x: (-1.0) ** y, 1),
    "checker": (lambda y, x: (-1.0) ** (x + y), 2),
}


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (40, 24)])
@pytest.mark.parametrize("amplitude", [0.3, 1.0, 20.0])
@pytest.mark.parametrize("pattern", PERIOD_2)
def test_a_pattern_of_period_2_by_hand(pattern, amplitude, size):
    """All of ``amplitude**2`` lies in nine bins of which the Hann window makes one line.

    Stripes that differ from column to column are a horizontal frequency, the
    first line; from row to row a vertical one, the second; a checker the third.
    """
    form, which = PERIOD_2[pattern]
    height, width = size
    expected = [0.0, 0.0, 0.0]
    expected[which] = decibels(amplitude**2 * height * width / 9)
    image = grey(height, width, lambda y, x: amplitude * form(y, x))
    np.testing.assert_allclose(lines(image)[0], expected, atol=1e-6)
    assert index(image)[0] == pytest.approx(sum(expected) / 3)


def frequencies(period: int) -> list[tuple[int, int]]:
    """(Vertical, horizontal) frequency of each line, in units of 1 / period, in order."""
    return [(a, b) for a in range(period) for b in range(period) if a % 2 or b % 2]


@pytest.mark.parametrize("period", [2, 4, 8])
@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal"])
def test_a_cosine_raises_the_lines_of_its_own_period_and_no_other(period, direction):
    size, amplitude = 8 * 8, 3.0
    by, bx = {"horizontal": (0, 1), "vertical": (1, 0), "diagonal": (1, 1)}[direction]
    image = grey(
        size, size, lambda y, x: amplitude * np.cos(2 * np.pi * (by * y + bx * x) / period)
    )
    for other in (2, 4, 8):
        found = lines(image, other)[0]
        assert found.shape == (other**2 - (other // 2) ** 2,)
        expected = np.zeros(len(found))
        if other == period:
            # A cosine's power is shared by its two signs, which at Nyquist are the same.
            share = 1 if period == 2 else 0.25
            for sign in (1, -1):
                place = frequencies(period).index((sign * by % period, sign * bx % period))
                expected[place] = decibels(share * amplitude**2 * size**2 / 9)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert index(image, other)[0] == pytest.approx(expected.mean(), abs=1e-5)


def test_a_pattern_of_half_the_period_is_left_to_its_own_index():
    for amplitude in (1, 30):
        image = grey(64, 64, lambda y, x, a=amplitude: a * (-1.0) ** (x + y))
        assert index(image, 2)[0] > 20
        assert index(image, 4)[0] == index(image, 8)[0] == pytest.approx(0, abs=1e-6)


def test_a_flat_picture_reads_nothing():
    for level in (0, 77, 255):
        flat = np.full((2, 64, 64, 3), level, np.uint8)
        for period in (2, 4, 8):
            np.testing.assert_allclose(lines(flat, period), 0, atol=1e-9)


@pytest.mark.parametrize(("period", "bias"), [(2, -1.2), (4, -0.5), (8, -0.6)])
def test_white_noise_reads_about_nothing(noise, period, bias):
    """Over the ring it is 0 dB as a ratio; the mean of decibels lies somewhat lower."""
    readings = lines(noise, period)
    assert (10 ** (readings / 10)).mean() == pytest.approx(1, abs=0.1)
    assert readings.mean() == pytest.approx(bias, abs=0.4)
    np.testing.assert_allclose(readings.mean(axis=0), 0, atol=1.8)


def test_a_notch_is_negative(noise):
    spectra = np.fft.fft2(noise[:50], axes=(1, 2))
    spectra[:, 30:35, 30:35] = 0
    notched = np.fft.ifft2(spectra, axes=(1, 2)).real
    assert (lines(notched)[:, 2] < -15).all()
    np.testing.assert_allclose(lines(notched)[:, :2], lines(noise[:50])[:, :2], atol=1e-6)


def test_a_slope_has_no_lines_but_a_straight_edge_has(noise):
    """Why an index means little without the truth's own: lines of the picture itself count."""
    y, x = np.mgrid[:64, :64]
    ground = (noise[:100] - 0.5) / 10
    slope, edge = (1.5 * x - 0.5 * y) / 255, 80 / 255 * (x > 31)
    for period in (2, 4, 8):
        alone = index(0.5 + ground, period).mean()
        assert index(0.5 + ground + slope[..., None], period).mean() == pytest.approx(alone, abs=1)
    with_edge = 0.3 + ground + edge[..., None]
    assert index(with_edge).mean() > 5
    drawn = with_edge + checker(64, 64, 2 / 255)
    assert excess(drawn, with_edge).mean() > 3


def test_other_lines_in_the_ring_do_not_hide_a_line(noise):
    """The median: a strong neighbour changes the reading by less than a decibel."""
    y, x = np.mgrid[:64, :64]
    weak = noise + checker(64, 64, 6 / 255)
    neighbour = 30 / 255 * np.cos(2 * np.pi * (28 * y + 28 * x) / 64)[..., None]
    change = lines(weak + neighbour)[:, 2] - lines(weak)[:, 2]
    assert (lines(weak)[:, 2] > 6).mean() > 0.95
    assert np.abs(change.mean()) < 1
    assert neighbour.max() * 255 > 25


# --- the index and the excess


def test_index_is_the_mean_of_the_lines_and_excess_a_difference(photos):
    worse = np.clip(photos / 255 + checker(128, 128, 3 / 255), 0, 1)
    for period in (2, 4, 8):
        np.testing.assert_allclose(index(photos, period), lines(photos, period).mean(axis=1))
        np.testing.assert_allclose(
            excess(worse, photos, period), index(worse, period) - index(photos, period)
        )


@pytest.mark.parametrize("amplitude", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("rounded", [False, True])
def test_the_detection_limit_is_half_a_grey_level(photos, amplitude, rounded):
    """Each photo with a checker that nobody sees: the index does."""
    worse = np.clip(photos / 255 + checker(128, 128, amplitude / 255), 0, 1)
    values = excess(to_uint8(worse) if rounded else worse, photos)
    assert (values > 0).mean() > 0.95
    assert values.mean() > {0.5: 4, 1.0: 6, 2.0: 8}[amplitude]


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic"])
def test_interpolated_photos_have_no_excess(kernel, photos):
    """Controls: fixed kernels read like the truth, far below a checker of a grey level."""
    values = excess(interpolate(downscale(photos), 2, kernel), photos)
    assert abs(values.mean()) < 1
    assert np.median(values) < 0


def test_lanczos_ripples_on_slopes_and_the_index_sees_it(photos):
    """Unlike bicubic, it does not continue a slope: what it adds has period 2."""
    slope = np.broadcast_to(np.linspace(0.1, 0.9, 40)[None, None, :, None], (1, 40, 40, 3))
    ripple = {}
    for kernel in ("bicubic", "lanczos"):
        steps = np.diff(interpolate(slope.astype(np.float32), 2, kernel)[0, 40, 10:-10, 0])
        ripple[kernel] = np.abs(np.diff(steps)).mean() / steps.mean()
    assert ripple["bicubic"] < 0.001
    assert 0.005 < ripple["lanczos"] < 0.2
    values = excess(interpolate(downscale(photos), 2, "lanczos"), photos)
    assert 3 < values.mean() < 6


@given(seed=st.integers(0, 2**31), levels=st.lists(st.floats(1, 40), min_size=2, max_size=5))
def test_more_of_it_reads_more(seed, levels):
    """Monotone in the amplitude, once the pattern is stronger than what it lies on."""
    rng = np.random.default_rng(seed)
    levels = sorted(set(levels))
    ground = grey(32, 40) + rng.normal(0, 0.2 / 255, (1, 32, 40, 1))
    pictures = np.concatenate([ground + checker(32, 40, a / 255) for a in levels])
    readings = lines(pictures)[:, 2]
    assert (np.diff(readings) > 0).all() or len(levels) == 1
    # Twice the amplitude is 6 dB, the floor and the ground apart.
    steps = 20 * np.log10(np.array(levels[1:]) / np.array(levels[:-1]))
    np.testing.assert_allclose(np.diff(readings), steps, atol=1.5)


#: What may be done to noise in [0, 1] -> how nearly every line then reads the same.
UNCHANGED = {
    "negative": (lambda x: 1 - x, 1e-6),
    "fainter and darker": (lambda x: 0.1 + 0.2 * x, 1e-3),
    "stronger": (lambda x: 2 * x - 0.3, 1e-3),
    "float32": (lambda x: x.astype(np.float32), 1e-2),
    "in company": (lambda x: np.concatenate([x, x[:, ::-1]]), 1e-9),
}


@given(seed=st.integers(0, 2**31), amplitude=st.floats(-1, 1), period=st.sampled_from([2, 4, 8]))
@pytest.mark.parametrize("change", UNCHANGED)
def test_brightness_contrast_and_company_do_not_matter(change, seed, amplitude, period):
    image = np.random.default_rng(seed).uniform(0, 1, (1, 64, 72, 3))
    image = (1 + image + checker(64, 72, amplitude)) / 3
    make, tolerance = UNCHANGED[change]
    np.testing.assert_allclose(lines(make(image), period)[:1], lines(image, period), atol=tolerance)


TURNS = {
    "left to right": lambda x: x[:, :, ::-1],
    "upside down": lambda x: x[:, ::-1],
    "transposed": lambda x: x.transpose(0, 2, 1, 3),
    "a quarter": lambda x: np.rot90(x, 1, (1, 2)),
    "a half": lambda x: np.rot90(x, 2, (1, 2)),
    "three quarters": lambda x: np.rot90(x, 3, (1, 2)),
}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("period", [2, 4, 8])
def test_mirroring_and_turning_hardly_matter(turn, period, photos):
    """The window begins with a zero and does not end with one: half a decibel at most."""
    change = index(TURNS[turn](photos), period) - index(photos, period)
    assert np.abs(change).max() < 0.5
    assert abs(change.mean()) < 0.05


@given(seed=st.integers(0, 2**31), turn=st.sampled_from(list(TURNS)))
def test_a_turned_pattern_reads_the_same(seed, turn):
    """Where nothing but a pattern is to be seen, its index does not change at all."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.uniform(0.5, 20, 3)
    image = grey(32, 48, lambda y, x: a * (-1.0) ** x + b * (-1.0) ** y + c * (-1.0) ** (x + y))
    assert index(TURNS[turn](image))[0] == pytest.approx(index(image)[0], abs=1e-6)


def test_a_quarter_turn_exchanges_horizontal_and_vertical(photos):
    found, turned = lines(photos), lines(photos.transpose(0, 2, 1, 3))
    np.testing.assert_allclose(turned, found[:, [1, 0, 2]], atol=1e-9)


@pytest.mark.parametrize("shift", [(0, 2), (2, 0), (2, 2), (0, 1), (1, 1)])
def test_where_the_picture_is_cut_hardly_matters(shift):
    large = np.stack([photo[:132, :132] for photo in data.photos("embedded", "test").take(20)])
    dy, dx = shift
    first, second = large[:, :128, :128], large[:, dy : dy + 128, dx : dx + 128]
    for period in (2, 4, 8):
        change = index(second, period) - index(first, period)
        assert np.abs(change).max() < 1.5
        assert abs(change.mean()) < 0.15


def test_colours_count_by_their_luminance():
    """A pattern in one channel reads as a grey one of its share."""
    for channel, share in enumerate((0.299, 0.587, 0.114)):
        image = grey(32, 32).copy()
        image[..., channel] += checker(32, 32, 10 / 255)[..., 0]
        expected = decibels((10 * share) ** 2 * 32 * 32 / 9)
        assert lines(image)[0, 2] == pytest.approx(expected, abs=1e-6)
    balanced = grey(32, 32).copy()  # red against blue, of equal luminance
    balanced[..., 0] += checker(32, 32, 0.114)[..., 0]
    balanced[..., 2] -= checker(32, 32, 0.299)[..., 0]
    np.testing.assert_allclose(lines(balanced), 0, atol=1e-6)


def test_uint8_and_float_are_the_same_picture(photos):
    np.testing.assert_allclose(lines(photos[:5] / 255), lines(photos[:5]), atol=1e-6)


@pytest.mark.parametrize("size", [(33, 32), (39, 46)])
@pytest.mark.parametrize("period", [2, 4])
def test_sides_are_cut_to_multiples_of_the_period(size, period):
    image = np.random.default_rng(1).uniform(0, 1, (1, *size, 3))
    height, width = (side // period * period for side in size)
    np.testing.assert_allclose(lines(image, period), lines(image[:, :height, :width], period))


# --- the spectrum to be looked at


@pytest.mark.parametrize(
    ("pattern", "row", "column"), [("columns", 16, 0), ("rows", 0, 20), ("checker", 0, 0)]
)
def test_spectrum_by_hand(pattern, row, column):
    """Rows are vertical frequencies from -1/2 on; the peak is 4/9 of power times area."""
    form, _ = PERIOD_2[pattern]
    picture = spectrum(grey(32, 40, lambda y, x: 5 * form(y, x)))
    assert picture.shape == (32, 40) and picture.dtype == np.float64
    assert np.unravel_index(picture.argmax(), picture.shape) == (row, column)
    assert picture.max() == pytest.approx(10 * np.log10(25 * 32 * 40 * 4 / 9), abs=1e-6)


def test_spectrum_has_no_mean_and_averages_powers(photos):
    flat = spectrum(grey(32, 32))
    assert flat[16, 16] < -100
    both = 10 ** (spectrum(photos[:2]) / 10)
    each = [10 ** (spectrum(photos[i : i + 1]) / 10) for i in range(2)]
    np.testing.assert_allclose(both, np.mean(each, axis=0), rtol=1e-6)


# --- phases


#: Errors in grey levels of the phases [[top left, top right], [bottom left, bottom right]]
#: -> spread (standard deviation of the means) and ratio (largest over smallest square).
PHASES = [
    ([[4, -2], [2, 0]], np.sqrt(5), 16 / 1e-12),  # means about 1: squares 9, 9, 1, 1
    ([[4, -2], [2, 1]], np.sqrt(75 / 16), 16),  # means about 5/4
    ([[3, 3], [3, 3]], 0, 1),
    ([[3, -3], [-3, 3]], 3, 1),  # a checker
    ([[0, 0], [0, 0]], 0, 1),
]


@pytest.mark.parametrize(("errors", "spread", "ratio"), PHASES)
def test_phases_by_hand(errors, spread, ratio):
    truth = np.full((2, 6, 8, 3), 100, np.uint8)
    wrong = truth.copy()
    wrong[0] = 100 + np.tile(np.array(errors)[..., None], (3, 4, 1))
    means, squares = checkerboard.phase_errors(wrong, truth)
    np.testing.assert_allclose(means, [errors, np.zeros((2, 2))], atol=1e-9)
    np.testing.assert_allclose(squares, means**2, atol=1e-9)
    np.testing.assert_allclose(checkerboard.phase_spread(wrong, truth), [spread, 0], atol=1e-9)
    np.testing.assert_allclose(checkerboard.phase_ratio(wrong, truth), [ratio, 1], rtol=1e-6)


def test_phases_of_luminance_and_of_odd_sides():
    truth = np.zeros((1, 5, 7, 3))
    wrong = truth.copy()
    wrong[0, 1, 1, 1] = 60 / 255  # green; six cells
    wrong[0, 4] = wrong[0, :, 6] = 1.0  # the odd row and column are left out
    means, squares = checkerboard.phase_errors(wrong, truth)
    level = 60 * 0.587
    np.testing.assert_allclose(means, [[[0, 0], [0, level / 6]]], atol=1e-9)
    np.testing.assert_allclose(squares, [[[0, 0], [0, level**2 / 6]]], atol=1e-9)


@pytest.mark.parametrize(
    ("kernel", "spread", "ratio"),
    [("bicubic", 0.2, 1.1), ("bilinear", 0.2, 1.1), ("lanczos", 0.2, 1.1), ("nearest", 0.7, 1.25)],
)
def test_phases_of_interpolation_are_nearly_even(kernel, spread, ratio, photos):
    enlarged = interpolate(downscale(photos), 2, kernel)
    assert checkerboard.phase_spread(enlarged, photos).max() < spread
    assert np.median(checkerboard.phase_ratio(enlarged, photos)) < ratio


def test_a_phase_that_is_always_worse_is_found(photos):
    worse = photos.copy()
    worse[:, ::2, ::2] = interpolate(downscale(photos))[:, ::2, ::2]
    assert checkerboard.phase_ratio(worse, photos).min() > 100


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[1, 1], [1, 1]], 0),
        ([[1, 0], [0, 0]], np.sqrt(3)),
        ([[1, 1], [0, 0]], 1),
        ([[5, 3], [3, 5]], 0.25),
    ],
)
def test_unevenness_by_hand(values, expected):
    cells = np.tile(np.array(values, np.float32)[None, ..., None], (2, 3, 4, 5))
    assert checkerboard.unevenness(cells) == pytest.approx(expected)
    assert checkerboard.unevenness(1e-9 * cells) == pytest.approx(
        expected
    )  # whatever the loss's scale


def test_unevenness_is_of_the_mean_over_pictures_places_and_channels():
    values = np.zeros((2, 4, 2, 2), np.float32)
    # Four in the first picture's first cell, but each on another phase: even.
    values[0, 0, 0, 0] = values[1, 0, 1, 0] = values[0, 3, 0, 1] = values[1, 1, 1, 1] = 7
    assert checkerboard.unevenness(values) == pytest.approx(0)


def test_unevenness_needs_even_sides():
    with pytest.raises(ValueError):
        checkerboard.unevenness(np.ones((1, 3, 4, 1)))


# --- the response to nothing

UNEVEN = ("deconv k4s2", "deconv k3s2", "sub-pixel")
FLAT_BY_CONSTRUCTION = ("nearest + conv", "bilinear + conv", "deconv + box")
GREYS = (0.3, 0.5, 0.6)


def with_random_weights(upsampler: str, seed: int) -> keras.Model:
    """Weights as after some training: biases too; the picture stays within its range."""
    keras.utils.set_random_seed(seed)
    model = models.with_upsampler(upsampler, blocks=1, filters=6)
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        layer.set_weights([w + rng.normal(0, 0.02, w.shape) for w in layer.get_weights()])
    image = model.get_layer("image")
    image.set_weights([0.1 * w for w in image.get_weights()])
    return model


@pytest.mark.parametrize("name", ["nearest", "bicubic", "lanczos"])
def test_interpolation_of_nothing_is_nothing(name):
    response = flat_response(models.build(name), size=20)
    assert response.shape == (3,) and response.dtype == np.float64
    np.testing.assert_allclose(response, 0, atol=1e-4)


@pytest.mark.parametrize("upsampler", UNEVEN)
def test_an_untrained_upsampler_draws_upon_nothing(upsampler):
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        model = models.with_upsampler(upsampler, blocks=1, filters=8)
        assert flat_response(model, GREYS, size=20).min() > 0.5
        assert flat_response(with_random_weights(upsampler, seed), GREYS, size=20).min() > 0.05


@pytest.mark.parametrize("upsampler", FLAT_BY_CONSTRUCTION)
def test_some_upsamplers_cannot_draw_upon_nothing(upsampler):
    for seed in (1, 2):
        model = with_random_weights(upsampler, seed)
        low = np.full((1, 20, 20, 3), 0.5, np.float32)
        output = model(low, training=True).numpy()
        assert output.min() > 0.01 and output.max() < 0.99  # clipping hides nothing
        assert np.abs(output[:, 14:26, 14:26].mean() - 0.5) > 1e-4  # it did draw: another grey
        np.testing.assert_allclose(flat_response(model, GREYS, size=20), 0, atol=1e-3)


def test_icnr_only_begins_flat():
    keras.utils.set_random_seed(1)
    model = models.with_upsampler("sub-pixel ICNR", blocks=1, filters=6)
    image = model.get_layer("image")
    image.set_weights([0.1 * w for w in image.get_weights()])
    np.testing.assert_allclose(flat_response(model, GREYS, size=20), 0, atol=1e-3)
    assert flat_response(with_random_weights("sub-pixel ICNR", 1), GREYS, size=20).min() > 0.02


def test_every_upsampler_is_accounted_for():
    assert {*UNEVEN, *FLAT_BY_CONSTRUCTION, "sub-pixel ICNR"} == set(UPSAMPLERS)


def test_flat_response_by_hand():
    """A model that adds two grey levels to every other column, and a frame of rubbish."""

    class Stripes(keras.layers.Layer):
        def call(self, images):
            large = keras.ops.repeat(keras.ops.repeat(images, 2, 1), 2, 2)
            columns = keras.ops.arange(keras.ops.shape(large)[2])
            striped = large + 2 / 255 * keras.ops.cast(columns % 2, "float32")[:, None]
            middle = keras.ops.pad(
                keras.ops.ones_like(large[:, 5:-5, 5:-5]), ((0, 0), (5, 5), (5, 5), (0, 0))
            )
            return middle * striped

    low = keras.Input((None, None, 3))
    model = keras.Model(low, Stripes()(low))
    np.testing.assert_allclose(flat_response(model, [0.1, 0.7], size=12), [1, 1], atol=1e-4)
    np.testing.assert_allclose(flat_response(model, [0.2], size=64), [1], atol=1e-4)


# --- checker


def test_checker():
    np.testing.assert_array_equal(checker(2, 3, 0.5)[..., 0], [[0.5, -0.5, 0.5], [-0.5, 0.5, -0.5]])
    assert checker(4, 6, 1.0).shape == (4, 6, 1)
    np.testing.assert_array_equal(checker(4, 6, -2), -checker(4, 6, 2))
    assert checker(4, 6, 2).sum() == 0


# --- what is refused


COMPARE = (
    excess,
    checkerboard.phase_errors,
    checkerboard.phase_spread,
    checkerboard.phase_ratio,
)
PICTURE = np.zeros((2, 16, 18, 3), np.uint8)


@pytest.mark.parametrize("measure", [lines, index, spectrum])
@pytest.mark.parametrize(
    ("images", "message"),
    [(np.zeros(shape, np.uint8), r"expected RGB images \(N, H, W, 3\)") for shape in
     [(16, 16, 3), (2, 16, 16), (2, 16, 16, 1), (2, 16, 16, 4)]]
    + [(np.full((1, 16, 16, 3), 200, kind), r"give uint8, or floats in \[0, 1\]") for kind in
       [np.float32, np.float64, np.int64, np.uint16]],
)  # fmt: skip
def test_other_pictures_are_refused(measure, images, message):
    with pytest.raises(ValueError, match=message):
        measure(images)


@pytest.mark.parametrize("compare", COMPARE)
@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (PICTURE[:1], PICTURE, r"prediction is \(.*truth \(2, 16, 18, 3\)"),
        (PICTURE[:, :, :16], PICTURE, r"prediction is \(.*truth \(2, 16, 18, 3\)"),
        (PICTURE[0], PICTURE, r"prediction is \(.*truth \(2, 16, 18, 3\)"),
        (PICTURE + 200.0, PICTURE, "give uint8"),
        (PICTURE, PICTURE + 200.0, "give uint8"),
    ],
)
def test_pairs_that_do_not_compare_are_refused(compare, prediction, truth, message):
    with pytest.raises(ValueError, match=message):
        compare(prediction, truth)


@pytest.mark.parametrize("period", [0, 1, 3, 6, 16, -2])
def test_other_periods_are_refused(period):
    with pytest.raises(ValueError, match=f"period must be 2, 4 or 8, not {period}"):
        lines(np.zeros((1, 256, 256, 3), np.uint8), period)


@pytest.mark.parametrize("period", [2, 4, 8])
def test_small_pictures_are_refused(period):
    side = 8 * period
    lines(np.zeros((1, side, side + 1, 3), np.uint8), period)
    for height, width in ((side - 1, side), (side, side - 1)):
        with pytest.raises(ValueError, match=rf"at least {side} pixels.*not {width}x{height}"):
            lines(np.zeros((1, height, width, 3), np.uint8), period)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=5)
def test_photos_are_not_changed(seed):
    photo = smooth_photo(64, 64, seed % 1000)[None]
    before = photo.copy()
    for period in (2, 4, 8):
        assert np.isfinite(index(photo, period)).all()
    checkerboard.phase_ratio(photo, before)
    np.testing.assert_array_equal(photo, before)
