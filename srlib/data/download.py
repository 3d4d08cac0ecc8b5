"""Data sets from the net: downloaded once, checked, then just a folder.

A data set's folder is either whole or not there. Bytes arrive in a ``.part`` file; the archive
is unpacked into a hidden folder beside the target; one rename puts it in its place. Whatever
dies on the way, the next call goes on from there. Used in chapter 1.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from srlib.data import archives, photoset
from srlib.data.photoset import PhotoSet
from srlib.errors import PhotoError


@dataclass(frozen=True)
class DataSet:
    """What a data set's archive is and what must come out of it.

    Attributes:
        url: where the archive is.
        file: the archive's name.
        folder: the folder in it, and of the data set on this machine.
        counts: subfolder -> the photos that make it complete.
        sha256: of the archive, where it is known.
    """

    url: str
    file: str
    folder: str
    counts: dict[str, int]
    sha256: str | None = None


#: What :func:`srlib.data.photos` knows by name.
DATASETS = {
    # 3,670 JPEGs of five flowers, CC BY 2.0, 229 MB. The sum is the one that TensorFlow Datasets
    # checks too.
    "flower_photos": DataSet(
        "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz",
        "flower_photos.tgz",
        "flower_photos",
        {".": 3670},
        "4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
    ),
    # Chaladze & Kalatozishvili 2017: 256x256 pixels, five classes, 433 MB. Its sum is not known,
    # but a RAR holds one of each file.
    "linnaeus5": DataSet(
        "https://chaladze.com/l5/img/Linnaeus%205%20256X256.rar",
        "Linnaeus 5 256X256.rar",
        "Linnaeus 5 256X256",
        {"train": 6000, "test": 2000},
    ),
}


def photos(
    name: str,
    split: str,
    root: str | os.PathLike | None = None,
    url: str | None = None,
    smallest: int = 1,
) -> PhotoSet:
    """Photos of a data set, which the first call downloads.

    Args:
        name: a key of :data:`DATASETS`.
        split: ``"train"``, ``"test"`` or ``"all"``. Where the archive has no split
            of its own, a photo's name decides, as in :func:`srlib.data.photoset.folder`.
        root: folder of the downloads; by default ``$SRLIB_DATA``, else ``~/.cache/srlib``.
            The archive, if it is found there, is used instead of the net.
        url: where the archive is, if not where it is by default.
        smallest: photos with a shorter side in pixels are left out.

    Raises:
        PhotoError: when the data set cannot be had, saying why and what to do.
    """
    data_set = DATASETS[name]
    root = Path(root or os.environ.get("SRLIB_DATA") or Path.home() / ".cache/srlib").expanduser()
    folder = root / data_set.folder
    try:
        if not folder.exists():
            root.mkdir(parents=True, exist_ok=True)
            with _alone(root / f".{data_set.folder}.lock"):
                if not folder.exists():  # another process may just have made it
                    _install(data_set, url or data_set.url, root)
    except OSError as error:
        advice = "free some space or choose another folder by root= or the variable SRLIB_DATA"
        raise PhotoError(f"{root}: cannot hold the data set ({error}); {advice}") from error
    for inner, expected in data_set.counts.items():
        found = sum(1 for _ in photoset.images_below(folder / inner))
        if found < expected:
            raise PhotoError(
                f"{folder / inner}: has {found:,} photos where the complete data set has "
                f"{expected:,}; delete the folder {folder} to have it made again"
            )
    opened = photoset.tree if photoset.has_splits(folder) else photoset.folder
    return opened(folder, split, name, smallest)


def _install(data_set: DataSet, url: str, root: Path) -> None:
    archive = root / data_set.file
    given = archive.exists()
    if given:
        _verify(archive, data_set, f"{archive}", "Delete or replace it")
    else:
        _download(data_set, url, archive)
    work = root / f".{data_set.folder}.unpacking"
    shutil.rmtree(work, ignore_errors=True)  # left by a process that was killed
    work.mkdir()
    try:
        archives.unpack(archive, work)
        inner = work / data_set.folder
        (inner if inner.is_dir() else work).replace(root / data_set.folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not given:
        archive.unlink()


def _download(data_set: DataSet, url: str, archive: Path) -> None:
    from srlib.data import fetch  # requests is loaded by those alone who download

    part = archive.with_name(f"{archive.name}.part")
    try:
        if archive.suffix == ".rar":
            archives.rar_reader()
        fetch.fetch(url, part)
    except PhotoError as error:
        raise PhotoError(
            f"{data_set.folder}: {error}. Call again, with another address by url= if this one is "
            f"wrong; or put the archive, however you got it, at {archive}; or unpack it anywhere "
            "and pass the folder as the source: photos('path/to/folder')"
        ) from error
    try:
        _verify(part, data_set, url, "What came has been deleted; check the address")
    except PhotoError:
        part.unlink()
        raise
    part.replace(archive)


def _verify(path: Path, data_set: DataSet, origin: str, advice: str) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        start = file.read(40)
        digest.update(start)
        while chunk := file.read(2**20):
            digest.update(chunk)
    if not start.startswith((b"\x1f\x8b", b"Rar!\x1a\x07")):
        why = f"no archive (it starts with {start!r}): perhaps an error page or a log-in page"
    elif data_set.sha256 not in (None, digest.hexdigest()):
        why = f"not the published {data_set.file}, or damaged: its SHA-256 is another"
    else:
        return
    raise PhotoError(f"{origin}: {why}. {advice}, then call again")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time; the system frees the lock of one that dies."""
    with open(path, "w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except (ImportError, OSError):
            pass  # Windows and some network drives have no such lock: go on without
        yield
