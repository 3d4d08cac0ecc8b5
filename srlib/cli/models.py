"""``srlib models``: what ships, and its cards. It never waits for TensorFlow."""

from __future__ import annotations

import argparse
import json
from typing import Any

from srlib.models import cards


def add(subcommands: Any) -> None:
    """Say how it is asked."""
    one = subcommands.add_parser(
        "models", help="list the shipped models, or print one model's card"
    )
    one.add_argument("name", nargs="?", help="print this model's card")
    one.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the list, or the card."""
    if options.name:
        card = cards.card(options.name)
        for phase in cards.phases(card):  # each has a long history
            phase.pop("history", None)
        print(json.dumps(card, indent=2))
        return
    for name in cards.available():
        card = cards.card(name)
        print(f"{name:<18} {card['parameters']:>10,} parameters  {card['summary']}")
