"""Many photos: what goes where, and how a long run is watched, stopped and gone on with.

Taught in chapter 10.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from srlib import imagefile
from srlib.data.photoset import SUFFIXES, images_below
from srlib.errors import PhotoError, one_line
from srlib.upscaling.photo import target_ending

#: Enlarges one file, telling a callback how many pixels are done.
Work = Callable[[Path, Path, Callable[[int], None]], object]


@dataclass(frozen=True)
class Job:
    """One photo to enlarge.

    Attributes:
        source: the file to read.
        target: the file to write.
        name: the source's path below the folder that was given, which decides
            its shard.
        makes_folder: whether the target's folder is ours to make.
    """

    source: Path
    target: Path
    name: str
    makes_folder: bool = False


@dataclass
class Report:
    """What became of every photo.

    Attributes:
        done: the files written.
        skipped: files that were there already, and stayed as they were.
        failed: by source, one line that says why.
    """

    done: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)


def shard_of(name: str, count: int) -> int:
    """The shard, from 1 to ``count``, of a photo: the same on any machine, at any time."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % count + 1


def plan(
    inputs: Sequence[Path],
    output: Path | None = None,
    scale: int = 2,
    format: str | None = None,
    shard: tuple[int, int] | None = None,
) -> tuple[list[Job], Report]:
    """Find the photos and name their results.

    Args:
        inputs: files, and folders, whose photos are found at any depth and
            mirrored; hidden files and what is no image by its ending are left out.
        output: a file for one file; a folder, made where there is none, for
            anything else; None for beside the input, with ``-x2`` in its name.
        scale: for such names.
        format: see :func:`srlib.imagefile.target_format`; None for each photo's own.
        shard: ``(i, n)``: only the i-th of n parts, which together are everything.

    Returns:
        The jobs, and a report that holds what cannot be done.

    Raises:
        PhotoError: when the inputs and the output cannot belong together.
    """
    jobs, report = [], Report()
    taken: dict[Path, Path] = {}
    to_file = output if output is not None and _is_file(output, inputs) else None
    format = format and imagefile.target_format("", format)
    if to_file and format and imagefile.ENDINGS.get(to_file.suffix.lower()) != format:
        raise PhotoError(f"{output}: its ending is not one of {format}; change one of the two")
    found = list(_found(inputs, output, scale, report))
    sources = {_identity(source): source for source, *_ in found}
    for source, name, base in found:
        ours = not shard or shard_of(name, shard[1]) == shard[0]
        try:
            target = to_file or (base / name).with_suffix(target_ending(source, format))
            _check_free(source, target, taken, sources)
        except PhotoError as error:
            if ours:
                report.failed[source] = str(error)
            continue
        taken[target] = source  # whichever shard does it
        if ours:
            jobs.append(Job(source, target, name, makes_folder=not to_file))
    return jobs, report


def _is_file(output: Path, inputs: Sequence[Path]) -> bool:
    """Whether the output names a file, as ``cp`` would see it."""
    if output.is_dir():
        return False
    looks_so = output.is_file() or output.suffix.lower() in {*imagefile.ENDINGS, *SUFFIXES}
    if looks_so and (len(inputs) > 1 or inputs[0].is_dir()):
        raise PhotoError(f"{output}: is a file's name; several photos need a folder as output")
    if not looks_so and output.suffix and len(inputs) == 1 and inputs[0].is_file():
        known = ", ".join(endings[0] for endings in imagefile.FORMATS.values())
        raise PhotoError(f"{output}: cannot write {output.suffix}; choose one of {known}")
    return looks_so


def _found(
    inputs: Sequence[Path], output: Path | None, scale: int, report: Report
) -> Iterator[tuple[Path, str, Path]]:
    """Each photo, its name, and the folder below which a result of that name belongs."""
    for given in inputs:
        if not given.is_dir():
            beside = f"{given.stem}-x{scale}{given.suffix}"
            yield (given, given.name, output) if output else (given, beside, given.parent)
            continue
        # By its whole path: "." has no name, and what lies beside ".." is not below it.
        whole = given.resolve()
        base = output or (given if given.name not in ("", "..") else whole).with_name(
            f"{whole.name}-x{scale}"
        )
        if base.exists() and base.samefile(given):
            raise PhotoError(f"{base}: is the input folder itself; name another for the output")
        inside, photos = base.resolve(), list(images_below(given))
        if given.resolve() in inside.parents:  # earlier results are no input
            photos = [path for path in photos if inside not in path.resolve().parents]
        if not photos:
            report.failed[given] = f"{given}: holds no image files ({', '.join(sorted(SUFFIXES))})"
        for path in photos:
            yield path, path.relative_to(given).as_posix(), base


def _identity(path: Path) -> tuple[int, int] | None:
    """The same for every name of a file: links, other cases, other ways to it."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _check_free(
    source: Path, target: Path, taken: dict[Path, Path], sources: dict[tuple[int, int] | None, Path]
) -> None:
    if target in taken:
        raise PhotoError(
            f"{source}: would be written to {target}, as {taken[target]} is; "
            "rename one, or give them different outputs"
        )
    there = _identity(target)
    if there and there == _identity(source):
        raise PhotoError(f"{target}: is the input itself; choose another name")
    if there and there in sources:
        raise PhotoError(
            f"{source}: would be written to {target}, which is the input {sources[there]}; "
            "choose another output"
        )


def run(
    jobs: Sequence[Job],
    work: Work,
    report: Report,
    overwrite: bool = False,
    workers: int = 1,
    on_failure: Callable[[str], None] = lambda message: None,
) -> Report:
    """Do the jobs, whatever becomes of single ones, with a bar in megapixels.

    Args:
        jobs: from :func:`plan`.
        work: enlarges one file; it must write whole files or none.
        report: from :func:`plan`; it is completed.
        overwrite: make results anew that are there already, instead of skipping them.
        workers: photos at once. One network uses all cores already, so more
            pay for small photos alone, and each needs its own memory.
        on_failure: is told of each failure when it happens.

    Returns:
        ``report``.

    Raises:
        KeyboardInterrupt: when interrupted; files being written are gone then,
            finished ones stay.
    """
    sizes = _left_to_do(jobs, report, overwrite)
    for message in report.failed.values():
        on_failure(message)
    stop, lock = threading.Event(), threading.Lock()
    with tqdm(
        total=sum(sizes.values()) / 1e6,
        disable=None,  # where there is no terminal
        bar_format="{l_bar}{bar}| {n:.1f}/{total:.1f} MP, {elapsed} passed, {remaining} left",
    ) as bar:

        def advance(pixels: int) -> None:
            with lock:
                bar.update(pixels / 1e6)

        def one(job: Job) -> None:
            done = 0

            def on_tile(pixels: int) -> None:
                nonlocal done
                if stop.is_set():
                    raise KeyboardInterrupt
                done += pixels
                advance(pixels)

            try:
                if job.makes_folder:
                    _make_folder(job.target.parent)
                work(job.source, job.target, on_tile)
                report.done.append(job.target)
            except PhotoError as error:
                message = str(error)
                report.failed[job.source] = message
                on_failure(message)
            advance(sizes[job] - done)

        _all(one, list(sizes), workers, stop)
    return report


def _left_to_do(jobs: Sequence[Job], report: Report, overwrite: bool) -> dict[Job, int]:
    """The jobs that can and must be done, and how many pixels each has."""
    sizes: dict[Job, int] = {}
    for job in jobs:
        if os.path.lexists(job.target) and not overwrite:
            report.skipped.append(job.target)
            continue
        try:
            sizes[job] = imagefile.pixel_count(job.source)
        except PhotoError as error:
            report.failed[job.source] = str(error)
    return sizes


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotoError(f"{folder}: cannot be made ({one_line(error)})") from error


def _all(one: Callable[[Job], None], jobs: list[Job], workers: int, stop: threading.Event) -> None:
    if workers == 1:
        for job in jobs:
            one(job)
        return
    with ThreadPoolExecutor(workers) as pool:
        try:
            for future in as_completed([pool.submit(one, job) for job in jobs]):
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
