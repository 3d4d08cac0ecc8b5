"""srlib._files: a file is whole or not there, whatever happens."""

import os
import stat

import pytest

from srlib._files import ASIDE, aside, write_whole


@pytest.mark.parametrize("old", [None, b"the old file"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit, RuntimeError])
def test_a_failure_leaves_the_old_file_and_nothing_else(old, error, tmp_path):
    path = tmp_path / "file"
    if old:
        path.write_bytes(old)
    with pytest.raises(error, match="stop"), aside(path) as file:
        file.write(b"half")
        (part,) = set(os.listdir(tmp_path)) - {"file"}
        assert part.startswith(".") and part.endswith(ASIDE)
        raise error("stop")
    assert os.listdir(tmp_path) == (["file"] if old else [])
    assert not old or path.read_bytes() == old


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_failure_at_the_end_is_told(function, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, fails)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "file", b"new")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(("content", "expected"), [("Zoë", "Zoë".encode()), (b"\0\xff", b"\0\xff")])
@pytest.mark.parametrize("durable", [False, True])
def test_the_new_file_is_on_the_disk_and_its_name_where_that_matters(
    content, expected, durable, tmp_path, monkeypatch
):
    path, synced, sync = tmp_path / "file", [], os.fsync

    def fsync(descriptor):
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(path, content, durable=durable)
    assert path.read_bytes() == expected and os.listdir(tmp_path) == ["file"]
    assert synced == [(False, False)] + [(True, True)] * durable


def test_what_a_killed_process_left_is_told_by_its_name_and_written_over(tmp_path):
    left = tmp_path / f"file{ASIDE}"
    left.write_bytes(b"half")
    write_whole(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"]


def test_two_that_write_the_same_file_do_not_meet(tmp_path):
    with aside(tmp_path / "file") as first:
        with aside(tmp_path / "file") as second:
            first.write(b"one")
            second.write(b"two")
        assert (tmp_path / "file").read_bytes() == b"two"
    assert (tmp_path / "file").read_bytes() == b"one"
