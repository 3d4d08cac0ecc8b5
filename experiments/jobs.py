"""Training jobs: what a network goes through, in stages, until it ships.

State is kept in RUNS/JOB, so that a job that was killed goes on, and a stage that was cut
off is of use to the next one: that starts from the best weights so far.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments import common
from srlib import data, evaluation, models, resize, training
from srlib._backend import keras
from srlib.data.photoset import PhotoSet
from srlib.losses import vgg
from srlib.metrics import psnr_ssim
from srlib.models import cards, zoo
from srlib.training import Recipe, hardware

#: Photos to train on, and pairs of others that decide which epoch is best.
Material = tuple[PhotoSet, data.Pairs]


@dataclass(frozen=True)
class Job:
    """One network to train.

    Attributes:
        architecture: a key of ``srlib.models.registry.ARCHITECTURES``.
        recipe: how.
        summary: one line for `srlib models`; empty for a run that is not shipped.
        options: of the architecture.
        starts_from: the job whose best weights it starts from.
        grows_from: the shipped model that it starts from, deepened where ``options`` ask for
            blocks.
    """

    architecture: str
    recipe: Recipe
    summary: str = ""
    options: dict = field(default_factory=dict)
    starts_from: str | None = None
    grows_from: str | None = None


def start(job: Job, runs: Path) -> keras.Model:
    """The network as a job finds it."""
    model = training.build_for(job.architecture, job.recipe, **job.options)
    if job.grows_from:
        model = zoo.load(job.grows_from, model.get_layer("stem").dtype_policy.name)
        if "blocks" in job.options:
            model = models.deepen(model, job.options["blocks"])
    if job.starts_from:
        training.Checkpoint(runs / job.starts_from).load_best(model)
    return model


def run(
    name: str, job: Job, photos: PhotoSet, validation: data.Pairs, runs: Path
) -> tuple[keras.Model, training.History]:
    """Train, go on training, or just load what is trained already."""
    model = start(job, runs)
    if job.grows_from:
        _parent(name, job, runs)  # as it is now: its file may be written anew meanwhile
    print(f"{name}: {model.count_params():,} parameters", flush=True)
    history = training.train(model, photos, validation, job.recipe, runs / name, verbose=2)
    return model, history


def bicubic_psnr(pairs: data.Pairs) -> float:
    """What bicubic reaches on the validation photos: the line in a training curve."""
    return float(psnr_ssim.psnr(pairs.high, resize.interpolate(pairs.low)).mean())


def before(name: str, jobs: Mapping[str, Job], runs: Path) -> dict[str, Any]:
    """For a card: the phase before a job, which holds the one before it; empty if there is none."""
    job = jobs[name]
    if job.starts_from:
        earlier, state = jobs[job.starts_from], training.Checkpoint(runs / job.starts_from).state
        phase = {
            "job": job.starts_from,
            "recipe": asdict(earlier.recipe),
            "seconds": round(state["seconds"]),
            "history": state["history"],
        }
        return {"before": phase | before(job.starts_from, jobs, runs)}
    if job.grows_from:
        return {"before": _parent(name, job, runs)}
    return {}


def _parent(name: str, job: Job, runs: Path) -> dict[str, Any]:
    """The phase of the weights that a job grows from, noted beside its run when it begins."""

    def found(weights: str) -> dict[str, Any]:
        kept = ("recipe", "seconds", "history", "before")
        card = cards.card(weights)
        return {"job": Path(weights).stem} | {k: card[k] for k in kept if k in card}

    return common.once(runs / f"{name}.parent.json", found, job.grows_from)


def publish(
    name: str,
    jobs: Mapping[str, Job],
    model: keras.Model,
    material: Material,
    options: argparse.Namespace,
    **more: Any,
) -> None:
    """Write weights and card, with scores of the weights as they will be loaded.

    Args:
        name: of the job.
        jobs: among which are those it started from.
        model: with its best weights.
        material: what it was trained on.
        options: the source of ``photos``, whose test split judges it, and the folder of ``runs``.
        more: goes on the card.
    """
    job, (photos, validation) = jobs[name], material
    target = cards.FOLDER / f"{name}{cards.SUFFIX}"
    state = training.Checkpoint(options.runs / name).state
    if target.exists() and cards.card(target)["history"] == state["history"]:
        print(f"{name}: published already")
        return
    about = {
        "summary": job.summary,
        "data": {
            "source": photos.source,
            "photos": len(set(photos.paths)),
            "held_out": len(validation.names),
            "fingerprint": photos.fingerprint(),
        },
        "recipe": asdict(job.recipe),
        "precision": model.get_layer("stem").dtype_policy.name,
        "seconds": round(state["seconds"]),
        "machine": hardware.machine(),
        "history": state["history"],
        "validation_bicubic": bicubic_psnr(validation),
    }
    about |= before(name, jobs, options.runs)
    if job.recipe.perceptual_weight:
        about["vgg"] = vgg.load_weights(upto=job.recipe.perceptual_layer).origin
    about |= more
    judged = replace(common.PROTOCOL, kernel=job.recipe.kernel)
    ship(model, target, job.architecture, job.options, about, options.photos, judged)


def ship(
    model: keras.Model,
    target: Path,
    architecture: str,
    settings: dict[str, Any],
    about: dict[str, Any],
    photos: str,
    protocol: evaluation.Protocol = common.PROTOCOL,
) -> None:
    """Write weights and card, score them as they will be loaded, and add that to the card."""
    zoo.save(model, target, architecture, settings, **about)
    name = target.name.removesuffix(cards.SUFFIX)
    scores = evaluation.evaluate({name: zoo.load(target)}, common.test_photos(photos), protocol)
    print(scores.table(), flush=True)
    test = {"protocol": str(protocol), "photos": len(scores.names), "summary": scores.summary()}
    worst = min(zip(scores.psnr[name], scores.names, strict=True))
    test["worst"] = {"psnr": float(worst[0]), "photo": worst[1]}
    zoo.save(model, target, architecture, settings, **about, test=test)


def parser(doc: str, jobs: Mapping[str, Job], *required: str) -> argparse.ArgumentParser:
    """The options of a script that runs some of these jobs, or all."""
    made = common.parser(doc, required, ("runs",))
    common.named(made, "job", jobs)
    return made


def run_and_publish(
    jobs: Mapping[str, Job],
    options: argparse.Namespace,
    opened: Callable[[Job], Material],
    **more: Any,
) -> None:
    """Run the jobs that were asked for, or all, and publish those that ship."""
    for name in options.jobs or jobs:
        material = opened(jobs[name])
        model, _ = run(name, jobs[name], *material, options.runs)
        if jobs[name].summary:  # else a phase on the way: nothing to ship
            publish(name, jobs, model, material, options, **more)
