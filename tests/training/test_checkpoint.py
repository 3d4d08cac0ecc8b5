"""srlib.training.checkpoint: what is saved, when, and what is refused."""

import errno
import json
import os
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
from test_training import TINY, assert_same_weights, kinds, tiny, validation_pairs

from srlib import data
from srlib.training import checkpoint, loop
from srlib.training.checkpoint import Checkpoint, CheckpointError
from srlib.training.loop import compile_model, train

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


class Stopped(Exception):
    pass


def stop_after(steps, monkeypatch):
    """The next run is interrupted after so many steps."""

    class Stopping(Checkpoint):
        count = 0

        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            self.count += 1
            if self.count == steps:
                raise Stopped

    monkeypatch.setattr(loop, "Checkpoint", Stopping)


# --- what is saved


@pytest.mark.parametrize(
    "change",
    [{}, {"ema": 0.9}, {"precision": "mixed_float16"}],
    ids=["plain", "average", "float16"],
)
def test_the_state_of_an_unfinished_epoch_is_all_of_it(change, photos, tmp_path, monkeypatch):
    """Stopped within an epoch and gone on with, a run is the same to the last bit."""
    recipe = replace(SHORT, **change)
    validation = validation_pairs()
    whole = tiny(recipe)
    expected = train(whole, photos, validation, recipe, tmp_path / "whole", 0)
    with monkeypatch.context() as patch:
        stop_after(5, patch)  # two steps into the second epoch
        with pytest.raises(Stopped):
            train(tiny(recipe), photos, validation, recipe, tmp_path / "cut", 0, save_seconds=0)
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
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(Stopped):
            train(tiny(), photos, validation_pairs(), once, tmp_path, 0, save_seconds=0)
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
    assert state["format"] == checkpoint.FORMAT
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


def test_a_run_of_the_older_format_is_refused(tmp_path):
    old = {"epoch": 3, "seconds": 1.0, "weights": "epoch-3.weights.h5", "history": []}
    (tmp_path / "state.json").write_text(json.dumps(old))
    with pytest.raises(CheckpointError, match=r"another version of srlib.*choose another folder"):
        Checkpoint(tmp_path)
    assert state_of(tmp_path) == old


def test_the_state_of_another_network_is_refused(run):
    other = compile_model(loop.build_for("residual", SHORT, blocks=1, filters=9), SHORT)
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
        checkpoint.write(run, Checkpoint(run).state | {"epoch": 9}, array, array)
    monkeypatch.undo()
    after = Checkpoint(run)
    assert not list(run.glob("*.part"))
    if fails_at < 5:
        assert after.state == before
    for kind in ("weights", "best"):
        after.read(kind)
