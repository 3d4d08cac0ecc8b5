"""``srlib export``: a network for programs without TensorFlow."""

from __future__ import annotations

import argparse
from typing import Any

from srlib.cli.arguments import DEFAULT, MODEL_HELP
from srlib.models import cards


def add(subcommands: Any) -> None:
    """Say how it is asked."""
    one = subcommands.add_parser(
        "export",
        help="write a network for programs without TensorFlow",
        description="Write a network as a file that other programs run, and compare what it "
        "draws there with what Keras draws.",
    )
    one.add_argument("target", metavar="OUT", help="for example net.onnx or net.tflite")
    one.add_argument("--model", default=cards.DEFAULT, help=f"{MODEL_HELP} {DEFAULT}")
    one.add_argument(
        "--format",
        choices=("onnx", "tflite", "savedmodel"),
        help="default: by OUT's ending; a name without one is a SavedModel",
    )
    one.add_argument("--overwrite", action="store_true", help="replace OUT where it exists")
    one.add_argument(
        "--no-check", action="store_true", help="do not run and compare what was written"
    )
    one.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Export, check and say what was written."""
    from srlib.export import export

    done = export(
        options.model,
        options.target,
        options.format,
        overwrite=options.overwrite,
        check=not options.no_check,
    )
    print(done)
