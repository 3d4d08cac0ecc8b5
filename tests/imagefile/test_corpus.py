"""Every file of the corpus has its expected outcome, as other readers see it."""

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tifffile
from PIL import Image, ImageOps, IptcImagePlugin

from srlib import imagefile
from srlib.errors import PhotoError
from srlib.upscaling.photo import enlarge_file
from tests.imagefile import corpus, imagekit, profiles
from tests.imagefile.imagekit import double

# Pillow warns of damaged tags; a user sees that as a warning, not as an error.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("corpus")
    corpus.write(made)
    return made


@pytest.fixture(scope="module")
def digests(folder) -> dict[str, str]:
    return {path.name: digest(path) for path in folder.iterdir() if path.is_file()}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def enlarged(case: corpus.Case, folder: Path, out: Path) -> Path:
    target = out / f"large{case.ending}"
    enlarge_file(folder / case.name, target, double)
    assert list(out.iterdir()) == [target]
    return target


def names(cases: list[corpus.Case]) -> list[str]:
    return [case.id for case in cases]


def test_corpus_is_large_enough_and_the_same_every_time(tmp_path, folder):
    assert len({case.name for case in corpus.CASES}) >= 60
    assert len(names(corpus.CASES)) == len(set(names(corpus.CASES)))
    corpus.write(tmp_path / "again")
    for path in folder.iterdir():
        if path.is_file():
            assert digest(path) == digest(tmp_path / "again" / path.name), path.name


@pytest.mark.parametrize("case", corpus.DONE, ids=names(corpus.DONE))
def test_done(case, folder, digests, tmp_path):
    target = enlarged(case, folder, tmp_path)
    with Image.open(target) as image:
        image.load()
        assert image.mode == case.mode and image.size == case.size
        assert getattr(image, "n_frames", 1) == case.frames
        assert image.getexif().get(274, 1) == 1
        for kept in case.keeps:
            CHECKS[kept](image, target)
    frames = imagefile.pixel_count(folder / case.name) * 4
    assert frames == case.size[0] * case.size[1] * case.frames
    assert digest(folder / case.name) == digests[case.name]


@pytest.mark.parametrize("case", corpus.REFUSED, ids=names(corpus.REFUSED))
def test_refused(case, folder, digests, tmp_path):
    target = tmp_path / f"large{case.ending}"
    with pytest.raises(PhotoError) as raised:
        enlarge_file(folder / case.name, target, double)
    message = str(raised.value)
    assert re.search(case.says, message), message
    assert "\n" not in message and len(message) < 600
    assert message.startswith((f"{folder / case.name}: ", f"{target}: "))
    assert not list(tmp_path.iterdir())
    if case.name in digests:
        assert digest(folder / case.name) == digests[case.name]


#: Whose colours go through a profile or another colour space: test_imagefile looks at them.
CONVERTED = ("cmyk.jpg->.png", "cmyk.jpg->.webp", "grey-profile.jpg->.webp", "lab.tif")
STILL = [
    case
    for case in corpus.DONE
    if case.frames == 1 and "16-bit" not in case.name and case.id not in CONVERTED
]
LOSSLESS = [
    case for case in STILL if case.ending in (".png", ".tif", ".tiff") or "lossless" in case.keeps
]


def pillow_sees(path: Path, mode: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert(mode)).astype(int)


@pytest.mark.parametrize("case", STILL, ids=names(STILL))
def test_pixels_are_those_that_pillow_sees_upright(case, folder, tmp_path):
    before = double(pillow_sees(folder / case.name, case.mode))
    after = pillow_sees(enlarged(case, folder, tmp_path), case.mode)
    if case.mode in ("RGBA", "LA"):
        visible = before[..., -1] > 0
        small = Image.fromarray(before[::2, ::2, -1].astype(np.float32))
        smooth = np.asarray(small.resize(case.size, Image.Resampling.BICUBIC)).clip(0, 255)
        inside = (slice(4, -4), slice(4, -4))  # the border is treated differently
        assert np.abs(smooth - after[..., -1])[inside].max(initial=0) <= 0.51
        before, after = before[visible][:, :-1], after[visible][:, :-1]
        if case not in LOSSLESS:  # WebP has no use for colours that are nearly transparent
            return
    difference = np.abs(before - after)
    if case in LOSSLESS:
        assert difference.max(initial=0) == 0
    else:
        assert difference.mean() < 4


DEEP = [case for case in corpus.DONE if case.keeps_16_bits]


@pytest.mark.parametrize("case", DEEP, ids=names(DEEP))
def test_deep_pictures_keep_every_bit(case, folder, tmp_path):
    target = enlarged(case, folder, tmp_path)
    if target.suffix == ".png":
        after = tf.io.decode_png(target.read_bytes(), dtype=tf.uint16).numpy()
    else:
        after = tifffile.imread(target)
        after = after[..., None] if after.ndim == 2 else after
    assert after.dtype == np.uint16
    grey_alpha = "grey-alpha" in case.name or "-la" in case.name
    channels = 2 if grey_alpha else {"I;16": 1, "RGB": 3}.get(case.mode, 4)
    truth = imagekit.photo16(3 if "key" in case.name else channels)
    if grey_alpha and after.shape[-1] == 4:
        truth = truth[..., [0, 0, 0, 1]]
    if case.size[0] < case.size[1]:
        truth = np.rot90(truth, -1)
    transparent = case.mode in ("RGBA", "LA") and "key" not in case.name
    if transparent:  # alpha is smooth, and colours are free where nothing is seen
        seen = double(truth)[..., -1] > 0
        np.testing.assert_array_equal(after[seen][:, :-1], double(truth)[seen][:, :-1])
        assert after[..., -1].min() == 0 and after[..., -1].max() == 65535
    elif "key" in case.name:
        seen = double((truth != truth[0, 0]).any(-1))
        np.testing.assert_array_equal(after[seen][:, :3], double(truth)[seen])
    else:
        np.testing.assert_array_equal(after, double(truth))


def has_icc(image, path):
    assert image.info["icc_profile"] == imagekit.ICC


def has_exif(image, path):
    tags = image.getexif()
    assert tags[271] == "Maker" and tags[272] == "Model 10" and tags[315] == "Author"
    details = tags.get_ifd(34665)
    assert (details[40962], details[40963]) == image.size
    assert details[33434] == pytest.approx(1 / 250) and details[36864] == b"0232"
    note = details[37500]
    note = note if isinstance(note, bytes) else bytes(note)
    assert note == b"MakerNote\0" + bytes(range(14))
    assert tags.get_ifd(34853)[1] == "N"
    assert not tags.get_ifd(1)  # the preview


def has_xmp(image, path):
    text = image.info["xmp"].decode()
    assert 'tiff:Orientation="1"' in text and "Härbst" in text
    assert f'exif:PixelXDimension="{image.width}"' in text
    assert f"<exif:PixelYDimension>{image.height}<" in text
    assert "Thumbnails" not in text


def has_comment(image, path):
    assert image.info.get("comment", b"") == b"a comment" or image.text["Comment"] == "a comment"


def has_dpi(image, path):
    assert round(image.info["dpi"][0]) in (240, 300)
    assert image.info["dpi"][0] == pytest.approx(image.info["dpi"][1])


def has_text(image, path):
    assert image.text["Title"] == "Herbst"
    assert image.text["Author"] == "Zoë" and image.text["Author"].lang == "de"


def has_iptc(image, path):
    found = IptcImagePlugin.getiptcinfo(image)
    assert found[(2, 5)] == b"Caption" and found[(2, 80)] == b"Author"


def has_software(image, path):
    tags = image.tag_v2
    assert tags[305] == "Studio 1"
    assert 270 not in tags and 33550 not in tags  # they were about the old pixels


CHECKS = {
    "icc": has_icc,
    "grey": lambda image, path: image.info["icc_profile"] == profiles.grey() or pytest.fail(),
    "cmyk": lambda image, path: image.info["icc_profile"] == profiles.cmyk() or pytest.fail(),
    "exif": has_exif,
    "xmp": has_xmp,
    "comment": has_comment,
    "dpi": has_dpi,
    "text": has_text,
    "iptc": has_iptc,
    "software": has_software,
    "gamma": lambda image, path: image.info["gamma"] == 1.0 or pytest.fail(),
    "lossless": lambda image, path: b"VP8L" in path.read_bytes() or pytest.fail(),
}

STRIPPED = [case for case in corpus.DONE if {"exif", "text", "comment", "iptc"} & {*case.keeps}]


@pytest.mark.parametrize("case", STRIPPED, ids=names(STRIPPED))
def test_strip_leaves_the_colours_and_nothing_private(case, folder, tmp_path):
    target = tmp_path / f"large{case.ending}"
    enlarge_file(folder / case.name, target, double, strip=True)
    content = target.read_bytes()
    for private in (b"Maker", b"Author", b"rbst", b"a comment", b"Caption", b"2024:05", b"H\0e\0"):
        assert private not in content
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == case.size  # it stands upright all the same
        assert not {272, 274, 34665, 34853} & {*image.getexif()}
        assert image.info.get("icc_profile") == (imagekit.ICC if "icc" in case.keeps else None)
