"""srlib.imagefile: colours, depth, frames and metadata survive, failures leave nothing."""

import contextlib
import os
import resource
import threading
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from srlib import imagefile, resize
from srlib.errors import PhotoError
from srlib.imagefile import channels
from tests.imagefile import imagekit, profiles
from tests.imagefile.imagekit import photo, photo16


def double(image: np.ndarray) -> np.ndarray:
    return image.repeat(2, axis=0).repeat(2, axis=1)


def bicubic(image: np.ndarray) -> np.ndarray:
    large = resize.interpolate(image, 2)
    return large if image.dtype == np.uint8 else np.rint(large.clip(0, 65535)).astype(np.uint16)


def save(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


@pytest.fixture
def source(tmp_path) -> Path:
    return save(Image.fromarray(photo()), tmp_path / "photo.png")


# --- transparency ---------------------------------------------------------------------


def disc(size: int, channels: int = 3) -> np.ndarray:
    """A white disc on transparent black, its rim as soft as pixels make it."""
    fine = 8
    y, x = (np.mgrid[0 : size * fine, 0 : size * fine] + 0.5) / fine - size / 2
    inside = (y**2 + x**2 < (size * 0.35) ** 2).reshape(size, fine, size, fine).mean((1, 3))
    alpha = np.rint(inside * 255).astype(np.uint8)
    colour = np.where(alpha > 0, 255, 0).astype(np.uint8)
    return np.stack([colour] * channels + [alpha], -1)


def on_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., -1:] / 255.0
    return rgba[..., :-1] * alpha + 255 * (1 - alpha)


@pytest.mark.parametrize("kind", ["RGBA", "LA"])
def test_no_dark_fringe_around_what_is_cut_out(kind):
    small = disc(24, len(kind) - 1)
    ours = on_white(channels.enlarge_pixels(small, kind, bicubic))
    naive = on_white(bicubic(small))
    assert ours.min() >= 254  # white on white: the truth is 255 everywhere
    assert naive.min() < 235  # what would have been seen


def test_a_cut_out_photo_is_nearer_to_the_truth_than_the_naive_way():
    large = np.concatenate((photo(64, 48), disc(64)[:48, :, -1:]), -1).astype(float)
    weighted = np.concatenate((large[..., :3] * large[..., 3:] / 255, large[..., 3:]), -1)
    means = weighted.reshape(24, 2, 32, 2, 4).mean((1, 3))
    colour = np.where(means[..., 3:] > 0, means[..., :3] * 255 / np.maximum(means[..., 3:], 1), 0)
    small = np.rint(np.concatenate((colour, means[..., 3:]), -1)).astype(np.uint8)
    small[small[..., 3] == 0] = 0
    errors = [
        np.abs(on_white(result) - on_white(large)).mean()
        for result in (channels.enlarge_pixels(small, "RGBA", bicubic), bicubic(small))
    ]
    assert errors[0] < errors[1]


def test_spread_by_hand():
    colour = np.array([[[10], [90], [0], [0], [0], [0], [0], [0]]], np.uint8)
    alpha = np.array([[255, 255, 0, 0, 0, 0, 0, 0]], np.uint8)
    assert channels.spread(colour, alpha)[0, :, 0].tolist() == [10, 90] + [50] * 6
    weighted = channels.spread(colour, np.array([[255, 85, 0, 0, 0, 0, 0, 0]], np.uint8))
    assert weighted[0, :, 0].tolist() == [10, 90] + [30] * 6  # (255*10 + 85*90) / 340


@given(
    height=st.integers(1, 9), width=st.integers(1, 9), share=st.floats(0, 1),
    seed=st.integers(0, 99), deep=st.booleans(),
)  # fmt: skip
def test_spread_keeps_what_is_seen_and_stays_within_it(height, width, share, seed, deep):
    rng = np.random.default_rng(seed)
    top = 65535 if deep else 255
    kind = np.uint16 if deep else np.uint8
    colour = rng.integers(0, top + 1, (height, width, 3)).astype(kind)
    alpha = (
        rng.integers(1, top + 1, (height, width)) * (rng.random((height, width)) > share)
    ).astype(kind)
    before = colour.copy()
    result = channels.spread(colour, alpha)
    np.testing.assert_array_equal(colour, before)
    seen = alpha > 0
    np.testing.assert_array_equal(result[seen], colour[seen])
    if seen.any():
        assert (result >= colour[seen].min(0)).all() and (result <= colour[seen].max(0)).all()
    else:
        np.testing.assert_array_equal(result, colour)


def test_spread_of_many_bands_equals_that_of_one(monkeypatch, rng):
    colour = rng.integers(0, 256, (40, 13, 3), dtype=np.uint8)
    alpha = np.where(rng.random((40, 13)) < 0.1, 200, 0).astype(np.uint8)
    whole = channels.spread(colour, alpha)
    monkeypatch.setattr(channels, "_BAND", 8)
    np.testing.assert_array_equal(channels.spread(colour, alpha), whole)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_alpha_is_enlarged_as_resize_does_it(kind, rng):
    top = np.iinfo(kind).max
    plane = rng.integers(0, top + 1, (150, 7)).astype(kind)  # more than one band of rows
    plane[:20], plane[20:40] = top, 0
    ours = channels._bicubic(plane, 2)
    truth = np.rint(resize.interpolate(plane[..., None].astype(np.float32), 2)[..., 0].clip(0, top))
    assert np.abs(ours - truth).max() <= 1 and ours.dtype == kind
    assert (ours[:36] == top).all() and (ours[44:76] == 0).all()


# --- kinds of pictures ----------------------------------------------------------------


def test_grey_goes_through_as_three_equal_channels_and_their_mean_comes_back():
    seen = []

    def network(rgb):
        seen.append(rgb)
        return double(rgb) + np.array([0, 1, 5], np.uint8)

    grey = photo(channels=1)
    large = channels.enlarge_pixels(grey, "L", network)
    np.testing.assert_array_equal(seen[0], np.repeat(grey, 3, -1))
    np.testing.assert_array_equal(large, double(grey) + 2)


def test_inks_go_through_inverted_and_black_apart():
    seen = []

    def network(rgb):
        seen.append(rgb)
        return double(rgb)

    inks = photo(channels=4)
    np.testing.assert_array_equal(channels.enlarge_pixels(inks, "CMYK", network), double(inks))
    np.testing.assert_array_equal(seen[0], 255 - inks[..., :3])
    np.testing.assert_array_equal(seen[1], 255 - np.repeat(inks[..., 3:], 3, -1))


@pytest.mark.parametrize(
    "wrong", [lambda a: a, lambda a: double(a).astype(float), lambda a: double(a)[..., :1]]
)
def test_a_network_that_breaks_its_promise_is_found_out(wrong, source, tmp_path):
    with pytest.raises(ValueError, match="instead of uint8"):
        imagefile.enlarge_file(source, tmp_path / "out.png", wrong)
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_equals_pillow(orientation):
    image = Image.fromarray(photo())
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(channels.upright(photo(), orientation), expected)


def test_16_bits_are_rounded_to_8():
    values = np.arange(65536, dtype=np.uint16).reshape(-1, 1, 1)
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(channels.to_8_bits(values), expected)


def test_cmyk_becomes_rgb_through_its_profile_and_loses_it(tmp_path):
    black = Image.new("CMYK", (4, 4), (0, 0, 0, 255))
    path = save(black, tmp_path / "ink.jpg", icc_profile=profiles.cmyk(), quality=100)
    imagefile.enlarge_file(path, tmp_path / "ink.png", double)
    with Image.open(tmp_path / "ink.png") as image:
        assert image.mode == "RGB" and "icc_profile" not in image.info
        assert 50 < image.getpixel((3, 3))[0] < 65  # as the profile says: a dark grey
    for name, profile in (("plain", None), ("broken", b"no profile at all, whatever it says")):
        save(black, path, icc_profile=profile, quality=100)
        imagefile.enlarge_file(path, tmp_path / f"{name}.png", double)
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.getpixel((3, 3))[0] < 5


def test_inks_of_a_jpeg_are_not_inverted(tmp_path):
    path = tmp_path / "ink.jpg"
    imagekit.cmyk("JPEG", quality=100)(path)
    imagefile.enlarge_file(path, tmp_path / "large.jpg", double)
    before, after = (cv2.imread(str(p)).astype(int) for p in (path, tmp_path / "large.jpg"))
    assert np.abs(double(before) - after).mean() < 4  # another reader sees the same colours


def test_grey_profile_is_applied_where_webp_has_no_grey(tmp_path):
    path = save(Image.new("L", (4, 4), 128), tmp_path / "grey.png", icc_profile=profiles.grey(1.0))
    imagefile.enlarge_file(path, tmp_path / "grey.webp", double)
    with Image.open(tmp_path / "grey.webp") as image:
        assert "icc_profile" not in image.info
        assert abs(image.getpixel((2, 2))[0] - 188) <= 2  # half of the light, in sRGB


# --- memory ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["L", "RGB", "RGBA", "CMYK"])
def test_memory_is_little_more_than_input_and_output(kind, rng):
    image = rng.integers(0, 256, (1500, 1000, channels.KINDS[kind]), dtype=np.uint8)
    large = np.zeros((3000, 2000, 3), np.uint8)
    channels.enlarge_pixels(image[:9, :9], kind, double)  # what is cached is not counted
    tracemalloc.start()
    try:
        result = channels.enlarge_pixels(image, kind, lambda rgb: large)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * result.nbytes + 5 * image.nbytes + 8e6  # and bands of rows


# --- animations -----------------------------------------------------------------------

TIMES = [100, 200, 50, 1000]


def seen(path: Path) -> tuple[list[np.ndarray], list[int], int]:
    """Frames in RGBA, their milliseconds, and how often they are played, as Pillow sees it."""
    with Image.open(path) as image:
        frames, times = [], []
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            frames.append(np.asarray(image.convert("RGBA")).astype(int))
            times.append(round(image.info["duration"]))
        return frames, times, image.info.get("loop", 1)


@pytest.mark.parametrize(("format", "loop", "plays"), [
    ("GIF", None, 1), ("GIF", 0, 0), ("GIF", 2, 3), ("PNG", 0, 0), ("PNG", 4, 4), ("WEBP", 5, 5),
])  # fmt: skip
@pytest.mark.parametrize("ending", [".png", ".webp"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_frames_times_and_repetitions(format, loop, plays, ending, mode, tmp_path):
    path = tmp_path / f"moving.{format.lower()}"
    options = {"lossless": True} if format == "WEBP" else {}
    options |= {} if loop is None else {"loop": loop}
    options |= {"disposal": 2} if format == "GIF" and mode == "RGBA" else {}
    imagekit.moving(format, mode, **options)(path)
    imagefile.enlarge_file(path, tmp_path / f"large{ending}", double)
    frames, times, _ = seen(path)
    large, new_times, new_plays = seen(tmp_path / f"large{ending}")
    assert times == new_times == TIMES and new_plays == plays
    for before, after in zip(frames, large, strict=True):
        before = double(before)
        opaque = before[..., 3] == 255
        inner = np.zeros_like(opaque)
        inner[2:-2, 2:-2] = (
            opaque[2:-2, 2:-2] & opaque[4:, 2:-2] & opaque[:-4, 2:-2]
            & opaque[2:-2, 4:] & opaque[2:-2, :-4]
        )  # fmt: skip
        difference = np.abs(before - after)[inner]
        assert inner.any() and difference.mean() < (0.01 if ending == ".png" else 6)
        gone = (before[..., 3] == 0) & (after[..., 3] > 64)
        assert not gone[8:].any()  # nothing is left of the frame before


def test_frames_that_do_not_change_and_odd_times(tmp_path):
    first = Image.fromarray(photo())
    other = first.copy()
    other.putpixel((7, 5), (255, 0, 0))
    path = tmp_path / "still.webp"
    first.save(path, save_all=True, append_images=[first, other, other, first], lossless=True,
               duration=[33, 1, 34, 70_000, 33])  # fmt: skip
    frames, times, _ = seen(path)
    for ending in (".png", ".webp"):
        imagefile.enlarge_file(path, tmp_path / f"large{ending}", double)
        large, new_times, _ = seen(tmp_path / f"large{ending}")
        assert sum(new_times) == sum(times)
        np.testing.assert_array_equal(large[-1], double(frames[-1]))


@pytest.mark.parametrize("ending", [".png", ".webp"])
def test_an_animation_takes_the_memory_of_few_frames(ending, tmp_path, rng):
    peaks = []
    for count in (3, 12):
        noise = [
            Image.fromarray(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8))
            for _ in range(count)
        ]
        path = tmp_path / f"{count}.webp"
        noise[0].save(path, save_all=True, append_images=noise[1:], quality=20)
        tracemalloc.start()
        try:
            imagefile.enlarge_file(path, tmp_path / f"{count}-large{ending}", double)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.6 * peaks[0]


def test_a_damaged_frame_in_the_middle_leaves_nothing(tmp_path):
    path = tmp_path / "moving.gif"
    imagekit.moving("GIF")(path)
    path.write_bytes(path.read_bytes()[:-100])
    frames = []

    def network(rgb):
        frames.append(rgb)
        return double(rgb)

    with pytest.raises(PhotoError, match=r"moving\.gif: "):
        imagefile.enlarge_file(path, tmp_path / "large.png", network)
    assert frames and os.listdir(tmp_path) == ["moving.gif"]


# --- where it is written --------------------------------------------------------------


def refused(source, target, says: str) -> None:
    calls = []
    with pytest.raises(PhotoError, match=says):
        imagefile.enlarge_file(source, target, lambda rgb: calls.append(1) or double(rgb))
    assert not calls  # said before anything was computed


def test_the_input_is_never_overwritten(source, tmp_path):
    content = source.read_bytes()
    os.link(source, tmp_path / "hard.png")
    (tmp_path / "soft.png").symlink_to("photo.png")
    for target in (
        source,
        tmp_path / "hard.png",
        tmp_path / "soft.png",
        tmp_path / "." / "photo.png",
    ):
        refused(source, target, "is the input itself")
    refused(tmp_path / "soft.png", source, "is the input itself")
    assert source.read_bytes() == content


def test_places_where_nothing_can_be_written(source, tmp_path, monkeypatch):
    refused(
        source, tmp_path / "missing" / "out.png", r"there is no folder .*missing; make it first"
    )
    (tmp_path / "folder.png").mkdir()
    refused(source, tmp_path / "folder.png", "is a folder; name a file")
    os.mkfifo(tmp_path / "pipe.png")
    refused(source, tmp_path / "pipe.png", "is a pipe or a device")
    refused(source, tmp_path / ("x" * 300 + ".png"), "choose a shorter name")
    refused(source, tmp_path / "out.xyz", r"cannot write \.xyz; choose one of \.png, \.jpg")
    refused(source, tmp_path / "out", "cannot write a file without ending")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    refused(source, tmp_path / "out.png", "no permission to write")


def test_no_permission(source, tmp_path, monkeypatch):
    def closed(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", closed)
        refused(source, tmp_path / "out.png", r"photo\.png: no permission to read it")
    monkeypatch.setattr(os, "replace", closed)
    with pytest.raises(PhotoError, match=r"out\.png: cannot be written \(Permission denied\)"):
        imagefile.enlarge_file(source, tmp_path / "out.png", double)
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
        imagefile.enlarge_file(path, tmp_path / name, double)
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
        imagefile.enlarge_file(tmp_path / name, tmp_path / "out.png", network)
    assert sorted(os.listdir(tmp_path)) == sorted([name, "out.png"])
    assert (tmp_path / "out.png").read_bytes() == b"the old file"


def test_an_interruption_while_writing_leaves_nothing(source, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        imagefile.enlarge_file(source, tmp_path / "out.png", double)
    assert os.listdir(tmp_path) == ["photo.png"]


def test_too_little_memory_is_said(source, tmp_path):
    def network(rgb):
        raise MemoryError

    with pytest.raises(PhotoError, match=r"photo\.png: does not fit in memory"):
        imagefile.enlarge_file(source, tmp_path / "out.png", network)


def test_workers_may_write_the_same_file_at_once(source, tmp_path):
    errors = []

    def work():
        try:
            imagefile.enlarge_file(source, tmp_path / "out.png", double)
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
        imagefile.enlarge_file(str(source), os.fsencode(tmp_path / "out.png"), double)
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


# --- which format, how large ----------------------------------------------------------


def test_target_format(tmp_path):
    for name, expected in (
        ("a.png", "png"), ("a.JPG", "jpeg"), ("a.jfif", "jpeg"), ("a.mpo", "jpeg"),
        ("a.webp", "webp"), ("a.TIFF", "tiff"), ("a.gif", "png"), ("a.bmp", "png"),
        ("a.ppm", "png"), ("missing", "png"),
    ):  # fmt: skip
        assert imagefile.target_format(tmp_path / name) == expected
    save(Image.fromarray(photo()), tmp_path / "none", format="JPEG")
    assert imagefile.target_format(tmp_path / "none") == "jpeg"
    for name, expected in (("webp", "webp"), ("JPG", "jpeg"), (".tif", "tiff"), ("jpeg", "jpeg")):
        assert imagefile.target_format("a.png", name) == expected
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
        imagefile.enlarge_file(path, tmp_path / "large.tif", double, scale=4)


# --- PIL images -----------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "becomes"), [
    ("1", "L"), ("L", "L"), ("LA", "LA"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("P", "RGB"),
    ("CMYK", "CMYK"), ("YCbCr", "RGB"), ("HSV", "RGB"), ("RGBX", "RGB"), ("La", "LA"),
])  # fmt: skip
def test_enlarge_image_keeps_the_kind(mode, becomes):
    image = imagekit.drawn("LA").convert("La") if mode == "La" else imagekit.drawn(mode)
    large = imagefile.enlarge_image(image, double)
    assert large.mode == becomes and large.size == (44, 28)
    if becomes not in ("LA", "RGBA"):
        expected = double(np.asarray(image.convert(becomes)))
        np.testing.assert_array_equal(np.asarray(large), expected)


def test_enlarge_image_keeps_16_bits_and_what_belongs_to_it(tmp_path):
    deep = Image.fromarray(photo16(1)[..., 0])
    large = imagefile.enlarge_image(deep, double)
    assert large.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(large), double(photo16(1)[..., 0]))
    imagekit.phone(6)(tmp_path / "phone.jpg")
    with Image.open(tmp_path / "phone.jpg") as image:
        large = imagefile.enlarge_image(image, double)
        expected = double(np.asarray(ImageOps.exif_transpose(image)))
    np.testing.assert_array_equal(np.asarray(large), expected)
    assert large.info["icc_profile"] == imagekit.ICC and large.info["dpi"] == (240, 240)
    assert large.getexif().get(0x0112) == 1 and large.getexif()[271] == "Maker"
    assert large.getexif().get_ifd(34665)[40962] == large.width
    imagekit.tiff_with_all(tmp_path / "scan.tif")
    with Image.open(tmp_path / "scan.tif") as image:
        large = imagefile.enlarge_image(image, double)
        assert large.size == (2 * image.width, 2 * image.height) and image.width == 14
    assert large.getexif()[271] == "Maker" and 258 not in large.getexif()


def test_enlarge_image_refuses_what_has_no_range_or_no_pixels():
    for image, says in (
        (Image.new("F", (3, 3)), "image: has values of 32 bits"),
        (Image.new("I", (3, 3)), "image: has values of 32 bits"),
        (Image.new("RGB", (0, 3)), "image: has no pixels"),
    ):
        with pytest.raises(PhotoError, match=says):
            imagefile.enlarge_image(image, double)


def test_enlarge_image_takes_the_frame_that_an_animation_stands_at(tmp_path):
    imagekit.moving("GIF")(tmp_path / "moving.gif")
    with Image.open(tmp_path / "moving.gif") as image:
        image.seek(2)
        large = imagefile.enlarge_image(image, double)
        assert np.abs(
            np.asarray(large.convert("RGB")).astype(int) - double(np.asarray(image.convert("RGB")))
        ).max() == 0  # fmt: skip
