"""Training in processes of its own, which are killed: for appendix B's experiment and for tests.

A server imports TensorFlow once and forks for each start, so that a start costs
a second and not ten.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np

from srlib import _files, data, training
from srlib._backend import keras, tf
from srlib.training import checkpoint, distribute, rundir
from srlib.training.recipe import Recipe

ROOT = Path(__file__).parents[1]
TINY = Recipe(
    epochs=8, steps_per_epoch=5, batch_size=4, crop=6, size=32, precision="float32", ema=0.9
)
NETWORK = {"blocks": 1, "filters": 8}
#: A child that says nothing for so long is stuck.
PATIENCE = 180
#: Numbers in the two arrays of :func:`save_number`.
NUMBER_SIZES = (20, 50)


@dataclass(frozen=True)
class Start:
    """What a process is to do.

    Attributes:
        run: folder of the run's state.
        recipe: of the run.
        architecture: of the network.
        network: its options.
        photos: how many embedded photos it trains on; it validates on the next eighth as many.
        strategy: name of it.
        devices: logical CPU devices to show TensorFlow.
        cluster: addresses of all workers, for several.
        index: which of them this is.
        slow: seconds that each line of what writes a file takes.
        save_seconds: see ``srlib.training.loop.train``.
    """

    run: Path
    recipe: Recipe = TINY
    architecture: str = "residual"
    network: dict[str, int] = field(default_factory=lambda: dict(NETWORK))
    photos: int = 24
    strategy: str | None = None
    devices: int = 1
    cluster: tuple[str, ...] = ()
    index: int = 0
    slow: float = 0.0
    save_seconds: float = 0.0


class Telling(keras.callbacks.Callback):
    """Sends the number of each batch that is done."""

    def __init__(self, steps: Connection):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        self.steps.send(batch)


def train(start: Start, steps: Connection) -> None:
    """Train as told; send the number of each step that is done and, where there was, the error."""
    # What a child says goes to a file beside the run, errors in C++ included.
    log = os.open(f"{start.run}.{start.index}.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(log, 2)
    if start.cluster:
        task = {"type": "worker", "index": start.index}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": start.cluster}, "task": task})
    if start.devices > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * start.devices
        )
    if start.slow:
        before_each_line(functools.partial(time.sleep, start.slow), _files)

    try:
        strategy = distribute.strategy(start.strategy)
        every, count = data.photos("embedded", "train"), start.photos
        photos, held_out = every.choose(range(count)), every.choose(range(count, count * 9 // 8))
        training.train(
            training.build_for(start.architecture, start.recipe, **start.network),
            photos, data.pairs(held_out, start.recipe.size), start.recipe, start.run, 0,
            strategy=strategy, save_seconds=start.save_seconds, callbacks=[Telling(steps)],
        )  # fmt: skip
    except distribute.WorkerLost as error:
        steps.send(str(error))
        sys.exit(1)


def before_each_line(do: Callable[[], Any], *modules: ModuleType) -> None:
    """From now on, do something in this thread before each line of these modules.

    By Python's own hook for debuggers, so that nothing of what is interrupted is replaced.
    """
    files = {module.__file__ for module in modules}

    def trace(frame: FrameType, event: str, _: Any) -> Callable | None:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            do()
        return trace

    sys.settrace(trace)


def die_while_saving(folder: Path, moment: int) -> None:
    """Save state number 2 over state number 1, and die at a moment of it, counted in lines.

    Ends in peace when there are fewer of them.
    """
    left = iter(range(moment))

    def now() -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    before_each_line(now, _files, rundir)
    save_number(folder, 2)


def die_while_writing(folder: Path, size: int) -> None:
    """Save state number 2 over state number 1, and die when a file has so many bytes.

    The system sees to it; Python itself would go on and raise an error.
    """
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    save_number(folder, 2)


def save_number(folder: Path, number: int) -> None:
    """A state that can be told: epoch ``number``, and arrays of that value."""
    weights, best = ({"model/00000": np.full(size, number, np.float32)} for size in NUMBER_SIZES)
    told = {"epoch": number, "history": [{"epoch": number}]}
    rundir.write(folder, rundir.read_state(folder) | told, weights, best)


def start_process(task: Callable, *args: Any) -> multiprocessing.process.BaseProcess:
    """Start a function in a process of its own that has TensorFlow imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=task, args=args, daemon=True)
    # The server finds this module only where Python itself would look.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), before)))
    try:
        process.start()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return process


class Child:
    """A process that trains. Ended, whatever happens, at the end of a ``with``."""

    def __init__(self, start: Start):
        self.steps, theirs = multiprocessing.Pipe(duplex=False)
        self.process = start_process(train, start, theirs)
        theirs.close()
        self.error = ""

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.steps.close()

    def follow(self, count: int | None = None) -> int:
        """Wait for ``count`` steps, or for the end; returns the steps seen."""
        seen = 0
        while count is None or seen < count:
            if not self.steps.poll(PATIENCE):
                raise TimeoutError(f"nothing came from a child for {PATIENCE} seconds")
            try:
                told = self.steps.recv()
            except EOFError:
                break
            seen += isinstance(told, int)
            self.error = told if isinstance(told, str) else self.error
        return seen

    def kill(self) -> int:
        """SIGKILL, unless it has ended; returns the exit code."""
        if self.process.is_alive():
            os.kill(self.process.pid, signal.SIGKILL)
        return self.end()

    def end(self) -> int:
        """Wait for the end; returns the exit code."""
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            raise TimeoutError(f"a child did not end within {PATIENCE} seconds")
        return self.process.exitcode


def run(start: Start) -> checkpoint.Checkpoint:
    """Train in a process, undisturbed; returns what the run's folder holds then."""
    with Child(start) as child:
        child.follow()
        if child.end() != 0:
            raise RuntimeError(Path(f"{start.run}.{start.index}.log").read_text()[-2000:])
    return checkpoint.Checkpoint(start.run)


def run_killed(start: Start, kills: int, seed: int = 0) -> list[dict[str, Any]]:
    """Train in processes that are killed at random moments, until the run is complete.

    Returns:
        One row a kill that came while a run was going on: steps of the run
        saved by then, steps that this process had done, and whether it fell
        into the writing of a file.

    Raises:
        CheckpointError: when a kill left what cannot be read.
        RuntimeError: when the run was complete before all kills.
    """
    rng, rows = np.random.default_rng(seed), []
    while len(rows) < kills:
        with Child(start) as child:
            seen = child.follow(int(rng.integers(1, 4)))
            if len(rows) % 2:  # half of them aim at the writing of a file
                _wait_for(lambda: list(start.run.glob("*.part")), 40 * start.slow)
                time.sleep(rng.uniform(0, 6 * start.slow))
            else:
                time.sleep(rng.uniform(0, 40 * start.slow))
            if child.kill() != -signal.SIGKILL:
                log = Path(f"{start.run}.{start.index}.log").read_text()[-2000:]
                raise RuntimeError(f"complete, or failed, before {kills} kills: {log}")
        left = checkpoint.Checkpoint(start.run)
        saved = left.state["epoch"] * start.recipe.steps_per_epoch + left.state["step"]
        for kind in ("weights", "best"):
            if left.state[kind]:
                left.read(kind)
        known = {rundir.STATE, rundir.LOCK, left.state["weights"], left.state["best"]}
        writing = bool({path.name for path in start.run.iterdir()} - known)
        rows.append({"saved_step": saved, "own_steps": seen, "while_writing": writing})
    run(start)
    return rows


def _wait_for(found: Callable[[], Any], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not found() and time.monotonic() < end:
        time.sleep(0.0005)


def free_addresses(count: int) -> tuple[str, ...]:
    """Addresses of this machine for workers to meet at."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    finally:
        for each in sockets:
            each.close()
