"""``srlib train``: train a network on one's own photos, or go on training it."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from srlib.cli.arguments import DEFAULT, PHOTOS_HELP, positive, positive_number
from srlib.errors import SrlibError
from srlib.models import cards


def add(subcommands: Any) -> None:
    """Say how it is asked."""
    one = subcommands.add_parser(
        "train",
        help="train a network on your own photos",
        description="Train, or go on training: kill it at any moment and run it again. OUT gets a "
        "card beside it, OUT's name with .json. Neither is replaced, unless by its own run.",
    )
    one.add_argument("photos", metavar="DIR", help=PHOTOS_HELP)
    one.add_argument("out", metavar="OUT", type=Path, help="the .safetensors file to write")
    one.add_argument(
        "--architecture",
        default="residual",
        choices=("residual", "hourglass"),
        help=f"the network {DEFAULT}",
    )
    one.add_argument(
        "--loss", default="l1", choices=("l1", "mse"), help=f"what training reduces {DEFAULT}"
    )
    one.add_argument(
        "--perceptual",
        type=positive_number,
        default=0.0,
        metavar="WEIGHT",
        help="add a perceptual loss (VGG16, chapter 4 of the book) with this weight",
    )
    one.add_argument(
        "--start", metavar="MODEL", help="start from a model's weights, to fine-tune it"
    )
    one.add_argument(
        "--epochs", type=positive, default=10, help=f"validate and save so often {DEFAULT}"
    )
    one.add_argument("--steps", type=positive, default=200, help=f"batches in an epoch {DEFAULT}")
    one.add_argument("--batch-size", type=positive, default=16, help=f"pairs in a batch {DEFAULT}")
    one.add_argument(
        "--learning-rate",
        type=positive_number,
        default=1e-3,
        help=f"Adam's, at the start {DEFAULT}",
    )
    one.add_argument(
        "--seed", type=_seed, default=0, help=f"of weights, order, crops and flips {DEFAULT}"
    )
    one.add_argument(
        "--strategy",
        choices=("none", "mirrored", "multiworker"),
        default="none",
        help="mirrored: on all GPUs of this machine; multiworker: on the machines in TF_CONFIG, "
        f"each of which runs this command (appendix B of the book) {DEFAULT}",
    )
    one.add_argument(
        "--run-dir",
        type=Path,
        metavar="DIR",
        help="a folder of its own for the state, new, empty or of this run (default: OUT's name "
        "with .run)",
    )
    one.add_argument(
        "--overwrite", action="store_true", help="replace OUT and its card where they exist"
    )
    one.set_defaults(run=run)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number from 0 to 2**32 - 1")
    return int(text)


def run(options: argparse.Namespace) -> None:
    """Train, and write weights with a card."""
    from dataclasses import asdict

    from srlib import data
    from srlib.models import zoo
    from srlib.training import distribute, hardware, loop
    from srlib.training.recipe import Recipe, build_for

    strategy = distribute.strategy(options.strategy)  # before TensorFlow computes anything
    if options.out.suffix != cards.SUFFIX:
        raise cards.WeightsError(f"{options.out}: must end in {cards.SUFFIX}")
    run_dir = options.run_dir or options.out.with_suffix(".run")
    _refuse_to_replace(options.out, run_dir, options.overwrite)
    recipe = Recipe(
        loss=options.loss,
        perceptual_weight=options.perceptual,
        epochs=options.epochs,
        steps_per_epoch=options.steps,
        batch_size=options.batch_size,
        crop=48 if options.architecture == "residual" else None,
        learning_rate=options.learning_rate,
        seed=options.seed,
        start=_told(options.start),
    )
    photos = data.photos(options.photos, "train", smallest=recipe.size)
    if len(photos) < 2:
        raise SrlibError(f"{options.photos}: has one photo to train on; give at least two")
    photos, held_out = photos.hold_out(max(1, min(128, len(photos) // 8)))
    validation = data.pairs(held_out)
    model = build_for(options.architecture, recipe)
    if options.start:
        try:
            model = zoo.blend(model, zoo.load(options.start), 1.0)
        except cards.WeightsError as error:
            raise cards.WeightsError(
                f"{options.start}: cannot be the start of this {options.architecture} network "
                f"({error})"
            ) from error
    history = loop.train(model, photos, validation, recipe, run_dir, strategy=strategy)
    if not distribute.is_chief(strategy):  # of several machines one writes
        return
    if options.overwrite or not (options.out.exists() and _is_of_run(options.out, run_dir)):
        _refuse_to_replace(options.out, run_dir, options.overwrite)  # training took its time
        zoo.save(
            model,
            options.out,
            options.architecture,
            data={"source": photos.source, "photos": len(photos), "validation": len(held_out)},
            recipe=asdict(recipe),
            history=history,
            **dict[str, Any](hardware.machine()),
        )
    rank = (lambda row: -row["val_loss"]) if options.perceptual else (lambda row: row["val_psnr"])
    best = max(history, key=rank)["val_psnr"]
    print(f"{options.out}: validation PSNR {best:.2f} dB; use it with --model {options.out}")


def _told(start: str | None) -> str:
    """A model and its very weights, so that a run is not gone on with from others."""
    return f"{start}, sha256 {cards.card(start)['sha256'][:16]}" if start else ""


def _refuse_to_replace(out: Path, run_dir: Path, overwrite: bool) -> None:
    """Before hours of training, not after."""
    for path in (out, out.with_suffix(".json")):
        if path.is_dir():
            raise IsADirectoryError(f"{path}: is a folder; name a file")
    if out.parent.is_dir() and not os.access(out.parent, os.W_OK):
        raise PermissionError(f"{out}: no permission to write there; choose another folder")
    if run_dir.resolve() in (out.parent.resolve(), *out.parent.resolve().parents):
        raise SrlibError(
            f"{out}: would lie in the folder of the run, {run_dir}, which holds the run alone; "
            "choose another with --run-dir"
        )
    there = [path for path in (out, out.with_suffix(".json")) if os.path.lexists(path)]
    if there and not overwrite and not _is_of_run(out, run_dir):
        raise FileExistsError(
            f"{there[0]}: exists, and this training has not written it; choose another name than "
            f"{out.name}, or pass --overwrite"
        )


def _is_of_run(out: Path, run_dir: Path) -> bool:
    """Whether a run wrote a card and, where there are any, the weights it describes.

    A run's history tells it from every other one, for it counts time.
    """
    from srlib.training.rundir import STATE

    try:
        about = json.loads(out.with_suffix(".json").read_text())
        history = json.loads((run_dir / STATE).read_text())["history"]
        known = bool(history) and json.dumps(about["history"]) == json.dumps(history)
        if not os.path.lexists(out):
            return known
        return known and hashlib.sha256(out.read_bytes()).hexdigest() == about["sha256"]
    except (OSError, ValueError, LookupError, TypeError):  # none of ours has such a card
        return False
