"""The recipe: compile, fit, stop at any moment, go on where it stopped.

Taught in chapter 3.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import partial

from srlib._backend import keras, tf
from srlib.data import pairing, stream
from srlib.data.photoset import PhotoSet
from srlib.losses.perceptual import PerceptualLoss, PixelAndPerceptualLoss
from srlib.metrics.keras_metrics import PSNR
from srlib.models import registry
from srlib.training import distribute
from srlib.training.checkpoint import Checkpoint
from srlib.training.hardware import fast_precision

#: One row an epoch: epoch, loss, psnr, val_loss, val_psnr, seconds.
History = list[dict[str, float]]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run besides the network and the photos.

    Attributes:
        loss: of pixels, a key of ``srlib.losses.pixel.PIXEL_LOSSES``.
        perceptual_weight: of a perceptual loss beside it; see
            ``srlib.losses.perceptual.PixelAndPerceptualLoss``. 0 for none.
        perceptual_layer: of VGG16.
        vgg16: where its weights come from; see ``srlib.losses.vgg.load_weights``.
        epochs: how many times to validate and save.
        steps_per_epoch: batches in one epoch.
        batch_size: pairs in a batch.
        crop: side in low-resolution pixels of random crops; None for all 64.
        learning_rate: Adam's, at the start.
        schedule: ``"cosine"`` (down to zero) or ``"constant"``.
        epsilon: Adam's; the classic system used 1e-8.
        clip_value: largest absolute value of a gradient's entry; None for any.
        kernel: how low-resolution images are made.
        size: side of the truth in pixels; None for photos in their own size;
            several of these for a draw between them.
        candidates: of so many random crops the most detailed is taken.
        ema: share of the old in a running average of the weights, which is
            then what is validated and kept; 0 for none.
        jit_compile: with XLA; None for on GPUs alone. On a CPU it pays for plain
            convolutions and costs time for the hourglass (chapter 9).
        seed: of weights, order, crops and flips.
        precision: ``"auto"``, or a Keras dtype policy.
    """

    loss: str = "l1"
    perceptual_weight: float = 0.0
    perceptual_layer: str = "block2_conv2"
    vgg16: str | None = None
    epochs: int = 10
    steps_per_epoch: int = 100
    batch_size: int = 16
    crop: int | None = 48
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    epsilon: float = 1e-7
    clip_value: float | None = None
    kernel: str = "bicubic"
    size: int | tuple[int | None, ...] | None = 128
    candidates: int = 1
    ema: float = 0.0
    jit_compile: bool | None = None
    seed: int = 0
    precision: str = "auto"


def _precision(recipe: Recipe) -> str:
    return fast_precision() if recipe.precision == "auto" else recipe.precision


def compile_model(model: keras.Model, recipe: Recipe) -> keras.Model:
    """Give a model its loss, optimiser, schedule and validation PSNR."""
    rate: float | keras.optimizers.schedules.LearningRateSchedule = recipe.learning_rate
    if recipe.schedule == "cosine":
        steps = recipe.epochs * recipe.steps_per_epoch
        rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    elif recipe.schedule != "constant":
        raise ValueError(f"unknown schedule {recipe.schedule!r}: 'cosine' or 'constant'")
    average = {"use_ema": True, "ema_momentum": recipe.ema} if recipe.ema else {}
    optimizer: keras.optimizers.Optimizer = keras.optimizers.Adam(
        rate, epsilon=recipe.epsilon, clipvalue=recipe.clip_value, **average
    )
    # Keras sees to it only where the precision is set for everything, not layer by layer.
    if any(layer.dtype_policy.name == "mixed_float16" for layer in model.layers):
        # In grey levels a loss is large already: from 2**15 the first steps would be lost.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**10)
    model.compile(
        optimizer=optimizer,
        loss=_loss(recipe),
        metrics=[PSNR()],
        jit_compile=_xla_pays() if recipe.jit_compile is None else recipe.jit_compile,
    )
    return model


def _xla_pays() -> bool:
    """On a GPU; not on several, where devices must exchange within a step."""
    return bool(tf.config.list_physical_devices("GPU")) and not tf.distribute.has_strategy()


def _loss(recipe: Recipe) -> keras.losses.Loss:
    perceptual = None
    if recipe.perceptual_weight:
        perceptual = PerceptualLoss(recipe.perceptual_layer, recipe.vgg16, dtype=_precision(recipe))
    return PixelAndPerceptualLoss(
        recipe.loss, perceptual_weight=recipe.perceptual_weight, perceptual=perceptual
    )


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
) -> History:
    """Train, or go on training, and leave the best weights in the model.

    Kill it at any moment and call it again with the same arguments: it goes on
    with the very next batch after the last saved one, and ends with the weights
    and the history of a run that nothing disturbed.

    With a strategy the same batches are shared out to several devices, or to
    several machines (chapter 12). How many there are is not part of the run's
    settings: a run may go on with more of them, or fewer.

    Args:
        model: from :func:`build_for`; its weights are replaced.
        photos: what to train on.
        validation: what decides which epoch is best; never the test photos.
        recipe: the run's settings; ``batch_size`` is that of all devices together.
        run_dir: where the state is kept: ``state.json`` and two weight files.
            Of several workers all must see it.
        verbose: as for ``keras.Model.fit``; 2 is one line an epoch, 0 silent.
        strategy: ``"mirrored"`` for all GPUs of this machine, ``"multiworker"``
            for several machines, or any other such ``tf.distribute`` strategy;
            see :func:`srlib.training.distribute.strategy`. None for one device.
        save_seconds: between two savings within an epoch; 0 saves every step.

    Returns:
        The run's history, from its very first epoch on.

    Raises:
        ValueError: when ``run_dir`` holds a run with another recipe, or the
            batch cannot be shared out evenly.
        CheckpointError: a ValueError, when what ``run_dir`` holds is damaged.
        WorkerLost: when another worker is gone; see :mod:`srlib.training.distribute`.
    """
    team = distribute.Team(distribute.strategy(strategy))
    team.check(model, recipe.batch_size)
    # PSNR would choose the epoch in which the perceptual loss has done least.
    monitor = "val_loss" if recipe.perceptual_weight else "val_psnr"
    checkpoint = Checkpoint(
        run_dir, monitor, save_seconds, writes=team.is_chief, agree=team.chief_says
    )
    _check_settings(checkpoint, model, photos, recipe)
    trained = team.copy_of(model)
    with team.scope():
        compile_model(trained, recipe)
        trained.optimizer.build(trained.trainable_variables)
    done, step = checkpoint.restore(trained), checkpoint.state["step"]
    start = done * recipe.steps_per_epoch + step
    team.check_folder(checkpoint.folder, start)
    if done < recipe.epochs:
        callbacks: list[keras.callbacks.Callback] = [checkpoint]
        if recipe.ema:  # validates the average; behind the checkpoint, which then saves it
            callbacks.append(keras.callbacks.SwapEMAWeights())
        team.fit(
            trained,
            partial(_stream, photos, recipe, start),
            stream.evaluation_dataset(validation),
            steps_per_epoch=recipe.steps_per_epoch,
            first_step=step,
            initial_epoch=done,
            epochs=recipe.epochs,
            callbacks=callbacks,
            verbose=verbose,
        )
        checkpoint.reload()  # which the chief has written
    checkpoint.load_best(model)
    return checkpoint.state["history"]


def _check_settings(
    checkpoint: Checkpoint, model: keras.Model, photos: PhotoSet, recipe: Recipe
) -> None:
    settings = asdict(recipe) | {
        "model": f"{model.name}, {model.count_params()} parameters",
        "photos": f"{len(photos)} files, {photos.names_digest()}",
    }
    settings = json.loads(json.dumps(settings))  # a tuple comes back from a file as a list
    known = checkpoint.state.setdefault("settings", settings)
    if known != settings:
        changed = [k for k in settings if known.get(k) != settings[k]]
        raise ValueError(
            f"{checkpoint.folder}: holds a run with other settings ({', '.join(changed)}); "
            "choose another folder, or delete this one to start again"
        )


def _stream(photos: PhotoSet, recipe: Recipe, start: int, part: tuple[int, int]):
    """One worker's part of the recipe's batches, from batch ``start`` on."""
    return stream.dataset(
        photos,
        recipe.batch_size,
        size=recipe.size,
        kernel=recipe.kernel,
        crop=recipe.crop,
        candidates=recipe.candidates,
        seed=recipe.seed,
        start=start,
        part=part,
    )


def build_for(architecture: str, recipe: Recipe, **options) -> keras.Model:
    """Build an architecture with the recipe's seed and precision."""
    keras.utils.set_random_seed(recipe.seed)
    return registry.build(architecture, dtype=_precision(recipe), **options)
