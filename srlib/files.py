"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write aside and rename: a failure leaves the old file, or none, and nothing half-written.

    Args:
        path: in an existing folder.
        content: text is written as UTF-8.

    Raises:
        OSError: when it cannot be written.
    """
    aside = path.with_name(path.name + ".part")
    try:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
