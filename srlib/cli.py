"""The ``srlib`` command."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

from srlib import __version__, commands

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
    top.add_argument("--version", action="version", version=f"srlib {__version__}")
    subcommands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    one = subcommands.add_parser(
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
    one.set_defaults(run=commands.evaluate)

    one = subcommands.add_parser(
        "upscale",
        help="enlarge photos twofold or fourfold",
        description="Enlarge photos of any size. Metadata, colour profile, transparency and "
        "16 bits are kept. What exists is skipped, so that an interrupted run can go on.",
        usage="%(prog)s [options] IN [IN ...] [OUT]",
        epilog="Examples: srlib upscale photo.jpg; srlib upscale photos/ large/ --scale 4; "
        "srlib upscale *.jpg -o large/ --format png",
    )
    one.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="image files and folders, and then, unless -o names it, where to write: a new file "
        "or a folder; one path alone is enlarged beside itself, photo.jpg as photo-x2.jpg",
    )
    one.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help="a file (for one file) or a folder"
    )
    one.add_argument("--model", default="residual-mse", help=f"{MODEL_HELP} (default: %(default)s)")
    one.add_argument(
        "--scale", type=int, choices=(2, 4), default=2, help="4: the network applied twice"
    )
    one.add_argument(
        "--format",
        type=lambda name: {"jpg": "jpeg", "tif": "tiff"}.get(name, name),
        choices=("png", "jpeg", "webp", "tiff"),
        help="of the results in a folder (default: each photo's own; PNG for GIF and others)",
    )
    one.add_argument("--overwrite", action="store_true", help="replace results that exist")
    one.add_argument("--strip", action="store_true", help="leave out EXIF, XMP and comments")
    one.add_argument(
        "--tile",
        type=_tile,
        default="auto",
        metavar="auto|N",
        help="pixels a side that are computed at once; smaller takes less memory (default: auto)",
    )
    one.add_argument(
        "--workers",
        type=_positive,
        default=1,
        metavar="N",
        help="photos at once; each needs its own memory (default: %(default)s, on all cores)",
    )
    one.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="do the I-th of N parts alone: start N of these on as many machines",
    )
    one.set_defaults(run=commands.upscale)

    one = subcommands.add_parser(
        "train",
        help="train a network on your own photos",
        description="Train, or go on training: kill it at any moment and run it again. OUT gets a "
        "card beside it, OUT's name with .json. Neither is replaced, unless by its own run.",
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
    one.add_argument(
        "--strategy",
        choices=("none", "mirrored", "multiworker"),
        default="none",
        help="mirrored: on all GPUs of this machine; multiworker: on the machines in TF_CONFIG, "
        f"each of which runs this command (chapter 12) {default}",
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
    one.set_defaults(run=commands.train)

    one = subcommands.add_parser(
        "export",
        help="write a network for programs without TensorFlow",
        description="Write a network as a file that other programs run, and compare what it "
        "draws there with what Keras draws.",
    )
    one.add_argument("target", metavar="OUT", help="for example net.onnx or net.tflite")
    one.add_argument("--model", default="residual-mse", help=f"{MODEL_HELP} (default: %(default)s)")
    one.add_argument(
        "--format",
        choices=("onnx", "tflite", "savedmodel"),
        help="default: by OUT's ending; a name without one is a SavedModel",
    )
    one.add_argument("--overwrite", action="store_true", help="replace OUT where it exists")
    one.add_argument(
        "--no-check", action="store_true", help="do not run and compare what was written"
    )
    one.set_defaults(run=commands.export)

    one = subcommands.add_parser(
        "models", help="list the shipped models, or print one model's card"
    )
    one.add_argument("name", nargs="?", help="print this model's card")
    one.set_defaults(run=commands.models)
    return top


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1")
    return int(text)


def _tile(text: str) -> int | str:
    return text if text == "auto" else _positive(text)


def _shard(text: str) -> tuple[int, int]:
    part, slash, count = text.partition("/")
    if not (slash and part.isdecimal() and count.isdecimal() and 1 <= int(part) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text}: must be I/N, from 1/N to N/N, such as 1/8")
    return int(part), int(count)


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


def _warn(message: Warning, *_) -> None:
    print(f"srlib: warning: {message}", file=sys.stderr)


@contextlib.contextmanager
def _ended_by_sigterm():
    """Batch systems end jobs with SIGTERM: let what is half done be tidied, as by Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings(), _ended_by_sigterm():  # each puts back what it changes
            warnings.showwarning = _warn
            # Pillow's remarks on damaged tags and large photos: our own errors say what matters.
            warnings.filterwarnings("ignore", module="PIL")
            return options.run(options) or 0
    except KeyboardInterrupt:
        print("srlib: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:  # PhotoError and WeightsError are ValueErrors
        print(f"srlib: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
