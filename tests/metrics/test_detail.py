"""Recovered and invented detail: known mixtures come out as they were mixed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import srlib
from srlib import resize
from srlib.metrics.detail import LIMIT, detail


def noise(seed: int, count: int = 6, side: int = 64) -> np.ndarray:
    """Grey noise around the middle: the same energy at every frequency."""
    grey = np.random.default_rng(seed).normal(0.5, 0.08, (count, side, side, 1))
    return grey.repeat(3, axis=-1).clip(0, 1)


def test_the_truth_itself_is_all_recovered():
    found = detail(noise(0), noise(0))
    np.testing.assert_allclose(found.recovered, found.truth)
    np.testing.assert_allclose(found.invented, 0, atol=1e-9)
    np.testing.assert_allclose(found.missing, 0, atol=1e-9)
    assert found.beyond() == pytest.approx({"recovered": 1, "invented": 0, "missing": 0}, abs=1e-9)


def test_foreign_noise_is_all_invented():
    shares = detail(noise(0), noise(1)).beyond()
    assert shares["recovered"] < 0.02
    assert shares["invented"] == pytest.approx(1, abs=0.05)
    assert shares["missing"] == pytest.approx(1, abs=0.02)


@given(st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_a_part_and_foreign_noise_come_apart_again(share, foreign):
    """The truth is two independent parts; the prediction shows one of them, and noise."""
    shown, hidden, other = (noise(seed, 12) - 0.5 for seed in (0, 1, 2))
    truth = share * shown + (1 - share) * hidden
    found = detail(truth + 0.5, (share * shown + foreign * other).clip(-0.5, 0.5) + 0.5)
    whole = share**2 + (1 - share) ** 2
    # Independent noises are not quite uncorrelated in so few pixels.
    shares = found.beyond()
    assert shares["recovered"] == pytest.approx(share**2 / whole, abs=0.05)
    assert shares["missing"] == pytest.approx((1 - share) ** 2 / whole, abs=0.05)
    assert shares["invented"] == pytest.approx(foreign**2 / whole, abs=0.08)


def test_a_fainter_copy_invents_nothing():
    truth = noise(0)
    shares = detail(truth, 0.5 + 0.6 * (truth - 0.5)).beyond()
    assert shares == pytest.approx({"recovered": 0.36, "invented": 0, "missing": 0.64}, abs=1e-6)


def test_the_squared_error_is_what_is_invented_and_what_is_missing():
    truth, other = noise(2), noise(3)
    found = detail(truth, other)
    difference = detail(0.5 + (truth - other) / 2, truth)  # halved, to stay in range
    np.testing.assert_allclose(found.invented + found.missing, 4 * difference.truth, rtol=0.1)
    np.testing.assert_allclose(found.recovered + found.invented, found.prediction)
    np.testing.assert_allclose(found.recovered + found.missing, found.truth)


def test_energies_add_up_to_the_variance():
    truth = noise(2)
    variance = np.var(219 * truth[..., 0])
    assert detail(truth, truth).truth.sum() == pytest.approx(variance, rel=0.05)


def test_what_a_small_photo_holds_is_a_square_of_frequencies():
    """A diagonal wave that half the pixels can carry is not beyond the limit, a steeper one is."""
    y, x = np.mgrid[:64, :64]
    for across, beyond in ((15, False), (17, True)):  # of 64: the limit is 16
        wave = 0.5 + 0.3 * np.sin(2 * np.pi * (15 * y + across * x) / 64)
        found = detail(wave[None, ..., None].repeat(3, -1), noise(0)[:1])
        above = found.frequencies > LIMIT
        assert (found.truth[above].sum() > 0.5 * found.truth.sum()) == beyond


def test_against_the_truth_is_not_recovered():
    truth = noise(0)
    shares = detail(truth, 1 - truth).beyond()
    assert shares["recovered"] == 0
    assert shares["invented"] == pytest.approx(1)


def test_bicubic_has_little_beyond_the_limit():
    photos = np.stack(list(srlib.photos("embedded", "test").take(8)))
    found = detail(photos, resize.interpolate(resize.downscale(photos)))
    assert found.beyond()["recovered"] < 0.2
    below = found.frequencies < LIMIT / 4
    assert np.all(found.missing[below] < 0.05 * found.truth[below])


@pytest.mark.parametrize("shape", [(1, 4, 4, 1), (4, 4, 3), (1, 4, 6, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected two batches"):
        detail(np.zeros((1, 4, 4, 3)), np.zeros(shape))
