"""Functions that are built in front of the reader, run as they stand on the page."""

import ast
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import smooth_photo
from hypothesis import given
from hypothesis import strategies as st

from experiments import protocols
from srlib import models, pixels, resize

BOOK = Path(__file__).parents[2] / "book"


def built(chapter: str, *names: str, **given_to_them) -> dict:
    """What the cells of a chapter that define these names leave behind."""
    found = {"np": np} | given_to_them
    for cell in nbformat.read(BOOK / f"{chapter}.ipynb", as_version=4).cells:
        if cell.cell_type != "code" or "%pip" in cell.source:
            continue
        defined = set()
        for node in ast.parse(cell.source).body:
            targets = getattr(node, "targets", [])
            defined |= {getattr(target, "id", "") for target in targets}
            defined.add(getattr(node, "name", ""))
        if defined & (set(names) - found.keys()):
            exec(cell.source, found)
    return found


# --- chapter 6


@pytest.fixture(scope="module")
def page() -> dict:
    names = ("psnr", "roundings", "channels", "score", "bicubic_psnr", "variants")
    return built("06-psnr", *names, pixels=pixels, resize=resize)


def test_the_page_and_the_experiment_know_the_same_variants(page):
    assert list(page["variants"]) == list(protocols.VARIANTS)


@pytest.mark.parametrize("variant", protocols.VARIANTS)
def test_the_page_measures_what_the_experiment_recorded(page, variant):
    truths = [smooth_photo(*size, seed) for seed, size in enumerate([(32, 40), (48, 32)])]
    on_page = page["bicubic_psnr"](truths, **page["variants"][variant])
    assert on_page == pytest.approx(protocols.bicubic_psnr(truths, variant), abs=1e-4)


# --- the appendix on several GPUs


@pytest.fixture(scope="module")
def formulas() -> dict:
    return built("b-gpus", "gradient_bytes", "exchanged_bytes", "step_seconds", "price")


@given(st.integers(1, 9), st.integers(1, 5))
def test_a_ring_adds_up_with_the_bytes_of_the_formula(formulas, devices, piece):
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
    assert sent[0] == pytest.approx(formulas["exchanged_bytes"](devices * piece, devices))


def test_bytes_of_a_gradient_leave_out_what_is_not_trained(formulas):
    plain, normalised = models.residual(blocks=1, filters=8), models.hourglass(depth=1)
    assert formulas["gradient_bytes"](plain) == 4 * plain.count_params()
    frozen = sum(np.prod(v.shape) for v in normalised.non_trainable_variables)
    assert frozen > 0
    assert formulas["gradient_bytes"](normalised) == 4 * (normalised.count_params() - frozen)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("step_seconds", (8.0, 1, 1e9, 1.0), 8.0),
        ("step_seconds", (8.0, 4, 100, 50), 2 + 3),
        ("price", (7200, 2, 3.5), 3.5),
    ],
)
def test_seconds_of_a_step_and_the_price_of_images(formulas, name, arguments, expected):
    assert formulas[name](*arguments) == pytest.approx(expected)
