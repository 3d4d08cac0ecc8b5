"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

#: Ends the name of a file being written; nobody else's file has it.
ASIDE = ".srlib.part"


@contextlib.contextmanager
def aside(path: Path, *, name: str | None = None, durable: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which becomes ``path`` when all went well and is gone otherwise.

    Args:
        path: in an existing folder; what is there stays until then.
        name: of the file meanwhile, in the same folder; by default a hidden one
            that no other process or thread uses.
        durable: also wait until the new name is on the disk, so that it outlives
            a power cut, and so that what is written later is not there before it.

    Raises:
        OSError: when it cannot be made, completed or renamed.
    """
    part = path.with_name(name or f".{secrets.token_hex(8)}{ASIDE}")
    try:
        file = part.open("wb")  # closed below, in either case
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
        finally:
            with contextlib.suppress(OSError):  # what is lost here has been told by flush
                file.close()
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    if durable:
        _sync_folder(path.parent)


def write_whole(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write aside and rename: a failure leaves the old file, or none, and nothing half-written.

    Args:
        path: in an existing folder.
        content: text is written as UTF-8.
        durable: see :func:`aside`.

    Raises:
        OSError: when it cannot be written.
    """
    # Under a name that tells whose it was, for whoever clears up after a killed process.
    with aside(path, name=path.name + ASIDE, durable=durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where the system lets a folder be opened."""
    with contextlib.suppress(PermissionError):  # Windows
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
