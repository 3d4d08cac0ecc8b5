"""Many photos: each goes where it should, and none stops the others."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import smooth_photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import srlib
from srlib import imagefile
from srlib.errors import PhotoError
from srlib.upscaling import batch
from srlib.upscaling.batch import Job, Report, plan, run, shard_of


def photo(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(smooth_photo(8, 10, seed)).save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    """A folder as people have them."""
    root = tmp_path / "photos"
    for name in ("a.png", "b.jpg", "sub/c.tif", "sub/deep/d.webp", "sub/e.bmp"):
        photo(root / name)
    (root / "notes.txt").write_text("not an image")
    photo(root / ".hidden.png")
    photo(root / ".cache" / "f.png")
    return root


def names(jobs: list[Job], root: Path) -> dict[str, str]:
    return {job.name: job.target.relative_to(root).as_posix() for job in jobs}


def copy(source: Path, target: Path, on_tile) -> None:
    on_tile(imagefile.pixel_count(source))
    target.write_bytes(source.read_bytes())


# --- what goes where


def test_a_folder_is_mirrored(photos, tmp_path):
    jobs, report = plan([photos], tmp_path / "out")
    assert not report.failed
    assert names(jobs, tmp_path / "out") == {
        "a.png": "a.png",
        "b.jpg": "b.jpg",
        "sub/c.tif": "sub/c.tif",
        "sub/deep/d.webp": "sub/deep/d.webp",
        "sub/e.bmp": "sub/e.png",
    }
    assert not (tmp_path / "out").exists()  # planning writes nothing


def test_a_format_for_all(photos, tmp_path):
    jobs, _ = plan([photos], tmp_path / "out", format="webp")
    assert {job.target.suffix for job in jobs} == {".webp"}
    with pytest.raises(PhotoError, match=r"out\.png: its ending is not one of webp"):
        plan([photos / "a.png"], tmp_path / "out.png", format="webp")


def test_without_an_output_results_stand_beside(photos, tmp_path):
    jobs, _ = plan([photos], scale=4)
    assert {job.target.parents[len(Path(job.name).parts) - 1] for job in jobs} == {
        tmp_path / "photos-x4"
    }
    (job,), _ = plan([photos / "sub" / "e.bmp"])
    assert job.target == photos / "sub" / "e-x2.png"


def test_one_file_to_a_file_or_into_a_folder(photos, tmp_path):
    (job,), _ = plan([photos / "a.png"], tmp_path / "large.jpg")
    assert job.target == tmp_path / "large.jpg"
    (tmp_path / "there").mkdir()
    for output in (tmp_path / "there", tmp_path / "new"):
        (job,), _ = plan([photos / "b.jpg"], output)
        assert job.target == output / "b.jpg"


def test_files_and_folders_together(photos, tmp_path):
    extra = photo(tmp_path / "extra.png")
    jobs, report = plan([extra, photos], tmp_path / "out")
    assert len(jobs) == 6
    assert not report.failed


@pytest.mark.parametrize("output", ["out.png", "out.gif", "photos/b.jpg"])
def test_several_photos_need_a_folder(photos, tmp_path, output):
    for inputs in ([photos], [photos / "a.png", photos / "sub" / "c.tif"]):
        with pytest.raises(
            PhotoError, match="is a file's name; several photos need a folder as output"
        ):
            plan(inputs, tmp_path / output)


def test_an_ending_that_cannot_be_written_is_no_folder(photos, tmp_path):
    with pytest.raises(PhotoError, match=r"out\.svg: cannot write \.svg; choose one of \.png"):
        plan([photos / "a.png"], tmp_path / "out.svg")


def test_two_photos_never_share_a_result(photos, tmp_path):
    photo(photos / "a.jpg")
    jobs, report = plan([photos], tmp_path / "out", format="png")
    assert len({job.target for job in jobs}) == len(jobs) == 5
    ((source, message),) = report.failed.items()
    assert source == photos / "a.png"
    assert message.startswith(f"{source}: would be written to {tmp_path / 'out' / 'a.png'}, as ")


def test_the_input_is_never_the_output(photos, tmp_path):
    for output in (photos, photos / "sub" / ".."):
        with pytest.raises(PhotoError, match="is the input folder itself"):
            plan([photos], output)
    jobs, report = plan([photos / "a.png"], photos)
    assert not jobs
    assert "is the input itself" in report.failed[photos / "a.png"]


@pytest.mark.parametrize("link", [None, os.symlink, os.link], ids=["plain", "symlink", "hard"])
def test_no_input_is_replaced_by_anothers_result(link, tmp_path):
    first, second = photo(tmp_path / "x" / "p.png", 1), photo(tmp_path / "y" / "p.png", 2)
    output = second.parent
    if link:
        output = tmp_path / "z"
        output.mkdir()
        link(second, output / "p.png")
    for inputs in ([first, second], [second, first]):
        for shard in (None, (1, 2), (2, 2)):
            jobs, report = plan(inputs, output, shard=shard)
            assert not jobs
        jobs, report = plan(inputs, output)
        target = output / "p.png"
        assert report.failed == {
            first: f"{first}: would be written to {target}, which is the input {second}; "
            "choose another output",
            second: f"{target}: is the input itself; choose another name",
        }


def test_what_is_read_in_an_input_folder_is_not_replaced(photos, tmp_path):
    """The output is one input, and another lies in it."""
    first = photo(tmp_path / "x" / "sub" / "c.tif", 1)
    jobs, report = plan([tmp_path / "x", photos / "sub"], photos)
    assert names(jobs, photos) == {"c.tif": "c.tif", "deep/d.webp": "deep/d.webp", "e.bmp": "e.png"}
    (message,) = report.failed.values()
    there = photos / "sub" / "c.tif"
    assert message.startswith(f"{first}: would be written to {there}, which is the input {there}")


def test_two_photos_of_different_shards_never_share_a_result(photos, tmp_path):
    photo(photos / "a.jpg")
    targets = []
    for shard in range(1, 9):
        jobs, _ = plan([photos], tmp_path / "out", format="png", shard=(shard, 8))
        targets += [job.target for job in jobs]
    assert len(set(targets)) == len(targets) == 5
    assert shard_of("a.jpg", 8) != shard_of("a.png", 8)


def test_a_link_to_nowhere_exists(photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").symlink_to(tmp_path / "unplugged" / "a.png")
    jobs, report = plan([photos / "a.png"], tmp_path / "out")
    assert run(jobs, copy, report).skipped == [tmp_path / "out" / "a.png"]


def test_an_output_below_the_input_is_no_input(photos):
    output = photos / "large"
    first, _ = plan([photos], output)
    run(first, copy, Report())
    again, _ = plan([photos], output)
    assert [job.name for job in again] == [job.name for job in first]


def test_a_folder_without_photos_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    jobs, report = plan([tmp_path / "empty"], tmp_path / "out")
    assert not jobs
    assert report.failed[tmp_path / "empty"].startswith(f"{tmp_path / 'empty'}: holds no image")


# --- shards


@given(st.lists(st.text(min_size=1), unique=True, max_size=30), st.integers(1, 12))
def test_shards_are_a_partition(names, count):
    shards = [shard_of(name, count) for name in names]
    assert all(1 <= shard <= count for shard in shards)
    assert shards == [shard_of(name, count) for name in names]


def test_shards_are_even_and_together_everything(tmp_path):
    for i in range(60):
        photo(tmp_path / "photos" / f"{i}.png")
    parts = [plan([tmp_path / "photos"], tmp_path / "out", shard=(i, 3))[0] for i in (1, 2, 3)]
    together = [job.name for part in parts for job in part]
    assert len(together) == len(set(together)) == 60
    assert all(10 <= len(part) <= 30 for part in parts)
    moved = (tmp_path / "photos").rename(tmp_path / "elsewhere")
    other, _ = plan([moved], tmp_path / "out", shard=(1, 3))
    assert [job.name for job in other] == [job.name for job in parts[0]]  # on any machine


# --- a run


@pytest.mark.parametrize("workers", [1, 3])
def test_what_fails_does_not_stop_the_others(photos, tmp_path, workers):
    (photos / "broken.jpg").write_bytes(b"no image")
    heard = []

    def work(source, target, on_tile):
        if source.name == "a.png":
            raise PhotoError(f"{source}: is the wrong one")
        copy(source, target, on_tile)

    jobs, report = plan([photos, tmp_path / "gone.png"], tmp_path / "out")
    run(jobs, work, report, workers=workers, on_failure=heard.append)
    assert len(report.done) == 4
    assert all(target.is_file() for target in report.done)
    assert {path.name for path in report.failed} == {"broken.jpg", "gone.png", "a.png"}
    assert sorted(heard) == sorted(report.failed.values())
    assert all(message.startswith(f"{path}: ") for path, message in report.failed.items())


def test_a_second_run_does_what_is_missing(photos, tmp_path):
    jobs, report = plan([photos], tmp_path / "out")
    run(jobs[:3], copy, report)
    seen = []

    def record(source, target, on_tile):
        seen.append(source)
        copy(source, target, on_tile)

    jobs, report = plan([photos], tmp_path / "out")
    run(jobs, record, report)
    assert (len(report.done), len(report.skipped)) == (2, 3)
    assert seen == [job.source for job in jobs[3:]]
    run(jobs, record, report := Report(), overwrite=True)
    assert (len(report.done), len(report.skipped)) == (5, 0)


def test_a_folder_that_cannot_be_made_is_a_failure_of_its_photos(photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_text("a file in the way")
    jobs, report = plan([photos], tmp_path / "out")
    run(jobs, copy, report)
    assert len(report.done) == 2
    assert len(report.failed) == 3
    assert all("cannot be made" in message for message in report.failed.values())


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_ends_every_worker_at_its_next_tile(photos, tmp_path, workers):
    """As Ctrl-C would: raised in one place, it ends all within a tile."""
    first = threading.Event()
    tiles = []

    def work(source, target, on_tile):
        if not first.is_set():
            first.set()
            raise KeyboardInterrupt
        for _ in range(2000):
            tiles.append(source)
            on_tile(1)
            time.sleep(0.005)
        copy(source, target, on_tile)

    jobs, report = plan([photos], tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        run(jobs, work, report, workers=workers)
    assert len(tiles) < 2000
    assert not report.done


def test_the_bar_counts_megapixels(photos, tmp_path, monkeypatch):
    seen = []

    class Bar:
        def __init__(self, total, **_):
            self.total, self.n = total, 0.0
            seen.append(self)

        def update(self, n):
            self.n += n

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(batch, "tqdm", Bar)
    (photos / "late.png").write_bytes((photos / "a.png").read_bytes())

    def work(source, target, on_tile):
        if source.name == "late.png":
            on_tile(3)
            raise PhotoError(f"{source}: fails half-way")
        copy(source, target, on_tile)

    run(*_planned(photos, tmp_path, work))
    (bar,) = seen
    assert bar.total == pytest.approx(6 * 80 / 1e6)
    assert bar.n == pytest.approx(bar.total)


def _planned(photos, tmp_path, work):
    jobs, report = plan([photos], tmp_path / "out")
    return jobs, work, report


# --- the command, interrupted for real

#: Started by a script in the background, we inherit that Ctrl-C is ignored.
AS_IN_A_TERMINAL = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from srlib.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_an_interrupted_command_leaves_whole_files_and_goes_on(tmp_path, number, code):
    root = tmp_path / "photos"
    for i in range(16):
        path = root / f"{i:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(smooth_photo(120, 130, i)).save(path)
    out = tmp_path / "out"
    command = [sys.executable, "-c", AS_IN_A_TERMINAL, "upscale", str(root), str(out)]
    command += ["--model", "espcn", "--tile", "24"]
    environment = os.environ | {"PYTHONPATH": str(Path(srlib.__file__).parents[1])}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while len(list(out.glob("[!.]*.png"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert "Traceback" not in errors
    done = sorted(out.iterdir())
    assert 2 <= len(done) < 16
    stamps = {}
    for path in done:
        with Image.open(path) as image:
            image.load()
            assert image.size == (260, 240)
        stamps[path] = path.stat().st_mtime_ns
    again = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert f"{16 - len(done)} enlarged, {len(done)} skipped" in again.stdout
    assert len(list(out.iterdir())) == 16
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
