"""Distributed training: several devices compute what one does, and a lost worker loses nothing."""

import json
import os
import re
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from experiments import interruptions
from experiments.interruptions import TINY, Child, Start
from srlib import data, models
from srlib.errors import SrlibError
from srlib.training import distribute
from srlib.training.checkpoint import Checkpoint
from srlib.training.team import Team, WorkerLost, cause

RECIPE = replace(TINY, epochs=2)
LOGGED = ("loss", "psnr", "val_loss", "val_psnr")


def same_training(ours: Checkpoint, theirs: Checkpoint, relative: float, atol: float) -> None:
    rows = list(zip(ours.state["history"], theirs.state["history"], strict=True))
    assert len(rows) == RECIPE.epochs
    for mine, other in rows:
        for key in LOGGED:
            assert mine[key] == pytest.approx(other[key], rel=relative), key
    for kind in ("weights", "best"):
        a, b = ours.read(kind), theirs.read(kind)
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_allclose(a[key], b[key], rtol=0, atol=atol)


# --- in processes of their own


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def one(folder):
    return interruptions.run(Start(folder / "one", RECIPE))


@pytest.fixture(scope="module")
def two_workers(folder):
    return together(folder / "two")


def workers(run, stack: ExitStack) -> list[Child]:
    addresses = interruptions.free_addresses(2)
    starts = [
        Start(run, RECIPE, strategy="multiworker", cluster=addresses, index=i) for i in (0, 1)
    ]
    return [stack.enter_context(Child(start)) for start in starts]


def together(run) -> Checkpoint:
    with ExitStack() as stack:
        for child in (children := workers(run, stack)):
            child.follow()
        log = run.with_name(run.name + ".0.log").read_text()
        assert [child.end() for child in children] == [0, 0], log[-2000:]
    return Checkpoint(run)


def test_two_devices_train_as_one(one, folder):
    start = Start(folder / "mirrored", RECIPE, strategy="mirrored", devices=2)
    same_training(interruptions.run(start), one, relative=1e-5, atol=1e-6)


def test_two_workers_train_as_one(one, two_workers):
    same_training(two_workers, one, relative=1e-5, atol=1e-6)


def test_a_run_begun_on_one_device_goes_on_on_two(one, folder):
    """In the middle of an epoch: the number of devices is not part of the run."""
    run = folder / "grown"
    with Child(Start(run, RECIPE)) as child:
        assert child.follow(3) == 3
        child.kill()
    left = Checkpoint(run).state
    assert (left["epoch"], left["step"]) == (0, 3) or left["step"] == 4
    start = Start(run, RECIPE, strategy="mirrored", devices=2)
    same_training(interruptions.run(start), one, relative=1e-5, atol=1e-6)


def test_a_lost_worker_ends_the_job_with_one_sentence_and_loses_nothing(two_workers, folder):
    run = folder / "lost"
    with ExitStack() as stack:
        chief, other = workers(run, stack)
        assert other.follow(4) == 4
        other.kill()
        chief.follow()  # at most PATIENCE seconds
        assert chief.end() == 1
        assert chief.error.startswith("another worker of this job is gone (")
        assert chief.error.endswith("training goes on from its last saved step")
        assert "\n" not in chief.error and "{{" not in chief.error
    left = Checkpoint(run)
    left.read("weights")
    assert left.state["step"] + RECIPE.steps_per_epoch * left.state["epoch"] > 0
    assert left.state["epoch"] < RECIPE.epochs
    same_training(together(run), two_workers, relative=1e-6, atol=1e-6)


# --- who gets which samples


@pytest.fixture(scope="module")
def photos():
    return data.photos("embedded", "train").choose(range(12))


@pytest.mark.parametrize(
    ("batch_size", "parts", "start"), [(6, 1, 0), (6, 2, 3), (6, 3, 40), (4, 4, 7)]
)
def test_the_parts_are_the_batch(photos, batch_size, parts, start):
    options = {"size": 32, "crop": 6, "seed": 3, "start": start}
    whole = data.dataset(photos, batch_size, **options).take(2)
    shares = [
        data.dataset(photos, batch_size, **options, part=(k, parts)).take(2) for k in range(parts)
    ]
    for batch, *found in zip(whole, *shares, strict=True):
        for image, pieces in zip(batch, zip(*found, strict=True), strict=True):
            assert {len(piece) for piece in pieces} == {batch_size // parts}
            np.testing.assert_array_equal(image, tf.concat(pieces, 0))


def test_a_part_reads_no_other_photos(photos, monkeypatch):
    read = []
    original = data.PhotoSet.__getitem__
    monkeypatch.setattr(
        data.PhotoSet, "__getitem__", lambda self, i: read.append(i) or original(self, i)
    )
    options = {"size": 32, "crop": 6, "seed": 3}
    for part in ((0, 2), (1, 2)):
        # Twelve photos, six of them for each part of the one batch, and then the stream ends.
        list(data.dataset(photos, 12, **options, part=part).take(1))
        assert len(set(read[:6])) == 6
        ours = set(read[:6])
        read.clear()
        if part == (0, 2):
            others = ours
    assert ours.isdisjoint(others)


@pytest.mark.parametrize("part", [(2, 2), (-1, 2), (0, 5), (0, 0)])
def test_there_is_no_such_part(photos, part):
    with pytest.raises(ValueError, match="there is none"):
        data.dataset(photos, 4, size=32, crop=6, part=part)


def test_the_devices_of_one_worker_take_turns_at_its_part(photos):
    """The second of two workers with two devices each: the third and fourth quarters."""

    class Two:
        num_replicas_in_sync = 4

        def distribute_datasets_from_function(self, function):
            return function(SimpleNamespace(input_pipeline_id=1, num_input_pipelines=2))

    def stream(part):
        return data.dataset(photos, 8, size=32, crop=6, part=part)

    batches = Team(Two())._batches(stream)
    whole = next(iter(stream((0, 1))))
    for quarter in (2, 3):
        for image, piece in zip(whole, next(batches), strict=True):
            np.testing.assert_array_equal(image[2 * quarter : 2 * quarter + 2], piece)


# --- names, and what is refused


def test_names_of_strategies():
    assert distribute.strategy(None) is None and distribute.strategy("none") is None
    mirrored = distribute.strategy("mirrored")
    assert isinstance(mirrored, tf.distribute.MirroredStrategy)
    assert mirrored.num_replicas_in_sync == len(tf.config.list_logical_devices("CPU"))
    assert distribute.strategy(mirrored) is mirrored
    with pytest.raises(ValueError, match=r"unknown strategy 'horovod': choose one of.*multiworker"):
        distribute.strategy("horovod")


JOB = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (None, "is not set"),
        ("{", "is unusable"),
        ("[]", "is unusable"),
        (json.dumps({"task": JOB["task"]}), "lacks 'cluster'"),
        (json.dumps(JOB | {"task": {"type": "worker", "index": 2}}), "no worker has the number 2"),
        (json.dumps(JOB | {"task": {"type": "ps", "index": 0}}), "lacks 'ps'"),
        (json.dumps(JOB | {"cluster": {"worker": "a:1"}}), "a list of addresses"),
        (json.dumps(JOB | {"cluster": {"worker": [5, 6]}}), "an address is a text"),
        (
            json.dumps({"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}),
            "a ps does not train",
        ),
    ],
)
def test_a_job_that_is_not_described(monkeypatch, config, reason):
    if config is None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
    else:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(SrlibError, match="TF_CONFIG") as caught:
        distribute.strategy("multiworker")
    assert reason in str(caught.value) and "\n" not in str(caught.value)
    assert "host0:2222" in str(caught.value)  # the example


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (RuntimeError("Collective ops must be configured at program startup"), SrlibError,
         "at the beginning of the program"),
        (tf.errors.DeadlineExceededError(None, None, "no answer"), WorkerLost,
         r"the 2 workers a:1, b:2 did not find each other: no answer"),
    ],
)  # fmt: skip
def test_a_job_that_does_not_come_together(monkeypatch, error, kind, message):
    def fail():
        raise error

    monkeypatch.setenv("TF_CONFIG", json.dumps(JOB))
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", fail)
    with pytest.raises(kind, match=message):
        distribute.strategy("multiworker")


def test_the_batch_job_in_the_book_tells_every_process_who_it_is(tmp_path):
    """Run as it stands, with stand-ins for Slurm's programs."""
    page = json.loads((Path(__file__).parents[2] / "book" / "b-gpus.ipynb").read_text())
    text = "\n\n".join("".join(cell["source"]) for cell in page["cells"])
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", text, re.DOTALL)
    programs = {
        "scontrol": 'test "$*" = "show hostnames n[1-2]" && printf "n1\\nn2\\n"',
        "srun": 'for i in 0 1; do SLURM_PROCID=$i "$@"; done',
        "srlib": 'echo "$TF_CONFIG"',
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True,
        env={"PATH": path, "SLURM_JOB_NODELIST": "n[1-2]"},
    )  # fmt: skip
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [job["task"] for job in told] == [{"type": "worker", "index": i} for i in (0, 1)]
    assert all(job["cluster"] == {"worker": ["n1:2222", "n2:2222"]} for job in told)


def several(count: int) -> Team:
    return Team(SimpleNamespace(num_replicas_in_sync=count))


def test_a_batch_that_cannot_be_shared_out_is_refused(photos, tmp_path):
    model = models.residual(blocks=1, filters=8)
    several(2).check(model, 4)
    three, run = SimpleNamespace(num_replicas_in_sync=3), tmp_path / "run"
    with pytest.raises(SrlibError, match=r"a batch of 4 .* to 3 devices: choose a multiple of 3"):
        distribute.train(three, model, photos, None, RECIPE, run)
    assert not run.exists()


def test_batch_normalisation_is_warned_of():
    hourglass = models.hourglass(depth=1)
    several(1).check(hourglass, 4)
    with pytest.warns(UserWarning, match="each device normalises its own 2 of 4 photos"):
        several(2).check(hourglass, 4)


def test_one_machine_decides_alone(tmp_path):
    assert distribute.is_chief(None)
    team = several(2)
    assert team.is_chief
    assert (team.chief_says(True), team.chief_says(False)) == (True, False)
    team.check_folder(tmp_path / "anything", 3)


def test_an_error_of_tensorflow_is_one_line():
    pages = (
        "Graph execution error:\n\nDetected at node adam/CollectiveReduceV2 defined at (most "
        "recent call last):\n\nCollective ops is aborted by: Connection reset by peer\nmore"
    )
    error = tf.errors.UnavailableError(None, None, pages)
    assert cause(error) == "Collective ops is aborted by: Connection reset by peer"
    error = tf.errors.UnknownError(None, None, "{{function_node __x}} no server. [Op:Y]\n")
    assert cause(error) == "no server. [Op:Y]"
