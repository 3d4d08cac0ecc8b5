"""The benchmark: the scores of `srlib.evaluate`, kept, and made anew only when they must be."""

import functools
import json

import numpy as np
import pytest
from conftest import smooth_photo
from PIL import Image

import srlib
from experiments import benchmark
from srlib import evaluation, models
from srlib.book import results
from srlib.data import photoset
from srlib.evaluation import Protocol, bootstrap_interval
from srlib.metrics import lpips


def make(folder, sizes, seed, grey=()):
    folder.mkdir(parents=True)
    for i, (height, width) in enumerate(sizes):
        photo = Image.fromarray(smooth_photo(height, width, seed + i))
        (photo.convert("L") if i in grey else photo).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    make(root / "train" / "a", [(128, 128)], 90)
    make(root / "test" / "a", [(150, 132), (128, 140), (130, 130)], 0, grey=(1,))
    make(root / "sets" / "Set5", [(40, 36), (37, 44)], 10)
    make(root / "sets" / "Set14", [(40, 36), (36, 48)], 20, grey=(1,))
    return root


@functools.cache
def baseline(name):
    return models.build(name)


@pytest.fixture
def field(monkeypatch):
    """A small field instead of the zoo, which counts how often each model is built."""
    built = []
    few = functools.partial(bootstrap_interval, draws=50)  # two thousand take a second a section
    monkeypatch.setattr(evaluation, "bootstrap_interval", few)

    def entrant(name, mark, build):
        return benchmark.Entrant(mark, lambda: (built.append(name), build())[1])

    members = {
        "bicubic": entrant("bicubic", "1", lambda: baseline("bicubic")),
        "lanczos": entrant("lanczos", "1", lambda: baseline("lanczos")),
        "some-mse": entrant("some-mse", "1", lambda: baseline("nearest")),
    }
    monkeypatch.setattr(benchmark, "entrants", lambda: dict(members))
    monkeypatch.setenv(lpips.VARIABLE, "random")
    return members, built, entrant


def run(folders, output, *more, sets=True):
    arguments = ["--photos", str(folders), "--output", str(output)]
    arguments += ["--benchmarks", str(folders / "sets")] if sets else []
    assert benchmark.main([*arguments, *map(str, more)]) == 0
    return json.loads((output / "benchmark.json").read_text())


SECTIONS = {"photos", "photos y", "Set5 y", "Set5 rgb", "Set14 y", "Set14 rgb"}


def test_the_file_has_what_the_chapters_read(folders, field, tmp_path, capsys):
    content = run(folders, tmp_path)
    assert content.keys() == {"made_by", "lpips", "protocols"} | SECTIONS
    assert content["made_by"]["fingerprint"] == srlib.photos(folders, "test").fingerprint()
    assert content["lpips"] == "random weights"
    assert content["protocols"]["the field's protocol"] == pytest.approx(
        content["Set5 y"]["summary"][0]["psnr"], abs=1e-4
    )
    for section in SECTIONS:
        names = [row["model"] for row in content[section]["summary"]]
        assert names == ["bicubic", "lanczos", "some-mse"]
        assert content[section]["scored"] == dict.fromkeys(names, "1")
        for row in content[section]["summary"]:
            assert {"psnr", "psnr_interval", "sd", "median", "ssim", "ssim_interval"} <= row.keys()
            assert ("lpips_interval" in row) == ("y" not in section.split())
            assert row["psnr_interval"][0] <= row["psnr"] <= row["psnr_interval"][1]
    assert all(set(row) >= {"name", "label", "detail"} for row in content["photos"]["images"])
    printed = capsys.readouterr().out
    assert "photos y: Y of BT.601" in printed
    assert "some-mse" in printed


@pytest.mark.filterwarnings("ignore:.*grey")
def test_scores_are_those_of_evaluate(folders, field, tmp_path):
    content = run(folders, tmp_path)
    for section, folder, split, protocol in (
        ("photos", folders, "test", Protocol(size=128)),
        ("photos y", folders, "test", Protocol("y", shave=2, size=128)),
        ("Set14 y", folders / "sets" / "Set14", "all", evaluation.PROTOCOLS["y"]),
        ("Set14 rgb", folders / "sets" / "Set14", "all", evaluation.PROTOCOLS["rgb"]),
    ):
        rgb = protocol.channel == "rgb"
        photos = srlib.photos(folder, split)
        scores = evaluation.evaluate(
            {"lanczos": baseline("lanczos")}, photos, protocol, with_lpips=rgb
        )
        expected = {row["model"]: row for row in scores.summary()}
        for row in content[section]["summary"][:2]:
            for key, value in expected[row["model"]].items():
                assert row[key] == value or row[key] == pytest.approx(value, abs=1e-4), key
        for i, image in enumerate(content[section]["images"]):
            assert image["name"] == scores.names[i]
            assert image["psnr lanczos"] == pytest.approx(scores.psnr["lanczos"][i], abs=6e-4)
            assert image["ssim lanczos"] == pytest.approx(scores.ssim["lanczos"][i], abs=6e-6)
        low, high = evaluation.bootstrap_interval(scores.psnr["lanczos"])
        assert content[section]["summary"][1]["psnr_interval"] == pytest.approx(
            [low, high], abs=1e-4
        )


def test_a_second_run_builds_nothing_but_the_reference(folders, field, tmp_path):
    _, built, _ = field
    first = run(folders, tmp_path)
    built.clear()
    second = run(folders, tmp_path)
    assert built == ["bicubic"]
    first.pop("made_by"), second.pop("made_by")
    assert first == second


def test_only_new_and_changed_models_are_scored(folders, field, tmp_path):
    members, built, entrant = field
    first = run(folders, tmp_path)
    members["some-mse"] = entrant("some-mse", "2", lambda: baseline("bicubic"))  # trained again
    members["new"] = entrant("new", "1", lambda: baseline("nearest"))
    del members["lanczos"]  # no longer shipped
    built.clear()
    content = run(folders, tmp_path)
    assert built == ["bicubic", "some-mse", "new"]
    for section in SECTIONS:
        rows = {row["model"]: row for row in content[section]["summary"]}
        before = {row["model"]: row for row in first[section]["summary"]}
        assert list(rows) == ["bicubic", "some-mse", "new"]
        assert rows["new"] | {"model": ""} == before["some-mse"] | {"model": ""}
        assert rows["some-mse"]["gain"] == 0
        assert rows["bicubic"] == before["bicubic"]
        assert not any("lanczos" in key for image in content[section]["images"] for key in image)


def test_other_photos_begin_their_sections_anew(folders, field, tmp_path):
    _, built, _ = field
    run(folders, tmp_path)
    other = make(tmp_path / "sets" / "Set5", [(40, 36), (36, 36)], 50).parent
    make(other / "Set14", [(40, 36), (36, 48)], 20, grey=(1,))
    built.clear()
    arguments = ["--photos", str(folders), "--benchmarks", str(other)]
    assert benchmark.main([*arguments, "--output", str(tmp_path)]) == 0
    assert built == ["bicubic", "bicubic", "lanczos", "some-mse"]
    content = json.loads((tmp_path / "benchmark.json").read_text())
    fingerprint = photoset.folder(other / "Set5").fingerprint()
    assert content["Set5 y"]["fingerprint"] == fingerprint
    assert len(content["Set5 y"]["summary"]) == 3


def test_other_lpips_weights_begin_anew_and_fresh_always_does(folders, field, tmp_path):
    _, built, _ = field
    path = tmp_path / "benchmark.json"
    content = run(folders, tmp_path, sets=False)
    path.write_text(json.dumps(content | {"lpips": "other", "photos": {"lpips": "other"}}))
    built.clear()
    run(folders, tmp_path, sets=False)
    assert built.count("lanczos") == 1
    built.clear()
    run(folders, tmp_path, "--fresh", sets=False)
    assert built.count("lanczos") == 1


def test_any_folder_and_a_choice_of_models(folders, field, tmp_path):
    _, built, _ = field
    mine = make(tmp_path / "mine", [(34, 36)], 70)
    more = make(tmp_path / "more", [(32, 40), (40, 32)], 80)
    content = run(
        folders, tmp_path, "--folder", mine, "--folder", more, "--models", "lanczos", sets=False
    )
    sections = {"photos", "photos y"} | {f"{n} {c}" for n in ("mine", "more") for c in ("y", "rgb")}
    assert content.keys() == {"made_by", "lpips"} | sections
    assert [row["model"] for row in content["mine rgb"]["summary"]] == ["bicubic", "lanczos"]
    assert len(content["more y"]["images"]) == 2
    assert "some-mse" not in built
    # Those that were not asked for stay in the file.
    content = run(folders, tmp_path, "--models", "some-mse", sets=False)
    assert [row["model"] for row in content["photos"]["summary"]] == [
        "bicubic", "lanczos", "some-mse",
    ]  # fmt: skip


def test_large_sets_keep_few_values_of_each_photo(folders, field, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "ALL_VALUES", 2)
    content = run(folders, tmp_path)
    kept = {"name", "label", "detail", "lpips some-mse"}
    kept |= {f"psnr {model}" for model in ("bicubic", "lanczos", "some-mse")}
    assert all(image.keys() == kept for image in content["photos"]["images"])
    assert content["photos y"]["images"] == []
    assert len(content["photos y"]["summary"]) == 3
    assert "ssim lanczos" in content["Set5 y"]["images"][0]


def test_what_was_scored_before_an_interruption_stays(folders, field, tmp_path):
    members, _, entrant = field

    def killed():
        raise KeyboardInterrupt

    members["some-mse"] = entrant("some-mse", "1", killed)
    with pytest.raises(KeyboardInterrupt):
        run(folders, tmp_path)
    content = json.loads((tmp_path / "benchmark.json").read_text())
    for section in SECTIONS:
        assert [row["model"] for row in content[section]["summary"]] == ["bicubic", "lanczos"]


@pytest.mark.parametrize("wrong", ["twice", "first"])
def test_wrong_arguments_are_refused(folders, field, tmp_path, wrong, capsys):
    arguments = ["--photos", str(folders)]
    if wrong == "twice":
        other = make(tmp_path / "b" / "test", [(40, 40)], 1)
        arguments += ["--folder", str(folders / "test"), "--folder", str(other)]
    else:
        arguments += ["--first", "2"]  # would replace the shipped file by a trial
    before = (results.FOLDER / "benchmark.json").read_bytes()
    with pytest.raises(SystemExit):
        benchmark.main(arguments)
    assert {"twice": "same name", "first": "--output"}[wrong] in capsys.readouterr().err
    assert (results.FOLDER / "benchmark.json").read_bytes() == before


def test_first_takes_a_few_of_each(folders, field, tmp_path):
    content = run(folders, tmp_path, "--first", 1)
    assert {len(content[section]["images"]) for section in SECTIONS - {"photos y"}} == {1}


def test_the_field_is_the_zoo_with_its_baselines(monkeypatch):
    members = benchmark.entrants()
    assert list(members)[:4] == ["bicubic", "nearest", "lanczos", "linear"]
    assert set(srlib.available()) <= members.keys()
    marks = [entrant.mark for entrant in members.values()]
    assert len(set(marks)) == len(marks)
    assert members["residual-mse"].mark == srlib.card("residual-mse")["sha256"][:16]
    image = smooth_photo(12, 10, 0)[None]
    for name in benchmark.ENSEMBLES:
        twice = members[name + benchmark.ENSEMBLE].build()
        mirrored = srlib.predict(twice, image[:, :, ::-1])[:, :, ::-1]
        np.testing.assert_allclose(srlib.predict(twice, image), mirrored, atol=1e-5)


def test_self_ensembles_are_asked_about_whole_photos_alone():
    photos = srlib.photos("embedded", "test").take(2)
    reduced, whole = benchmark.tests(photos, {"Set5": photos})
    for name in benchmark.ENSEMBLES:
        assert benchmark.asked(name, reduced) and benchmark.asked(name, whole)
        assert not benchmark.asked(name + benchmark.ENSEMBLE, reduced)
        assert benchmark.asked(name + benchmark.ENSEMBLE, whole)


@pytest.mark.parametrize("step", [0, 4])
def test_detail_of_a_ramp_by_hand(step):
    """So many levels from column to column, none from row to row."""
    ramp = np.broadcast_to(np.arange(16)[None, :, None] * step, (16, 16, 3)).astype(np.uint8)
    assert benchmark.detail(ramp) == pytest.approx(np.sqrt((step**2 + 0) / 2), rel=1e-5)
