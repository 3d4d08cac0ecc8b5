"""The ``srlib`` command."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from srlib.files import write_whole

MODEL_HELP = (
    "a shipped model (see `srlib models`), nearest, bicubic, lanczos, or a .safetensors file"
)


def parser() -> argparse.ArgumentParser:
    """The command line, without importing TensorFlow: help must be instant."""
    top = argparse.ArgumentParser(
        prog="srlib",
        description="Single-image super-resolution, measured.",
        epilog="Exit codes: 0 done, 1 something could not be read or written, 2 wrong usage.",
    )
    from srlib import __version__

    top.add_argument("--version", action="version", version=f"srlib {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    one = commands.add_parser(
        "evaluate",
        help="score models on your own photos, beside bicubic",
        description="Each photo is the truth and its half-size version the input. "
        "Bicubic is always scored too: a model that loses to it is not worth running.",
    )
    one.add_argument("photos", metavar="DIR", help="folder of photos, a photo set, or 'embedded'")
    one.add_argument("--model", action="append", default=[], help=f"{MODEL_HELP}; repeatable")
    one.add_argument(
        "--protocol",
        choices=("rgb", "y"),
        default="rgb",
        help="rgb: all three channels, nothing shaved (default); "
        "y: luma, 2 px shaved, as published tables use",
    )
    one.add_argument(
        "--size",
        type=_even,
        metavar="PIXELS",
        help="first reduce each photo to a square of this side, as training pairs are made",
    )
    one.add_argument(
        "--split",
        choices=("train", "test", "all"),
        help="default: test where DIR has splits, else all",
    )
    one.add_argument(
        "--lpips",
        action="store_true",
        help="also measure LPIPS; needs its weights, see SRLIB_LPIPS_WEIGHTS in the book",
    )
    one.add_argument("--json", type=Path, metavar="FILE", help="also write every value here")
    one.set_defaults(run=evaluate)

    one = commands.add_parser(
        "upscale", help="enlarge a photo twofold", description="Enlarge a photo twofold."
    )
    one.add_argument("source", metavar="IN", help="an image file")
    one.add_argument("target", metavar="OUT", help="the ending decides: .png .jpg .webp .tif")
    one.add_argument("--model", default="residual-mse", help=f"{MODEL_HELP} (default: %(default)s)")
    one.set_defaults(run=upscale)

    one = commands.add_parser(
        "train",
        help="train a network on your own photos",
        description="Train, or go on training: kill it at any moment and run it again.",
    )
    one.add_argument("photos", metavar="DIR", help="folder of photos, a photo set, or 'embedded'")
    one.add_argument("out", metavar="OUT", type=Path, help="the .safetensors file to write")
    default = "(default: %(default)s)"
    one.add_argument(
        "--architecture",
        default="residual",
        choices=("residual", "hourglass"),
        help=f"the network {default}",
    )
    one.add_argument(
        "--loss", default="l1", choices=("l1", "mse"), help=f"what training reduces {default}"
    )
    one.add_argument(
        "--perceptual",
        type=_rate,
        default=0.0,
        metavar="WEIGHT",
        help="add a perceptual loss (VGG16, chapter 4 of the book) with this weight",
    )
    one.add_argument(
        "--start", metavar="MODEL", help="start from a model's weights, to fine-tune it"
    )
    one.add_argument(
        "--epochs", type=_positive, default=10, help=f"validate and save so often {default}"
    )
    one.add_argument("--steps", type=_positive, default=200, help=f"batches in an epoch {default}")
    one.add_argument("--batch-size", type=_positive, default=16, help=f"pairs in a batch {default}")
    one.add_argument(
        "--learning-rate", type=_rate, default=1e-3, help=f"Adam's, at the start {default}"
    )
    one.add_argument(
        "--seed", type=int, default=0, help=f"of weights, order, crops and flips {default}"
    )
    one.add_argument("--run-dir", type=Path, help="where to keep the state (default: OUT.run)")
    one.set_defaults(run=train)

    one = commands.add_parser("models", help="list the shipped models, or print one model's card")
    one.add_argument("name", nargs="?", help="print this model's card")
    one.set_defaults(run=models)
    return top


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1")
    return int(text)


def _even(text: str) -> int:
    if not text.isdecimal() or int(text) < 16 or int(text) % 2:
        raise argparse.ArgumentTypeError(f"{text}: must be an even number of at least 16")
    return int(text)


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: must be a positive number")
    return value


def evaluate(options: argparse.Namespace) -> None:
    """``srlib evaluate``: score models on a folder of photos."""
    from dataclasses import replace

    from srlib import data, evaluation, lpips, weights

    if options.json:  # before hours of scoring, not after
        if options.json.is_dir():
            raise IsADirectoryError(f"{options.json}: is a folder; name a file")
        if not options.json.parent.is_dir():
            raise FileNotFoundError(
                f"{options.json}: there is no folder {options.json.parent}; make it first"
            )
    if options.lpips:
        lpips.origin()  # fails now where there are no weights
    chosen = {name: weights.load(name) for name in options.model}
    protocol = replace(evaluation.PROTOCOLS[options.protocol], size=options.size)
    photos = data.photos(options.photos, options.split or _default_split(options.photos))
    scores = evaluation.evaluate(chosen, photos, protocol, with_lpips=options.lpips)
    print(scores.table())
    if options.json:
        text = json.dumps({"photos": str(options.photos)} | scores.as_json(), indent=1)
        write_whole(options.json, text + "\n")


def _default_split(photos: str) -> str:
    from srlib import download, sources

    known = photos == "embedded" or photos in download.DATASETS
    return "test" if known or sources.has_splits(Path(photos)) else "all"


def upscale(options: argparse.Namespace) -> None:
    """``srlib upscale``: enlarge one photo."""
    from srlib import inference, weights

    model = weights.load(options.model)
    width, height = inference.upscale_file(options.source, options.target, model)
    print(f"{options.target}: {width}x{height} pixels, by {options.model}")


def train(options: argparse.Namespace) -> None:
    """``srlib train``: train, or go on training, and write weights with a card."""
    from dataclasses import asdict

    from srlib import data, training, weights

    if options.out.suffix != weights.SUFFIX:
        raise weights.WeightsError(f"{options.out}: must end in {weights.SUFFIX}")
    recipe = training.Recipe(
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
    validation = data.pairs(held_out)
    model = training.build_for(options.architecture, recipe)
    if options.start:
        model = weights.interpolate(model, weights.load(options.start), 1.0)
    run_dir = options.run_dir or options.out.with_suffix(".run")
    history = training.train(model, photos, validation, recipe, run_dir)
    weights.save(
        model,
        options.out,
        options.architecture,
        data={"source": photos.source, "photos": len(photos), "validation": len(held_out)},
        recipe=asdict(recipe),
        history=history,
        **training.machine(),
    )
    rank = (lambda row: -row["val_loss"]) if options.perceptual else (lambda row: row["val_psnr"])
    best = max(history, key=rank)["val_psnr"]
    print(f"{options.out}: validation PSNR {best:.2f} dB; use it with --model {options.out}")


def models(options: argparse.Namespace) -> None:
    """``srlib models``: list the zoo or print a card."""
    from srlib import weights

    if options.name:
        card = weights.card(options.name)
        phase = card
        while phase:  # a phase's history is long; the phases before it have theirs
            phase.pop("history", None)
            phase = phase.get("before")
        print(json.dumps(card, indent=2))
        return
    for name in weights.available():
        card = weights.card(name)
        print(f"{name:<18} {card['parameters']:>10,} parameters  {card['summary']}")


def _warn(message: Warning, *_) -> None:
    print(f"srlib: warning: {message}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():  # which puts showwarning back
            warnings.showwarning = _warn
            options.run(options)
    except KeyboardInterrupt:
        print("srlib: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:  # PhotoError and WeightsError are ValueErrors
        print(f"srlib: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
