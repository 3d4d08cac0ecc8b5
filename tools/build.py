"""Build the HTML strictly: a warning is an error, a broken reference too."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Build; on success print where to open the book."""
    program = str(Path(sys.executable).with_name("jupyter-book"))
    command = [program, "build", str(ROOT), "-W", "-n", "--keep-going"]
    code = subprocess.run([*command, "--quiet"], cwd=ROOT, check=False).returncode
    page = ROOT / "_build" / "html" / "book" / "intro.html"
    if code or not page.exists():
        print("The book was not built: see the messages above.", file=sys.stderr)
        return code or 1
    print(f"The book is ready. Open {page.as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
