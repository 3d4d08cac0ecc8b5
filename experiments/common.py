"""What the experiments share: options, photos, work that is done once, and the record."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from srlib import data
from srlib._files import write_whole
from srlib.book import results
from srlib.data import photoset
from srlib.data.photoset import PhotoSet
from srlib.evaluation import Protocol

ROOT = Path(__file__).parents[1]
#: Photos of the training split that decide which epoch is best.
HELD_OUT = 128
#: How networks are scored on test photos: reduced to the squares that they were trained on.
PROTOCOL = Protocol(size=128)

OPTIONS: dict[str, dict[str, Any]] = {
    "photos": {"help": "source or folder of photos"},
    "textures": {
        "type": Path,
        "help": "folder that holds t91/, bsds_train/, bsds_test/ and sunhays80/",
    },
    "benchmarks": {"type": Path, "help": "folder that holds Set5/ and Set14/"},
    "runs": {"type": Path, "default": ROOT / "runs", "help": "where state is kept"},
    "quick": {"action": "store_true", "help": "tiny: shows only that it works"},
}


def parser(
    doc: str, required: Sequence[str] = (), optional: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """The parser of a script, with those of :data:`OPTIONS` that it takes."""
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    for names, needed in ((required, {"required": True}), (optional, {})):
        for name in names:
            made.add_argument(f"--{name}", **OPTIONS[name], **needed)
    return made


def named(made: argparse.ArgumentParser, what: str, known: Iterable[str]) -> None:
    """Let a script be asked for some of these by name; for none is for all."""
    known = list(known)

    def one_of_them(name: str) -> str:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name}: choose one of {', '.join(known)}")
        return name

    text = f"default: all of {', '.join(known)}"
    made.add_argument(f"{what}s", nargs="*", type=one_of_them, metavar=what.upper(), help=text)


def training_photos(source: str) -> tuple[PhotoSet, PhotoSet]:
    """The training photos, and those held out of them for validation."""
    photos, held_out = data.photos(source, "train", smallest=128).hold_out(HELD_OUT)
    return replace(photos, source=Path(source).name), held_out


def test_photos(source: str) -> PhotoSet:
    """The test photos, none of which is smaller than :data:`PROTOCOL` needs."""
    return data.photos(source, "test", smallest=128)


def test_set(benchmarks: Path, name: str) -> PhotoSet:
    """Set5 or Set14."""
    return photoset.folder(benchmarks / name, "all", name)


def once(path: Path, make: Callable[..., Any], *arguments: Any) -> Any:
    """What a JSON file holds; if there is none, it is made and written, whole or not at all."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(make(*arguments)))
    return json.loads(path.read_text())


def record(
    name: str,
    content: dict[str, Any],
    photos: PhotoSet | None = None,
    source: str = "",
    *,
    quick: bool = False,
    began: float | None = None,
    **more: Any,
) -> None:
    """Write a result with what made it: the command, the photos, and what is given besides.

    Args:
        name: of the script and of the result.
        content: what was found.
        photos: on which, for the fingerprint.
        source: the photos' name, or path, of which only the last part is recorded.
        quick: the script was asked to be.
        began: time of ``time.monotonic()`` when it began, where its seconds are recorded.
        more: goes to ``srlib.book.results.write``.
    """
    made_by: dict[str, Any] = {"command": f"python -m experiments.{name}" + " --quick" * quick}
    if photos is not None:
        made_by |= {"data": Path(source).name, "fingerprint": photos.fingerprint()}
    if began is not None:
        made_by["seconds"] = round(time.monotonic() - began)
    results.write(name, content, **made_by, **more)
