"""``srlib evaluate``: score models on a folder of photos."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from srlib._files import write_whole
from srlib.cli.arguments import MODEL_HELP, PHOTOS_HELP


def add(subcommands: Any) -> None:
    """Say how it is asked."""
    one = subcommands.add_parser(
        "evaluate",
        help="score models on your own photos, beside bicubic",
        description="Each photo is the truth and its half-size version the input. "
        "Bicubic is always scored too: a model that loses to it is not worth running.",
    )
    one.add_argument("photos", metavar="DIR", help=PHOTOS_HELP)
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
    one.set_defaults(run=run)


def _even(text: str) -> int:
    if not text.isdecimal() or int(text) < 16 or int(text) % 2:
        raise argparse.ArgumentTypeError(f"{text}: must be an even number of at least 16")
    return int(text)


def run(options: argparse.Namespace) -> None:
    """Score, print the table and write the values."""
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
        if os.path.lexists(options.json) and not _is_result(options.json):
            raise FileExistsError(
                f"{options.json}: exists, and is no earlier result; choose another name"
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


def _is_result(path: Path) -> bool:
    """Whether a file is what this command has written earlier."""
    try:
        return {"photos", "protocol", "summary"} <= json.loads(path.read_text()).keys()
    except (OSError, ValueError, AttributeError):
        return False


def _default_split(photos: str) -> str:
    from srlib.data import download, photoset

    known = photos == "embedded" or photos in download.DATASETS
    return "test" if known or photoset.has_splits(Path(photos)) else "all"
