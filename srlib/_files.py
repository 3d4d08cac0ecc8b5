"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

#: Ends the name of a file being written; nobody else's file has it.
ASIDE = ".srlib.part"


def write_whole(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write aside and rename: a failure leaves the old file, or none, and nothing half-written.

    Args:
        path: in an existing folder.
        content: text is written as UTF-8.
        durable: return only when it is on the disk, so that it outlives a power
            cut too, and so that what is written later is not there before it.

    Raises:
        OSError: when it cannot be written.
    """
    aside = path.with_name(path.name + ASIDE)
    try:
        with aside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where the system lets a folder be opened."""
    with contextlib.suppress(PermissionError):  # Windows
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
