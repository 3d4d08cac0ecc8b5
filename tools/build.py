"""Build the HTML strictly: a warning is an error, a broken reference too."""

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DONE = ROOT / "_build" / ".inputs"


def inputs() -> str:
    """A hash of all that the pages are made of: text, notebooks, settings, docstrings."""
    digest = hashlib.sha256()
    files = [ROOT / "_config.yml", ROOT / "_toc.yml", ROOT / "constraints.txt"]
    files += [*(ROOT / "book").rglob("*"), *(ROOT / "srlib").rglob("*.py")]
    for path in sorted(files):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def main() -> int:
    """Build what changed; print where to open the book."""
    page = ROOT / "_build" / "html" / "book" / "intro.html"
    now = inputs()
    if not (page.exists() and DONE.exists() and DONE.read_text() == now):
        DONE.unlink(missing_ok=True)
        program = Path(sys.executable).with_name("jupyter-book")
        # --all: Sphinx by itself does not notice a changed style sheet.
        command = [str(program), "build", str(ROOT), "-W", "-n", "--keep-going", "--all", "--quiet"]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code or not page.exists():
            print("The book was not built: see the messages above.", file=sys.stderr)
            return code or 1
        DONE.write_text(now)
    print(f"The book is ready. Open {page.as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
