"""Unpack an archive that a stranger made: a tar or, with a tool of the machine, a RAR."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from tqdm import tqdm

from srlib.errors import PhotoError, one_line

#: More than this, unpacked, and it is not one of our data sets but a bomb.
MOST_BYTES = 4 * 2**30

_BY_HAND = "unpack it by hand and pass the folder as the source: photos('path/to/folder')"
_RAR_ADVICE = (
    "Install `pip install rarfile` and one of the tools that it drives, unar, unrar or 7z (for "
    "example `apt-get install unar`; unrar-free and bsdtar of libarchive-tools do not serve), or "
    + _BY_HAND
)


def unpack(path: Path, target: Path) -> None:
    """Write the folders and files of a ``.tgz`` or ``.rar`` below ``target``, an empty folder.

    Raises:
        PhotoError: naming the archive, when it is unsafe or damaged, or when a RAR cannot be
            read with what is on the machine. The folder's content is then incomplete.
        OSError: when a file cannot be written.
    """
    if path.suffix == ".rar":
        _unpack_rar(path, target)
    else:
        _unpack_tar(path, target)


def _unpack_tar(path: Path, target: Path) -> None:
    # Python 3.10.0 and 3.11.2 lack the filter; _check does without it.
    safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    try:
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            _check(path, ((one.name, one.size, one.isreg() or one.isdir()) for one in members))
            archive.extractall(target, **safely)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise PhotoError(
            f"{path}: damaged or cut short ({one_line(error)}); get it anew"
        ) from error


def _unpack_rar(path: Path, target: Path) -> None:
    rarfile = rar_reader()
    try:
        with rarfile.RarFile(path, errors="strict") as archive:
            if archive.is_solid():
                # Each member of a solid archive needs all those before it.
                raise PhotoError(f"{path}: a solid RAR archive, too slow to read here; {_BY_HAND}")
            members = archive.infolist()
            _check(path, ((one.filename, one.file_size, _is_plain(one)) for one in members))
            for one in tqdm(members, f"unpacking {path.name}", leave=False, unit=" files"):
                archive.extract(one, target)
    except rarfile.Error as error:  # the tools' complaints do not tell which of the two it is
        raise PhotoError(
            f"{path}: cannot be unpacked ({one_line(error)}): it is damaged, or the tool at hand "
            f"does not manage it. If it is damaged, delete it and call again; else {_BY_HAND}"
        ) from error


def _is_plain(member) -> bool:
    return not (member.is_symlink() or member.file_redir or member.needs_password())


def _check(path: Path, members: Iterable[tuple[str, int, bool]]) -> None:
    """Refuse what would lie elsewhere, links (the way out for what follows them), and bombs.

    Args:
        path: the archive.
        members: name, bytes unpacked, and whether it is a file or a folder.
    """
    total = 0
    for name, size, plain in members:
        total += size
        # "\\" and ":" are plain characters here, but lead elsewhere on Windows.
        if name.startswith("/") or ".." in PurePosixPath(name).parts or set("\\:") & set(name):
            why = "would be written outside the folder"
        elif not plain:
            why = "is a link, a device or locked, where only files and folders belong"
        elif total > MOST_BYTES:
            why = f"goes beyond the {MOST_BYTES:,} bytes that are allowed"
        else:
            continue
        raise PhotoError(f"{path}: refused, its member {name!r} {why}; get it from elsewhere")


def rar_reader() -> ModuleType:
    """The package ``rarfile`` with a tool that it can drive, looked for before a download.

    Raises:
        PhotoError: without the one or the other.
    """
    try:
        import rarfile
    except ImportError as error:
        message = "the Python package rarfile, which reads RAR archives, is missing"
        raise PhotoError(f"{message}. {_RAR_ADVICE}") from error
    try:
        # Not bsdtar: rarfile calls it as `-f -- archive`, which it takes for a file
        # called "--" (github.com/markokr/rarfile/issues/95).
        rarfile.tool_setup(bsdtar=False, force=True)
    except rarfile.RarCannotExec as error:
        message = "no tool on this machine unpacks RAR archives"
        raise PhotoError(f"{message}. {_RAR_ADVICE}") from error
    return rarfile
