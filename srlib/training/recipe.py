"""A training run's settings, and what follows from them: the compiled model and its batches.

Taught in chapter 3.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from srlib._backend import keras, tf
from srlib.data import stream
from srlib.data.photoset import PhotoSet
from srlib.errors import SrlibError
from srlib.losses.perceptual import PerceptualLoss, PixelAndPerceptualLoss
from srlib.losses.pixel import PixelLoss
from srlib.metrics.keras_metrics import PSNR
from srlib.models import registry
from srlib.training.hardware import fast_precision


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
            convolutions and costs time for the hourglass (appendix A).
        seed: of weights, order, crops and flips.
        precision: ``"auto"``, or a Keras dtype policy.
        start: what the network's weights are from, for the record; nothing is loaded.
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
    start: str = ""


def build_for(architecture: str, recipe: Recipe, **options) -> keras.Model:
    """Build an architecture with the recipe's seed and precision."""
    keras.utils.set_random_seed(recipe.seed)
    return registry.build(architecture, dtype=_precision(recipe), **options)


def _precision(recipe: Recipe) -> str:
    return fast_precision() if recipe.precision == "auto" else recipe.precision


def compile_model(model: keras.Model, recipe: Recipe) -> keras.Model:
    """Give a model its loss, optimiser, schedule and validation PSNR."""
    rate: float | keras.optimizers.schedules.LearningRateSchedule = recipe.learning_rate
    if recipe.schedule == "cosine":
        steps = recipe.epochs * recipe.steps_per_epoch
        rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    elif recipe.schedule != "constant":
        raise SrlibError(f"unknown schedule {recipe.schedule!r}: 'cosine' or 'constant'")
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
    pixel = PixelLoss(recipe.loss)
    if not recipe.perceptual_weight:
        return pixel
    perceptual = PerceptualLoss(recipe.perceptual_layer, recipe.vgg16, dtype=_precision(recipe))
    return PixelAndPerceptualLoss(pixel, perceptual, perceptual_weight=recipe.perceptual_weight)


def batches(
    photos: PhotoSet, recipe: Recipe, start: int = 0, part: tuple[int, int] = (0, 1)
) -> tf.data.Dataset:
    """The recipe's batches from number ``start`` on, or of each of them worker k of n's part."""
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


def settings_of(recipe: Recipe, model: keras.Model, photos: PhotoSet) -> dict[str, Any]:
    """What a run must be gone on with: its recipe, network and photos; as JSON gives it back."""
    settings = asdict(recipe) | {
        "model": f"{model.name}, {model.count_params()} parameters",
        "photos": f"{len(photos)} files, {photos.names_digest()}",
    }
    return json.loads(json.dumps(settings))


def monitored(recipe: Recipe) -> str:
    """The log entry that decides which epoch is best."""
    # PSNR would choose the epoch in which the perceptual loss has done least.
    return "val_loss" if recipe.perceptual_weight else "val_psnr"
