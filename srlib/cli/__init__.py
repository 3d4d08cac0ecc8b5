"""The ``srlib`` command: one file for each subcommand, its options beside what it does.

TensorFlow is imported inside the subcommands: help and usage errors must not wait for it.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from srlib import __version__
from srlib.cli import evaluate, export, models, train, upscale
from srlib.errors import SrlibError

__all__ = ["main", "parser"]


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="srlib",
        description="Single-image super-resolution, measured.",
        epilog="Exit codes: 0 done, 1 something could not be read or written, 2 wrong usage.",
    )
    top.add_argument("--version", action="version", version=f"srlib {__version__}")
    subcommands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for one in (evaluate, upscale, train, export, models):
        one.add(subcommands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings(), _ended_by_sigterm():  # each puts back what it changes
            warnings.showwarning = _warn  # type: ignore[assignment]
            # Pillow's remarks on damaged tags and large photos: our own errors say what matters.
            warnings.filterwarnings("ignore", module="PIL")
            return options.run(options) or 0
    except KeyboardInterrupt:
        print("srlib: interrupted", file=sys.stderr)
        return 130
    except (SrlibError, OSError) as error:  # anything else is a mistake of srlib's: a traceback
        print(f"srlib: error: {error}", file=sys.stderr)
        return 1


def _warn(message: Warning | str, *_: Any) -> None:
    print(f"srlib: warning: {message}", file=sys.stderr)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Batch systems end jobs with SIGTERM: let what is half done be tidied, as by Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
