"""srlib.book.scaling: formulas, checked by simulating what they describe."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srlib import models
from srlib.book import scaling


@given(st.integers(1, 9), st.integers(1, 5))
def test_a_ring_adds_up_with_the_bytes_of_the_formula(devices, piece):
    """Each device sends one n-th of the gradient to its neighbour, 2 (n - 1) times."""
    rng = np.random.default_rng(devices)
    held = rng.integers(0, 100, (devices, devices, piece))  # device, piece of the gradient
    expected = held.sum(0)
    sent = np.zeros(devices)
    for step in range(2 * (devices - 1)):
        adding = step < devices - 1  # then the sums go round
        first = -step if adding else 1 - (step - devices + 1)
        pieces = [(d, (d + first) % devices) for d in range(devices)]
        messages = [(d, k, held[d, k].copy()) for d, k in pieces]
        for device, k, content in messages:
            neighbour = (device + 1) % devices
            held[neighbour, k] = held[neighbour, k] + content if adding else content
            sent[device] += content.size
    for device in range(devices):
        np.testing.assert_array_equal(held[device], expected)
    assert (sent == sent[0]).all()
    assert sent[0] == pytest.approx(scaling.exchanged_bytes(devices * piece, devices))


def test_bytes_of_a_gradient_leave_out_what_is_not_trained():
    plain, normalised = models.residual(blocks=1, filters=8), models.hourglass(depth=1)
    assert scaling.gradient_bytes(plain) == 4 * plain.count_params()
    frozen = sum(np.prod(v.shape) for v in normalised.non_trainable_variables)
    assert frozen > 0
    assert scaling.gradient_bytes(normalised) == 4 * (normalised.count_params() - frozen)


def test_seconds_of_a_step():
    assert scaling.step_seconds(8.0, 1, gradient=1e9, bandwidth=1.0) == 8.0
    assert scaling.step_seconds(8.0, 4, gradient=100, bandwidth=50) == pytest.approx(2 + 3)
    assert scaling.step_seconds(8.0, 4, 0, 50, fixed=0.5) == pytest.approx(2.5)


def test_the_price_of_images():
    assert scaling.price(7200, images_per_second=2, price_per_hour=3.5) == pytest.approx(3.5)
