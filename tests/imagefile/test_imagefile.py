"""srlib.imagefile: colours and depth survive, failures leave nothing."""

import contextlib
import os
import resource
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from srlib import imagefile
from srlib.errors import PhotoError
from srlib.imagefile import picture
from srlib.upscaling.photo import enlarge_file
from tests.imagefile import imagekit, profiles
from tests.imagefile.imagekit import double, photo


def save(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


@pytest.fixture
def source(tmp_path) -> Path:
    return save(Image.fromarray(photo()), tmp_path / "photo.png")


# --- colours and depth ----------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_equals_pillow(orientation):
    image = Image.fromarray(photo())
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(picture.upright(photo(), orientation), expected)


def test_16_bits_are_rounded_to_8():
    values = np.arange(65536, dtype=np.uint16).reshape(-1, 1, 1)
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(picture.to_8_bits(values), expected)


@pytest.mark.parametrize(
    ("profile", "darkest", "lightest"),
    [(profiles.cmyk(), 50, 65), (None, 0, 5), (b"no profile at all, whatever it says", 0, 5)],
    ids=["a profile by which black ink is dark grey", "none", "broken"],
)
def test_cmyk_becomes_rgb_through_its_profile_and_loses_it(profile, darkest, lightest, tmp_path):
    black = Image.new("CMYK", (4, 4), (0, 0, 0, 255))
    path = save(black, tmp_path / "ink.jpg", icc_profile=profile, quality=100)
    enlarge_file(path, tmp_path / "ink.png", double)
    with Image.open(tmp_path / "ink.png") as image:
        assert image.mode == "RGB" and "icc_profile" not in image.info
        assert darkest <= image.getpixel((3, 3))[0] < lightest


def test_inks_of_a_jpeg_are_not_inverted(tmp_path):
    path = tmp_path / "ink.jpg"
    imagekit.cmyk("JPEG", quality=100)(path)
    enlarge_file(path, tmp_path / "large.jpg", double)
    before, after = (cv2.imread(str(p)).astype(int) for p in (path, tmp_path / "large.jpg"))
    assert np.abs(double(before) - after).mean() < 4  # another reader sees the same colours


def test_grey_profile_is_applied_where_webp_has_no_grey(tmp_path):
    path = save(Image.new("L", (4, 4), 128), tmp_path / "grey.png", icc_profile=profiles.grey(1.0))
    enlarge_file(path, tmp_path / "grey.webp", double)
    with Image.open(tmp_path / "grey.webp") as image:
        assert "icc_profile" not in image.info
        assert abs(image.getpixel((2, 2))[0] - 188) <= 2  # half of the light, in sRGB


# --- without a network ----------------------------------------------------------------


@pytest.mark.parametrize(("name", "make", "target"), [
    ("a.png", imagekit.image("PNG", "RGBA"), "b.tif"),
    ("a.tif", imagekit.tiff(imagekit.photo16(), photometric="rgb"), "b.png"),
    ("a.gif", imagekit.moving("GIF"), "b.webp"),
])  # fmt: skip
def test_what_is_read_can_be_written(name, make, target, tmp_path):
    make(tmp_path / name)
    imagefile.write(imagefile.read(tmp_path / name), tmp_path / target)
    assert imagefile.pixel_count(tmp_path / target) == imagefile.pixel_count(tmp_path / name)
    if name != "a.gif":
        before, after = (imagefile.read(tmp_path / file) for file in (name, target))
        np.testing.assert_array_equal(before.pixels, after.pixels)
        assert before.kind == after.kind


def test_what_is_read_for_no_target_is_fitted_to_it_when_it_is_written(tmp_path):
    imagekit.cmyk("JPEG")(tmp_path / "ink.jpg")
    assert imagefile.read(tmp_path / "ink.jpg").kind == "CMYK"
    ahead = imagefile.read(tmp_path / "ink.jpg", tmp_path / "out.png")
    assert ahead.kind == "RGB"
    imagefile.write(imagefile.read(tmp_path / "ink.jpg"), tmp_path / "out.png")
    np.testing.assert_array_equal(imagefile.read(tmp_path / "out.png").pixels, ahead.pixels)
    for name, make in (("a.png", imagekit.image("PNG", "RGBA")), ("a.gif", imagekit.moving("GIF"))):
        make(tmp_path / name)
        with pytest.raises(PhotoError, match=r"out\.jpg: JPEG cannot hold"):
            imagefile.write(imagefile.read(tmp_path / name), tmp_path / "out.jpg")
        assert not (tmp_path / "out.jpg").exists()


# --- where it is written --------------------------------------------------------------


def too_late(rgb):
    pytest.fail("something was computed before it was refused")


def refused(source, target, says: str, network=too_late) -> None:
    before = os.listdir(Path(source).parent)
    with pytest.raises(PhotoError, match=says):
        enlarge_file(source, target, network)
    assert os.listdir(Path(source).parent) == before


def test_the_input_is_never_overwritten(source, tmp_path):
    content = source.read_bytes()
    os.link(source, tmp_path / "hard.png")
    (tmp_path / "soft.png").symlink_to("photo.png")
    for name in ("photo.png", "hard.png", "soft.png", "./photo.png"):
        refused(source, f"{tmp_path}/{name}", "is the input itself")
    refused(tmp_path / "soft.png", source, "is the input itself")
    assert source.read_bytes() == content


@pytest.mark.parametrize(("name", "says"), [
    ("missing/out.png", r"there is no folder .*missing; make it first"),
    ("folder.png", "is a folder; name a file"),
    ("pipe.png", "is a pipe or a device"),
    ("x" * 300 + ".png", "choose a shorter name"),
    ("out.xyz", r"cannot write \.xyz; choose one of \.png, \.jpg"),
    ("out", "cannot write a file without ending"),
])  # fmt: skip
def test_places_where_nothing_can_be_written(name, says, source, tmp_path):
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    refused(source, tmp_path / name, says)


def closed(*_, **__):
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(("where", "name", "instead", "says"), [
    (os, "access", lambda *_: False, "out.png: no permission to write"),  # root may anywhere
    (Image, "open", closed, "photo.png: no permission to read it"),
    (Path, "open", closed, r"out.png: cannot be written \(Permission denied\); change its access"),
    (os, "replace", closed, r"out.png: cannot be written \(Permission denied\); change its access"),
])  # fmt: skip
def test_no_permission(where, name, instead, says, source, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(PhotoError, match=says):
        patch.setattr(where, name, instead)
        enlarge_file(source, tmp_path / "out.png", double)
    assert os.listdir(tmp_path) == ["photo.png"]


@contextlib.contextmanager
def full_disk():
    """A limit on the size of files fails like a full disk: in the middle of writing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["out.png", "out.jpg", "out.webp", "out.tif", "moving.png"])
def test_a_full_disk(name, tmp_path, rng):
    arrays = rng.integers(0, 256, (3, 60, 60, 3), dtype=np.uint8)
    first, *others = [Image.fromarray(array) for array in arrays]
    if name == "moving.png":
        path = save(first, tmp_path / "noise.gif", save_all=True, append_images=others)
    else:
        path = save(first, tmp_path / "noise.png")
    (tmp_path / name).write_bytes(b"the old file")
    with full_disk(), pytest.raises(PhotoError) as raised:
        enlarge_file(path, tmp_path / name, double)
    assert "cannot be written (File too large); make room on the disk" in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / name))
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, name])
    assert (tmp_path / name).read_bytes() == b"the old file"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
@pytest.mark.parametrize("name", ["photo.png", "moving.gif"])
def test_an_interruption_passes_through_and_leaves_nothing(error, name, tmp_path):
    if name == "photo.png":
        save(Image.fromarray(photo()), tmp_path / name)
    else:
        imagekit.moving("GIF")(tmp_path / name)
    (tmp_path / "out.png").write_bytes(b"the old file")
    calls = []

    def network(rgb):
        calls.append(1)
        if len(calls) == (1 if name == "photo.png" else 3):
            raise error("stop")
        return double(rgb)

    with pytest.raises(error, match="stop"):
        enlarge_file(tmp_path / name, tmp_path / "out.png", network)
    assert sorted(os.listdir(tmp_path)) == sorted([name, "out.png"])
    assert (tmp_path / "out.png").read_bytes() == b"the old file"


def test_an_interruption_while_writing_leaves_nothing(source, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        enlarge_file(source, tmp_path / "out.png", double)
    assert os.listdir(tmp_path) == ["photo.png"]


def test_too_little_memory_is_said(source, tmp_path):
    def network(rgb):
        raise MemoryError

    refused(source, tmp_path / "out.png", r"photo\.png: does not fit in memory", network)


def test_workers_may_write_the_same_file_at_once(source, tmp_path):
    errors = []

    def work():
        try:
            enlarge_file(source, tmp_path / "out.png", double)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and sorted(os.listdir(tmp_path)) == ["out.png", "photo.png"]
    with Image.open(tmp_path / "out.png") as image:
        np.testing.assert_array_equal(np.asarray(image), double(photo()))


def test_an_old_file_is_replaced_and_others_may_read_the_new_one(source, tmp_path):
    (tmp_path / "out.png").write_bytes(b"the old file")
    mask = os.umask(0o022)
    try:
        enlarge_file(str(source), os.fsencode(tmp_path / "out.png"), double)
    finally:
        os.umask(mask)
    assert (tmp_path / "out.png").stat().st_mode & 0o777 == 0o644
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (44, 28)


def test_a_name_that_cannot_be_printed_is_told_all_the_same(tmp_path):
    name = os.fsencode(tmp_path) + b"/line\nbreak\xff.png"
    Path(os.fsdecode(name)).write_bytes(b"\x89PNG broken")
    with pytest.raises(PhotoError) as raised:
        imagefile.pixel_count(name)
    assert "\n" not in str(raised.value) and str(raised.value).encode()


@pytest.mark.parametrize("name", ["i", "is a f"])
def test_a_name_that_messages_begin_with_is_told_all_the_same(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir(name)
    with pytest.raises(PhotoError, match=f"^{name}: is a folder"):
        imagefile.pixel_count(name)


# --- which format, how large ----------------------------------------------------------


@pytest.mark.parametrize(("source", "name", "expected"), [
    ("a.png", None, "png"), ("a.JPG", None, "jpeg"), ("a.jfif", None, "jpeg"),
    ("a.mpo", None, "jpeg"), ("a.webp", None, "webp"), ("a.TIFF", None, "tiff"),
    ("a.gif", None, "png"), ("a.bmp", None, "png"), ("a.ppm", None, "png"),
    ("missing", None, "png"), ("no-ending", None, "jpeg"), ("a.png", "webp", "webp"),
    ("a.png", "JPG", "jpeg"), ("a.png", ".tif", "tiff"), ("a.png", "jpeg", "jpeg"),
])  # fmt: skip
def test_target_format(source, name, expected, tmp_path):
    save(Image.fromarray(photo()), tmp_path / "no-ending", format="JPEG")
    assert imagefile.target_format(tmp_path / source, name) == expected


def test_an_unknown_format_is_refused():
    with pytest.raises(PhotoError, match="gif: cannot be written; choose one of png, jpeg"):
        imagefile.target_format("a.png", "gif")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_large_photos_are_not_bombs(tmp_path):
    path = save(Image.new("1", (11000, 10000)), tmp_path / "large.png")
    assert imagefile.pixel_count(path) == 110_000_000
    refused(path, tmp_path / "large.webp", "would be 22000 x 20000 pixels, but WEBP ends at 16383")
    refused(path, tmp_path / "missing" / "large.png", "there is no folder")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_tiff_beyond_4_gigabytes_is_refused_before_it_is_computed(tmp_path):
    path = save(Image.new("RGB", (13000, 10000)), tmp_path / "large.png", compress_level=1)
    with pytest.raises(PhotoError, match="TIFF ends at 4 GB; choose PNG"):
        enlarge_file(path, tmp_path / "large.tif", too_late, scale=4)
