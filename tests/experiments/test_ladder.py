"""The ladder's and the levers' scripts: photos kept apart, one change at a time, table by hand."""

import json
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from conftest import smooth_photo
from PIL import Image

from experiments import common, jobs, ladder, levers
from srlib import models
from srlib.book import results
from srlib.models import cards, zoo

#: What may be traded for a step, so that every arm costs about the same.
BUDGET = {"batch_size", "steps_per_epoch", "crop"}


@pytest.fixture
def small_validation(monkeypatch):
    """What is measured on these pictures means nothing: a few hundred pixels will do."""
    monkeypatch.setattr(ladder, "VALIDATION_SIZE", 32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Namespace:
    """Photos, textures and benchmarks in small."""
    root = tmp_path_factory.mktemp("ladder")
    sizes = {
        "photos/train/bird": (140, (130, 130)),
        "photos/test/bird": (3, (130, 130)),
        "textures/t91": (3, (100, 120)),
        "textures/bsds_train": (2, (270, 300)),
        "textures/bsds_test": (34, (258, 260)),
        "benchmarks/Set5": (2, (40, 36)),
    }
    for number, (name, (count, size)) in enumerate(sizes.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            photo = smooth_photo(*size, seed=1000 * number + i)
            Image.fromarray(photo).save(root / name / f"{i}.png", compress_level=1)
    return Namespace(
        photos=str(root / "photos"), textures=root / "textures", benchmarks=root / "benchmarks"
    )


def names(photos) -> list[str]:
    return [f"{path.parent.name}/{path.name}" for path in photos.paths]


def test_no_photo_that_judges_is_trained_on(folders):
    photos, validation = ladder.open_mix(folders.photos, folders.textures, ladder.EVERYTHING, 64)
    assert len(validation.names) == ladder.VALIDATION
    judged = {f"bsds_test/{name}" for name in validation.names}
    assert len(judged) == ladder.VALIDATION and not judged & set(names(photos))
    assert not any("test" in path.parts[-3:-1] and "photos" in path.parts for path in photos.paths)
    assert {name.split("/")[0] for name in names(photos)} == {
        "bird", "t91", "bsds_train", "bsds_test",
    }  # fmt: skip


def test_the_photos_are_those_of_the_network_that_grows(folders):
    photos, _ = ladder.open_mix(folders.photos, folders.textures, ladder.EVERYTHING, 64)
    own = {name for name in names(photos) if name.startswith("bird")}
    before, _ = common.training_photos(folders.photos)
    assert own == set(names(before))


def test_textures_are_drawn_more_often_where_photos_outnumber_them(folders):
    mixed, _ = ladder.open_mix(folders.photos, folders.textures, ladder.EVERYTHING, 64)
    count = names(mixed).count
    assert count("t91/0.png") == ladder.TEXTURES_TIMES and count("bird/0.png") <= 1
    assert str(Path(folders.photos).parent) not in mixed.source  # it goes on a card
    alone, _ = ladder.open_mix(folders.photos, folders.textures, ladder.CLASSIC, 64)
    assert sorted(names(alone)) == sorted(
        [f"t91/{i}.png" for i in range(3)] + [f"bsds_train/{i}.png" for i in range(2)]
    )


@pytest.mark.parametrize("name", [n for n, arm in levers.ARMS.items() if arm.base])
def test_an_arm_pulls_one_lever(name):
    arm = levers.ARMS[name]
    base = levers.ARMS[arm.base].job
    ours, theirs = asdict(arm.job.recipe), asdict(base.recipe)
    changed = {key for key in ours if ours[key] != theirs[key]} - BUDGET
    changed |= {"mix"} if arm.job.mix != base.mix else set()
    changed |= {"options"} if arm.job.options != base.options else set()
    if name.endswith("photos-128"):
        changed -= {"size"}  # the photos as the network knew them: one lever, two settings
    changed |= {"taught"} if arm.taught else set()
    assert len(changed) == (0 if name in ("tiny-batch", "tiny-crop") else 1), changed


@pytest.mark.parametrize("name", [n for n, arm in levers.ARMS.items() if arm.base])
def test_an_arm_costs_about_as_much_as_its_base(name):
    def cost(job):
        recipe = job.recipe
        flops = models.flops(models.build(job.architecture, **job.options), 32, 32)
        return flops * recipe.crop**2 * recipe.batch_size * recipe.steps_per_epoch

    arm = levers.ARMS[name]
    assert cost(arm.job) == pytest.approx(cost(levers.ARMS[arm.base].job), rel=0.1)


def test_a_row_by_hand():
    base = {"per_photo": [30.0, 31.0, 32.0], "set5_y": 37.0}
    row = {"per_photo": [30.1, 31.1, 32.4], "set5_y": 37.2, "seconds": 3.0}
    table = levers.against(row, base, levers.Arm("data", "more", levers.BASE))
    assert table["delta_validation"] == pytest.approx(0.2)
    assert table["delta_set5"] == pytest.approx(0.2)
    low, high = table["interval_validation"]
    assert low == pytest.approx(0.1) and 0.2 < high <= 0.4
    assert (table["lever"], table["setting"], table["seconds"]) == ("data", "more", 3.0)


@pytest.mark.usefixtures("small_validation")
def test_levers_are_measured_recorded_and_not_measured_again(folders, tmp_path, monkeypatch):
    short = {"steps_per_epoch": 2, "batch_size": 2, "crop": 8}
    arms = {}
    for name in ("base", "luma", "tiny-base", "tiny-t91", "tiny-taught"):
        job = levers.ARMS[name].job
        recipe = replace(job.recipe, **short)
        mix = ladder.CLASSIC if name == "base" else job.mix
        arms[name] = replace(levers.ARMS[name], job=replace(job, recipe=recipe, mix=mix))
    monkeypatch.setattr(levers, "ARMS", arms)
    monkeypatch.setattr(results, "FOLDER", tmp_path / "recorded")
    command = [
        "--photos", folders.photos, "--textures", str(folders.textures),
        "--benchmarks", str(folders.benchmarks), "--runs", str(tmp_path / "runs"),
    ]  # fmt: skip
    assert levers.main(command) == 0
    first = results.read("levers")
    assert [row["lever"] for row in first["rows"]] == [
        "loss", "data", "distillation", "self-ensemble", "evaluated in bfloat16", "self-ensemble",
    ]  # fmt: skip
    assert all(np.isfinite(row["delta_validation"]) for row in first["rows"])
    shown = Image.open(tmp_path / "runs/levers/tiny-taught-photos/0.png")
    assert shown.size == (120, 100)  # the whole photo, and no longer quite itself
    assert np.abs(np.asarray(shown, int) - Image.open(folders.textures / "t91/0.png")).max() > 0
    assert first["bases"]["base"]["parameters"] == cards.card("residual-mse")["parameters"]

    def refused(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(jobs, "run", refused)
    assert levers.main(command) == 0
    assert results.read("levers")["rows"] == first["rows"]


@pytest.mark.usefixtures("small_validation")
def test_a_rung_is_trained_and_published_with_its_licence(folders, tmp_path, monkeypatch):
    short = {"epochs": 1, "steps_per_epoch": 1, "batch_size": 2, "crop": 8, "jit_compile": None}
    names = {"first": "espcn-luma", "last": "espcn"}
    jobs = {name: ladder.JOBS[job] for name, job in names.items()}
    jobs = {n: replace(job, recipe=replace(job.recipe, **short)) for n, job in jobs.items()}
    jobs["last"] = replace(jobs["last"], starts_from="first")
    monkeypatch.setattr(ladder, "JOBS", jobs)
    monkeypatch.setattr(cards, "FOLDER", tmp_path)
    command = ["--photos", folders.photos, "--textures", str(folders.textures)]
    assert ladder.main([*command, "--runs", str(tmp_path / "runs")]) == 0
    card = cards.card("last")
    assert "non-commercial" in card["licence"]
    assert card["data"]["source"] == "t91 + bsds_train"
    _, phase = cards.phases(card)
    assert phase["job"] == "first" and phase["recipe"]["loss"] == "luma"
    assert phase["seconds"] > 0
    assert not (tmp_path / "first.safetensors").exists()  # a phase, not shipped
    assert str(tmp_path) not in json.dumps(card)
    assert zoo.load("last").count_params() == card["parameters"]


@pytest.mark.parametrize("box", [False, True])
def test_half_precision_draws_the_same_picture(box, rng):
    model = models.residual(levers.BASE.options["blocks"], box=box)
    model.set_weights([rng.normal(0, 0.03, w.shape) for w in model.get_weights()])
    low = rng.uniform(0.2, 0.8, (1, 12, 10, 3)).astype(np.float32)
    np.testing.assert_allclose(levers.in_half_precision(model)(low), model(low), atol=0.02)
