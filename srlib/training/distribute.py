"""The same training on several devices, or on several machines, by ``tf.distribute``.

Synchronous data parallelism: every device holds the whole network and computes
the gradients of its part of the batch; the sum of all gradients, which is that
of the whole batch, moves every copy in the same way. So the number of devices
changes the time a run takes and not what it computes, but for rounding. Taught
in appendix B.
"""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Sequence

from srlib._backend import keras, tf
from srlib.data import pairing, stream
from srlib.data.photoset import PhotoSet
from srlib.errors import SrlibError
from srlib.training.checkpoint import Checkpoint, History
from srlib.training.recipe import Recipe, batches, compile_model, monitored, settings_of
from srlib.training.team import Team, WorkerLost, cause, is_chief

__all__ = ["NAMES", "WorkerLost", "is_chief", "strategy", "train"]

NAMES = ("mirrored", "multiworker")


def strategy(which: str | tf.distribute.Strategy | None = None) -> tf.distribute.Strategy | None:
    """The strategy of a name.

    Args:
        which: ``"mirrored"``: all GPUs of this machine, or where there is none
            its logical CPU devices. ``"multiworker"``: the machines that the
            variable ``TF_CONFIG`` lists; every one of them runs the same
            program. None or ``"none"``: one device, no strategy. A strategy is
            returned as it is.

    Raises:
        ValueError: for another name.
        SrlibError: a ValueError, for ``"multiworker"`` without a valid
            ``TF_CONFIG``, or when TensorFlow has computed something already:
            then ask for the strategy at the very beginning of the program.
        WorkerLost: when the workers do not find each other.
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
    raise SrlibError(f"unknown strategy {which!r}: choose one of {('none', *NAMES)}")


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
        if not all(isinstance(value, list) for value in job["cluster"].values()):
            raise ValueError("each kind needs a list of addresses")
        if not all(isinstance(address, str) for address in workers):
            raise ValueError("an address is a text, host:port")
        kind, index = job["task"]["type"], int(job["task"]["index"])
        if not 0 <= index < len(job["cluster"][kind]):
            raise ValueError(f"no {kind} has the number {index}")
        if kind not in ("chief", "worker"):
            raise ValueError(f"a {kind} does not train")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        example = {"cluster": {"worker": ["host0:2222", "host1:2222"]},
                   "task": {"type": "worker", "index": 0}}  # fmt: skip
        lacking = f"lacks {error}" if isinstance(error, KeyError) else f"is unusable ({error})"
        where = lacking if "TF_CONFIG" in os.environ else "is not set"
        raise SrlibError(
            f"multiworker: the variable TF_CONFIG {where}. On each machine set it to the list of "
            f"all and to this one's number, for example TF_CONFIG='{json.dumps(example)}'"
        ) from error
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise SrlibError(
            "multiworker: TensorFlow has computed something already; put strategy = "
            'distribute.strategy("multiworker"), from srlib.training, at the beginning of the '
            "program, before any model, and pass it on"
        ) from error
    except tf.errors.OpError as error:
        raise WorkerLost(
            f"the {len(workers)} workers {', '.join(workers)} did not find each other: "
            f"{cause(error)}. Start all of them, with the same list in the same order"
        ) from error


def train(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    photos: PhotoSet,
    validation: pairing.Pairs,
    recipe: Recipe,
    run_dir: str | os.PathLike,
    verbose: int | str = "auto",
    save_seconds: float = 60.0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> History:
    """Do what :func:`srlib.training.loop.train` does, which calls it, on several devices.

    They train a copy of the model. Each process reads the run's folder and the
    chief alone writes to it.
    """
    team = Team(strategy)
    team.check(model, recipe.batch_size)
    checkpoint = Checkpoint(
        run_dir, monitored(recipe), save_seconds, writes=team.is_chief, agree=team.chief_says
    )
    with checkpoint.claimed(recipe.epochs):
        checkpoint.check_settings(settings_of(recipe, model, photos))
        with strategy.scope():
            copy = keras.models.clone_model(model)
            copy.set_weights(model.get_weights())
            compile_model(copy, recipe)
            done = checkpoint.restore(copy)
        step = checkpoint.state["step"]
        start = done * recipe.steps_per_epoch + step
        team.check_folder(checkpoint.folder, start)
        if done < recipe.epochs:
            team.fit(
                copy,
                recipe,
                functools.partial(batches, photos, recipe, start),
                stream.evaluation_dataset(validation),
                epoch=done,
                step=step,
                callbacks=[*checkpoint.callbacks(recipe.ema), *callbacks],
                verbose=verbose,
            )
            checkpoint.reload()  # which the chief has written
    checkpoint.load_best(model)
    return checkpoint.state["history"]
