"""A run that is killed with SIGKILL, again and again, ends as one that was left alone."""

import signal

import numpy as np
import pytest

from experiments import interruptions
from experiments.interruptions import TINY, Start
from srlib.training import checkpoint

KILLS = 10


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return interruptions.run(Start(tmp_path_factory.mktemp("whole") / "run"))


def without_seconds(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def test_killed_at_random_moments_it_ends_with_the_very_weights(whole, tmp_path):
    """Half of the kills aim at the writing of a file, which is slowed down."""
    start = Start(tmp_path / "run", slow=0.003)
    rows = interruptions.run_killed(start, KILLS, seed=3)  # reads the state after each kill
    assert len(rows) == KILLS
    steps = TINY.epochs * TINY.steps_per_epoch
    for row in rows:
        assert row["own_steps"] >= 1  # it was at work
        assert 0 <= row["saved_step"] < steps  # and had not finished
    saved = [row["saved_step"] for row in rows]
    assert saved == sorted(saved) and saved[-1] > TINY.steps_per_epoch
    assert any(step % TINY.steps_per_epoch for step in saved)  # in the middle of an epoch
    assert any(row["while_writing"] for row in rows)

    killed = checkpoint.Checkpoint(start.run)
    assert without_seconds(killed.state["history"]) == without_seconds(whole.state["history"])
    for kind in ("weights", "best"):  # weights, moments, average; and the best epoch's weights
        ours, theirs = killed.read(kind), whole.read(kind)
        assert ours.keys() == theirs.keys()
        for key in theirs:
            np.testing.assert_array_equal(ours[key], theirs[key])
    assert len(list(start.run.iterdir())) <= 3  # nothing is left of what was half-written


def die_and_look(task, folder, moment) -> tuple[int, int, list[int]]:
    """How a process ended that died while saving, the state it left, sizes of what is half."""
    interruptions.save_number(folder, 1)
    process = interruptions.start_process(task, folder, moment)
    process.join(interruptions.PATIENCE)
    after = checkpoint.Checkpoint(folder)
    number = after.state["epoch"]
    for kind in ("weights", "best"):  # whole
        assert (after.read(kind)["model/00000"] == number).all()
    half_written = [path.stat().st_size for path in folder.glob("*.srlib.part")]
    interruptions.save_number(folder, 3)  # and the next saving clears up
    assert len(list(folder.iterdir())) == 3
    return process.exitcode, number, half_written


def test_death_at_any_moment_of_a_saving_leaves_the_old_state_or_the_new(tmp_path):
    found, code, moment = [], -signal.SIGKILL, 0
    while code == -signal.SIGKILL:
        folder = tmp_path / str(moment)
        folder.mkdir()
        code, number, _ = die_and_look(interruptions.die_while_saving, folder, moment)
        found.append(number)
        moment += 1
    assert code == 0
    assert moment > 20
    assert found == sorted(found) and set(found) == {1, 2}


@pytest.mark.parametrize("size", [1, 100, 200, 400], ids=["-", "weights", "best", "state"])
def test_death_in_the_middle_of_a_file_leaves_the_old_state(size, tmp_path):
    """The three files of a state in the order of their writing, each longer than the one before."""
    code, number, half_written = die_and_look(interruptions.die_while_writing, tmp_path, size)
    assert (code, number, half_written) == (-signal.SIGXFSZ, 1, [size])
