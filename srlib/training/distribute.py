"""The same training on several devices, or on several machines, by ``tf.distribute``.

Synchronous data parallelism: every device holds the whole network and computes
the gradients of its part of the batch; the sum of all gradients, which is that
of the whole batch, moves every copy in the same way. So the number of devices
changes the time a run takes and not what it computes, but for rounding. Taught
in chapter 12.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from srlib._backend import keras, tf
from srlib.training.rundir import MARK

NAMES = ("mirrored", "multiworker")


#: ``part -> batches``: worker k of n, ``(k, n)``, gets its part of every batch.
Stream = Callable[[tuple[int, int]], tf.data.Dataset]


class WorkerLost(ConnectionError):
    """Another worker of the job is gone; the message says how to go on."""


def strategy(which: str | tf.distribute.Strategy | None = None) -> tf.distribute.Strategy | None:
    """The strategy of a name.

    Args:
        which: ``"mirrored"``: all GPUs of this machine, or where there is none
            its logical CPU devices. ``"multiworker"``: the machines that the
            variable ``TF_CONFIG`` lists; every one of them runs the same
            program. None or ``"none"``: one device, no strategy. A strategy is
            returned as it is.

    Raises:
        ValueError: for another name; for ``"multiworker"`` without a valid
            ``TF_CONFIG``, or when TensorFlow has computed something already:
            then ask for the strategy at the very beginning of the program.
    """
    if which is None or which == "none":
        return None
    if isinstance(which, tf.distribute.Strategy):
        return which
    if which == "mirrored":
        tf.get_logger().addFilter(_matters)
        gpus = tf.config.list_logical_devices("GPU")
        devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
        # On GPUs TensorFlow's own choice; on CPUs that choice mixes up large networks' sums.
        exchange = None if gpus else tf.distribute.ReductionToOneDevice()
        return tf.distribute.MirroredStrategy(devices, exchange)
    if which == "multiworker":
        return _multiworker()
    raise ValueError(f"unknown strategy {which!r}: choose one of {('none', *NAMES)}")


def _matters(record: logging.LogRecord) -> bool:
    """Not every sum that is added up."""
    return record.levelno > logging.INFO


@functools.cache  # a process joins its job once
def _multiworker() -> tf.distribute.Strategy:
    try:
        job = json.loads(os.environ["TF_CONFIG"])
        workers = [
            address for kind in ("chief", "worker") for address in job["cluster"].get(kind, [])
        ]
        kind, index = job["task"]["type"], int(job["task"]["index"])
        if not 0 <= index < len(job["cluster"][kind]):
            raise ValueError(f"no {kind} has the number {index}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        example = {"cluster": {"worker": ["host0:2222", "host1:2222"]},
                   "task": {"type": "worker", "index": 0}}  # fmt: skip
        lacking = f"lacks {error}" if isinstance(error, KeyError) else f"is unusable ({error})"
        where = lacking if "TF_CONFIG" in os.environ else "is not set"
        raise ValueError(
            f"multiworker: the variable TF_CONFIG {where}. On each machine set it to the list of "
            f"all and to this one's number, for example TF_CONFIG='{json.dumps(example)}'"
        ) from error
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ValueError(
            "multiworker: TensorFlow has computed something already; put strategy = "
            'distribute.strategy("multiworker"), from srlib.training, at the beginning of the '
            "program, before any model, and pass it on"
        ) from error
    except tf.errors.OpError as error:
        raise WorkerLost(
            f"the {len(workers)} workers {', '.join(workers)} did not find each other: "
            f"{_first_line(error)}. Start all of them, with the same list in the same order"
        ) from error


class Team:
    """The devices that train together, for :func:`srlib.training.loop.train`.

    Args:
        strategy: None for one device.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None):
        self.strategy = strategy
        self.devices = strategy.num_replicas_in_sync if strategy else 1
        self.is_chief = True
        self._several_machines = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        if self._several_machines and strategy.cluster_resolver.task_type:
            resolver = strategy.cluster_resolver
            first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
            self.is_chief = (resolver.task_type, resolver.task_id) == (first, 0)

    def check(self, model: keras.Model, batch_size: int) -> None:
        """Refuse a batch that cannot be shared out evenly: a ValueError.

        Warn where a device's part of the batch is normalised by itself: then
        what is computed depends on the number of devices.
        """
        if batch_size % self.devices:
            raise ValueError(
                f"a batch of {batch_size} cannot be shared out evenly to {self.devices} devices: "
                f"choose a multiple of {self.devices}"
            )
        normal = any(isinstance(x, keras.layers.BatchNormalization) for x in model.layers)
        if normal and self.devices > 1:
            warnings.warn(
                f"{model.name}: each device normalises its own {batch_size // self.devices} of "
                f"{batch_size} photos, so this training is not that of one device (chapter 12)",
                stacklevel=3,
            )

    def scope(self) -> contextlib.AbstractContextManager:
        """Where the model, its loss, metrics and optimiser must be made."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    def copy_of(self, model: keras.Model) -> keras.Model:
        """The model as these devices train it: itself, or a copy on each of them."""
        if not self.strategy:
            return model
        with self.scope():
            copy = keras.models.clone_model(model)
            copy.set_weights(model.get_weights())
        return copy

    def chief_says(self, answer: bool) -> bool:
        """The chief's answer to a question whose answer depends on a clock."""
        return self._sum(int(answer and self.is_chief)) > 0 if self._several_machines else answer

    def check_folder(self, folder: Path, step: int) -> None:
        """Refuse workers that do not share the run's folder: a ValueError on each of them.

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
            raise ValueError(
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
        self, model: keras.Model, stream: Stream, validation: tf.data.Dataset, **run: Any
    ) -> None:
        """Train as ``keras.Model.fit`` does, on these devices.

        Args:
            model: from :meth:`copy_of`, compiled within :meth:`scope`.
            stream: gives a worker its part of the batches.
            validation: batches for the end of each epoch.
            run: ``epochs``, ``initial_epoch``, ``steps_per_epoch``, ``first_step``
                in the first of them, ``callbacks`` and ``verbose``.

        Raises:
            WorkerLost: when another worker is gone.
        """
        if self.strategy:
            with self._losses_named():
                self._fit_together(model, stream, validation, **run)
                self.chief_says(True)  # wait until the chief has written its last file
            return
        del run["first_step"]  # the checkpoint ends the first epoch where it is due
        model.fit(
            stream((0, 1)),
            validation_data=validation,
            shuffle=False,  # the stream is shuffled; Keras would only warn about it
            **run,
        )

    def _fit_together(
        self,
        model: keras.Model,
        stream: Stream,
        validation: tf.data.Dataset,
        *,
        epochs: int,
        initial_epoch: int,
        steps_per_epoch: int,
        first_step: int,
        callbacks: list[keras.callbacks.Callback],
        verbose: int | str,
    ) -> None:
        """What ``fit`` does, which fails on several machines (keras-team/keras issue 20585).

        On several devices of one machine it fails where the validation photos
        cannot be shared out evenly.
        """
        verbose = (1 if verbose == "auto" else int(verbose)) if self.is_chief else 0
        calls = keras.callbacks.CallbackList(
            callbacks, add_progbar=verbose != 0, model=model,
            verbose=verbose, epochs=epochs, steps=steps_per_epoch,
        )  # fmt: skip
        batches = self._batches(stream)
        validation = self.strategy.experimental_distribute_dataset(_by_samples(validation))
        train_step, test_step = (self._everywhere(s) for s in (model.train_step, model.test_step))
        model.stop_training, first = False, first_step
        calls.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            model.reset_metrics()
            calls.on_epoch_begin(epoch)
            for step in range(first, steps_per_epoch):
                calls.on_train_batch_begin(step)
                calls.on_train_batch_end(step, train_step(next(batches)))
            logs, first = dict(model.get_metrics_result()), 0
            model.reset_metrics()
            calls.on_test_begin()
            for batch in validation:
                test_step(batch)
            found = model.get_metrics_result()
            calls.on_test_end(found)
            calls.on_epoch_end(epoch, logs | {f"val_{name}": v for name, v in found.items()})
            if model.stop_training:
                break
        calls.on_train_end(logs)

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
                f"another worker of this job is gone ({_first_line(error)}). Start all workers "
                "again with the same command: training goes on from its last saved step"
            ) from error

    def _batches(self, stream: Stream) -> Iterator:
        def mine(context: tf.distribute.InputContext) -> tf.data.Dataset:
            workers = context.num_input_pipelines
            part = stream((context.input_pipeline_id, workers))
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


def _first_line(error: tf.errors.OpError) -> str:
    """What went wrong, without where in the graph."""
    lines = [re.sub(r"\{\{.*?\}\}", "", line).strip() for line in error.message.splitlines()]
    named = [line for line in lines if "aborted" in line] or [line for line in lines if line]
    return named[0].rstrip(".:") if named else type(error).__name__
