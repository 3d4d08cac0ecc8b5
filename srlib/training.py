"""The recipe: compile, fit, stop at any moment, go on where it stopped.

Taught in chapter 3.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from srlib import data, models
from srlib.backend import keras, tf
from srlib.files import write_whole
from srlib.losses import PerceptualLoss, PixelAndPerceptualLoss
from srlib.metrics import PSNR
from srlib.sources import PhotoSet

#: One row an epoch: epoch, loss, psnr, val_loss, val_psnr, seconds.
History = list[dict[str, float]]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run besides the network and the photos.

    Attributes:
        loss: of pixels, a key of ``srlib.losses.PIXEL_LOSSES``.
        perceptual_weight: of a perceptual loss beside it; see
            ``srlib.losses.PixelAndPerceptualLoss``. 0 for none.
        perceptual_layer: of VGG16.
        vgg16: where its weights come from; see ``srlib.vgg.load_weights``.
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


def fast_precision() -> str:
    """The fastest dtype policy that this machine computes natively.

    bfloat16 where the CPU has instructions for it (AVX512-BF16 or AMX) or the
    GPU is Ampere or later; float16 on older GPUs with tensor cores; float32
    everywhere else, where half precision would be emulated and slow.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")
        if capability and capability >= (8, 0):
            return "mixed_bfloat16"
        return "mixed_float16" if capability and capability >= (7, 0) else "float32"
    flags = _cpu_flags()
    return "mixed_bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"


def _precision(recipe: Recipe) -> str:
    return fast_precision() if recipe.precision == "auto" else recipe.precision


def _cpu_info(key: str) -> str:
    """An entry of the first processor in /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return ""
    values = [line.split(":", 1)[1].strip() for line in lines if line.startswith(key)]
    return values[0] if values else ""


def _cpu_flags() -> set[str]:
    return set(_cpu_info("flags").split())


def machine() -> dict[str, str]:
    """What computed a result: processor, cores, versions. For cards and result files."""
    processor = _cpu_info("model name") or platform.processor() or platform.machine()
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {
        "device": ", ".join(gpus) or f"{processor}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def compile_model(model: keras.Model, recipe: Recipe) -> keras.Model:
    """Give a model its loss, optimiser, schedule and validation PSNR."""
    rate: float | keras.optimizers.schedules.LearningRateSchedule = recipe.learning_rate
    if recipe.schedule == "cosine":
        steps = recipe.epochs * recipe.steps_per_epoch
        rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    elif recipe.schedule != "constant":
        raise ValueError(f"unknown schedule {recipe.schedule!r}: 'cosine' or 'constant'")
    average = {"use_ema": True, "ema_momentum": recipe.ema} if recipe.ema else {}
    xla = recipe.jit_compile
    model.compile(
        optimizer=keras.optimizers.Adam(
            rate, epsilon=recipe.epsilon, clipvalue=recipe.clip_value, **average
        ),
        loss=_loss(recipe),
        metrics=[PSNR()],
        jit_compile=bool(tf.config.list_physical_devices("GPU")) if xla is None else xla,
    )
    return model


def _loss(recipe: Recipe) -> keras.losses.Loss:
    perceptual = None
    if recipe.perceptual_weight:
        perceptual = PerceptualLoss(recipe.perceptual_layer, recipe.vgg16, dtype=_precision(recipe))
    return PixelAndPerceptualLoss(
        recipe.loss, perceptual_weight=recipe.perceptual_weight, perceptual=perceptual
    )


class Checkpoint(keras.callbacks.Callback):
    """Save weights, optimiser and history after every epoch; keep the best apart.

    ``keras.callbacks.BackupAndRestore`` writes in place, so that a kill at the
    wrong moment leaves nothing to restore. Here new files are written first
    and ``state.json``, replaced in one step, then points at them.

    Args:
        folder: where to keep the state.
        monitor: the log entry that marks the best epoch: the smallest of a
            loss, the largest of anything else.
    """

    def __init__(self, folder: Path, monitor: str = "val_psnr"):
        super().__init__()
        self.folder, self.monitor = Path(folder), monitor
        self.folder.mkdir(parents=True, exist_ok=True)
        state = self.folder / "state.json"
        fresh = {"epoch": 0, "seconds": 0.0, "weights": "", "best": "", "history": []}
        try:
            self.state = json.loads(state.read_text()) if state.exists() else fresh
        except ValueError as error:
            raise ValueError(
                f"{state}: is damaged ({error}); delete {self.folder} to start again"
            ) from error

    def _rank(self, row: dict[str, float]) -> float:
        value = row[self.monitor]
        return -value if self.monitor.endswith("loss") else value

    @property
    def best_weights(self) -> Path:
        """The weights of the best epoch."""
        return self.folder / self.state["best"]

    def restore(self, model: keras.Model) -> int:
        """Load the saved state, if there is one; returns the epochs already done."""
        if self.state["epoch"]:
            model.optimizer.build(model.trainable_variables)
            model.load_weights(self.folder / self.state["weights"])
        return self.state["epoch"]

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        state = self.state
        seconds = time.monotonic() - self._began
        row = {"epoch": epoch + 1} | {k: float(v) for k, v in logs.items()} | {"seconds": seconds}
        scores = map(self._rank, state["history"])
        best = max((x for x in scores if not math.isnan(x)), default=-math.inf)
        state["history"].append(row)
        state["seconds"] += seconds
        state["epoch"] = epoch + 1
        state["weights"] = self._save(f"epoch-{epoch + 1}.weights.h5")
        if self._rank(row) > best or not state["best"]:
            state["best"] = self._save(f"best-{epoch + 1}.weights.h5")
        write_whole(self.folder / "state.json", json.dumps(state, indent=1))
        for file in self.folder.glob("*.weights.h5"):
            if file.name not in (state["weights"], state["best"]):
                file.unlink()

    def _save(self, name: str) -> str:
        self.model.save_weights(self.folder / name, overwrite=True)
        return name


def train(
    model: keras.Model,
    photos: PhotoSet,
    validation: data.Pairs,
    recipe: Recipe,
    run_dir: str | os.PathLike,
    verbose: int | str = "auto",
) -> History:
    """Train, or go on training, and leave the best weights in the model.

    Kill it at any moment and call it again with the same arguments: it goes on
    with the next epoch, on the very batches it would have seen.

    Args:
        model: from :func:`build_for`; its weights are replaced.
        photos: what to train on.
        validation: what decides which epoch is best; never the test photos.
        recipe: the run's settings.
        run_dir: where the state is kept: ``state.json`` and two weight files.
        verbose: as for ``keras.Model.fit``; 2 is one line an epoch, 0 silent.

    Returns:
        The run's history, from its very first epoch on.

    Raises:
        ValueError: when ``run_dir`` holds a run with another recipe.
    """
    # PSNR would choose the epoch in which the perceptual loss has done least.
    monitor = "val_loss" if recipe.perceptual_weight else "val_psnr"
    checkpoint = Checkpoint(Path(run_dir), monitor)
    settings = asdict(recipe) | {
        "model": f"{model.name}, {model.count_params()} parameters",
        "photos": f"{len(photos)} files, {photos.names_digest()}",
    }
    settings = json.loads(json.dumps(settings))  # a tuple comes back from a file as a list
    known = checkpoint.state.setdefault("settings", settings)
    if known != settings:
        changed = [k for k in settings if known.get(k) != settings[k]]
        raise ValueError(
            f"{run_dir}: holds a run with other settings ({', '.join(changed)}); "
            "choose another folder, or delete this one to start again"
        )
    compile_model(model, recipe)
    done = checkpoint.restore(model)
    if done < recipe.epochs:
        batches = data.dataset(
            photos,
            recipe.batch_size,
            size=recipe.size,
            kernel=recipe.kernel,
            crop=recipe.crop,
            candidates=recipe.candidates,
            seed=recipe.seed,
            start=done * recipe.steps_per_epoch,
        )
        callbacks: list[keras.callbacks.Callback] = [checkpoint]
        if recipe.ema:
            average = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
            # A checkpoint holds the average in the model's place, as at an epoch's end.
            average._ema_weights_in_model = done > 0
            callbacks.insert(0, average)
        model.fit(
            batches,
            epochs=recipe.epochs,
            initial_epoch=done,
            steps_per_epoch=recipe.steps_per_epoch,
            validation_data=data.evaluation_dataset(validation),
            callbacks=callbacks,
            verbose=verbose,
            shuffle=False,  # the stream is shuffled; Keras would only warn about it
        )
    model.load_weights(checkpoint.best_weights)
    return checkpoint.state["history"]


def build_for(architecture: str, recipe: Recipe, **options) -> keras.Model:
    """Build an architecture with the recipe's seed and precision."""
    keras.utils.set_random_seed(recipe.seed)
    return models.build(architecture, dtype=_precision(recipe), **options)
