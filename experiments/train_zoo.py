"""Train the shipped networks and write them, with their cards, to srlib/models/weights.

    python -m experiments.train_zoo --photos DIR [JOB ...]

DIR is a Linnaeus-5-shaped tree, or any source `srlib.data.photos` opens. State
is kept in runs/JOB: kill it at any moment and run it again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from srlib import data, evaluation, models, resize, training
from srlib._backend import keras
from srlib.data.photoset import PhotoSet
from srlib.losses import vgg
from srlib.metrics import psnr_ssim
from srlib.models import cards, zoo
from srlib.training import hardware
from srlib.training.recipe import Recipe

ROOT = Path(__file__).parents[1]
#: Photos of the training split that decide which epoch is best.
HELD_OUT = 128
PROTOCOL = evaluation.Protocol(size=128)


@dataclass(frozen=True)
class Job:
    """One network to train.

    Attributes:
        architecture: a key of ``srlib.models.registry.ARCHITECTURES``.
        recipe: how.
        summary: one line for `srlib models`; empty for a run that is not shipped.
        options: of the architecture.
        starts_from: the job whose best weights it starts from.
        grows_from: the shipped model that it starts from, deepened to ``options``.
    """

    architecture: str
    recipe: Recipe
    summary: str = ""
    options: dict = field(default_factory=dict)
    starts_from: str | None = None
    grows_from: str | None = None


# The classic recipe (Adam 8e-4, epsilon 1e-8, MSE on whole photos), but with 16
# photos in a batch instead of 64: four times as many steps for the same work.
# One epoch shows each of 2,718 training photos once.
HOURGLASS = Recipe(
    loss="mse",
    batch_size=16,
    crop=None,
    learning_rate=8e-4,
    epsilon=1e-8,
    steps_per_epoch=170,
    epochs=28,
)
RESIDUAL = Recipe(
    loss="l1", batch_size=16, crop=48, learning_rate=1e-3, steps_per_epoch=500, epochs=30
)
FINE_TUNED = replace(
    RESIDUAL,
    loss="mse",
    perceptual_weight=0.02,
    learning_rate=2e-4,
    batch_size=8,
    epochs=4,
    seed=2,
)

JOBS = {
    # L1 first, which trains more steadily; then MSE, whose minimum PSNR rewards.
    "residual-l1": Job("residual", RESIDUAL),
    "residual-mse": Job(
        "residual",
        replace(RESIDUAL, loss="mse", learning_rate=2e-4, epochs=6, seed=1),
        "residual network with a bicubic skip, pixel loss: the one to use",
        starts_from="residual-l1",
    ),
    "hourglass-mse": Job(
        "hourglass", HOURGLASS, "the classic hourglass network, pixel loss: for the lesson"
    ),
    # The classic sum, 1 : 1, as it was meant: Adam 1e-3, gradients clipped at 0.5,
    # 8 photos in a batch.
    "hourglass-perceptual": Job(
        "hourglass",
        replace(
            HOURGLASS,
            perceptual_weight=1.0,
            learning_rate=1e-3,
            clip_value=0.5,
            batch_size=8,
            steps_per_epoch=340,
            epochs=4,
            seed=2,
        ),
        "the classic hourglass network, pixel + perceptual loss: for the lesson",
        starts_from="hourglass-mse",
    ),
    # Five times the weight at which features and pixels pull equally.
    "residual-perceptual": Job(
        "residual",
        FINE_TUNED,
        "residual network, pixel + perceptual loss: crisper, less exact",
        starts_from="residual-mse",
    ),
    # The classic 1 : 1, for chapter 4's comparison.
    "residual-one-to-one": Job(
        "residual", replace(FINE_TUNED, perceptual_weight=1.0), starts_from="residual-mse"
    ),
}


def open_photos(source: str) -> tuple[PhotoSet, data.Pairs]:
    """The training photos, and the pairs held out of them for validation."""
    photos, held_out = data.photos(source, "train", smallest=128).hold_out(HELD_OUT)
    return photos, data.pairs(held_out)


def bicubic_psnr(pairs: data.Pairs) -> float:
    """What bicubic reaches on the validation photos: the line in a training curve."""
    return float(psnr_ssim.psnr(pairs.high, resize.interpolate(pairs.low)).mean())


def run_job(
    name: str, job: Job, photos: PhotoSet, validation: data.Pairs, runs: Path
) -> tuple[keras.Model, training.History]:
    """Train, go on training, or just load what is trained already."""
    model = training.build_for(job.architecture, job.recipe, **job.options)
    if job.grows_from:
        parent = zoo.load(job.grows_from, model.get_layer("stem").dtype_policy.name)
        model = models.deepen(parent, job.options["blocks"])
    if job.starts_from:
        training.Checkpoint(runs / job.starts_from).load_best(model)
    print(f"{name}: {model.count_params():,} parameters", flush=True)
    history = training.train(model, photos, validation, job.recipe, runs / name, verbose=2)
    return model, history


def publish(
    name: str,
    job: Job,
    model: keras.Model,
    history: training.History,
    photos: PhotoSet,
    validation: data.Pairs,
    source: str,
    runs: Path,
    jobs: Mapping[str, Job] = JOBS,
    **more: Any,
) -> None:
    """Write weights and card, with scores of the weights as they will be loaded.

    Earlier phases are found in ``jobs``. ``more`` goes on the card, in the place of
    what it would say otherwise.
    """
    target = cards.FOLDER / f"{name}{cards.SUFFIX}"
    if target.exists() and cards.card(target)["history"] == history:
        print(f"{name}: published already")
        return
    about = {
        "summary": job.summary,
        "data": {
            "source": Path(source).name,
            "photos": len(photos),
            "held_out": HELD_OUT,
            "fingerprint": photos.fingerprint(),
        },
        "recipe": asdict(job.recipe),
        "precision": model.get_layer("stem").dtype_policy.name,
        "seconds": round(training.Checkpoint(runs / name).state["seconds"]),
        "machine": hardware.machine(),
        "history": history,
        "validation_bicubic": bicubic_psnr(validation),
    }
    if job.starts_from:
        about["before"] = _before(job.starts_from, runs, jobs)
    if job.grows_from:
        about["before"] = _parent(job.grows_from)
    if job.recipe.perceptual_weight:
        about["vgg"] = vgg.load_weights(upto=job.recipe.perceptual_layer).origin
    about |= more
    zoo.save(model, target, job.architecture, job.options, **about)
    tested = data.photos(source, "test", smallest=128)
    scores = evaluation.evaluate({name: zoo.load(target)}, tested, PROTOCOL)
    print(scores.table(), flush=True)
    test = {"protocol": str(PROTOCOL), "photos": len(scores.names), "summary": scores.summary()}
    zoo.save(model, target, job.architecture, job.options, **about, test=test)


def _parent(name: str) -> dict:
    """The phases that a shipped model went through, as an earlier phase of what grows from it."""
    kept = ("recipe", "seconds", "history", "before")
    return {"job": name} | {key: value for key, value in cards.card(name).items() if key in kept}


def _before(name: str, runs: Path, jobs: Mapping[str, Job]) -> dict:
    """An earlier phase of a training, with the one before it."""
    job, state = jobs[name], training.Checkpoint(runs / name).state
    found = {
        "job": name,
        "recipe": asdict(job.recipe),
        "seconds": round(state["seconds"]),
        "history": state["history"],
    }
    if job.starts_from:
        return found | {"before": _before(job.starts_from, runs, jobs)}
    return found | ({"before": _parent(job.grows_from)} if job.grows_from else {})


def main(arguments: list[str] | None = None) -> int:
    """Run the named jobs, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"default: all of {list(JOBS)}")
    parser.add_argument("--photos", required=True, help="source or folder of photos")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="where state is kept")
    options = parser.parse_args(arguments)
    photos, validation = open_photos(options.photos)
    for name in options.jobs or JOBS:
        job = JOBS[name]
        model, history = run_job(name, job, photos, validation, options.runs)
        if job.summary:
            publish(name, job, model, history, photos, validation, options.photos, options.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
