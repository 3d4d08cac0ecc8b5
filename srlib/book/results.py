"""What the experiments computed: small files that the book reads.

One schema. A record is a JSON object: ``"made_by"``, and beside it the
experiment's own content. ``made_by`` has exactly the entries of
:data:`MADE_BY`, null where one does not apply, so that every number in the book
can be traced. Rows too many for that are a csv file of the same name.
"""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

from srlib._files import write_whole
from srlib.errors import SrlibError

FOLDER = Path(__file__).parent / "recorded"

#: What a record says of its making -> the types that its value may have, beside None.
MADE_BY: dict[str, tuple[type, ...]] = {
    "command": (str,),  # what to run to make it again
    "data": (str,),  # the photos
    "fingerprint": (str,),  # of those photos
    "seed": (int,),
    "preset": (str,),  # of the book, if it was asked for
    "seconds": (int, float),
    "device": (str,),
    "versions": (dict,),  # package -> version
    "commit": (str,),  # with ``+`` where files differed from it
}


def read(name: str, folder: Path | None = None) -> dict[str, Any]:
    """The recorded result ``name``: ``{"made_by": {...}}`` and its content.

    Args:
        name: of the file, without its ending.
        folder: where it lies; by default where the book reads.

    Raises:
        FileNotFoundError: naming the experiments that are recorded.
        SrlibError: when the file is no such record.
    """
    folder = folder or FOLDER
    path = folder / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"no recorded result {name!r}; there are {names(folder)}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SrlibError(f"{path}: not JSON ({error}); run its experiment again") from error
    _check(record, str(path))
    return record


def names(folder: Path | None = None) -> list[str]:
    """The names of all recorded results."""
    return sorted(path.stem for path in (folder or FOLDER).glob("*.json"))


def rows(table: str | Path) -> list[dict[str, str]]:
    """The rows of a recorded table, or of the csv file at a path; none if there is no file."""
    path = table if isinstance(table, Path) else FOLDER / f"{table}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(
    name: str,
    content: dict[str, Any],
    *,
    command: str,
    data: str | None = None,
    fingerprint: str | None = None,
    seed: int | None = None,
    preset: str | None = None,
    seconds: float | None = None,
    folder: Path | None = None,
) -> Path:
    """Record a result with what made it, whole or not at all.

    Args:
        name: of the file, without its ending.
        content: what JSON can hold; ``"made_by"`` is none of its keys.
        command: and the others up to ``seconds``: see :data:`MADE_BY`. Machine,
            versions and commit are found here.
        folder: where to write; by default where the book reads.

    Raises:
        SrlibError: when it would be no record that :func:`read` accepts.
    """
    from srlib.training.hardware import machine

    if "made_by" in content:
        raise SrlibError(f"{name}: the content of a record has no entry 'made_by' of its own")
    versions = machine()
    made_by = {
        "command": command,
        "data": data,
        "fingerprint": fingerprint,
        "seed": seed,
        "preset": preset,
        "seconds": seconds,
        "device": versions.pop("device"),
        "versions": versions,
        "commit": commit(),
    }
    record = {"made_by": made_by} | content
    _check(record, name)
    folder = folder or FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    write_whole(path, json.dumps(record, indent=1) + "\n")
    return path


def _check(record: Any, name: str) -> None:
    made_by = record.get("made_by") if isinstance(record, dict) else None
    if not isinstance(made_by, dict):
        raise SrlibError(f"{name}: a record is an object with an entry 'made_by'")
    if set(made_by) != set(MADE_BY):
        odd = sorted(set(made_by) ^ set(MADE_BY))
        raise SrlibError(f"{name}: 'made_by' has exactly {list(MADE_BY)}; look at {odd}")
    for key, types in MADE_BY.items():
        if not isinstance(made_by[key], (*types, type(None))):
            raise SrlibError(f"{name}: 'made_by' has the {key} {made_by[key]!r}")
    if not made_by["command"]:
        raise SrlibError(f"{name}: 'made_by' does not say which command makes it again")


def commit() -> str:
    """The checked-out git commit, short; with ``+`` where files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=False)
    except OSError:  # git is not installed
        return "unknown"
    return done.stdout.strip() or "unknown"
