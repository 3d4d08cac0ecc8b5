"""Recorded results: one schema, checked when written and when read."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from srlib.book import results
from srlib.errors import SrlibError


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(results, "FOLDER", tmp_path / "recorded")
    return tmp_path / "recorded"


def test_a_result_comes_back_with_what_made_it(folder):
    content = {"psnr": [31.5, 28.25], "note": "ü"}
    path = results.write("some", content, command="python x.py", seed=3)
    assert path == folder / "some.json"
    assert [p.name for p in folder.iterdir()] == ["some.json"]
    again = results.read("some")
    made_by = again.pop("made_by")
    assert again == content
    assert list(made_by) == list(results.MADE_BY)
    assert made_by.pop("device")
    assert made_by.pop("versions").keys() == {"python", "tensorflow", "keras"}
    known = {"command": "python x.py", "seed": 3, "commit": results.commit()}
    assert made_by == dict.fromkeys(made_by) | known


def test_a_folder_of_its_own_and_its_names(folder, tmp_path):
    other = tmp_path / "tried"
    results.write("some", {"a": 1}, command="x", folder=other)
    assert results.read("some", other)["a"] == 1
    assert (results.names(other), results.names()) == (["some"], [])


def test_writing_again_replaces(folder):
    results.write("some", {"a": 1}, command="x")
    results.write("some", {"b": 2}, command="x")
    assert results.read("some").keys() == {"made_by", "b"}


def killed(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("content", "made_by", "error"),
    [
        ({"a": 2}, {}, KeyboardInterrupt),
        ({"a": object()}, {}, TypeError),
        ({"made_by": "me"}, {}, SrlibError),
        ({}, {"seed": "three"}, SrlibError),
        ({}, {"command": ""}, SrlibError),
    ],
    ids=["killed", "not JSON", "two made_by", "type", "no command"],
)
def test_a_failed_write_leaves_the_old_result(folder, content, made_by, error, monkeypatch):
    results.write("some", {"a": 1}, command="x")
    before = (folder / "some.json").read_bytes()
    if error is KeyboardInterrupt:
        monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(error):
        results.write("some", content, **{"command": "x"} | made_by)
    assert (folder / "some.json").read_bytes() == before
    assert [p.name for p in folder.iterdir()] == ["some.json"]


def test_an_unknown_result_lists_the_known(folder):
    for name in ("one", "two"):
        results.write(name, {}, command="x")
    with pytest.raises(FileNotFoundError, match=r"no recorded result 'three'.*\['one', 'two'\]"):
        results.read("three")


MADE_BY = dict.fromkeys(results.MADE_BY) | {"command": "x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "an entry 'made_by'"),
        ('{"made_by": "me"}', "an entry 'made_by'"),
        (json.dumps({"made_by": MADE_BY | {"recipe": {}}}), r"look at \['recipe'\]"),
        (json.dumps({"made_by": {"command": "x"}}), r"look at \['commit', 'data', "),
        (json.dumps({"made_by": MADE_BY | {"versions": "3.11"}}), "the versions '3.11'"),
        (json.dumps({"made_by": MADE_BY | {"command": None}}), "which command"),
    ],
)
def test_what_is_no_record_is_refused_in_one_line_that_names_the_file(folder, text, message):
    folder.mkdir()
    (folder / "bad.json").write_text(text)
    with pytest.raises(SrlibError, match=message) as refused:
        results.read("bad")
    assert str(folder / "bad.json") in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", results.names())
def test_every_recorded_result_is_of_this_schema_and_says_what_made_it(name):
    found = results.read(name)
    assert next(iter(found)) == "made_by" and len(found) > 1
    assert list(found["made_by"]) == list(results.MADE_BY)
    script = found["made_by"]["command"].removeprefix("python -m ").replace(".", "/") + ".py"
    assert name == "published" or (Path(__file__).parents[2] / script).is_file()


def test_commit_without_git_or_checkout(monkeypatch, tmp_path):
    def no_git(*_, **__):
        raise FileNotFoundError(2, "No such file or directory", "git")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", no_git)
        assert results.commit() == "unknown"
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert results.commit() == "unknown"
