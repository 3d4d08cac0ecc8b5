"""experiments.robustness: what is compared with what, and what is recorded."""

import numpy as np
import pytest
from conftest import smooth_photo
from PIL import Image

import srlib
from experiments import robustness
from experiments.robustness import CURES, FEW, INPUTS, measure, rows_of
from srlib import data, evaluation, models
from srlib.book import results
from srlib.data import degrade
from srlib.evaluation import Protocol, Scores
from srlib.metrics import lpips


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for split in ("train", "test"):
        (folder / split / "x").mkdir(parents=True)
        for i in range(3):
            photo = smooth_photo(32, 32, i + (10 if split == "train" else 0))
            Image.fromarray(photo).save(folder / split / "x" / f"{i}.png")
    return folder


@pytest.fixture
def fitting(photos) -> data.Pairs:
    return data.pairs(data.photos(photos, "train"), size=32)


def by(rows, **wanted) -> dict:
    (row,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return row


# --- what is asked


def test_every_input_has_a_name_that_srlib_knows():
    names = [*INPUTS, *CURES]
    assert len(names) == len(set(names))
    assert len({degrade.describe(name) for name in names}) == len(names)
    assert set(FEW) < set(INPUTS)
    assert INPUTS[0] == FEW[0] == "bicubic"  # as trained


def test_every_cure_goes_on_from_an_input_that_is_measured_before_it():
    for cured, before in CURES.items():
        assert cured.startswith(f"{before}, ")
        assert before in INPUTS


def test_models_that_lose_to_bicubic_on_their_own_input_are_not_asked():
    chosen = robustness.worth_asking()
    assert "residual-mse" in chosen
    assert not any(name.startswith("hourglass") for name in chosen)
    assert set(chosen) <= set(srlib.available())


# --- what is compared with what


def test_rows_by_hand():
    def scores(bicubic, network, lpips_values=None):
        psnr = {"bicubic": np.array(bicubic), "net": np.array(network)}
        values = {k: np.array(v) for k, v in (lpips_values or {}).items()}
        return Scores(Protocol(), ["a", "b"], ["", ""], psnr, psnr, values)

    before = scores([30.0, 20.0], [29.0, 18.0], {"bicubic": [0.2, 0.4], "net": [0.3, 0.3]})
    after = scores([29.0, 21.0], [31.0, 20.0], {"bicubic": [0.2, 0.2], "net": [0.1, 0.2]})
    bicubic, network = rows_of("noise 5", "noise 5", before, before)
    assert (bicubic["gain"], bicubic["won"], bicubic["lpips_change"]) == (0, 0, 0)
    assert (network["psnr"], network["gain"], network["won"]) == (23.5, -1.5, 0)
    assert network["gain_interval"] == (-2, -1)
    assert network["lpips"] == pytest.approx(0.3)
    assert network["lpips_change"] == pytest.approx(0)
    # A cure is held against bicubic on the input as it was before the cure.
    bicubic, network = rows_of("cured", "noise 5", after, before)
    assert (bicubic["gain"], bicubic["won"]) == (0, 0.5)
    assert (network["input"], network["against"], network["model"]) == ("cured", "noise 5", "net")
    assert (network["gain"], network["won"]) == (0.5, 0.5)
    assert network["lpips_change"] == pytest.approx(-0.15)
    assert "lpips" not in rows_of("x", "x", scores([1.0, 2.0], [1.0, 2.0]), before)[0]


def test_rows_are_what_evaluate_says(photos, fitting, capsys):
    names = ("bicubic", "noise 10", "noise 10, bilateral 30")
    test = data.photos(photos, "test")
    rows = measure(test, {"nearest": models.nearest()}, fitting, names, {"size": 32})
    assert [row["input"] for row in rows] == [name for name in names for _ in range(3)]
    scores = {
        name: evaluation.evaluate(
            {"nearest": models.nearest()}, test, Protocol(size=32, kernel=name)
        )
        for name in names
    }
    for name in names:
        row = by(rows, input=name, model="nearest")
        assert row["psnr"] == pytest.approx(scores[name].psnr["nearest"].mean())
        against = scores[CURES.get(name, name)].psnr["bicubic"].mean()
        assert row["gain"] == pytest.approx(row["psnr"] - against)
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 3
    assert f"{by(rows, input='noise 10', model='bicubic')['psnr']:.2f} dB" in printed


def test_the_refitted_filter_is_fitted_to_the_damaged_input(photos):
    """On the very photo it is fitted to, least squares can lose to no other filter."""
    one = data.photos(photos, "test").choose([0])
    pairs = data.pairs(one, size=32)
    zoo = {"linear": models.fit_linear(models.linear(), pairs.low, pairs.high)}
    rows = measure(one, zoo, pairs, ("bicubic", "aliased bicubic", "noise 10"), {"size": 32})
    gains = {
        name: by(rows, input=name, model="linear refitted")["gain"]
        - by(rows, input=name, model="linear")["gain"]
        for name in ("bicubic", "aliased bicubic", "noise 10")
    }
    assert gains["bicubic"] == pytest.approx(0, abs=1e-6)
    assert gains["aliased bicubic"] > 0.1
    assert gains["noise 10"] > 0.5


# --- what is recorded


@pytest.fixture
def written(monkeypatch) -> dict:
    """What would be recorded, by name; few photos to fit a filter to."""
    kept, photos, few = {}, data.photos, data.photos("embedded", "train").take(2)
    monkeypatch.setattr(
        results, "write", lambda name, content, **by: kept.update({name: content | by})
    )
    monkeypatch.setattr(
        data, "photos", lambda s, *a, **k: few if s == "embedded" else photos(s, *a, **k)
    )
    return kept


@pytest.fixture
def larger(tmp_path):
    """Three test photos that give squares of 128 pixels."""
    folder = tmp_path / "larger"
    (folder / "test" / "x").mkdir(parents=True)
    (folder / "train").mkdir()
    for i in range(3):
        Image.fromarray(smooth_photo(130, 130, i)).save(folder / "test" / "x" / f"{i}.png")
    return folder


def test_the_record(written, larger, tmp_path, monkeypatch):
    monkeypatch.setattr(robustness, "INPUTS", ("bicubic", "jpeg 50"))
    monkeypatch.setattr(robustness, "CURES", {"jpeg 50, bilateral 30": "jpeg 50"})
    monkeypatch.setattr(robustness, "FEW", ("box",))
    monkeypatch.setenv(lpips.VARIABLE, "random")
    for name in ("Set5", "Set14"):
        (tmp_path / name).mkdir()
        Image.fromarray(smooth_photo(36, 40, 5)).save(tmp_path / name / "a.png")
    arguments = ["--photos", str(larger), "--benchmarks", str(tmp_path)]
    assert robustness.main([*arguments, "--count", "2", "--models"]) == 0
    content = written["robustness"]
    assert content["photos"] == 2
    assert content["data"] == "larger"
    chosen = data.photos(larger, "test").take(2)
    assert content["fingerprint"] == chosen.fingerprint()
    assert content["protocol"] == str(Protocol(size=128))
    assert content["lpips"] == "random weights"
    assert list(content["inputs"]) == ["bicubic", "jpeg 50", "jpeg 50, bilateral 30"]
    asked = {"bicubic", "lanczos", "linear", "linear refitted"}
    for part, inputs in (("rows", content["inputs"]), ("Set5", ["box"]), ("Set14", ["box"])):
        found = {(row["input"], row["model"]) for row in content[part]}
        assert found == {(name, model) for name in inputs for model in asked}
        assert ("lpips" in content[part][0]) == (part == "rows")
    photo = smooth_photo(36, 40, 5)
    enlarged = models.bicubic()(degrade.degrade(photo, "box")[None] / np.float32(255))
    expected = srlib.psnr(photo, enlarged.numpy()[0], channel="y", shave=2)
    assert by(content["Set5"], input="box", model="bicubic")["psnr"] == pytest.approx(expected)


def test_without_lpips_weights_the_rest_is_recorded(written, larger, monkeypatch, capsys):
    monkeypatch.delenv(lpips.VARIABLE, raising=False)
    asked = []
    monkeypatch.setattr(robustness, "measure", lambda *a: asked.append(a) or [])
    assert robustness.main(["--photos", str(larger), "--models"]) == 0
    assert written["robustness"]["lpips"] is None
    assert [arguments[-1] for arguments in asked] == [False]
    assert "without LPIPS: LPIPS needs weights" in capsys.readouterr().out


@pytest.fixture(scope="module")
def recorded() -> dict:
    return results.read("robustness")


def test_the_recorded_result_is_of_this_experiment(recorded):
    assert list(recorded["inputs"]) == [*INPUTS, *CURES]
    assert recorded["inputs"] == {name: degrade.describe(name) for name in recorded["inputs"]}
    asked = {row["model"] for row in recorded["rows"]}
    assert asked >= {"bicubic", "lanczos", "linear", "linear refitted", "residual-mse"}
    pairs = [(row["input"], row["model"]) for row in recorded["rows"]]
    assert len(pairs) == len(set(pairs)) == len(recorded["inputs"]) * len(asked)
    for row in recorded["rows"]:
        low, high = row["gain_interval"]
        assert low <= row["gain"] <= high
        assert row["against"] == CURES.get(row["input"], row["input"])
        if row["model"] == "bicubic" and row["input"] in INPUTS:
            assert row["gain"] == row["won"] == 0


def test_on_the_trained_input_it_agrees_with_the_benchmark(recorded):
    """Other photos of the same set: the recorded interval must hold the benchmark's gain."""
    benchmark = {row["model"]: row for row in results.read("benchmark")["photos"]["summary"]}
    for model in ("lanczos", "linear", "residual-mse"):
        row = by(recorded["rows"], input="bicubic", model=model)
        low, high = row["gain_interval"]
        margin = (high - low) / 2  # 95 % intervals miss now and then
        assert low - margin < benchmark[model]["gain"] < high + margin
