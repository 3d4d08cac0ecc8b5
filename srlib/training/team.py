"""Several devices as one: what :mod:`srlib.training.distribute` trains with."""

from __future__ import annotations

import contextlib
import functools
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from srlib._backend import keras, tf
from srlib.errors import SrlibError
from srlib.training.recipe import Recipe
from srlib.training.rundir import MARK

#: ``part -> batches``: worker k of n, ``(k, n)``, gets its part of every batch.
Batches = Callable[[tuple[int, int]], tf.data.Dataset]


class WorkerLost(ConnectionError):
    """Another worker of the job is gone; the message says how to go on."""


def is_chief(strategy: tf.distribute.Strategy | None) -> bool:
    """Whether this process is the one that writes: of several machines the first."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    resolver = strategy.cluster_resolver
    if not resolver.task_type:  # a job of one
        return True
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return (resolver.task_type, resolver.task_id) == (first, 0)


class Team:
    """The devices of a strategy, which train together; see :mod:`srlib.training.distribute`."""

    def __init__(self, strategy: tf.distribute.Strategy):
        self.strategy = strategy
        self.devices = strategy.num_replicas_in_sync
        self.is_chief = is_chief(strategy)
        self._several_machines = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)

    def check(self, model: keras.Model, batch_size: int) -> None:
        """Refuse a batch that cannot be shared out evenly: an SrlibError.

        Warn where a device's part of the batch is normalised by itself: then
        what is computed depends on the number of devices.
        """
        if batch_size % self.devices:
            raise SrlibError(
                f"a batch of {batch_size} cannot be shared out evenly to {self.devices} devices: "
                f"choose a multiple of {self.devices}"
            )
        normal = any(isinstance(x, keras.layers.BatchNormalization) for x in model.layers)
        if normal and self.devices > 1:
            warnings.warn(
                f"{model.name}: each device normalises its own {batch_size // self.devices} of "
                f"{batch_size} photos, so this training is not that of one device (appendix B)",
                stacklevel=4,
            )

    def chief_says(self, answer: bool) -> bool:
        """The chief's answer to a question whose answer depends on a clock."""
        return self._sum(int(answer and self.is_chief)) > 0 if self._several_machines else answer

    def check_folder(self, folder: Path, step: int) -> None:
        """Refuse workers that do not share the run's folder: an SrlibError on each of them.

        Args:
            folder: of the run.
            step: that this worker found there.
        """
        if not self._several_machines:
            return
        mark = folder / MARK
        with self._losses_named():
            if self.is_chief:
                mark.touch()
            total, squares = self._sum(step), self._sum(step * step)
            blind = self._sum(int(not mark.exists()))
            if self.is_chief:
                mark.unlink()
        if blind or total * total != squares * self.devices:
            raise SrlibError(
                f"{folder}: not all workers see the same state of the run there: it must be a "
                "folder on a disk that all of them share"
            )

    def _sum(self, value: int) -> int:
        return int(self._add(tf.constant(value, tf.int64)))

    @functools.cached_property
    def _add(self) -> Callable:
        @tf.function
        def add(value):
            each = self.strategy.run(lambda: value)
            return self.strategy.reduce("SUM", each, axis=None)

        return add

    def fit(
        self,
        model: keras.Model,
        recipe: Recipe,
        batches: Batches,
        validation: tf.data.Dataset,
        *,
        epoch: int,
        step: int,
        callbacks: list[keras.callbacks.Callback],
        verbose: int | str,
    ) -> None:
        """Train as ``keras.Model.fit`` does, on these devices.

        ``fit`` itself fails on several machines (keras-team/keras issue 20585),
        and on several devices of one machine where the validation photos cannot
        be shared out evenly.

        Args:
            model: made and compiled within the strategy's scope.
            recipe: says how many epochs and steps.
            batches: gives a worker its part of them.
            validation: batches for the end of each epoch.
            epoch: to begin with, and ``step`` of it.
            callbacks, verbose: as for ``fit``.

        Raises:
            WorkerLost: when another worker is gone.
        """
        verbose = (1 if verbose == "auto" else int(verbose)) if self.is_chief else 0
        calls = keras.callbacks.CallbackList(
            callbacks, add_progbar=verbose != 0, model=model,
            verbose=verbose, epochs=recipe.epochs, steps=recipe.steps_per_epoch,
        )  # fmt: skip
        with self._losses_named():
            shared = self._batches(batches)
            validation = self.strategy.experimental_distribute_dataset(_by_samples(validation))
            train_step, test_step = (
                self._everywhere(s) for s in (model.train_step, model.test_step)
            )
            model.stop_training = False
            calls.on_train_begin()
            for number in range(epoch, recipe.epochs):
                model.reset_metrics()
                calls.on_epoch_begin(number)
                for done in range(step, recipe.steps_per_epoch):
                    calls.on_train_batch_begin(done)
                    calls.on_train_batch_end(done, train_step(next(shared)))
                logs, step = dict(model.get_metrics_result()), 0
                model.reset_metrics()
                calls.on_test_begin()
                for batch in validation:
                    test_step(batch)
                found = model.get_metrics_result()
                calls.on_test_end(found)
                calls.on_epoch_end(number, logs | {f"val_{name}": v for name, v in found.items()})
                if model.stop_training:
                    break
            calls.on_train_end(logs)
            self.chief_says(True)  # wait until the chief has written its last file

    @contextlib.contextmanager
    def _losses_named(self) -> Iterator[None]:
        """TensorFlow's pages about a broken connection as one sentence."""
        try:
            yield
        except tf.errors.OpError as error:
            gone = isinstance(error, tf.errors.UnavailableError | tf.errors.AbortedError)
            gone = gone or "Collective ops is aborted" in error.message
            if not (gone and self._several_machines):
                raise
            raise WorkerLost(
                f"another worker of this job is gone ({cause(error)}). Start all workers "
                "again with the same command: training goes on from its last saved step"
            ) from error

    def _batches(self, batches: Batches) -> Iterator:
        def mine(context: tf.distribute.InputContext) -> tf.data.Dataset:
            workers = context.num_input_pipelines
            part = batches((context.input_pipeline_id, workers))
            # Of a worker's several devices each takes the next batch.
            each = part.element_spec[0].shape[0] * workers // self.devices
            return part.rebatch(each, drop_remainder=True)

        return iter(self.strategy.distribute_datasets_from_function(mine))

    def _everywhere(self, step: Callable) -> Callable:
        """A model's step as a function that all devices compute together."""

        @tf.function
        def run(batch):
            logs = self.strategy.run(step, args=(batch,))
            return {k: self.strategy.reduce("MEAN", v, axis=None) for k, v in logs.items()}

        return run


def _by_samples(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Shared out by samples: files, the other way, are not what it is made of."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)


def cause(error: tf.errors.OpError) -> str:
    """What went wrong, without where in the graph."""
    lines = [re.sub(r"\{\{.*?\}\}", "", line).strip() for line in error.message.splitlines()]
    named = [line for line in lines if "aborted" in line] or [line for line in lines if line]
    return named[0].rstrip(".:") if named else type(error).__name__
