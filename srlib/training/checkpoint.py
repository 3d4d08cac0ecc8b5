"""State on disk, to the step: a run that is killed at any instant goes on with the next batch.

Taught in chapter 3 and appendix B.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from srlib._backend import keras
from srlib.training import rundir
from srlib.training.rundir import CheckpointError

#: One row an epoch: epoch, loss, psnr, val_loss, val_psnr, seconds.
History = list[dict[str, float]]


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
        self._validated: dict[str, np.ndarray] | None = None
        self._resumed: dict[str, np.ndarray] = {}
        self.state = rundir.read_state(self.folder)

    @contextlib.contextmanager
    def claimed(self, epochs: float = math.inf) -> Iterator[None]:
        """The folder for one training alone. Reading what it holds needs no such thing.

        Args:
            epochs: of the whole run; when it is complete, it will only be read.

        Raises:
            CheckpointError: when it holds what no training has written, or when
                another training is going on there.
        """
        if self.state["epoch"] >= epochs:
            yield
            return
        rundir.refuse_strangers(self.folder, self.state["sha256"])
        with rundir.locked(self.folder) if self.writes else contextlib.nullcontext():
            self.reload()  # another training may have ended since
            yield

    def check_settings(self, settings: dict[str, Any]) -> None:
        """Note a new run's settings; refuse to go on with a run that had others.

        Raises:
            CheckpointError: naming the settings that differ.
        """
        known = self.state.setdefault("settings", settings)
        # What a recipe of an older srlib did not say was not asked for.
        keys = dict.fromkeys((*settings, *known))
        changed = [key for key in keys if known.get(key, "") != settings.get(key, "")]
        if changed:
            raise CheckpointError(
                f"{self.folder}: holds a run with other settings ({', '.join(changed)}); "
                f"{rundir.start_again(self.folder, self.state['sha256'])}"
            )

    def callbacks(self, ema: float = 0.0) -> list[keras.callbacks.Callback]:
        """Itself, and behind it what validates a running average, which it then saves."""
        return [self, keras.callbacks.SwapEMAWeights()] if ema else [self]

    # --- reading

    def restore(self, model: keras.Model) -> int:
        """Load the saved state, if there is one, into a compiled model; build its optimiser.

        Returns:
            The number of whole epochs done; ``state["step"]`` tells how many
            steps of the next one are.

        Raises:
            CheckpointError: when the state is damaged or of another network.
        """
        if not model.optimizer.built:  # twice would give a loss scale twice
            model.optimizer.build(model.trainable_variables)
        if self.state["weights"]:
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
        return rundir.read(self.folder, self.state, kind)

    def _assign(self, group: str, variables: list, tensors: dict[str, np.ndarray]) -> None:
        found = [tensors[key] for key in sorted(k for k in tensors if k.startswith(f"{group}/"))]
        shapes = [tuple(variable.shape) for variable in variables]
        if [value.shape for value in found] != shapes:
            raise CheckpointError(
                f"{self.folder}: its {group} has other shapes than this network's; "
                f"{rundir.start_again(self.folder, self.state['sha256'])}"
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
            state = rundir.write(self.folder, state, tensors, best)
        self.state = state


def _array(variable: keras.Variable) -> np.ndarray:
    array = np.asarray(variable.numpy(), order="C")
    # NumPy has no bfloat16 of its own; float32 holds each of its values.
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
