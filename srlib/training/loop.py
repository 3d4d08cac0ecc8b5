"""Training: compile, fit, stop at any moment, go on where it stopped.

Taught in chapter 3.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from srlib._backend import keras, tf
from srlib.data import pairing, stream
from srlib.data.photoset import PhotoSet
from srlib.training import distribute
from srlib.training.checkpoint import Checkpoint, History
from srlib.training.recipe import Recipe, batches, compile_model, monitored, settings_of


def train(
    model: keras.Model,
    photos: PhotoSet,
    validation: pairing.Pairs,
    recipe: Recipe,
    run_dir: str | os.PathLike,
    verbose: int | str = "auto",
    *,
    strategy: str | tf.distribute.Strategy | None = None,
    save_seconds: float = 60.0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> History:
    """Train, or go on training, and leave the best weights in the model.

    Kill it at any moment and call it again with the same arguments: it goes on
    with the very next batch after the last saved one, and ends with the weights
    and the history of a run that nothing disturbed.

    With a strategy the same batches are shared out to several devices, or to
    several machines (appendix B). How many there are is not part of the run's
    settings: a run may go on with more of them, or fewer.

    Args:
        model: from ``build_for``; its weights are replaced.
        photos: what to train on.
        validation: what decides which epoch is best; never the test photos.
        recipe: the run's settings; ``batch_size`` is that of all devices together.
        run_dir: where the state is kept, in a folder of its own: ``state.json``
            and two weight files. Of several workers all must see it.
        verbose: as for ``keras.Model.fit``; 2 is one line an epoch, 0 silent.
        strategy: ``"mirrored"`` for all GPUs of this machine, ``"multiworker"``
            for several machines, or any other such ``tf.distribute`` strategy;
            see :func:`srlib.training.distribute.strategy`. None for one device.
        save_seconds: between two savings within an epoch; 0 saves every step.
        callbacks: of Keras, called after the run's own.

    Returns:
        The run's history, from its very first epoch on.

    Raises:
        CheckpointError: a ValueError, when what ``run_dir`` holds is a run with
            other settings, damaged or not a run's, or when another training is
            going on there.
        SrlibError: a ValueError, when a batch cannot be shared out evenly.
        WorkerLost: when another worker is gone; see :mod:`srlib.training.distribute`.
    """
    several = distribute.strategy(strategy)
    if several is not None:
        return distribute.train(
            several, model, photos, validation, recipe, run_dir, verbose, save_seconds, callbacks
        )
    checkpoint = Checkpoint(run_dir, monitored(recipe), save_seconds)
    with checkpoint.claimed(recipe.epochs):
        checkpoint.check_settings(settings_of(recipe, model, photos))
        compile_model(model, recipe)
        done = checkpoint.restore(model)
        if done < recipe.epochs:
            start = done * recipe.steps_per_epoch + checkpoint.state["step"]
            model.fit(
                batches(photos, recipe, start),
                steps_per_epoch=recipe.steps_per_epoch,
                initial_epoch=done,
                epochs=recipe.epochs,
                validation_data=stream.evaluation_dataset(validation),
                callbacks=[*checkpoint.callbacks(recipe.ema), *callbacks],
                shuffle=False,  # the stream is shuffled; Keras would only warn about it
                verbose=verbose,
            )
    checkpoint.load_best(model)
    return checkpoint.state["history"]
