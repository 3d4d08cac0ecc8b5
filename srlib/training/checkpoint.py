"""State on disk, to the step: a run that is killed at any instant goes on with the next batch.

Taught in chapter 3.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from srlib._backend import keras
from srlib._files import write_whole
from srlib.training import rundir
from srlib.training.rundir import STATE, CheckpointError

#: Of state.json. Before it had a number, weights were kept in Keras' own .weights.h5.
FORMAT = 2
SUFFIX = ".safetensors"


class Checkpoint(keras.callbacks.Callback):
    """Keep the whole state of a run, to the step, and the weights of its best epoch.

    The state is the model's variables, the optimiser's (with its moments, its
    running average of the weights and its loss scale), and the running sums of
    the unfinished epoch's loss and metrics. It is saved at each epoch's end and
    every ``save_seconds`` between.

    ``keras.callbacks.BackupAndRestore`` writes in place, so that a kill at the
    wrong moment leaves nothing to restore. Here a new file is written and put
    on the disk first. Then ``state.json``, replaced in one step, points to it
    and tells its sha256. Only then is the old file removed. Files are
    safetensors: numbers, nothing that could be executed.

    Args:
        folder: where to keep the state: ``state.json`` and two weight files.
        monitor: the log entry that marks the best epoch: the smallest of a
            loss, the largest of anything else.
        save_seconds: between two savings within an epoch; 0 saves after every step.
        writes: whether this process writes. Of several workers one does.
        agree: makes several workers' answers to "is it time to save?" one.

    Raises:
        CheckpointError: when the folder's state is damaged or of an older srlib.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        monitor: str = "val_psnr",
        save_seconds: float = 60.0,
        *,
        writes: bool = True,
        agree: Callable[[bool], bool] = bool,
    ):
        super().__init__()
        self.folder, self.monitor, self.save_seconds = Path(folder), monitor, save_seconds
        self.writes, self.agree = writes, agree
        self.folder.mkdir(parents=True, exist_ok=True)
        self.reload()

    def reload(self) -> None:
        """Read ``state.json`` again."""
        path = self.folder / STATE
        self._validated: dict[str, np.ndarray] | None = None
        self._resumed: dict[str, np.ndarray] = {}
        self.state: dict[str, Any] = {
            "format": FORMAT, "epoch": 0, "step": 0, "seconds": 0.0, "step_seconds": 0.0,
            "weights": "", "best": "", "sha256": {}, "history": [],
        }  # fmt: skip
        if not path.exists():
            return
        try:
            found = json.loads(path.read_text())
            old = found.get("format") != FORMAT
            known = {"epoch", "history"} if old else {"step", "weights", "best", "sha256"}
            if not known <= found.keys():
                raise ValueError(f"it lacks {', '.join(sorted(known - found.keys()))}")
        except (OSError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{path}: is damaged ({error}); {self._remedy}") from error
        if old:
            raise CheckpointError(
                f"{self.folder}: holds a run of another version of srlib, which kept its state "
                f"differently; go on with that version, {self.start_again}"
            )
        self.state = found

    @property
    def _remedy(self) -> str:
        return f"put a copy of the folder back, {self.start_again}"

    @property
    def start_again(self) -> str:
        """What to do about a run that cannot be gone on with; for errors."""
        return rundir.start_again(self.folder, self.state["sha256"])

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """The folder for one training alone. Reading what it holds needs no such thing.

        Raises:
            CheckpointError: when it holds what no training has written, or when
                another training is going on there.
        """
        rundir.refuse_strangers(self.folder, self.state["sha256"])
        with rundir.locked(self.folder) if self.writes else contextlib.nullcontext():
            self.reload()  # another training may have ended since
            yield

    # --- reading

    def restore(self, model: keras.Model) -> int:
        """Load the saved state into a compiled model, if there is one.

        Returns:
            The number of whole epochs done; ``state["step"]`` tells how many
            steps of the next one are.

        Raises:
            CheckpointError: when the state is damaged or of another network.
        """
        if self.state["weights"]:
            if not model.optimizer.built:  # twice would give a loss scale twice
                model.optimizer.build(model.trainable_variables)
            tensors = self.read("weights")
            self._assign("model", model.variables, tensors)
            self._assign("optimizer", model.optimizer.variables, tensors)
            self._resumed = {k: v for k, v in tensors.items() if k.startswith("metrics/")}
        return self.state["epoch"]

    def load_best(self, model: keras.Model) -> None:
        """Load the weights of the best epoch.

        Raises:
            CheckpointError: when no epoch is finished, or the file is damaged.
        """
        if not self.state["best"]:
            raise CheckpointError(f"{self.folder}: no epoch of this run is finished yet")
        self._assign("model", model.variables, self.read("best"))

    def read(self, kind: str) -> dict[str, np.ndarray]:
        """The arrays of the whole state (``"weights"``) or of the best epoch (``"best"``).

        Raises:
            CheckpointError: when they are not what was saved.
        """
        name = self.state[kind]
        path = self.folder / name
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != self.state["sha256"].get(name):
                raise ValueError(f"its sha256 is not the one in {STATE}")
            return safetensors.load(content)
        except (OSError, ValueError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CheckpointError(f"{path}: is damaged ({reason}); {self._remedy}") from error

    def _assign(self, group: str, variables: list, tensors: dict[str, np.ndarray]) -> None:
        found = [tensors[key] for key in sorted(k for k in tensors if k.startswith(f"{group}/"))]
        shapes = [tuple(variable.shape) for variable in variables]
        if [value.shape for value in found] != shapes:
            raise CheckpointError(
                f"{self.folder}: its {group} has other shapes than this network's; "
                f"{self.start_again}"
            )
        for variable, value in zip(variables, found, strict=True):
            variable.assign(value)

    # --- while training

    def on_epoch_begin(self, epoch, logs=None):
        self.step = self.state["step"]
        self._goes_on = self.step > 0  # in the middle of this epoch
        self._began = self._saved = time.monotonic()
        if self._resumed:
            if len(self.model.metrics_variables) < len(self._resumed):
                # Keras makes a compiled metric known when it is first used.
                nothing = keras.ops.zeros((1, 2, 2, 3))
                self.model.compute_metrics(None, nothing, nothing)
            self._assign("metrics", self.model.metrics_variables, self._resumed)
            self._resumed = {}

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.step == self.params["steps"]:
            if self._goes_on:  # fit counts from 0 and would go on
                self.model.stop_training = True
            return  # the epoch's end saves
        if self.agree(time.monotonic() - self._saved >= self.save_seconds):
            state = self.state | {"step": self.step, "step_seconds": self._elapsed()}
            self._save(state, {}, ("model", "optimizer", "metrics"))
            self._saved = time.monotonic()

    def on_test_end(self, logs=None):
        self._validated = self._tensors("model")  # with a running average: the average

    def on_epoch_end(self, epoch, logs=None):
        if self._goes_on:
            self.model.stop_training = False
        state, seconds = self.state, self._elapsed()
        row = {"epoch": epoch + 1} | {k: float(v) for k, v in logs.items()} | {"seconds": seconds}
        scores = map(self._rank, state["history"])
        best = max((x for x in scores if not math.isnan(x)), default=-math.inf)
        state = state | {
            "epoch": epoch + 1,
            "step": 0,
            "seconds": state["seconds"] + seconds,
            "step_seconds": 0.0,
            "history": [*state["history"], row],
        }
        better = self._rank(row) > best or not state["best"]
        weights = (self._validated or self._tensors("model")) if better else {}
        self._save(state, weights, ("model", "optimizer"))
        self._validated = None

    def _elapsed(self) -> float:
        """Seconds in this epoch, those before an interruption included."""
        return self.state["step_seconds"] + time.monotonic() - self._began

    def _rank(self, row: dict[str, float]) -> float:
        value = row[self.monitor]
        return -value if self.monitor.endswith("loss") else value

    # --- writing

    def _tensors(self, *groups: str) -> dict[str, np.ndarray]:
        variables = {
            "model": lambda: self.model.variables,
            "optimizer": lambda: self.model.optimizer.variables,
            "metrics": lambda: self.model.metrics_variables,
        }
        return {
            f"{group}/{i:05}": _array(variable)
            for group in groups
            for i, variable in enumerate(variables[group]())
        }

    def _save(
        self, state: dict[str, Any], best: dict[str, np.ndarray], groups: tuple[str, ...]
    ) -> None:
        tensors = self._tensors(*groups)  # of several workers all must take part
        if self.writes:
            state = write(self.folder, state, tensors, best)
        self.state = state


def write(
    folder: Path,
    state: dict[str, Any],
    tensors: dict[str, np.ndarray],
    best: dict[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Make ``state`` and its tensors what a folder holds, in one step.

    Returns:
        ``state`` with the names of its files and their sha256.

    Raises:
        OSError: when something cannot be written; the folder holds what it held.
    """
    named = [
        (kind, *_put(folder, kind, t)) for kind, t in (("weights", tensors), ("best", best)) if t
    ]
    state = state | {kind: name for kind, name, _ in named}
    known = state["sha256"] | {name: digest for _, name, digest in named}
    state["sha256"] = {name: known[name] for name in (state["weights"], state["best"]) if name}
    write_whole(folder / STATE, json.dumps(state, indent=1), durable=True)
    for file in rundir.leftovers(folder, known, kept=state["sha256"]):
        file.unlink(missing_ok=True)
    return state


def _put(folder: Path, kind: str, tensors: dict[str, np.ndarray]) -> tuple[str, str]:
    """Write a file whose name tells its content, so that none in use is written again."""
    content = safetensors.save(tensors)
    digest = hashlib.sha256(content).hexdigest()
    name = f"{kind}-{digest[:16]}{SUFFIX}"
    write_whole(folder / name, content, durable=True)
    return name, digest


def _array(variable: keras.Variable) -> np.ndarray:
    array = np.asarray(variable.numpy(), order="C")
    # NumPy has no bfloat16 of its own; float32 holds each of its values.
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
