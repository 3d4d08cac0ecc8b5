"""What the shipped weights are worth, on photos that they were not trained on."""

import numpy as np
import pytest

import srlib
from srlib import evaluation, models
from srlib.evaluation import Protocol


@pytest.fixture(scope="module")
def scores():
    linear = models.fit_linear(models.linear(), *srlib.data.pairs(srlib.photos())[:2])
    zoo = {name: srlib.load(name) for name in srlib.available()}
    test = srlib.photos("embedded", "test")
    return evaluation.evaluate({"linear": linear} | zoo, test, Protocol(size=128))


def gain(scores, over: str) -> np.ndarray:
    return scores.psnr["residual-mse"] - scores.psnr[over]


def test_the_residual_network_beats_bicubic_on_every_photo(scores):
    assert gain(scores, "bicubic").mean() > 1.8
    assert (gain(scores, "bicubic") > 0).all()


def test_the_residual_network_beats_the_best_linear_filter(scores):
    low, _ = evaluation.bootstrap_interval(gain(scores, "linear"))
    assert low > 0.3


def test_the_hourglass_was_trained_but_stays_below_bicubic(scores):
    """The book says so; when this fails, the book must be read again."""
    assert scores.psnr["hourglass-mse"].mean() > 20
    assert scores.psnr["hourglass-mse"].mean() < scores.psnr["bicubic"].mean()


@pytest.mark.parametrize("network", ["hourglass", "residual"])
def test_the_perceptual_loss_buys_lpips_with_psnr(scores, network):
    recorded = {row["model"]: row for row in srlib.results.read("benchmark")["photos"]["summary"]}
    before, after = recorded[f"{network}-mse"], recorded[f"{network}-perceptual"]
    assert after["lpips"] < before["lpips"]
    low, high = (scores.psnr[f"{network}-{loss}"].mean() for loss in ("perceptual", "mse"))
    assert high - 3 < low < high


def test_the_ends_of_the_recorded_curves_are_the_shipped_networks():
    benchmark = {row["model"]: row for row in srlib.results.read("benchmark")["photos"]["summary"]}
    for network, points in srlib.results.read("interpolation")["curves"].items():
        for share, loss in ((0.0, "mse"), (1.0, "perceptual")):
            at, expected = points["share"].index(share), benchmark[f"{network}-{loss}"]
            assert points["psnr"][at] == pytest.approx(expected["psnr"], abs=0.01)
            assert points["lpips"][at] == pytest.approx(expected["lpips"], abs=0.001)


@pytest.mark.parametrize("name", srlib.available())
def test_cards_agree_with_the_recorded_benchmark(name):
    recorded = {row["model"]: row for row in srlib.results.read("benchmark")["photos"]["summary"]}
    (on_card,) = [row for row in srlib.card(name)["test"]["summary"] if row["model"] == name]
    assert on_card["psnr"] == pytest.approx(recorded[name]["psnr"], abs=0.02)
