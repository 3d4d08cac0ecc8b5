"""``srlib upscale``: enlarge photos."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from srlib.cli.arguments import DEFAULT, MODEL_HELP, positive
from srlib.errors import PhotoError
from srlib.models import cards


def add(subcommands: Any) -> None:
    """Say how it is asked."""
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
    one.add_argument("--model", default=cards.DEFAULT, help=f"{MODEL_HELP} {DEFAULT}")
    one.add_argument(
        "--scale", type=int, choices=(2, 4), default=2, help="4: the network applied twice"
    )
    one.add_argument(
        "--format",
        type=_format,
        metavar="{png,jpeg,webp,tiff}",
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
        type=positive,
        default=1,
        metavar="N",
        help=f"photos at once; each needs its own memory {DEFAULT[:-1]}, on all cores)",
    )
    one.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="do the I-th of N parts alone: start N of these on as many machines",
    )
    one.set_defaults(run=run)


def _format(text: str) -> str:
    from srlib.imagefile import target_format

    try:
        return target_format("", text)
    except PhotoError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _tile(text: str) -> int | str:
    return text if text == "auto" else positive(text)


def _shard(text: str) -> tuple[int, int]:
    part, slash, count = text.partition("/")
    if not (slash and part.isdecimal() and count.isdecimal() and 1 <= int(part) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text}: must be I/N, from 1/N to N/N, such as 1/8")
    return int(part), int(count)


def run(options: argparse.Namespace) -> int:
    """Enlarge; 1 where any photo could not be."""
    from srlib.data.photoset import images_below
    from srlib.upscaling import batch, photo

    inputs, output = options.paths, options.output
    if output is None and len(inputs) > 1:
        *inputs, output = inputs
        if output.is_file():  # two photos, say by a wildcard, are not a photo and its result
            raise FileExistsError(
                f"{output}: exists, so it is not taken for the output; name the output with -o"
            )
        folders = output.is_dir() and any(path.is_dir() for path in inputs)
        if options.overwrite and folders and next(images_below(output), None):  # by a wildcard
            raise FileExistsError(
                f"{output}: holds images, which --overwrite might replace; name the output with -o"
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
