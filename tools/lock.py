"""Write constraints.txt: one exact version of every package in this environment.

    python -m tools.lock

Packages whose locked version needs a newer Python than the book's oldest get a
marker, so that an older Python chooses a version that it can run.
"""

from __future__ import annotations

import sys
from importlib.metadata import distributions
from pathlib import Path

from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
#: Not the book's: what a virtual environment brings, and the book's own package.
LEFT_OUT = {"pip", "srlib"}


def line(name: str, version: str, requires_python: str) -> str:
    """One line of the lock, with a marker where the oldest Pythons are left behind."""
    allowed = [p for p in PYTHONS if SpecifierSet(requires_python or "").contains(f"{p}.99")]
    marker = "" if allowed == list(PYTHONS) else f' ; python_version >= "{allowed[0]}"'
    return f"{name}=={version}{marker}"


def main() -> int:
    """Write the lock."""
    found = {}
    for dist in distributions():
        name = dist.metadata["Name"].lower().replace("_", "-")
        if name not in LEFT_OUT:
            found[name] = line(name, dist.version, dist.metadata.get("Requires-Python", ""))
    head = "# The full lock of `make book` and `make test`, written by tools/lock.py.\n"
    (ROOT / "constraints.txt").write_text(head + "\n".join(found[n] for n in sorted(found)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
