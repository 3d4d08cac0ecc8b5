"""srlib.imagefile's png, tiff, sixteen_bit and metadata, against other libraries and by hand."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srlib.imagefile import metadata, png, sixteen_bit, tiff
from srlib.imagefile.metadata import Metadata
from srlib.imagefile.picture import KINDS
from srlib.upscaling.photo import enlarge_file
from tests.imagefile import imagekit
from tests.imagefile.imagekit import double, photo, photo16


def noise(height: int, width: int, channels: int, kind: type, seed: int) -> np.ndarray:
    """Half noise, half slope, so that every way of packing has its turn."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(kind).max
    array = rng.integers(0, top + 1, (height, width, channels)).astype(kind)
    array[: height // 2] = np.linspace(0, top, width).astype(kind)[:, None]
    return array


CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}
sizes = {"height": st.integers(1, 150), "width": st.integers(1, 12), "seed": st.integers(0, 99)}


@given(kind=st.sampled_from(["L", "LA", "RGB", "RGBA"]), **sizes)
def test_png_of_16_bits_equals_tensorflow(kind, height, width, seed):
    pixels = noise(height, width, CHANNELS[kind], np.uint16, seed)
    file = io.BytesIO()
    png.write(file, pixels, kind)
    theirs = tf.io.decode_png(file.getvalue(), dtype=tf.uint16).numpy()
    np.testing.assert_array_equal(theirs, pixels)
    encoded = tf.io.encode_png(pixels).numpy()
    with Image.open(io.BytesIO(encoded)) as image:
        assert sixteen_bit.has_16_bits(image)
        ours, found = sixteen_bit.read(image, lambda: Image.open(io.BytesIO(encoded)))
    assert found == kind and ours.dtype == np.uint16
    np.testing.assert_array_equal(ours, pixels)


@given(
    kind=st.sampled_from(KINDS),
    depth=st.sampled_from([np.uint8, np.uint16]),
    order=st.sampled_from("<>"),
    **sizes,
)
def test_tiff_equals_tifffile(kind, depth, order, height, width, seed):
    pixels = noise(height, width, CHANNELS[kind], depth, seed)
    file = io.BytesIO()
    tiff.write(file, pixels, kind, {}, order)
    theirs = tifffile.imread(io.BytesIO(file.getvalue()))
    np.testing.assert_array_equal(theirs.reshape(pixels.shape), pixels)
    if (kind, depth) != ("LA", np.uint16):  # which Pillow does not open
        with Image.open(io.BytesIO(file.getvalue())) as image:
            if depth == np.uint8:
                assert image.mode == kind
                np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)
            else:
                again = sixteen_bit.read(image, lambda: Image.open(io.BytesIO(file.getvalue())))
                np.testing.assert_array_equal(again[0], pixels)


def test_tiff_of_many_strips(rng):
    pixels = rng.integers(0, 65536, (700, 500, 3), dtype=np.uint16)
    file = io.BytesIO()
    tiff.write(file, pixels, "RGB", {})
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as read:
        assert len(read.pages[0].dataoffsets) > 1
        np.testing.assert_array_equal(read.asarray(), pixels)


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])  # none, LZW, Deflate, PackBits
@pytest.mark.parametrize("channels", [1, 3])
def test_tiffs_of_16_bits_as_other_programs_pack_them(compression, channels, tmp_path):
    pixels = photo16(channels)
    path = tmp_path / "scan.tif"
    cv2.imwrite(str(path), pixels[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    enlarge_file(path, tmp_path / "large.tif", double)
    result = tifffile.imread(tmp_path / "large.tif").reshape(28, 44, channels)
    np.testing.assert_array_equal(result, double(pixels))


def test_rare_ways_of_16_bits(tmp_path):
    """White as zero, 12 bits, colour multiplied by alpha, a scale of its own."""
    grey = photo16(1)[..., 0]
    tifffile.imwrite(tmp_path / "white.tif", grey, photometric="miniswhite")
    enlarge_file(tmp_path / "white.tif", tmp_path / "white.png", double)
    result = tf.io.decode_png((tmp_path / "white.png").read_bytes(), dtype=tf.uint16).numpy()
    np.testing.assert_array_equal(result[..., 0], double(65535 - grey))

    plain = photo16(4)
    alpha = plain[..., 3:] / 65535
    multiplied = np.concatenate(
        (np.rint(plain[..., :3] * alpha).astype(np.uint16), plain[..., 3:]), -1
    )
    tifffile.imwrite(tmp_path / "a.tif", multiplied, photometric="rgb", extrasamples=["assocalpha"])
    enlarge_file(tmp_path / "a.tif", tmp_path / "a.png", double)
    result = tf.io.decode_png((tmp_path / "a.png").read_bytes(), dtype=tf.uint16).numpy()
    seen = plain[..., 3] > 1000  # below, rounding is coarse
    error = result[::2, ::2, :3][seen].astype(int) - plain[..., :3][seen]
    assert np.abs(error).max() <= 2

    ten_bits = (photo16() >> 6).astype(">u2")
    (tmp_path / "ten.ppm").write_bytes(b"P6 22 14 1023\n" + ten_bits.tobytes())
    enlarge_file(tmp_path / "ten.ppm", tmp_path / "ten.png", double)
    result = tf.io.decode_png((tmp_path / "ten.png").read_bytes(), dtype=tf.uint16).numpy()
    expected = np.rint(ten_bits.astype(float) * 65535 / 1023)
    np.testing.assert_array_equal(result, double(expected))


def test_12_bits_fill_the_range():
    values = np.array([0, 1, 2048, 4095], np.uint16)
    packed = bytes([0, 0x00, 0x01, 0x80, 0x0F, 0xFF])
    tags = {256: 4, 257: 1, 258: 12, 259: 1, 262: 1, 273: 200, 277: 1, 278: 1, 279: 6}
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    head += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = (head + bytes(4)).ljust(200, b"\0") + packed
    with Image.open(io.BytesIO(data)) as image:
        pixels, kind = sixteen_bit.read(image, lambda: None)
    assert kind == "L"
    np.testing.assert_array_equal(pixels[0, :, 0], np.rint(values * (65535 / 4095)))


# --- tags -----------------------------------------------------------------------------

entries = st.dictionaries(
    st.integers(1, 30000),
    st.binary(min_size=1, max_size=9).map(lambda data: tiff.Entry(7, len(data), data)),
    max_size=6,
)


@given(directory=entries, inner=entries, order=st.sampled_from("<>"))
def test_directories_are_read_as_they_were_written(directory, inner, order):
    tree = {**directory, tiff.EXIF: {**inner, tiff.INTEROP: directory}} if inner else directory
    data = tiff.header(order) + tiff.dump(tree, order, 8)
    assert tiff.load(data) == (order, tree)


@pytest.mark.parametrize("order", "<>")
def test_exif_is_revised_in_place(order):
    before = imagekit.exif(6, preview=True, order=order)
    after = tiff.revised(before, 70_000, 28)
    assert len(after) < len(before)  # the preview is gone, not only forgotten
    assert b"\xff\xd8" in before and b"\xff\xd8" not in after
    old, new = tiff.load(before)[1], tiff.load(after)[1]
    number = struct.Struct(order + "I")
    assert new[tiff.ORIENTATION].data[:2] == struct.pack(order + "H", 1)
    inner = new.pop(tiff.EXIF)
    assert inner.pop(40962).data == number.pack(70_000) and inner.pop(40963).data == number.pack(28)
    assert inner == {tag: value for tag, value in old.pop(tiff.EXIF).items() if tag < 40962}
    assert inner[37500].data == b"MakerNote\0" + bytes(range(14))
    assert before.index(b"MakerNote") == after.index(b"MakerNote")  # its addresses still hold
    del old[tiff.ORIENTATION], new[tiff.ORIENTATION]
    assert new == old


def test_a_preview_in_the_middle_is_blanked():
    before = imagekit.exif(1, preview=True)
    after = tiff.revised(before + b"the end", 1, 1)
    assert len(after) == len(before) + 7 and after.endswith(b"the end")
    assert b"\xff\xd8" not in after


@pytest.mark.parametrize("data", [b"", b"II*\0", b"II*\0\xff\xff\xff\x7f", b"junk" * 9])
def test_what_is_no_exif_is_said(data):
    for function in (tiff.load, lambda given: tiff.revised(given, 1, 1), tiff.exif_from):
        with pytest.raises(ValueError, match=r"TIFF|EXIF"):
            function(data)
    assert Metadata(exif=data or b"?").resized(1, 1).exif is None


def test_many_tags_that_point_at_the_same_megabytes_are_not_all_read():
    count = 60_000
    head = b"II*\0" + struct.pack("<IH", 8, count)
    size = 12 * count + 1_000_000
    tags = b"".join(struct.pack("<HHII", tag, 7, 1_000_000, 100) for tag in range(count))
    directory = tiff.load((head + tags).ljust(size, b"\0"))[1]
    assert sum(len(entry.data) for entry in directory.values()) <= 1 << 26


def test_xmp_is_revised_and_nothing_else_of_it():
    before = imagekit.xmp(6)
    kept = Metadata(xmp=before).resized(44, 28).xmp
    expected = (
        before.replace(b'Orientation="6"', b'Orientation="1"')
        .replace(b'XDimension="22"', b'XDimension="44"')
        .replace(b"<exif:PixelYDimension>14<", b"<exif:PixelYDimension>28<")
        .replace(b"<xmp:Thumbnails><rdf:Alt>AAAA</rdf:Alt></xmp:Thumbnails>", b"")
    )
    assert kept == expected


def test_xmp_alone_may_say_how_to_turn_a_picture(tmp_path):
    imagekit.drawn().save(tmp_path / "a.webp", xmp=imagekit.xmp(6), lossless=True)
    enlarge_file(tmp_path / "a.webp", tmp_path / "b.png", double)
    with Image.open(tmp_path / "b.png") as image:
        np.testing.assert_array_equal(np.asarray(image), double(np.rot90(photo(), -1)))
        assert b'Orientation="1"' in image.info["xmp"]


def test_what_does_not_fit_into_a_jpeg_is_left_out(tmp_path):
    long = Metadata(
        exif=bytes(70_000), xmp=bytes(70_000), comment=bytes(70_000), iptc=bytes(70_000)
    )
    assert metadata.save_options(long, "jpeg") == {"extra": b""}
    texts = Image.Exif()
    texts[315] = "A" * 70_000
    imagekit.drawn().save(tmp_path / "long.png", exif=texts)
    enlarge_file(tmp_path / "long.png", tmp_path / "long.jpg", double)
    enlarge_file(tmp_path / "long.png", tmp_path / "long.webp", double)
    with Image.open(tmp_path / "long.jpg") as image:
        assert not image.getexif()
    with Image.open(tmp_path / "long.webp") as image:
        assert image.getexif()[315] == "A" * 70_000


def test_exif_in_hexadecimal_and_comments_travel(tmp_path):
    data = b"Exif\0\0" + imagekit.exif(6)
    text = f"\nexif\n{len(data):8}\n{data.hex()}\n".encode()
    chunks = (
        imagekit.chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)),
        imagekit.chunk(b"tEXt", b"Comment\0a comment"),
    )
    (tmp_path / "old.png").write_bytes(imagekit.png(2, 1, 8, 0, b"\0\1\2", *chunks))
    enlarge_file(tmp_path / "old.png", tmp_path / "new.png", double)
    enlarge_file(tmp_path / "old.png", tmp_path / "new.jpg", double)
    with Image.open(tmp_path / "new.png") as image:
        assert image.size == (2, 4)
        assert image.text == {"Comment": "a comment"}
        assert image.getexif()[271] == "Maker"
    with Image.open(tmp_path / "new.jpg") as image:
        assert image.info["comment"] == b"a comment" and image.getexif()[271] == "Maker"
    noise = Image.fromarray(photo()).quantize()
    noise.save(tmp_path / "a.gif", comment="of a GIF")
    enlarge_file(tmp_path / "a.gif", tmp_path / "a.png", double)
    with Image.open(tmp_path / "a.png") as image:
        assert image.text == {"Comment": "of a GIF"}


@pytest.mark.parametrize(
    "dpi", [(0, 0), (float("nan"), 72), (1e9, 72), (-3, 72), "no", None, (72,), (1, 2, 3)]
)
def test_a_resolution_that_makes_no_sense_is_left_out(dpi):
    image = imagekit.drawn()
    image.info["dpi"] = dpi
    assert metadata.collect(image).dpi is None


def test_a_profile_of_another_colour_space_is_left_out():
    spaces = {b"RGB ": ("RGB", "RGBA", "L", "LA"), b"GRAY": ("L", "LA"), b"CMYK": ("CMYK",)}
    for space, fitting in spaces.items():
        icc = bytes(16) + space + bytes(100)
        for kind in KINDS:
            assert (Metadata(icc=icc).for_kind(kind).icc == icc) == (kind in fitting)
