"""Write constraints.txt: exact versions for every Python and platform of the book.

    pip install uv
    python -m tools.lock                             # keeps each pin that still fits
    python -m tools.lock --upgrade-package pillow    # or --upgrade, for all

One resolution covers everything from Python 3.10.0 on. Where a release cannot run on
an older Python, patch releases included, that Python has a pin of its own beside it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPILE = ("pip", "compile", "--quiet", "--universal", "--python-version", "3.10")
#: What is written names no index and no path: only versions and markers.
PLAIN = ("--no-annotate", "--no-emit-index-url", "--no-emit-find-links")
HEADER = ("--custom-compile-command", "python -m tools.lock")
FILES = ("requirements.txt", "pyproject.toml", "--output-file", "constraints.txt")


def main(options: list[str]) -> int:
    """Write the lock; ``options`` go to uv as they are."""
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("tools.lock needs the program uv, which makes the lock: pip install uv")
    return subprocess.run([uv, *COMPILE, *PLAIN, *HEADER, *FILES, *options], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
