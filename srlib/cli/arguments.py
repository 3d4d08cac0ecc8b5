"""Values that several subcommands take."""

from __future__ import annotations

import argparse

MODEL_HELP = (
    "a shipped model (see `srlib models`), nearest, bicubic, lanczos, or a .safetensors file"
)
PHOTOS_HELP = "folder of photos, a photo set, or 'embedded'"
#: At the end of a help text.
DEFAULT = "(default: %(default)s)"


def positive(text: str) -> int:
    """A count."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1")
    return int(text)


def positive_number(text: str) -> float:
    """A rate or a weight."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: must be a positive number")
    return value
