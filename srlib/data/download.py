"""Data sets from the net: downloaded once, checked, then just a folder.

A folder of this module is either whole or not there. Bytes arrive in a
``.part`` file; the archive is unpacked into a hidden folder beside the target;
every photo is decoded; one rename puts the folder in its place. Whatever dies
on the way, the next call goes on from there. Used in chapter 1.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from srlib.data import archives, fetch, photoset
from srlib.data.photoset import PhotoSet
from srlib.errors import PhotoError

FLOWER_PHOTOS_URL = (
    "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz"
)


LINNAEUS5_URL = "https://chaladze.com/l5/img/Linnaeus%205%20256X256.rar"


@dataclass(frozen=True)
class DataSet:
    """What a data set's archive is and what must come out of it.

    Attributes:
        file: the archive's name.
        folder: the folder in it, and of the data set on this machine.
        counts: subfolder -> the fewest photos that make it complete.
        rar: whether unpacking needs an outside tool.
    """

    file: str
    folder: str
    counts: dict[str, int]
    rar: bool = False


FLOWER_PHOTOS = DataSet("flower_photos.tgz", "flower_photos", {".": 3670})


LINNAEUS5 = DataSet(
    "Linnaeus 5 256X256.rar", "Linnaeus 5 256X256", {"train": 6000, "test": 2000}, rar=True
)


def data_root() -> Path:
    """Where downloads live: ``$SRLIB_DATA``, else ``~/.cache/srlib``."""
    given = os.environ.get("SRLIB_DATA")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "srlib"


def flower_photos(
    split: str,
    root: str | os.PathLike | None = None,
    url: str = FLOWER_PHOTOS_URL,
    smallest: int = 1,
) -> PhotoSet:
    """TensorFlow's flower photos: 3,670 JPEGs of five flowers, CC BY 2.0.

    The first call downloads 229 MB. The archive has no split of its own; a
    photo's name decides, as in :func:`srlib.data.photoset.folder`.

    Args:
        split: ``"train"``, ``"test"`` or ``"all"``.
        root: folder of the downloads; by default :func:`data_root`. An archive
            ``flower_photos.tgz`` found there is used instead of the net.
        url: where the archive is.
        smallest: photos with a shorter side in pixels are left out.

    Returns:
        The photos' files.

    Raises:
        PhotoError: when the data set cannot be had, saying why and what to do.
    """
    path = provide(FLOWER_PHOTOS, root, url)
    return photoset.folder(path, split, "flower_photos", smallest)


def linnaeus5(
    split: str,
    root: str | os.PathLike | None = None,
    url: str = LINNAEUS5_URL,
    smallest: int = 1,
) -> PhotoSet:
    """Linnaeus 5 (Chaladze & Kalatozishvili 2017): 6,000 + 2,000 photos, 256x256.

    The first call downloads 433 MB, a RAR archive: that needs the package
    ``rarfile`` and an unpacking tool, both looked for before anything else.

    Args:
        split: ``"train"``, ``"test"`` or ``"all"``.
        root: folder of the downloads; by default :func:`data_root`. An archive
            ``Linnaeus 5 256X256.rar`` found there is used instead of the net.
        url: where the archive is.
        smallest: photos with a shorter side in pixels are left out.

    Returns:
        The photos' files.

    Raises:
        PhotoError: when the data set cannot be had, saying why and what to do.
    """
    path = provide(LINNAEUS5, root, url)
    return photoset.tree(path, split, "linnaeus5", smallest)


#: What :func:`srlib.data.photos` knows by name.
DATASETS = {"flower_photos": flower_photos, "linnaeus5": linnaeus5}


def provide(
    data_set: DataSet,
    root: str | os.PathLike | None,
    url: str,
    *,
    timeout: float = fetch.TIMEOUT,
    tries: int = fetch.TRIES,
    backoff: float = 1.0,
) -> Path:
    """Make sure that a data set's folder is on this machine, whole.

    Args:
        data_set: the data set.
        root: folder of the downloads, or None for :func:`data_root`.
        url: where the archive is.
        timeout, tries, backoff: see :func:`srlib.data.fetch.fetch`.

    Returns:
        The folder.

    Raises:
        PhotoError: when that cannot be done, saying why and what to do.
    """
    root = data_root() if root is None else Path(root).expanduser()
    folder = root / data_set.folder
    try:
        if not folder.exists():
            root.mkdir(parents=True, exist_ok=True)
            with _alone(root / f".{data_set.folder}.lock"):
                if not folder.exists():  # another process may just have made it
                    _install(data_set, root, url, timeout, tries, backoff)
        _count(folder, data_set, folder, "; delete this folder to have it made again")
    except OSError as error:
        advice = "free some space or choose another folder by root= or the variable SRLIB_DATA"
        raise PhotoError(f"{root}: cannot hold the data set ({error}); {advice}") from error
    return folder


def _install(
    data_set: DataSet, root: Path, url: str, timeout: float, tries: int, backoff: float
) -> None:
    given = root / data_set.file
    # Our own copy has a name of its own: it may be deleted, the user's never.
    own = root / f"{data_set.file}.download"
    archive = given if given.exists() else own
    if not archive.exists():
        part = root / f"{data_set.file}.part"
        try:
            if data_set.rar:
                archives.check_rar_tool()
            fetch.fetch(url, part, timeout=timeout, tries=tries, backoff=backoff)
        except PhotoError as error:
            advice = f"Or put the archive, however you got it, at {given}"
            raise type(error)(f"{data_set.folder}: {error}. {advice}") from error
        part.replace(own)
    work = root / f".{data_set.folder}.unpacking"
    shutil.rmtree(work, ignore_errors=True)  # left by a process that was killed
    work.mkdir()
    try:
        archives.unpack(archive, work)
        inner = work / data_set.folder
        content = inner if inner.is_dir() else work
        _count(content, data_set, archive)
        _decode(content, archive)
        content.replace(root / data_set.folder)
    except archives.ToolError as error:  # the archive may be sound: keep it
        advice = f"The archive is kept; if it is damaged, delete {archive}"
        raise archives.ToolError(f"{error}. {advice}") from error
    except PhotoError as error:
        if archive is own:
            own.unlink()
            advice = f"The download from {url} has been deleted; call again to repeat it"
        else:
            advice = "Delete or replace this archive, then call again"
        raise PhotoError(f"{error}. {advice}, or pass a folder of photos as the source") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if archive is own:
        own.unlink()


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


def _photos_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in photoset.SUFFIXES)


def _count(folder: Path, data_set: DataSet, name: Path, advice: str = "") -> None:
    for inner, expected in data_set.counts.items():
        found = len(_photos_below(folder / inner))
        if found < expected:
            where = "" if inner == "." else f" for {inner!r}"
            raise PhotoError(
                f"{name}: has {found:,} photos{where} where the complete data set "
                f"has {expected:,}{advice}"
            )


def _decode(folder: Path, archive: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata does not make a photo unusable
        for path in tqdm(_photos_below(folder), desc="checking", unit=" photos", leave=False):
            try:
                photoset.read_photo(path)
            except PhotoError as error:
                member = path.relative_to(folder).as_posix()
                why = error.__cause__ or error
                raise PhotoError(f"{archive}: its photo {member!r} is damaged ({why})") from error
