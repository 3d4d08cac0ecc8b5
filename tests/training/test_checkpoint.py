"""srlib.training.checkpoint: what is saved, when, and what is refused."""

import errno
import hashlib
import json
import os
import shutil
import signal
from dataclasses import replace

import keras
import numpy as np
import pytest
from test_training import (
    TINY,
    Stop,
    Stopped,
    assert_same_weights,
    kinds,
    tiny,
    validation_pairs,
)

from experiments import interruptions
from experiments.interruptions import Child, Start
from srlib import data
from srlib.training import checkpoint, rundir
from srlib.training.checkpoint import Checkpoint, CheckpointError
from srlib.training.loop import train
from srlib.training.recipe import build_for, compile_model

SHORT = replace(TINY, epochs=2)


@pytest.fixture(scope="module")
def photos():
    return data.photos("embedded", "train").choose(range(8))


@pytest.fixture(scope="module")
def saved(photos, tmp_path_factory):
    """A finished run's folder; copy it before changing it."""
    folder = tmp_path_factory.mktemp("saved") / "run"
    train(tiny(), photos, validation_pairs(), SHORT, folder, 0)
    return folder


@pytest.fixture
def run(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run")


def state_of(folder) -> dict:
    return json.loads((folder / "state.json").read_text())


# --- what is saved


@pytest.mark.parametrize(
    "change",
    [{}, {"ema": 0.9}, {"precision": "mixed_float16"}],
    ids=["plain", "average", "float16"],
)
def test_the_state_of_an_unfinished_epoch_is_all_of_it(change, photos, tmp_path):
    """Stopped within an epoch and gone on with, a run is the same to the last bit."""
    recipe = replace(SHORT, **change)
    validation = validation_pairs()
    whole = tiny(recipe)
    expected = train(whole, photos, validation, recipe, tmp_path / "whole", 0)
    options = {"save_seconds": 0, "callbacks": [Stop(5)]}  # two steps into the second epoch
    with pytest.raises(Stopped):
        train(tiny(recipe), photos, validation, recipe, tmp_path / "cut", 0, **options)
    state = state_of(tmp_path / "cut")
    assert (state["epoch"], state["step"]) == (1, 2)
    model = tiny(replace(recipe, seed=99))  # what it starts with must not matter
    history = train(model, photos, validation, recipe, tmp_path / "cut", 0)
    for ours, theirs in zip(history, expected, strict=True):
        assert ours | {"seconds": 0} == theirs | {"seconds": 0}
    assert_same_weights(model, whole)
    ours, theirs = (Checkpoint(tmp_path / name).read("weights") for name in ("cut", "whole"))
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_array_equal(ours[key], value)


def test_weights_optimiser_average_and_loss_scale_are_in_the_file(tmp_path):
    recipe = replace(TINY, ema=0.9, precision="mixed_float16")
    model = compile_model(tiny(recipe), recipe)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model.optimizer.build(model.trainable_variables)
    for i, variable in enumerate([*model.variables, *model.optimizer.variables]):
        variable.assign(keras.ops.full_like(variable, i))
    written = Checkpoint(tmp_path)
    written.set_model(model)
    written.on_epoch_begin(0)
    written.on_epoch_end(0, {"val_psnr": 30.0})
    other = compile_model(tiny(recipe), recipe)
    assert Checkpoint(tmp_path).restore(other) == 1
    names = [v.path for v in other.optimizer.variables]
    assert any("dynamic_scale" in n for n in names) and any("average" in n for n in names)
    for i, variable in enumerate([*other.variables, *other.optimizer.variables]):
        assert (variable.numpy() == i).all(), variable.path


def test_the_seconds_of_an_interrupted_epoch_are_all_counted(photos, tmp_path, monkeypatch):
    once = replace(TINY, epochs=1)
    clock = iter(range(10_000))
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: float(next(clock)))
    options = {"save_seconds": 0, "callbacks": [Stop(2)]}
    with pytest.raises(Stopped):
        train(tiny(), photos, validation_pairs(), once, tmp_path, 0, **options)
    before = state_of(tmp_path)["step_seconds"]
    assert before > 0
    history = train(tiny(), photos, validation_pairs(), once, tmp_path, 0)
    assert history[0]["seconds"] > before
    assert state_of(tmp_path)["seconds"] == sum(row["seconds"] for row in history)


@pytest.mark.parametrize(("save_seconds", "expected"), [(0, 8), (2.5, 2), (1e9, 0)])
def test_it_saves_by_the_clock(save_seconds, expected, tmp_path, monkeypatch):
    """Nine steps of a second each; the last is left to the epoch's end."""
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    written = Checkpoint(tmp_path, save_seconds=save_seconds)
    saves = []
    monkeypatch.setattr(written, "_save", lambda state, *_: saves.append(state["step"]))
    written.set_model(compile_model(tiny(), TINY))
    written.set_params({"steps": 9})
    written.on_epoch_begin(0)
    for step in range(9):
        now[0] += 1.0
        written.on_train_batch_end(step)
    assert len(saves) == expected  # every third second where it asks for two and a half
    assert 9 not in saves


def test_files_are_numbers_and_nothing_else(saved):
    assert kinds(saved) == ["best", "state", "weights"]
    for path in saved.glob("*.safetensors"):
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        assert all(entry["dtype"] in ("F32", "I32", "I64", "U32") for entry in header.values())
    state = state_of(saved)
    assert state["format"] == rundir.FORMAT
    assert set(state["sha256"]) == {state["weights"], state["best"]}


# --- what is refused


def damage(path, how):
    content = path.read_bytes()
    if how == "flipped":
        content = content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]
    elif how == "truncated":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = b""
    path.unlink()
    if how != "gone":
        path.write_bytes(content)


@pytest.mark.parametrize("how", ["flipped", "truncated", "empty", "gone"])
@pytest.mark.parametrize("kind", ["weights", "best"])
def test_a_damaged_file_is_refused_by_name(run, photos, kind, how):
    path = run / state_of(run)[kind]
    damage(path, how)
    with pytest.raises(CheckpointError, match=r"is damaged \(.+\); put a copy") as caught:
        train(tiny(), photos, validation_pairs(), SHORT, run, 0)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    assert f"delete {run} to start again" in message


def test_a_file_swapped_for_another_good_one_is_refused(run):
    state = state_of(run)
    shutil.copyfile(run / state["best"], run / state["weights"])
    with pytest.raises(CheckpointError, match="sha256"):
        Checkpoint(run).restore(compile_model(tiny(), SHORT))


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"format": 2}', '{"epochs": 1}', "\x00"])
def test_a_damaged_state_file_is_refused(run, content):
    (run / "state.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"state\.json: is damaged .*start again"):
        Checkpoint(run)


@pytest.mark.parametrize(
    ("key", "value"),
    [("best", 5), ("sha256", []), ("epoch", "x"), ("epoch", 0), ("history", []), ("step", None)],
)
def test_a_state_of_other_types_is_damaged(run, key, value):
    (run / "state.json").write_text(json.dumps(state_of(run) | {key: value}))
    with pytest.raises(CheckpointError, match=r"state\.json: is damaged .*start again"):
        Checkpoint(run)


def test_a_run_of_the_older_format_is_refused(tmp_path):
    old = {"epoch": 3, "seconds": 1.0, "weights": "epoch-3.weights.h5", "history": []}
    (tmp_path / "state.json").write_text(json.dumps(old))
    with pytest.raises(CheckpointError, match=r"another version of srlib.*choose another folder"):
        Checkpoint(tmp_path)
    assert state_of(tmp_path) == old


def test_the_state_of_another_network_is_refused(run):
    other = compile_model(build_for("residual", SHORT, blocks=1, filters=9), SHORT)
    with pytest.raises(CheckpointError, match="other shapes than this network's"):
        Checkpoint(run).restore(other)
    with pytest.raises(CheckpointError, match="its optimizer has other shapes"):
        Checkpoint(run).restore(compile_model(tiny(), replace(SHORT, ema=0.5)))


def test_the_best_weights_of_a_run_without_a_whole_epoch(tmp_path):
    with pytest.raises(CheckpointError, match="no epoch of this run is finished"):
        Checkpoint(tmp_path).load_best(tiny())


@pytest.mark.parametrize("fails_at", range(6))
def test_a_full_disk_leaves_the_state_as_it_was(run, monkeypatch, fails_at):
    before = state_of(run)
    calls = iter(range(100))

    def fsync(descriptor):
        if next(calls) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    array = {"model/00000": np.zeros(5, np.float32)}
    with pytest.raises(OSError, match="No space left"):
        rundir.write(run, Checkpoint(run).state | {"epoch": 9}, array, array)
    monkeypatch.undo()
    after = Checkpoint(run)
    assert not list(run.glob("*.part"))
    if fails_at < 5:
        assert after.state == before
    for kind in ("weights", "best"):
        after.read(kind)


# --- what is the run's, and what is somebody else's

DIGEST = hashlib.sha256(b"mine").hexdigest()[:16]


@pytest.mark.parametrize(
    "name",
    [
        "best-photo.jpg",
        "film.mkv.part",
        "weights-0123456789abcdef.safetensors",  # not the digest of its content
        f"weights-{DIGEST}.safetensors.bak",
        f"weights-{DIGEST.upper()}0.safetensors",
        "state.json.part",
        "everyone-sees-this.part",
        "srlib.lock",
        "folder/photo.jpg",
        "weights-0123456789abcdef.safetensors.srlib.part/photo.jpg",
    ],
)
def test_what_no_run_wrote_is_left_alone_and_no_run_begins_beside_it(name, photos, tmp_path):
    folder, file = tmp_path / "run", tmp_path / "run" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"mine")
    with pytest.raises(CheckpointError, match=r"which no training has written.*choose") as caught:
        train(tiny(), photos, validation_pairs(), SHORT, folder, 0)
    assert str(caught.value).startswith(f"{folder}: holds {name.split('/')[0]}, ")
    assert list(folder.iterdir()) == [folder / name.split("/")[0]]  # nothing was written
    # What comes while a run is going on stays, too.
    array = {"model/00000": np.zeros(5, np.float32)}
    for _ in range(2):
        rundir.write(folder, Checkpoint(folder).state, array, array)
    assert file.read_bytes() == b"mine"


def test_a_link_is_nothing_that_a_run_wrote(run):
    link = run / f"weights-{'0' * 16}.safetensors.srlib.part"
    link.symlink_to(run.parent / "elsewhere")
    assert rundir.strangers(run, state_of(run)["sha256"]) == [link.name]


@pytest.mark.parametrize("kind", ["new", "empty", "hidden"])
def test_where_a_run_begins(kind, photos, tmp_path):
    folder = tmp_path / kind
    if kind != "new":
        folder.mkdir()
    hidden = [folder / name for name in (".DS_Store", ".nfs0001", "Thumbs.db") if kind == "hidden"]
    for path in hidden:
        path.write_bytes(b"mine")
    train(tiny(), photos, validation_pairs(), replace(SHORT, epochs=1), folder, 0)
    assert all(path.read_bytes() == b"mine" for path in hidden)
    assert {path.name.split("-")[0] for path in set(folder.iterdir()) - set(hidden)} == {
        "best", "state.json", "weights",
    }  # fmt: skip


def test_what_a_killed_process_left_is_removed_by_the_next_saving(run, photos):
    digest = hashlib.sha256(b"half").hexdigest()
    left = [
        (f"weights-{digest[:16]}.safetensors", b"half"),  # whole, and not yet in the state
        (f"best-{digest[:16]}.safetensors", b"half"),
        (f"weights-{'0' * 16}.safetensors.srlib.part", b"ha"),
        ("state.json.srlib.part", b"{"),
        ("everyone-sees-this.part", b""),
        ("srlib.lock", b"process 1 on host"),
    ]
    for name, content in left:
        (run / name).write_bytes(content)
    assert rundir.strangers(run, state_of(run)["sha256"]) == []
    state = state_of(run)
    (run / "state.json").write_text(json.dumps(state | {"epoch": 0, "history": []}))
    train(tiny(), photos, validation_pairs(), SHORT, run, 0)
    assert kinds(run) == ["best", "state", "weights"]


def test_nobody_is_told_to_delete_somebody_elses_files(run, photos):
    (run / "photo.jpg").write_bytes(b"mine")
    other = compile_model(build_for("residual", SHORT, blocks=1, filters=9), SHORT)
    with pytest.raises(CheckpointError, match=r"other shapes.*; choose another folder$"):
        Checkpoint(run).restore(other)
    with pytest.raises(ValueError, match=r"other settings.*; choose another folder$"):
        train(tiny(), photos, validation_pairs(), replace(SHORT, loss="mse"), run, 0)
    (run / "state.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"is damaged.*back, choose another folder$"):
        Checkpoint(run)


# --- one training at a time


def test_a_second_training_is_refused_until_the_first_is_killed(photos, tmp_path):
    run = tmp_path / "run"
    with Child(Start(run)) as child:
        child.follow(2)
        before = {path.name for path in run.iterdir()}
        pid = child.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(CheckpointError, match=f"another training.*{run}, process {pid} "):
                train(tiny(), photos, validation_pairs(), SHORT, run, 0)
            assert {path.name for path in run.iterdir()} == before
            Checkpoint(run).read("weights")  # reading needs no lock
        finally:
            os.kill(pid, signal.SIGCONT)
        assert child.kill() == -signal.SIGKILL
    assert (run / rundir.LOCK).exists()  # the file is left, and locks nobody out
    state = interruptions.run(Start(run)).state
    assert state["epoch"] == interruptions.TINY.epochs
    assert kinds(run) == ["best", "state", "weights"]


def test_within_a_process_too(tmp_path):
    with Checkpoint(tmp_path).claimed():
        second = Checkpoint(tmp_path).claimed()
        with pytest.raises(CheckpointError, match=f"process {os.getpid()} on"), second:
            pass
        with Checkpoint(tmp_path, writes=False).claimed():  # another worker of the same run
            pass
    with Checkpoint(tmp_path).claimed():
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_again(tmp_path, monkeypatch):
    """Its holder ended between our opening the file and locking it."""
    lock, calls = rundir._lock, []

    def late(file):
        calls.append(file)
        if len(calls) == 1:
            (tmp_path / rundir.LOCK).unlink()
        lock(file)

    monkeypatch.setattr(rundir, "_lock", late)
    with rundir.locked(tmp_path):
        assert len(calls) == 2
        with pytest.raises(CheckpointError, match="another training"), rundir.locked(tmp_path):
            pass


def test_where_nothing_can_be_locked_it_is_said(tmp_path, monkeypatch):
    def lock(file):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(rundir, "_lock", lock)
    warned = pytest.warns(UserWarning, match=r"cannot be locked there \(No locks available\)")
    with warned, Checkpoint(tmp_path).claimed():
        pass


def test_a_finished_run_is_read_where_nothing_can_be_written(run, photos, monkeypatch):
    (run / "notes.txt").write_text("mine")
    monkeypatch.setattr(rundir, "_lock", None)  # would be a TypeError
    assert len(train(tiny(), photos, validation_pairs(), SHORT, run, 0)) == SHORT.epochs
    Checkpoint(run).load_best(tiny())
