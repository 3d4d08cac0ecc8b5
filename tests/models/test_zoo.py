"""What the shipped weights are worth, on photos that they were not trained on."""

import numpy as np
import pytest

import srlib
from experiments import benchmark
from srlib import evaluation, models
from srlib.book import results, standings
from srlib.evaluation import Protocol
from srlib.metrics import checkerboard
from srlib.models.ensemble import self_ensemble


@pytest.fixture(scope="module")
def scores():
    linear = models.fit_linear(models.linear(), *srlib.data.pairing.pairs(srlib.photos())[:2])
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
    recorded = {row["model"]: row for row in results.read("benchmark")["photos"]["summary"]}
    before, after = recorded[f"{network}-mse"], recorded[f"{network}-perceptual"]
    assert after["lpips"] < before["lpips"]
    low, high = (scores.psnr[f"{network}-{loss}"].mean() for loss in ("perceptual", "mse"))
    assert high - 3 < low < high


def test_the_ends_of_the_recorded_curves_are_the_shipped_networks():
    benchmark = {row["model"]: row for row in results.read("benchmark")["photos"]["summary"]}
    for network, points in results.read("interpolation")["curves"].items():
        for share, loss in ((0.0, "mse"), (1.0, "perceptual")):
            at, expected = points["share"].index(share), benchmark[f"{network}-{loss}"]
            assert points["psnr"][at] == pytest.approx(expected["psnr"], abs=0.01)
            assert points["lpips"][at] == pytest.approx(expected["lpips"], abs=0.001)


@pytest.mark.parametrize("name", srlib.available())
def test_cards_agree_with_the_recorded_benchmark(name):
    recorded = {row["model"]: row for row in results.read("benchmark")["photos"]["summary"]}
    (on_card,) = [row for row in srlib.card(name)["test"]["summary"] if row["model"] == name]
    # A card scores on the inputs of the training, the benchmark all on the same.
    other = srlib.card(name)["recipe"]["kernel"] == "box"
    assert on_card["psnr"] == pytest.approx(recorded[name]["psnr"], abs=0.3 if other else 0.02)


# --- the ladder (chapter 8)


def test_the_recorded_benchmark_is_that_of_these_weights_and_stays_small():
    field, recorded = benchmark.entrants(), results.read("benchmark")
    for section in ("photos", "photos y", "Set5 y", "Set5 rgb", "Set14 y", "Set14 rgb"):
        scored = {name: entrant.mark for name, entrant in field.items()}
        if section.startswith("photos"):
            scored = {n: mark for n, mark in scored.items() if not n.endswith(standings.ENSEMBLE)}
        assert recorded[section]["scored"] == scored, "run experiments.benchmark"
    assert (results.FOLDER / "benchmark.json").stat().st_size < 700_000


def test_the_strongest_network_keeps_to_the_rules_and_reaches_its_rung():
    row = next(row for row in standings.standings() if row.model == "residual-large")
    assert row.parameters <= 1_500_000
    assert srlib.card("residual-large")["bytes"] < 4e6
    assert row.set5[0] >= 37.9 and row.set14[0] >= 33.4
    assert standings.training_seconds(srlib.card("residual-large")) <= 6 * 3600
    assert "licence" in srlib.card("residual-large")


def test_a_network_that_fails_on_a_photo_says_so():
    images = results.read("benchmark")["photos"]["images"]
    for name in srlib.available():
        worst = min(image[f"psnr {name}"] for image in images)
        card = srlib.card(name)
        if "worst" in card["test"] and card["recipe"]["kernel"] != "box":  # the same inputs
            assert abs(card["test"]["worst"]["psnr"] - worst) < 0.01
        assert worst > 12 or "a warning" in card["summary"]


def test_the_perceptual_network_draws_no_grid():
    pairs = srlib.data.pairing.pairs(srlib.photos("embedded", "test"))
    images = srlib.predict(srlib.load("residual-perceptual"), pairs.low)
    assert checkerboard.excess(images, pairs.high).mean() < 2
    rows = {r["model"]: r for r in results.read("benchmark")["photos"]["summary"]}
    row = rows["residual-perceptual"]
    assert row["psnr"] >= 30.3 and row["lpips"] <= 0.0584


def test_a_network_for_photos_as_they_are_pays_on_each_of_them():
    rows = results.read("robustness")["rows"]
    gain = {row["input"]: row["gain"] for row in rows if row["model"] == "residual-photos"}
    damaged = [f"jpeg {q}" for q in (30, 50, 75, 90)] + [f"noise {n}" for n in (2, 5, 10)]
    assert min(gain[name] for name in damaged) >= 0.7
    assert gain["bicubic"] >= 2.4
    assert srlib.card("residual-photos")["parameters"] <= 700_000


def test_the_tiny_network_is_tiny():
    row = next(row for row in standings.standings() if row.model == "espcn")
    assert row.parameters <= 25_000
    linear = next(row for row in standings.standings() if row.model == "linear")
    assert row.set5[0] > linear.set5[0] + 1


@pytest.mark.parametrize("name", benchmark.ENSEMBLES)
def test_eight_answers_are_better_than_one(name):
    rows = {row.model: row for row in standings.standings() if row.ours}
    once, often = rows[name], rows[name + standings.ENSEMBLE]
    assert once.set5[0] < often.set5[0] < once.set5[0] + 0.5
    assert once.set14[0] < often.set14[0]
    pairs = srlib.data.pairing.pairs(srlib.photos("embedded", "test").take(4))
    network = srlib.load(name)
    psnr = [srlib.psnr(pairs.high, srlib.predict(model, pairs.low)) for model in
            (network, self_ensemble(network))]  # fmt: skip
    assert psnr[0].mean() < psnr[1].mean()


def test_the_strongest_network_beats_the_smaller_one_it_grew_from():
    """On photos in their own size; on reduced ones, which both were trained on, hardly."""
    rows = {row.model: row for row in standings.standings() if row.ours}
    assert rows["residual-large"].set5 > rows["residual-mse"].set5
    assert rows["residual-large"].set14 > rows["residual-mse"].set14
