"""What the experiments computed: small files that the book reads.

Each file records what made it: command, seed, data fingerprint, versions,
machine, seconds and git commit. So a number in the book can be traced.
"""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

from srlib._files import write_whole

FOLDER = Path(__file__).parent / "recorded"


def read(name: str) -> dict[str, Any]:
    """The recorded result ``name``.

    Raises:
        FileNotFoundError: naming the experiments that are recorded.
    """
    path = FOLDER / f"{name}.json"
    if not path.exists():
        known = sorted(p.stem for p in FOLDER.glob("*.json"))
        raise FileNotFoundError(f"no recorded result {name!r}; there are {known}")
    return json.loads(path.read_text())


def rows(table: str | Path) -> list[dict[str, str]]:
    """The rows of a recorded table, or of the csv file at a path; none if there is no file."""
    path = table if isinstance(table, Path) else FOLDER / f"{table}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(name: str, content: dict[str, Any], *, folder: Path = FOLDER, **made_by: Any) -> Path:
    """Record a result with what made it, whole or not at all."""
    from srlib.training.hardware import machine

    made_by = made_by | machine() | {"commit": commit()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    write_whole(path, json.dumps({"made_by": made_by} | content, indent=1) + "\n")
    return path


def commit() -> str:
    """The checked-out git commit, short; with ``+`` where files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=False)
    except OSError:  # git is not installed
        return "unknown"
    return done.stdout.strip() or "unknown"
