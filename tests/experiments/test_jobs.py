"""Training jobs: where each starts, what its card says, and that a stage cut off is of use."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from conftest import smooth_photo
from PIL import Image

from experiments import classic, common, jobs, ladder, train_zoo
from experiments.jobs import Job
from srlib import data, models, training
from srlib._backend import keras
from srlib.models import cards, zoo
from srlib.training import Recipe

SHORT = {"epochs": 1, "steps_per_epoch": 1, "batch_size": 2}
SMALL = {"filters": 4, "luma": True}


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A small tree of photos, of which two are held out."""
    monkeypatch.setattr(common, "HELD_OUT", 2)
    for split, count in {"train": 5, "test": 2}.items():
        (tmp_path / "tree" / split / "x").mkdir(parents=True)
        for i in range(count):
            photo = smooth_photo(128, 128, i + 10 * count)
            Image.fromarray(photo).save(tmp_path / "tree" / split / "x" / f"{i}.png")
    return tmp_path / "tree"


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A zoo of one small network in the place of the classic one."""
    monkeypatch.setattr(cards, "FOLDER", tmp_path)
    about = {"history": [{"epoch": 1}], "recipe": {"loss": "mse"}, "seconds": 9}
    keras.utils.set_random_seed(1)
    small = models.residual(**SMALL)
    zoo.save(small, tmp_path / "hourglass-mse.safetensors", "residual", SMALL, **about)
    return tmp_path


def equal(ours, theirs) -> bool:
    pairs = zip(ours.get_weights(), theirs.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("listed", [train_zoo.JOBS, ladder.JOBS, classic.JOBS])
def test_every_stage_starts_from_one_before_it_or_from_what_ships(listed):
    known = []
    for name, job in listed.items():
        assert job.starts_from in (None, *known)
        assert job.grows_from in (None, *cards.available(), str(classic.KEPT))
        assert not (job.starts_from and job.grows_from)
        known.append(name)


def test_a_job_may_start_from_shipped_weights_with_or_without_growing(tmp_path):
    recipe = Recipe(precision="float32")
    same = jobs.start(Job("hourglass", recipe, grows_from="hourglass-mse"), tmp_path)
    assert equal(same, zoo.load("hourglass-mse"))
    parent = zoo.load("residual-mse")
    grown = Job("residual", recipe, options={"blocks": 7}, grows_from="residual-mse")
    model = jobs.start(grown, tmp_path)
    assert model.count_params() > parent.count_params()
    assert equal(model.get_layer("stem"), parent.get_layer("stem"))


def test_the_classic_stages_are_trained_and_the_last_one_ships(
    photos, shipped, monkeypatch, capsys
):
    stages = {
        name: replace(
            job,
            architecture="residual",
            options=SMALL,
            recipe=replace(job.recipe, **SHORT),
            grows_from=job.grows_from and "hourglass-mse",  # not a stage kept from elsewhere
        )
        for name, job in classic.JOBS.items()
        if name in ("classic-1", "classic-2")
    }
    monkeypatch.setattr(classic, "JOBS", stages)
    seen, train = [], training.train

    def spied(model, photos, validation, recipe, *more, **options):
        seen.append((model.get_weights(), validation, recipe))
        return train(model, photos, validation, recipe, *more, **options)

    monkeypatch.setattr(training, "train", spied)
    parent, runs = cards.card("hourglass-mse"), shipped / "runs"
    command = ["--photos", str(photos), "--runs", str(runs)]
    assert classic.main(command) == 0
    assert cards.card("hourglass-mse") == parent  # not asked to ship
    # By the job's own kernel: the mean of two by two pixels.
    validation = seen[0][1]
    mean = validation.high.reshape(2, 64, 2, 64, 2, 3).mean(axis=(2, 4))
    assert np.abs(validation.low - mean).max() <= 0.5
    # The second starts from the best of the first, the first from what ships.
    best = training.build_for("residual", stages["classic-1"].recipe, **SMALL)
    training.Checkpoint(runs / "classic-1").load_best(best)
    for ours, theirs in zip(seen[1][0], best.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)

    kept = shipped / "stages" / "classic.safetensors"
    monkeypatch.setattr(classic, "KEPT", kept)
    assert classic.main([*command, "classic-1", "--keep"]) == 0 and len(seen) == 2
    for ours, theirs in zip(zoo.load(kept).get_weights(), best.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs.astype(np.float16).astype(np.float32))
    assert cards.card(kept)["before"]["job"] == "hourglass-mse"
    # Once more, when the first stage would start from what was kept: this run did not.
    grown = replace(stages["classic-1"], grows_from=str(kept))
    monkeypatch.setattr(classic, "JOBS", stages | {"classic-1": grown})
    assert classic.main([*command, "classic-2", "--keep"]) == 0
    jobs_before = [phase.get("job") for phase in cards.phases(cards.card(kept))]
    assert jobs_before == [None, "classic-1", "hourglass-mse"]
    monkeypatch.setattr(classic, "JOBS", stages)
    assert "box" in cards.card(kept)["test"]["protocol"]

    assert classic.main([*command, "classic-1", "classic-2", "--publish"]) == 0
    card = cards.card("hourglass-mse")
    assert card["summary"] == train_zoo.JOBS["hourglass-mse"].summary
    assert card["recipe"] == asdict(stages["classic-2"].recipe)
    assert card["recipe"]["kernel"] == "box"
    assert (card["data"]["photos"], card["data"]["held_out"]) == (3, 2)
    assert card["data"]["source"] == "tree"
    earlier = card["before"]
    assert (earlier["job"], earlier["before"]["job"]) == ("classic-1", "hourglass-mse")
    assert earlier["before"]["history"] == parent["history"]
    assert {row["model"] for row in card["test"]["summary"]} == {"bicubic", "hourglass-mse"}
    capsys.readouterr()
    assert classic.main([*command, "classic-1", "classic-2", "--publish"]) == 0
    assert "hourglass-mse: published already" in capsys.readouterr().out


def test_a_run_that_is_not_to_ship_does_not(photos, shipped, monkeypatch):
    job = Job("residual", Recipe(crop=8, **SHORT), options={"blocks": 1, "filters": 4})
    listed = {"quiet": job, "loud": replace(job, summary="small", starts_from="quiet")}
    monkeypatch.setattr(train_zoo, "JOBS", listed)
    command = ["--photos", str(photos), "--runs", str(shipped / "runs")]
    assert train_zoo.main([*command, "quiet"]) == 0
    assert not (shipped / "quiet.safetensors").exists()
    assert train_zoo.main([*command, "loud"]) == 0
    card = cards.card("loud")
    assert card["before"]["job"] == "quiet" and "before" not in card["before"]
    assert card["validation_bicubic"] == pytest.approx(
        jobs.bicubic_psnr(data.pairs(common.training_photos(str(photos))[1]))
    )


# --- what all scripts share


def test_once_makes_a_file_once_whole_or_not_at_all(tmp_path):
    path, calls = tmp_path / "new" / "some.json", []

    def make(value):
        calls.append(value)
        return {"value": value} if value else object()

    with pytest.raises(TypeError):
        common.once(path, make, 0)
    assert not path.exists()
    assert [common.once(path, make, value) for value in (1, 2)] == [{"value": 1}] * 2
    assert calls == [0, 1]


def test_jobs_are_asked_for_by_names_that_there_are(capsys):
    parser = jobs.parser("What it does.", {"one": None, "two": None}, "photos")
    assert parser.parse_args(["--photos", "x"]).jobs == []
    assert parser.parse_args(["--photos", "x", "two"]).jobs == ["two"]
    with pytest.raises(SystemExit):
        parser.parse_args(["--photos", "x", "three"])
    assert "three: choose one of one, two" in capsys.readouterr().err


def test_options_are_required_where_a_script_says_so(capsys):
    some = common.parser("What it does.\n\nMore.", ["photos"], ["benchmarks", "quick"])
    found = some.parse_args(["--photos", "x"])
    assert (found.photos, found.benchmarks, found.quick) == ("x", None, False)
    with pytest.raises(SystemExit):
        some.parse_args([])
    assert "--photos" in capsys.readouterr().err
