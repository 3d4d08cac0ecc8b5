"""The ladder: published and measured rows in one list, and the pages made of it."""

import json
import re

import pytest

import srlib
from srlib import models
from srlib.book import results, standings
from srlib.book.standings import ENSEMBLE
from srlib.models import cards
from tools import pages


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """The shipped records in a folder of their own, to be changed."""
    for name in ("published", "benchmark"):
        (tmp_path / f"{name}.json").write_bytes((results.FOLDER / f"{name}.json").read_bytes())
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    return tmp_path


def test_every_published_row_names_its_sources():
    rows = results.read("published")["rows"]
    assert len({row["model"] for row in rows}) == len(rows) >= 11
    for row in rows:
        assert row["found_in"]
        assert "memory" not in json.dumps(row).lower()
        assert bool(row["trained_on"]) <= bool(row["trained_on_found_in"] or not row["parameters"])
        assert bool(row["parameters"]) <= bool(row["parameters_found_in"])
        for name in ("Set5", "Set14", "B100", "Urban100"):
            assert 26 < row[name]["psnr"] < 39
            assert 0.8 < row[name]["ssim"] < 1


@pytest.mark.parametrize(
    ("model", "parameters", "set5", "set14"),
    [
        ("bicubic", 0, 33.66, 30.24),
        ("FSRCNN", 12_000, 37.00, 32.63),
        ("VDSR", 665_000, 37.53, 33.03),
        ("IMDN", 694_000, 38.00, 33.63),
        ("EDSR", 40_700_000, 38.11, 33.92),
    ],
)
def test_published_values(model, parameters, set5, set14):
    (row,) = [r for r in standings.standings() if r.model == model and not r.ours]
    assert (row.parameters, row.set5[0], row.set14[0]) == (parameters, set5, set14)


def test_ours_are_the_benchmark_s_sorted_in():
    rows = standings.standings()
    assert [row.set5[0] for row in rows] == sorted(row.set5[0] for row in rows)
    benchmark = {row["model"]: row for row in results.read("benchmark")["Set5 y"]["summary"]}
    mine = {row.model: row for row in rows if row.ours}
    assert benchmark.keys() <= mine.keys()
    for name, row in benchmark.items():
        assert mine[name].set5 == (row["psnr"], row["ssim"])
        assert mine[name].trained_on
    assert mine["linear"].parameters == models.linear().count_params()
    for name in set(srlib.available()) & mine.keys():
        assert mine[name].parameters == cards.card(name)["parameters"]
    assert "VGG16" in mine["residual-perceptual"].trained_on
    assert mine["residual-mse"].trained_on == "photos256, 2,718 photos"


def test_groups_and_what_a_self_ensemble_is_made_of(recorded):
    path = recorded / "benchmark.json"
    content = json.loads(path.read_text())
    for section in ("Set5 y", "Set14 y", "photos"):
        rows = content[section]["summary"]
        rows[:] = [row for row in rows if ENSEMBLE not in row["model"]]
        (row,) = [row for row in rows if row["model"] == "residual-mse"]
        rows.append(row | {"model": "residual-mse" + ENSEMBLE})
    path.write_text(json.dumps(content))
    rows = {row.model: row for row in standings.standings() if row.ours}
    twice, once = rows["residual-mse" + ENSEMBLE], rows["residual-mse"]
    assert (twice.parameters, twice.trained_on) == (once.parameters, once.trained_on)
    assert (once.group, twice.group) == ("this book", "this book, self-ensemble")
    assert {row.group for row in standings.standings() if not row.ours} == {"published"}
    assert "| residual-mse, self-ensemble | 488,780 |" in pages.results_table()


def test_training_time_is_that_of_all_phases():
    card = {"seconds": 10, "before": {"seconds": 20, "before": {"seconds": 5}}}
    assert standings.training_seconds(card) == 35
    assert standings.training_seconds({"seconds": 10}) == 10


def test_the_published_table_shows_sources_data_and_rounded_counts():
    table = pages.published_table()
    lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
    rows = standings.standings()
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        name, count, trained_on, set5, set14, source = line.strip("| ").split(" | ")
        assert name == (f"**{row.model}**" if row.ours else f"{row.model} {{cite}}`{row.cite}`")
        assert trained_on == (row.trained_on or "not stated by our source")
        assert float(set5[:5]) == pytest.approx(row.set5[0], abs=0.005)
        assert float(set14[:5]) == pytest.approx(row.set14[0], abs=0.005)
        if not row.ours:
            assert re.search(rf"(?:Sources:|;) {source}: {re.escape(row.found_in)}[;,]", table)
        assert (source == "here") == row.ours
        value = count.split(" (")[0].replace(",", "").replace(" K", "e3").replace(" M", "e6")
        assert float(value) == row.parameters


@pytest.mark.parametrize(
    ("parameters", "shown"),
    [(0, "0"), (196, "196"), (12_000, "12 K"), (488_780, "488,780"), (40_700_000, "40.7 M")],
)
def test_counts_are_shown_as_exactly_as_they_are_known(parameters, shown):
    assert pages._count(parameters) == shown


def test_cards_tell_of_data_phases_and_licence():
    text = pages.cards()
    for name in srlib.available():
        part = text.split(f"## `{name}`")[1].split("\n## ")[0]
        card = cards.card(name)
        assert f"{standings.training_seconds(card) / 60:.0f} minutes" in part
        assert ("| licence of the data |" in part) == ("licence" in card)
        assert card["sha256"][:16] in part
