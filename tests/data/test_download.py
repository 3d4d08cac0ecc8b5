"""Downloads against a server that misbehaves, and archives that do.

Nothing here leaves 127.0.0.1. RAR archives are put together byte by byte, as no
free tool writes them; stored members need no tool to be read either.
"""

import builtins
import hashlib
import io
import os
import re
import struct
import subprocess
import sys
import tarfile
import threading
import zlib
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image
from urllib3.response import HTTPResponse

from srlib import data
from srlib.data import archives, download, fetch
from srlib.errors import PhotoError

rarfile = pytest.importorskip("rarfile")

COUNT = 12


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


FLOWERS = tgz(flowers())
FLIPPED = FLOWERS[:50_000] + bytes(255 - byte for byte in FLOWERS[50_000:50_099]) + FLOWERS[50_099:]
LINNAEUS = rar(linnaeus())


# --- a server -----------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Serves ``body``; the attributes make it misbehave."""

    daemon_threads = True
    body = FLOWERS
    ranges = True
    cut = None  # bytes of the body after which the connection is dropped
    status = None  # answered instead
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
        server.requests.append(wanted)
        if server.silent == "start":
            server.over.wait(10)
            return
        if server.status:
            self.send_error(server.status)
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
        self.wfile.write(rest if server.cut is None else rest[: max(server.cut - start, 0)])
        if server.silent == "middle":
            self.wfile.flush()
            server.over.wait(10)


@pytest.fixture
def server(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):  # a machine's proxy must not be asked
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(fetch, "TIMEOUT", 0.3)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def get(server, root, monkeypatch):
    """Asks for one of the data sets, made small, at this test's server; returns its folder."""
    small = {
        "flower_photos": ({".": COUNT}, hashlib.sha256(FLOWERS).hexdigest()),
        "linnaeus5": ({"train": 8, "test": 4}, None),
    }
    for name, (counts, digest) in small.items():
        changed = replace(download.DATASETS[name], url=server.url, counts=counts, sha256=digest)
        monkeypatch.setitem(download.DATASETS, name, changed)

    def get(name="flower_photos", **options):
        data.photos(name, "all", **{"root": root} | options)
        return root / download.DATASETS[name].folder

    return get


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the net was used")

    monkeypatch.setattr("requests.get", refuse)


@pytest.fixture
def no_tool(monkeypatch, tmp_path):
    """No program is found on this machine, but those put into the folder given."""
    monkeypatch.setattr(rarfile, "CURRENT_SETUP", None)  # rarfile remembers what it found
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    return tools


@pytest.fixture
def any_tool(monkeypatch):
    """A tool counts as found; stored members need none."""
    monkeypatch.setattr(rarfile, "tool_setup", lambda **options: None)


def left_in(root):
    """What a user would see in the data folder, and our own hidden files but the lock."""
    return sorted(path.name for path in root.iterdir() if not path.name.endswith(".lock"))


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


# --- the good case ------------------------------------------------------------


def test_download_unpacks_and_leaves_only_the_folder(get, root, server):
    folder = get()
    assert folder == root / "flower_photos"
    assert (folder / "tulips" / "0.jpg").read_bytes() == PHOTOS[0]
    assert left_in(root) == ["flower_photos"]
    assert get() == folder
    assert server.requests == [None]  # the second call does not touch the net


def test_photos_by_name_splits_the_set(get, monkeypatch, root):
    monkeypatch.setenv("SRLIB_DATA", str(root))
    parts = {s: data.photos("flower_photos", s) for s in ("train", "test", "all")}
    assert len(parts["train"]) + len(parts["test"]) == len(parts["all"]) == COUNT
    assert set(parts["all"].labels) == {"roses", "tulips"}
    assert parts["train"].source == "flower_photos"
    assert left_in(root) == ["flower_photos"]


def test_downloads_lie_in_the_home_folder_by_default(get, monkeypatch, tmp_path):
    monkeypatch.delenv("SRLIB_DATA", raising=False)
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    get(root=None)
    assert (tmp_path / ".cache" / "srlib" / "flower_photos" / "roses").is_dir()


def test_another_address(get, server):
    good = server.url
    assert get(url=good.replace("data", "mirror")).is_dir()
    assert server.requests == [None]


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


# --- a bad net ----------------------------------------------------------------


@pytest.mark.parametrize("body", [b"<!DOCTYPE html>Log in", FLIPPED])
def test_wrong_content_is_named_and_removed(get, server, root, body):
    server.body = body
    why = "no archive.*DOCTYPE" if b"html" in body else "not the published flower_photos.tgz"
    with pytest.raises(PhotoError, match=rf"{re.escape(server.url)}: {why}.*call again"):
        get()
    assert left_in(root) == []
    server.body = FLOWERS
    assert get().is_dir()


@pytest.fixture(params=["urllib3 2", "urllib3 1"])
def urllib3(request, monkeypatch):
    """Version 1 takes a body that ends early for complete."""
    original = HTTPResponse.__init__

    def trusting(self, *args, **options):
        original(self, *args, **options | {"enforce_content_length": False})

    if request.param == "urllib3 1":
        monkeypatch.setattr(HTTPResponse, "__init__", trusting)


@pytest.mark.parametrize("ranges", [True, False])
def test_cut_short_then_gone_on_with(get, server, root, ranges, urllib3):
    server.ranges, server.cut = ranges, 70_000
    with pytest.raises(PhotoError, match=r"download failed.*bytes are kept.*Call again") as caught:
        get()
    assert server.url in str(caught.value) and str(root / "flower_photos.tgz") in str(caught.value)
    assert left_in(root) == ["flower_photos.tgz.part"]
    server.cut = None
    assert len(list(get().rglob("*.jpg"))) == COUNT
    assert left_in(root) == ["flower_photos"]
    # How much of a broken piece arrives depends on the network's buffers.
    assert server.requests[0] is None and re.fullmatch(r"bytes=[1-9]\d*-", server.requests[1])


BAD_NET = {
    "refused": ({"status": 404}, "404"),
    "server error": ({"status": 503}, "503"),
    "silent from the start": ({"silent": "start"}, "timed out"),
    "silent in the middle": ({"silent": "middle", "cut": 70_000}, "timed out"),
}


@pytest.mark.parametrize("name", BAD_NET)
def test_a_failed_download_says_why_and_what_to_do(get, server, root, name):
    misbehaviour, why = BAD_NET[name]
    vars(server).update(misbehaviour)
    with pytest.raises(PhotoError, match=rf"{why}.*Call again.*url=.*photos\('path") as caught:
        get()
    assert server.url in str(caught.value)
    assert len(server.requests) == 1
    assert left_in(root) == (["flower_photos.tgz.part"] if "middle" in name else [])


@pytest.mark.parametrize("url", ["no address", "http://127.0.0.1:1/x.tgz"])
def test_address_without_a_server(get, url):
    with pytest.raises(PhotoError, match=f"flower_photos: {re.escape(url)}: the download failed"):
        get(url=url)


def test_root_that_cannot_be_made(get, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PhotoError, match=r"cannot hold the data set.*SRLIB_DATA"):
        get(root=tmp_path / "file" / "data")


# --- killed on the way --------------------------------------------------------


@pytest.mark.parametrize("name", ["unpack", "extractall"])
def test_killed_while_unpacking(get, server, root, monkeypatch, name):
    def die(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(archives if name == "unpack" else tarfile.TarFile, name, die)
        get()
    assert left_in(root) == ["flower_photos.tgz"]
    half = root / ".flower_photos.unpacking" / "flower_photos"  # by a kill that leaves no time
    half.mkdir(parents=True)
    (half / "half.jpg").write_bytes(PHOTOS[0][:100])
    assert not (get() / "half.jpg").exists()
    assert len(server.requests) == 1
    assert left_in(root) == ["flower_photos", "flower_photos.tgz"]


def test_killed_after_the_last_byte(get, server, root):
    (root / "flower_photos.tgz.part").write_bytes(FLOWERS)
    assert get().is_dir()
    assert server.requests == [f"bytes={len(FLOWERS)}-"]


def test_part_of_another_longer_file(get, server, root):
    (root / "flower_photos.tgz.part").write_bytes(FLOWERS + b"more")
    with pytest.raises(PhotoError, match=r"416.*Call again"):
        get()
    assert get().is_dir()
    assert server.requests == [f"bytes={len(FLOWERS) + 4}-", None]


def test_folder_that_lost_photos_is_not_taken_for_complete(get):
    folder = get()
    (folder / "tulips" / "0.jpg").unlink()
    with pytest.raises(PhotoError, match=r"flower_photos: has 11 photos.*has 12; delete"):
        get()


def test_too_few_in_one_split(get, root, any_tool):
    files = {name: photo for name, photo in linnaeus().items() if "test/dog/0" not in name}
    (root / "Linnaeus 5 256X256.rar").write_bytes(rar(files))
    with pytest.raises(PhotoError, match=r"test: has 3 photos where .* has 4; delete"):
        get("linnaeus5")


# --- a bad archive ------------------------------------------------------------

EVIL = {
    "parent": (tgz({"../evil.jpg": b"x"}), "outside"),
    "deep parent": (tgz({"flower_photos/a/../../../evil.jpg": b"x"}), "outside"),
    "absolute": (tgz({"/evil.jpg": b"x"}), "outside"),
    "windows": (tgz({"..\\evil.jpg": b"x"}), "outside"),
    "drive": (tgz({"C:/evil.jpg": b"x"}), "outside"),
    "symlink": (tgz({}, special("flower_photos", tarfile.SYMTYPE, "../../out")), "a link"),
    "hard link": (tgz({}, special("flower_photos/a", tarfile.LNKTYPE, "../../x")), "a link"),
    "device": (tgz({}, special("flower_photos/a", tarfile.CHRTYPE)), "a device"),
    "pipe": (tgz({}, special("flower_photos/a", tarfile.FIFOTYPE)), "a device"),
    "bomb": (tgz({"a.jpg": bytes(1500), "b.jpg": bytes(1000)}), r"'b\.jpg' goes beyond the 2,000"),
    "rar parent": (rar({"..\\evil.jpg": b"x"}), "outside"),
    "rar absolute": (rar({"/evil.jpg": b"x"}), "outside"),
    "rar drive": (rar({"C:\\evil.jpg": b"x"}), "outside"),
    "rar symlink": (rar({"flower_photos": b"../../out"}, mode=0o120777), "a link"),
    "rar bomb": (rar({"a.jpg": bytes(1500), "b.jpg": bytes(1000)}), r"'b\.jpg' goes beyond"),
}


@pytest.mark.parametrize("filtered", [True, False], ids=["data filter", "no data filter"])
@pytest.mark.parametrize("name", EVIL)
def test_malicious_members_write_nothing(tmp_path, monkeypatch, any_tool, name, filtered):
    if not filtered:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    monkeypatch.setattr(archives, "MOST_BYTES", 2000)
    body, why = EVIL[name]
    target = tmp_path / "folder" / "target"
    target.mkdir(parents=True)
    archive = tmp_path / f"archive.{'rar' if 'rar' in name else 'tgz'}"
    archive.write_bytes(body)
    with pytest.raises(PhotoError, match=rf"archive\.\w+: refused, its member .*{why}"):
        archives.unpack(archive, target)
    assert sorted(tmp_path.rglob("*")) == sorted([archive, target.parent, target])


def test_symlink_then_a_file_through_it(tmp_path):
    """The classic: a link out of the folder, then a file below the link."""
    out, target = tmp_path / "out", tmp_path / "target"
    out.mkdir(), target.mkdir()
    with tarfile.open(tmp_path / "archive.tgz", "w:gz") as archive:
        archive.addfile(special("flower_photos", tarfile.SYMTYPE, str(out)))
        info = tarfile.TarInfo("flower_photos/evil.jpg")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(PhotoError, match="'flower_photos' is a link"):
        archives.unpack(tmp_path / "archive.tgz", target)
    assert not list(out.iterdir())


@pytest.mark.parametrize("content", [FLOWERS[:50_000], b"\x1f\x8bnonsense", b"<html>"])
def test_a_damaged_tar_is_named(tmp_path, content):
    (tmp_path / "archive.tgz").write_bytes(content)
    with pytest.raises(PhotoError, match=r"archive\.tgz: damaged or cut short"):
        archives.unpack(tmp_path / "archive.tgz", tmp_path)


# --- archives and folders that are already there ------------------------------


def test_local_archive_needs_no_net(get, root, offline):
    (root / "flower_photos.tgz").write_bytes(FLOWERS)
    assert len(list(get().rglob("*.jpg"))) == COUNT
    assert left_in(root) == ["flower_photos", "flower_photos.tgz"]  # never the user's file


@pytest.mark.parametrize("content", [b"", b"<html>", FLOWERS[:50_000], FLIPPED])
def test_bad_local_archive_is_kept(get, root, offline, content):
    path = root / "flower_photos.tgz"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=r"flower_photos\.tgz: .*Delete or replace it"):
        get()
    assert path.read_bytes() == content
    assert left_in(root) == ["flower_photos.tgz"]


def test_local_folder_needs_no_net(get, root, offline):
    for name, content in flowers().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    assert get() == root / "flower_photos"


# --- RAR ----------------------------------------------------------------------


def test_linnaeus_from_a_local_rar(get, root, offline, any_tool):
    (root / "Linnaeus 5 256X256.rar").write_bytes(LINNAEUS)
    parts = {s: data.photos("linnaeus5", s, root=root) for s in ("train", "test", "all")}
    assert [len(parts[s]) for s in ("train", "test", "all")] == [8, 4, 12]
    assert set(parts["all"].labels) == {"bird", "dog"}
    assert parts["test"].source == "linnaeus5" and parts["all"].split == "all"


def test_linnaeus_downloaded(get, server, root, any_tool):
    server.body = LINNAEUS
    assert (get("linnaeus5") / "train" / "bird" / "0_256.jpg").read_bytes() == PHOTOS[0]
    assert left_in(root) == ["Linnaeus 5 256X256"]


def test_no_tool_is_said_before_the_download(get, server, no_tool):
    script(no_tool / "bsdtar", "exit 0")  # rarfile would choose it, and then fail after 433 MB
    with pytest.raises(PhotoError, match=r"no tool.*unar.*7z.*photos\('path") as caught:
        get("linnaeus5")
    assert "Linnaeus 5 256X256.rar" in str(caught.value)
    assert server.requests == []


def test_no_tool_for_a_local_rar(get, root, no_tool, offline):
    path = root / "Linnaeus 5 256X256.rar"
    path.write_bytes(LINNAEUS)
    with pytest.raises(PhotoError, match="no tool on this machine"):
        get("linnaeus5")
    assert path.exists()


def test_no_rarfile(get, server, monkeypatch, root):
    original = builtins.__import__

    def without_rarfile(name, *args):
        if name == "rarfile":
            raise ImportError(name)
        return original(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_rarfile)
    with pytest.raises(PhotoError, match="pip install rarfile"):
        get("linnaeus5")
    assert server.requests == []
    (root / "Linnaeus 5 256X256.rar").write_bytes(LINNAEUS)
    with pytest.raises(PhotoError, match="pip install rarfile"):
        get("linnaeus5")


MIDDLE = len(LINNAEUS) // 2
BAD_RAR = {
    "cut": (LINNAEUS[:MIDDLE], r"cannot be unpacked .* is damaged, delete it"),
    "cut in a name": (LINNAEUS[: LINNAEUS.rindex(b"_256")], r"cannot be unpacked"),
    "flipped": (
        LINNAEUS[:MIDDLE] + bytes([255 - LINNAEUS[MIDDLE]]) + LINNAEUS[MIDDLE + 1 :],
        r"cannot be unpacked .* is damaged, delete it",
    ),
    "solid": (rar(linnaeus(), main_flags=0x8), r"solid RAR archive.*by hand"),
}


@pytest.mark.parametrize("name", BAD_RAR)
def test_a_rar_that_cannot_be_unpacked(get, root, offline, any_tool, name):
    content, why = BAD_RAR[name]
    (root / "Linnaeus 5 256X256.rar").write_bytes(content)
    with pytest.raises(PhotoError, match=rf"256X256\.rar: .*{why}"):
        get("linnaeus5")
    assert left_in(root) == ["Linnaeus 5 256X256.rar"]


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for a tool is a shell script")
@pytest.mark.parametrize("works", [True, False])
def test_compressed_rar_goes_through_the_tool(get, server, no_tool, root, works):
    """An "unar" that knows one photo, in an archive of twelve times that photo."""
    (no_tool / "photo.jpg").write_bytes(PHOTOS[0])
    command = f"exec /bin/cat '{no_tool / 'photo.jpg'}'" if works else "echo cannot do that"
    script(no_tool / "unar", f'[ "$1" = -version ] && exit 0\n{command}')
    server.body = rar(dict.fromkeys(linnaeus(), PHOTOS[0]), method=0x33)
    if works:
        assert len(list(get("linnaeus5").rglob("*.jpg"))) == COUNT
        return
    with pytest.raises(PhotoError, match=r"cannot be unpacked.*delete it and call again; else"):
        get("linnaeus5")
    assert left_in(root) == ["Linnaeus 5 256X256.rar"]


# --- what is loaded -----------------------------------------------------------


def test_photos_need_neither_tensorflow_nor_the_net():
    heavy = ("tensorflow", "keras", "matplotlib", "requests", "rarfile")
    code = (
        "import sys, srlib.data, srlib.data.degrade\n"
        "assert len(srlib.data.photos('embedded', 'test')) > 40\n"
        "assert 'flower_photos' in srlib.data.download.DATASETS\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "[]\n"
