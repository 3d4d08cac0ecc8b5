"""Unpack an archive that a stranger made.

An archive may name its members ``../../.bashrc``, or hold a link that leads out
of the folder and then a file that goes through the link. So nothing here trusts
an archive's own idea of extraction: names are checked, links are refused, and
every regular file is written by this module, counted byte by byte.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from tqdm import tqdm

from srlib.errors import PhotoError

#: More than this, unpacked, and it is not one of our data sets but a bomb.
LARGEST = 4 * 2**30


MOST_MEMBERS = 100_000


CHUNK = 2**16


RAR_ADVICE = (
    "Install `pip install rarfile` and one of the tools that it drives, unar, unrar or 7z (for "
    "example `apt-get install unar`; unrar-free and bsdtar of libarchive-tools do not serve), or "
    "unpack the archive by hand and pass the folder as the source: photos('path/to/folder')"
)


class ToolError(PhotoError):
    """The archive may be sound, but what is on this machine cannot unpack it."""


class Member(NamedTuple):
    """One entry of an archive.

    Attributes:
        name: as the archive states it, not to be trusted.
        kind: ``"file"``, ``"folder"``, or what else it is, for the message.
        open: gives the stream of a file's bytes.
    """

    name: str
    kind: str
    open: Callable[[], IO[bytes]]


def kind(path: Path) -> str | None:
    """What a file is by its first bytes: ``"tar"`` (gzipped), ``"rar"``, or None."""
    with open(path, "rb") as file:
        start = file.read(7)
    if start.startswith(b"\x1f\x8b"):
        return "tar"
    return "rar" if start.startswith(b"Rar!\x1a\x07") else None


def unpack(path: Path, target: Path, largest: int = LARGEST) -> None:
    """Write an archive's folders and regular files below ``target``.

    Args:
        path: a ``.tgz`` or ``.rar`` file.
        target: an existing folder, best an empty one. When this function
            raises, what it holds is incomplete: the caller throws it away.
        largest: the most bytes that the members may have together.

    Raises:
        PhotoError: naming the archive and the member that is unsafe or damaged.
        ToolError: when a RAR archive cannot be read with what is on the machine.
        OSError: when a file cannot be written.
    """
    found = kind(path)
    if found is None:
        raise PhotoError(f"{path}: neither a gzipped tar nor a RAR archive")
    reader = _tar if found == "tar" else _rar
    errors = tarfile.TarError if found == "tar" else _import_rarfile().Error
    room = largest
    try:
        with closing(reader(path)) as members:
            bar = tqdm(members, desc=f"unpacking {path.name}", unit=" files", leave=False)
            for count, member in enumerate(bar):
                if count >= MOST_MEMBERS:
                    raise PhotoError(f"{path}: holds more than {MOST_MEMBERS:,} files")
                room -= _write(member, _inside(target, member, path), room, path)
    # A bad gzip checksum or header is an OSError, but not one about writing.
    except (errors, EOFError, zlib.error, gzip.BadGzipFile) as error:
        if found == "rar":  # the tools' complaints do not tell which of the two it is
            raise ToolError(
                f"{path}: cannot be unpacked ({error}): it is damaged, or the tool at hand does "
                f"not manage it. {RAR_ADVICE}"
            ) from error
        raise PhotoError(f"{path}: damaged or cut short ({error or 'unexpected end'})") from error


def _inside(target: Path, member: Member, archive: Path) -> Path:
    """Where a member goes; an error unless that is surely below ``target``."""
    parts = PurePosixPath(member.name).parts
    # "\\" and ":" are plain characters here, but lead elsewhere on Windows.
    leads_out = member.name.startswith("/") or ".." in parts
    if leads_out or not member.name or any(char in member.name for char in "\\:\0"):
        raise PhotoError(
            f"{archive}: refused, its member {member.name!r} would be written outside the folder"
        )
    if member.kind not in ("file", "folder"):
        raise PhotoError(
            f"{archive}: refused, its member {member.name!r} is {member.kind}, "
            "where only files and folders belong"
        )
    return target.joinpath(*parts)


def _write(member: Member, path: Path, room: int, archive: Path) -> int:
    """Write one member and return its size."""
    written = 0
    try:
        if member.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
            return 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "xb") as file, member.open() as stream:
            # Sizes that an archive states may be lies: what arrives is counted.
            while chunk := stream.read(CHUNK):
                written += len(chunk)
                if written > room:
                    raise PhotoError(
                        f"{archive}: refused, it unpacks to more than is allowed "
                        f"(reached at its member {member.name!r})"
                    )
                file.write(chunk)
    except (FileExistsError, NotADirectoryError) as error:
        raise PhotoError(f"{archive}: holds its member {member.name!r} twice") from error
    return written


def _tar(path: Path) -> Iterator[Member]:
    kinds = {
        tarfile.SYMTYPE: "a symbolic link",
        tarfile.LNKTYPE: "a hard link",
        tarfile.CHRTYPE: "a device",
        tarfile.BLKTYPE: "a device",
        tarfile.FIFOTYPE: "a pipe",
    }
    with tarfile.open(path, "r:gz") as archive:
        for info in archive:
            ordinary = "folder" if info.isdir() else "file" if info.isreg() else None
            what = ordinary or kinds.get(info.type, f"of the unknown type {info.type!r}")
            yield Member(info.name, what, lambda info=info: archive.extractfile(info))
        # tarfile takes a damaged header for the end. gzip's checksum, which is
        # compared at the very end of the stream, does not.
        while archive.fileobj.read(CHUNK):
            pass


def _rar(path: Path) -> Iterator[Member]:
    rarfile = _import_rarfile()
    with rarfile.RarFile(path, errors="strict") as archive:
        if archive.is_solid():
            # Each member of a solid archive needs all those before it.
            raise ToolError(
                f"{path}: a solid RAR archive, which cannot be read file by file in reasonable "
                f"time; unpack it by hand and pass the folder: photos('path/to/folder')"
            )
        if any(info.compress_type != rarfile.RAR_M0 for info in archive.infolist()):
            check_rar_tool()
        for info in archive.infolist():
            if info.is_dir():
                what = "folder"
            elif info.is_symlink() or info.file_redir:
                what = "a link"
            else:
                what = "a file with a password" if info.needs_password() else "file"
            yield Member(info.filename, what, lambda info=info: archive.open(info))


def _import_rarfile():
    try:
        import rarfile
    except ImportError as error:
        message = f"the Python package rarfile, which reads RAR archives, is missing. {RAR_ADVICE}"
        raise ToolError(message) from error
    return rarfile


def check_rar_tool() -> None:
    """Find out whether a RAR can be unpacked here, before it is downloaded.

    Raises:
        ToolError: without ``rarfile``, or without a tool that it can drive.
    """
    rarfile = _import_rarfile()
    try:
        # Not bsdtar: rarfile calls it as `-f -- archive`, which it takes for a file
        # called "--" (github.com/markokr/rarfile/issues/95).
        rarfile.tool_setup(bsdtar=False, force=True)
    except rarfile.RarCannotExec as error:
        raise ToolError(f"no tool on this machine unpacks RAR archives. {RAR_ADVICE}") from error
