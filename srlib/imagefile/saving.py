"""Writing an image file whole, or saying in one line why not.

Taught in chapter 10.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from srlib.errors import PhotoError, one_line
from srlib.imagefile.opening import describe

_REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room on the disk",
    errno.EFBIG: "make room on the disk",
    errno.EACCES: "change its access rights, or choose another folder",
    errno.EPERM: "change its access rights, or choose another folder",
    errno.EROFS: "choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextlib.contextmanager
def saving(target: str | os.PathLike) -> Iterator[None]:
    """Turn whatever encoders and disks raise into one line about the file."""
    try:
        yield
    except (PhotoError, MemoryError):
        raise
    except Exception as error:
        raise _failure(target, error) from error


def _failure(target: str | os.PathLike, error: Exception) -> PhotoError:
    remedy = _REMEDIES.get(getattr(error, "errno", None), "choose another name or format")
    return PhotoError(f"{describe(target)}: cannot be written ({one_line(error)}); {remedy}")


def check_place(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """See to it, before anything is computed, that a file could be written there.

    Raises:
        PhotoError: when its folder is missing or closed, or something else has
            its name that must not be replaced.
    """
    name, path = describe(target), Path(os.fsdecode(target))
    with saving(target):
        if path.is_dir():
            raise PhotoError(f"{name}: is a folder; name a file")
        if not path.parent.is_dir():
            raise PhotoError(f"{name}: there is no folder {describe(path.parent)}; make it first")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PhotoError(
                f"{name}: no permission to write to {describe(path.parent)}; choose another folder"
            )
        try:
            os.stat(path)
        except FileNotFoundError:
            return
        if os.path.samefile(path, source):
            raise PhotoError(f"{name}: is the input itself; choose another name")
        if not path.is_file():
            raise PhotoError(f"{name}: is a pipe or a device; choose another name")


class Checked:
    """A file of which Pillow sees no descriptor.

    It would write a JPEG straight to that, and not notice that the disk is full.
    """

    def __init__(self, file: BinaryIO):
        self.write, self.flush = file.write, file.flush


@contextlib.contextmanager
def aside(target: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file to write to, which becomes ``target`` when all went well and is gone otherwise.

    It is hidden beside ``target``, under a name that no other worker uses.

    Raises:
        PhotoError: when the file cannot be made, completed or renamed.
    """
    path = Path(os.fsdecode(target)).with_name(f".{secrets.token_hex(8)}.part")
    with saving(target):
        file = open(path, "xb")  # noqa: SIM115 (closed below, in either case)
    try:
        try:
            yield file
            with saving(target):
                file.flush()
                os.fsync(file.fileno())
        finally:
            with contextlib.suppress(OSError):  # what is lost here has been told by flush
                file.close()
        with saving(target):
            os.replace(path, target)
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
