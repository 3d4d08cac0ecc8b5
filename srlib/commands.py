"""What the ``srlib`` command does; :mod:`srlib.cli` says how it is asked.

TensorFlow is imported inside the functions: usage errors must not wait for it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from srlib._files import write_whole
from srlib.errors import SrlibError


def evaluate(options: argparse.Namespace) -> None:
    """``srlib evaluate``: score models on a folder of photos."""
    from dataclasses import replace

    from srlib import data, evaluation
    from srlib.metrics import lpips
    from srlib.models import zoo

    if options.json:  # before hours of scoring, not after
        if options.json.is_dir():
            raise IsADirectoryError(f"{options.json}: is a folder; name a file")
        if not options.json.parent.is_dir():
            raise FileNotFoundError(
                f"{options.json}: there is no folder {options.json.parent}; make it first"
            )
    if options.lpips:
        lpips.origin()  # fails now where there are no weights
    chosen = {name: zoo.load(name) for name in options.model}
    protocol = replace(evaluation.PROTOCOLS[options.protocol], size=options.size)
    photos = data.photos(options.photos, options.split or _default_split(options.photos))
    scores = evaluation.evaluate(chosen, photos, protocol, with_lpips=options.lpips)
    print(scores.table())
    if options.json:
        text = json.dumps({"photos": str(options.photos)} | scores.as_json(), indent=1)
        write_whole(options.json, text + "\n")


def _default_split(photos: str) -> str:
    from srlib.data import download, photoset

    known = photos == "embedded" or photos in download.DATASETS
    return "test" if known or photoset.has_splits(Path(photos)) else "all"


def upscale(options: argparse.Namespace) -> int:
    """``srlib upscale``: enlarge photos; 1 where any could not be."""
    from srlib.upscaling import batch, photo

    inputs, output = options.paths, options.output
    if output is None and len(inputs) > 1:
        *inputs, output = inputs
        if output.is_file():  # two photos, say by a wildcard, are not a photo and its result
            raise FileExistsError(
                f"{output}: exists, so it is not taken for the output; name the output with -o"
            )
    jobs, report = batch.plan(inputs, output, options.scale, options.format, options.shard)
    model = photo.named(options.model)

    def work(source: Path, target: Path, on_tile: Callable[[int], None]) -> None:
        photo.upscale(
            source,
            model,
            options.scale,
            tile=options.tile,
            output=target,
            overwrite=options.overwrite,
            strip=options.strip,
            on_tile=on_tile,
        )

    batch.run(jobs, work, report, options.overwrite, options.workers, _complain)
    total = len(report.done) + len(report.skipped) + len(report.failed)
    if len(report.done) == total == 1:
        print(f"{report.done[0]}: {options.scale} times as large, by {options.model}")
    elif len(report.skipped) == total == 1:
        print(f"{report.skipped[0]}: exists, skipped; --overwrite makes it anew")
    elif total > 1:
        skipped = f"{len(report.skipped)} skipped (exist; --overwrite makes them anew)"
        print(f"{len(report.done)} enlarged, {skipped}, {len(report.failed)} failed")
    return 1 if report.failed else 0


def _complain(message: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"srlib: error: {message}", file=sys.stderr)


def train(options: argparse.Namespace) -> None:
    """``srlib train``: train, or go on training, and write weights with a card."""
    from dataclasses import asdict

    from srlib import data
    from srlib.data import pairing
    from srlib.models import zoo
    from srlib.training import distribute, hardware, loop
    from srlib.training.recipe import Recipe, build_for

    strategy = distribute.strategy(options.strategy)  # before TensorFlow computes anything
    if options.out.suffix != zoo.SUFFIX:
        raise zoo.WeightsError(f"{options.out}: must end in {zoo.SUFFIX}")
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
    )
    photos = data.photos(options.photos, "train", smallest=recipe.size)
    if len(photos) < 2:
        raise ValueError(f"{options.photos}: has one photo to train on; give at least two")
    photos, held_out = photos.hold_out(max(1, min(128, len(photos) // 8)))
    validation = pairing.pairs(held_out)
    model = build_for(options.architecture, recipe)
    if options.start:
        model = zoo.interpolate(model, zoo.load(options.start), 1.0)
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
            **hardware.machine(),
        )
    rank = (lambda row: -row["val_loss"]) if options.perceptual else (lambda row: row["val_psnr"])
    best = max(history, key=rank)["val_psnr"]
    print(f"{options.out}: validation PSNR {best:.2f} dB; use it with --model {options.out}")


def _refuse_to_replace(out: Path, run_dir: Path, overwrite: bool) -> None:
    """Before hours of training, not after."""
    if out.is_dir():
        raise IsADirectoryError(f"{out}: is a folder; name a file")
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


def export(options: argparse.Namespace) -> None:
    """``srlib export``: write a network for other runtimes."""
    from srlib.export import write

    done = write.export(
        options.model,
        options.target,
        options.format,
        overwrite=options.overwrite,
        check=not options.no_check,
    )
    print(done)


def models(options: argparse.Namespace) -> None:
    """``srlib models``: list the zoo or print a card."""
    from srlib.models import zoo

    if options.name:
        card = zoo.card(options.name)
        phase = card
        while phase:  # a phase's history is long; the phases before it have theirs
            phase.pop("history", None)
            phase = phase.get("before")
        print(json.dumps(card, indent=2))
        return
    for name in zoo.available():
        card = zoo.card(name)
        print(f"{name:<18} {card['parameters']:>10,} parameters  {card['summary']}")
