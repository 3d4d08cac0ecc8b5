"""Whatever happens to a file, it is enlarged, or refused in one clear line, and nothing is left.

``SRLIB_FUZZ=5000 pytest tests/imagefile/test_fuzz.py`` tries more, and others each time.
"""

import contextlib
import os
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srlib import imagefile
from srlib.errors import PhotoError
from srlib.imagefile.metadata import Metadata
from srlib.imagefile.tiff import exif_from, revised
from srlib.upscaling.photo import enlarge_file
from tests.imagefile import corpus, imagekit

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
MORE = int(os.environ.get("SRLIB_FUZZ", "0"))
LARGEST = 1 << 20  # pixels; a damaged header may claim any number of them

SEEDS = (
    "turned6.jpg", "cmyk.jpg", "progressive.jpg", "stereo.mpo", "rgb.png", "rgba.png",
    "palette-alpha.png", "16-bit-rgba.png", "16-bit-grey-alpha.png", "16-bit-key.png",
    "moving.png", "moving-transparent.gif", "moving.webp", "moving-lossless.webp", "rgb.webp",
    "lossless.webp", "rgb.tif", "lzw.tiff", "jpeg.tif", "16-bit-zip.tif", "16-bit-tiles.tif",
    "preview-page.tif", "photo.bmp", "16-bit.ppm", "icon.ico", "photo.tga",
)  # fmt: skip


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("seeds")
    corpus.write(folder)
    return {name: (folder / name).read_bytes() for name in SEEDS}


changes = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "cut", "end", "insert", "repeat", "number"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=4,
)


def changed(data: bytes, how: list[tuple[str, float, int, int]]) -> bytes:
    for kind, share, value, length in how:
        at = int(share * len(data))
        head, tail = data[:at], data[at:]
        if kind == "flip":
            data = head + bytes(byte ^ (1 << value % 8) for byte in tail[:1]) + tail[1:]
        elif kind == "set":
            data = head + bytes([value]) * min(length, len(tail)) + tail[length:]
        elif kind == "cut":
            data = head + tail[length:]
        elif kind == "end":
            data = head
        elif kind == "insert":
            data = head + bytes([value]) * length + tail
        elif kind == "repeat":
            data = head + tail[:length] * 2 + tail[length:]
        else:  # a number that is as large as it can be, in either byte order
            data = head + (b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff")[value % 2] + tail[4:]
    return data


def with_checksums(png: bytes) -> bytes:
    """Mended checksums let damage through to what is behind them."""
    out, at = png[:8], 8
    while at + 8 <= len(png):
        (length,) = struct.unpack_from(">I", png, at)
        body = png[at + 4 : at + 8 + length]
        out += png[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return out


def double_small(pixels: np.ndarray) -> np.ndarray:
    if pixels.shape[0] * pixels.shape[1] > LARGEST:
        raise PhotoError("too large for this test")
    return imagekit.double(pixels)


@settings(
    max_examples=MORE or 350,
    derandomize=not MORE,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=st.sampled_from(SEEDS),
    how=changes,
    mend=st.booleans(),
    to=st.sampled_from([".png", ".png", ".jpg", ".webp", ".tif"]),
    strip=st.booleans(),
)
def test_damaged_files_are_enlarged_or_refused(seeds, name, how, mend, to, strip):
    data = changed(seeds[name], how)
    if mend and name.endswith(".png"):
        data = with_checksums(data)
    with tempfile.TemporaryDirectory() as place:
        source, target = Path(place, name), Path(place, "large" + to)
        source.write_bytes(data)
        try:
            enlarge_file(source, target, double_small, strip=strip)
        except PhotoError as error:
            assert "\n" not in str(error)
            assert sorted(os.listdir(place)) == [name]
        else:
            assert sorted(os.listdir(place)) == sorted([name, target.name])
            assert imagefile.pixel_count(target) > 0  # what is written can be read
        assert source.read_bytes() == data


@settings(max_examples=MORE or 300, derandomize=not MORE)
@given(how=changes, order=st.sampled_from("<>"))
def test_damaged_exif_is_followed_or_left_out(how, order):
    data = changed(imagekit.exif(6, preview=True, order=order), how)
    kept = Metadata(exif=data, orientation=6).resized(10, 20)
    assert kept.exif is None or len(kept.exif) <= len(data)
    for function in (exif_from, lambda given: revised(given, 10, 20)):
        with contextlib.suppress(ValueError):
            function(data)


@given(data=st.binary(max_size=300), ending=st.sampled_from([".jpg", ".png", ".tif", ".tga", ""]))
def test_noise_is_refused(data, ending):
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "noise" + ending)
        source.write_bytes(data)
        with pytest.raises(PhotoError, match=r"noise"):
            imagefile.pixel_count(source)
