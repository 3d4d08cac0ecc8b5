"""Downloads against a server that misbehaves in every way we know of.

Nothing here leaves 127.0.0.1. RAR archives are put together byte by byte, as no
free tool writes them; stored members need no tool to be read either.
"""

import builtins
import io
import os
import re
import struct
import tarfile
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from srlib import data
from srlib.data import archives, download, fetch
from srlib.data.download import DataSet, provide
from srlib.errors import PhotoError

rarfile = pytest.importorskip("rarfile")

COUNT = 12
FLOWERS = DataSet("flower_photos.tgz", "flower_photos", {".": COUNT})
LINNAEUS = DataSet(
    "Linnaeus 5 256X256.rar", "Linnaeus 5 256X256", {"train": 8, "test": 4}, rar=True
)
QUICK = {"timeout": 0.3, "tries": 2, "backoff": 0.0}


# --- archives -----------------------------------------------------------------


def jpeg(seed):
    """About 9 kB of noise, so that an archive is more than one chunk long."""
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=98)
    return stream.getvalue()


PHOTOS = [jpeg(seed) for seed in range(COUNT)]


def flowers(count=COUNT):
    names = [f"flower_photos/{'roses' if i % 2 else 'tulips'}/{i}.jpg" for i in range(count)]
    return {"flower_photos/LICENSE.txt": b"CC BY", **dict(zip(names, PHOTOS, strict=False))}


def linnaeus():
    names = [f"train/{label}/{i}_256.jpg" for label in ("bird", "dog") for i in range(4)]
    names += [f"test/{label}/{i}_256.jpg" for label in ("bird", "dog") for i in range(2)]
    return {f"Linnaeus 5 256X256/{name}": PHOTOS[i] for i, name in enumerate(names)}


def tgz(files, *extra):
    """A gzipped tar of ``{name: bytes}`` and of further ``TarInfo``."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return stream.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def rar(files, *, method=0x30, mode=0o100644, main_flags=0):
    """A RAR 3 archive of ``{name: bytes}``; method 0x30 is "stored"."""

    def block(kind, flags, body):
        head = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
        return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head

    parts = [b"Rar!\x1a\x07\x00", block(0x73, main_flags, bytes(6))]
    for name, content in files.items():
        name = name.encode()
        size, crc, unix, date = len(content), zlib.crc32(content), 3, 0x21 << 16
        body = struct.pack("<LLBLLBBHL", size, size, unix, crc, date, 29, method, len(name), mode)
        parts += [block(0x74, 0x8000, body + name), content]
    return b"".join([*parts, block(0x7B, 0x4000, b"")])


# --- a server -----------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Serves ``body``; the attributes make it misbehave."""

    daemon_threads = True
    body = b""
    ranges = True
    cuts = ()  # bytes sent before the connection is dropped, one for each request
    always_cut = None
    statuses = ()  # answered before the first good request
    silent = None  # "start" or "middle": when to stop talking

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []  # their Range headers
        self.over = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/data.tgz"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        number = len(server.requests)
        server.requests.append(wanted)
        if server.silent == "start":
            server.over.wait(10)
            return
        if number < len(server.statuses):
            self.send_error(server.statuses[number])
            return
        start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0
        size = len(server.body)
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        rest = server.body[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        cut = server.cuts[number] if number < len(server.cuts) else server.always_cut
        self.wfile.write(rest if cut is None else rest[: max(cut - start, 0)])
        if server.silent == "middle":
            self.wfile.flush()
            server.over.wait(10)


@pytest.fixture
def server(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):  # a machine's proxy must not be asked
        monkeypatch.setenv(name, "127.0.0.1")
    server = Server()
    server.body = tgz(flowers())
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def get(server, tmp_path):
    """``provide`` with this test's server and folder, and little patience."""
    return lambda recipe=FLOWERS, **options: provide(
        recipe, tmp_path / "data", server.url, **QUICK | options
    )


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the net was used")

    monkeypatch.setattr("requests.get", refuse)


def left_in(tmp_path):
    """What a user would see in the data folder, and our own hidden files but the lock."""
    names = (path.name for path in (tmp_path / "data").iterdir())
    return sorted(name for name in names if not name.endswith(".lock"))


# --- the good case ------------------------------------------------------------


def test_download_unpacks_and_leaves_only_the_folder(get, tmp_path, server):
    folder = get()
    assert folder == tmp_path / "data" / "flower_photos"
    assert (folder / "tulips" / "0.jpg").read_bytes() == PHOTOS[0]
    assert left_in(tmp_path) == ["flower_photos"]
    assert server.requests == [None]


def test_second_call_does_not_touch_the_net(get, server):
    first = get()
    assert get() == first
    assert len(server.requests) == 1


def test_photos_by_name_splits_the_set(monkeypatch, server, tmp_path):
    monkeypatch.setattr(download, "FLOWER_PHOTOS", FLOWERS)
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path))
    parts = {s: data.photos("flower_photos", s, url=server.url) for s in ("train", "test", "all")}
    assert len(parts["train"]) + len(parts["test"]) == len(parts["all"]) == COUNT
    assert set(parts["all"].labels) == {"roses", "tulips"}
    assert parts["train"].source == "flower_photos"
    assert (tmp_path / "flower_photos").is_dir()


def test_data_root(monkeypatch, tmp_path):
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path))
    assert download.data_root() == tmp_path
    monkeypatch.delenv("SRLIB_DATA")
    assert download.data_root().parts[-2:] == (".cache", "srlib")


# --- a bad net ----------------------------------------------------------------


def test_wrong_content_is_named_and_removed(get, server, tmp_path):
    server.body = b"<!DOCTYPE html><title>Please log in</title>"
    with pytest.raises(PhotoError, match=r"no archive.*DOCTYPE") as caught:
        get()
    assert server.url in str(caught.value)
    assert left_in(tmp_path) == []
    server.body = tgz(flowers())
    assert get().is_dir()


def test_cut_short_then_resumed(get, server):
    server.cuts = (70_000,)
    assert len(list(get().rglob("*.jpg"))) == COUNT
    # How much of a broken piece arrives depends on the network's buffers.
    assert server.requests[0] is None
    assert re.fullmatch(r"bytes=[1-9]\d*-", server.requests[1])


def test_progress_resets_the_tries(get, server, monkeypatch):
    monkeypatch.setattr(fetch, "CHUNK", 1000)
    server.cuts = (20_000, 40_000, 60_000)
    assert len(server.cuts) > QUICK["tries"] and len(server.body) > max(server.cuts)
    assert get().is_dir()
    assert len(server.requests) == 4


@pytest.mark.parametrize("ranges", [True, False])
def test_always_cut_short(get, server, tmp_path, ranges):
    server.ranges, server.always_cut = ranges, 70_000
    with pytest.raises(PhotoError, match=r"download failed.*try again") as caught:
        get()
    assert server.url in str(caught.value) and "flower_photos.tgz" in str(caught.value)
    assert left_in(tmp_path) == ["flower_photos.tgz.part"]
    assert len(server.requests) <= 3
    server.always_cut = None
    assert get().is_dir()
    assert left_in(tmp_path) == ["flower_photos"]


def test_server_that_cannot_resume_starts_again(get, server):
    server.ranges, server.cuts = False, (70_000,)
    assert len(list(get().rglob("*.jpg"))) == COUNT
    assert server.requests[1].startswith("bytes=")


@pytest.mark.parametrize("status", [404, 403])
def test_refused_at_once(get, server, tmp_path, status):
    server.statuses = (status,) * 9
    with pytest.raises(PhotoError, match=rf"answered {status} .*url=.*photos\('path"):
        get()
    assert len(server.requests) == 1
    assert left_in(tmp_path) == []


def test_a_server_error_is_tried_again(get, server):
    server.statuses = (503,)
    assert get().is_dir()


def test_lasting_server_error(get, server):
    server.statuses = (500,) * 9
    with pytest.raises(PhotoError, match="the server answered 500"):
        get()
    assert len(server.requests) == QUICK["tries"]


@pytest.mark.parametrize("moment", ["start", "middle"])
def test_silent_server_times_out(get, server, moment):
    server.silent = moment
    server.always_cut = 70_000
    with pytest.raises(PhotoError, match=r"no answer within 0\.3 seconds"):
        get()


@pytest.mark.parametrize("url", ["no address", "http://127.0.0.1:1/x.tgz"])
def test_address_without_a_server(tmp_path, server, url):
    with pytest.raises(PhotoError, match=re.escape(url)):
        provide(FLOWERS, tmp_path, url, **QUICK)


def test_root_that_cannot_be_made(tmp_path, server):
    (tmp_path / "file").write_text("")
    with pytest.raises(PhotoError, match=r"cannot hold the data set.*SRLIB_DATA"):
        provide(FLOWERS, tmp_path / "file" / "data", server.url, **QUICK)


# --- killed on the way --------------------------------------------------------


def test_killed_between_download_and_unpacking(get, server, tmp_path, monkeypatch):
    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(archives, "unpack", die)
        get()
    assert left_in(tmp_path) == ["flower_photos.tgz.download"]
    assert get().is_dir()
    assert len(server.requests) == 1
    assert left_in(tmp_path) == ["flower_photos"]


def test_killed_after_the_last_byte(get, server, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "flower_photos.tgz.part").write_bytes(server.body)
    assert get().is_dir()
    assert server.requests == [f"bytes={len(server.body)}-"]


def test_killed_while_unpacking(get, tmp_path):
    work = tmp_path / "data" / ".flower_photos.unpacking" / "flower_photos"
    work.mkdir(parents=True)
    (work / "half.jpg").write_bytes(PHOTOS[0][:100])
    assert not (get() / "half.jpg").exists()
    assert left_in(tmp_path) == ["flower_photos"]


def test_part_of_another_longer_file(get, server, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "flower_photos.tgz.part").write_bytes(server.body + b"more")
    assert get().is_dir()
    assert server.requests == [f"bytes={len(server.body) + 4}-", None]


def test_folder_that_lost_photos_is_not_taken_for_complete(get, tmp_path):
    folder = get()
    (folder / "tulips" / "0.jpg").unlink()
    with pytest.raises(PhotoError, match=r"flower_photos: has 11 photos.*has 12; delete"):
        get()


# --- a bad archive ------------------------------------------------------------


def test_damaged_photo_is_named(get, server, tmp_path):
    server.body = tgz(flowers() | {"flower_photos/roses/1.jpg": PHOTOS[1][:3000]})
    with pytest.raises(PhotoError, match=r"roses/1\.jpg' is damaged.*deleted; call again"):
        get()
    assert left_in(tmp_path) == []


def test_too_few_photos(get, server, tmp_path):
    server.body = tgz(flowers(COUNT - 1))
    with pytest.raises(PhotoError, match="has 11 photos where the complete data set has 12"):
        get()
    assert left_in(tmp_path) == []


def test_too_few_in_one_split(tmp_path, server, offline):
    files = {name: photo for name, photo in linnaeus().items() if "test/dog/0" not in name}
    (tmp_path / LINNAEUS.file).write_bytes(rar(files))
    with pytest.raises(PhotoError, match=r"rar: has 3 photos for 'test' where .* has 4"):
        provide(LINNAEUS, tmp_path, server.url, **QUICK)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_archive(get, server, tmp_path, damage):
    body = server.body
    middle = len(body) // 2
    flipped = (
        body[:middle] + bytes(255 - b for b in body[middle : middle + 99]) + body[middle + 99 :]
    )
    server.body = body[:middle] if damage == "cut" else flipped
    with pytest.raises(PhotoError, match="damaged or cut short"):
        get()
    assert left_in(tmp_path) == []


EVIL = {
    "parent": (tgz({"../evil.jpg": b"x"}), "outside"),
    "deep parent": (tgz({"flower_photos/a/../../../evil.jpg": b"x"}), "outside"),
    "absolute": (tgz({"/evil.jpg": b"x"}), "outside"),
    "windows": (tgz({"..\\evil.jpg": b"x"}), "outside"),
    "drive": (tgz({"C:/evil.jpg": b"x"}), "outside"),
    "symlink": (tgz({}, special("flower_photos", tarfile.SYMTYPE, "../../out")), "symbolic link"),
    "hard link": (tgz({}, special("flower_photos/a", tarfile.LNKTYPE, "../../x")), "hard link"),
    "device": (tgz({}, special("flower_photos/a", tarfile.CHRTYPE)), "device"),
    "pipe": (tgz({}, special("flower_photos/a", tarfile.FIFOTYPE)), "pipe"),
    "unknown": (tgz({}, special("flower_photos/a", b"Z")), "unknown type"),
    "twice": (tgz({"a/b.jpg": b"x", "a": b"x"}), "twice"),
    "rar parent": (rar({"..\\evil.jpg": b"x"}), "outside"),
    "rar absolute": (rar({"/evil.jpg": b"x"}), "outside"),
    "rar drive": (rar({"C:\\evil.jpg": b"x"}), "outside"),
    "rar symlink": (rar({"flower_photos": b"../../out"}, mode=0o120777), "a link"),
}


@pytest.mark.parametrize("name", EVIL)
def test_malicious_members_write_nothing_outside(get, server, tmp_path, name):
    body, why = EVIL[name]
    server.body = body
    with pytest.raises(PhotoError, match=why):
        get()
    outside = [path.name for path in tmp_path.rglob("*") if path.name != ".flower_photos.lock"]
    assert outside == ["data"]


def test_symlink_then_a_file_through_it(get, server, tmp_path):
    """The classic: a link out of the folder, then a file below the link."""
    (tmp_path / "out").mkdir()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.addfile(special("flower_photos", tarfile.SYMTYPE, str(tmp_path / "out")))
        info = tarfile.TarInfo("flower_photos/evil.jpg")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    server.body = stream.getvalue()
    with pytest.raises(PhotoError, match="'flower_photos' is a symbolic link"):
        get()
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("make", [tgz, rar])
def test_bomb(tmp_path, make):
    archive, target = tmp_path / "bomb", tmp_path / "target"
    archive.write_bytes(make({"a.jpg": bytes(1000), "b.jpg": bytes(1000)}))
    target.mkdir()
    archives.unpack(archive, target, largest=2000)
    (target / "a.jpg").unlink(), (target / "b.jpg").unlink()
    with pytest.raises(PhotoError, match=r"more than is allowed.*'b\.jpg'"):
        archives.unpack(archive, target, largest=1999)


# --- archives and folders that are already there ------------------------------


def test_local_archive_needs_no_net(get, tmp_path, offline):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "flower_photos.tgz").write_bytes(tgz(flowers()))
    assert len(list(get().rglob("*.jpg"))) == COUNT
    assert left_in(tmp_path) == ["flower_photos", "flower_photos.tgz"]  # never the user's file


@pytest.mark.parametrize("content", [b"", b"<html>", tgz(flowers())[:50_000]])
def test_bad_local_archive_is_kept(get, tmp_path, offline, content):
    path = tmp_path / "data" / "flower_photos.tgz"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=r"flower_photos\.tgz: .*Delete or replace this archive"):
        get()
    assert path.read_bytes() == content
    assert left_in(tmp_path) == ["flower_photos.tgz"]


def test_local_folder_needs_no_net(get, tmp_path, offline):
    (tmp_path / "data").mkdir()
    with tarfile.open(fileobj=io.BytesIO(tgz(flowers()))) as archive:
        for info in archive:
            path = tmp_path / "data" / info.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.extractfile(info).read())
    assert get() == tmp_path / "data" / "flower_photos"


# --- RAR ----------------------------------------------------------------------


def without_tools(monkeypatch, tmp_path):
    monkeypatch.setattr(rarfile, "CURRENT_SETUP", None)  # rarfile remembers what it found
    monkeypatch.setenv("PATH", str(tmp_path))


def test_linnaeus_from_a_local_rar(monkeypatch, tmp_path, offline):
    monkeypatch.setattr(download, "LINNAEUS5", LINNAEUS)
    (tmp_path / LINNAEUS.file).write_bytes(rar(linnaeus()))
    without_tools(monkeypatch, tmp_path)  # stored members need none
    parts = {s: data.photos("linnaeus5", s, root=tmp_path) for s in ("train", "test", "all")}
    assert [len(parts[s]) for s in ("train", "test", "all")] == [8, 4, 12]
    assert set(parts["all"].labels) == {"bird", "dog"}
    assert parts["test"].source == "linnaeus5" and parts["all"].split == "all"


def test_linnaeus_downloaded(get, server, tmp_path, monkeypatch):
    monkeypatch.setattr(rarfile, "tool_setup", lambda **options: None)
    server.body = rar(linnaeus())
    assert (get(LINNAEUS) / "train" / "bird" / "0_256.jpg").read_bytes() == PHOTOS[0]
    assert left_in(tmp_path) == ["Linnaeus 5 256X256"]


def test_no_tool_is_said_before_the_download(get, server, monkeypatch, tmp_path):
    without_tools(monkeypatch, tmp_path)
    with pytest.raises(PhotoError, match=r"no tool.*unar.*7z.*photos\('path") as caught:
        get(LINNAEUS)
    assert "Linnaeus 5 256X256.rar" in str(caught.value)
    assert server.requests == []


def test_no_tool_for_a_local_rar(monkeypatch, tmp_path, offline, server):
    """Compressed members do need a tool; the archive is kept."""
    path = tmp_path / LINNAEUS.file
    path.write_bytes(rar(linnaeus(), method=0x33))
    without_tools(monkeypatch, tmp_path)
    with pytest.raises(PhotoError, match="no tool on this machine"):
        provide(LINNAEUS, tmp_path, server.url, **QUICK)
    assert path.exists()


def test_no_rarfile(get, server, monkeypatch, tmp_path):
    original = builtins.__import__

    def without_rarfile(name, *args):
        if name == "rarfile":
            raise ImportError(name)
        return original(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_rarfile)
    with pytest.raises(PhotoError, match="pip install rarfile"):
        get(LINNAEUS)
    assert server.requests == []
    (tmp_path / "data" / LINNAEUS.file).write_bytes(rar(linnaeus()))
    with pytest.raises(PhotoError, match="pip install rarfile"):
        get(LINNAEUS)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_rar(tmp_path, offline, server, damage):
    body = rar(linnaeus())
    middle = len(body) // 2
    flipped = body[:middle] + bytes([255 - body[middle]]) + body[middle + 1 :]
    (tmp_path / LINNAEUS.file).write_bytes(body[:middle] if damage == "cut" else flipped)
    with pytest.raises(PhotoError, match=r"rar: cannot be unpacked .* is damaged.*delete"):
        provide(LINNAEUS, tmp_path, server.url, **QUICK)
    assert not (tmp_path / LINNAEUS.folder).exists()


def test_solid_rar(tmp_path, offline, server):
    (tmp_path / LINNAEUS.file).write_bytes(rar(linnaeus(), main_flags=0x8))
    with pytest.raises(PhotoError, match=r"solid RAR archive.*by hand"):
        provide(LINNAEUS, tmp_path, server.url, **QUICK)


def test_two_processes_do_not_work_at_once(get, server):
    """Two notebooks that ask for the same data set: one makes it, both get it."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(get())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and len(set(found)) == 1
    assert server.requests == [None]


def test_bsdtar_does_not_count_as_a_tool(get, server, monkeypatch, tmp_path):
    """rarfile would choose it, and then fail after 433 MB."""
    without_tools(monkeypatch, tmp_path)
    tool = tmp_path / "bsdtar"
    tool.write_text("#!/bin/sh\nexit 0\n")
    tool.chmod(0o755)
    with pytest.raises(PhotoError, match="no tool on this machine"):
        get(LINNAEUS)
    assert server.requests == []


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for a tool is a shell script")
@pytest.mark.parametrize("works", [True, False])
def test_compressed_rar_goes_through_the_tool(get, server, monkeypatch, tmp_path, works):
    """An "unar" that knows one photo, in an archive of twelve times that photo."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "photo.jpg").write_bytes(PHOTOS[0])
    command = f"exec /bin/cat '{tools / 'photo.jpg'}'" if works else "echo cannot do that"
    (tools / "unar").write_text(f'#!/bin/sh\n[ "$1" = -version ] && exit 0\n{command}\n')
    (tools / "unar").chmod(0o755)
    without_tools(monkeypatch, tools)
    server.body = rar(dict.fromkeys(linnaeus(), PHOTOS[0]), method=0x33)
    if works:
        assert len(list(get(LINNAEUS).rglob("*.jpg"))) == COUNT
        return
    with pytest.raises(PhotoError, match=r"cannot be unpacked.*unar.*The archive is kept"):
        get(LINNAEUS)
    assert left_in(tmp_path) == ["Linnaeus 5 256X256.rar.download"]
