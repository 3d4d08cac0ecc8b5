"""Animations, a frame at a time: animated PNG and WebP.

Pillow writes both, but holds all frames in memory until the last one; here one
is encoded and forgotten. Frames after the first are cut to what changed.
Sources: W3C, "Portable Network Graphics (PNG) Specification", third edition,
2025; Google, "WebP Container Specification". Taught in chapter 10.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from srlib.imagefile import png
from srlib.imagefile.metadata import Metadata, png_chunks
from srlib.imagefile.picture import Picture, to_image

#: Formats of which Pillow gives the frames in their order of time.
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
_TOP_DURATION = (1 << 24) - 1  # milliseconds that WebP can say


def frame_count(image: Image.Image) -> int:
    """Pictures that are shown one after another; 1 for what does not move."""
    if image.format not in ANIMATED:
        return 1
    return max(1, getattr(image, "n_frames", 1) - bool(image.info.get("default_image")))


def plays(image: Image.Image) -> int:
    """How often an animation is shown; 0 for ever.

    GIF counts the repetitions after the first time, and says nothing for none.
    """
    loop = image.info.get("loop")
    if image.format == "GIF":
        loop = 1 if loop is None else (loop + 1 if loop else 0)
    return min(int(loop or 0), 65535)


def frame_indices(image: Image.Image) -> range:
    """Where :meth:`PIL.Image.Image.seek` finds them; a PNG may begin with one that is not shown."""
    first = 1 if image.info.get("default_image") else 0
    return range(first, first + frame_count(image))


class _Frames:
    """What both formats share: which part of a frame differs from the one before."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None

    def _changed(self, pixels: np.ndarray, even: bool = False) -> tuple[int, int, np.ndarray]:
        """Left and top edge of the part that changed, and the part."""
        before, self._before = self._before, pixels
        if before is None:
            return 0, 0, pixels
        rows = np.flatnonzero([(a != b).any() for a, b in zip(pixels, before, strict=True)])
        if not len(rows):
            return 0, 0, pixels[:1, :1]
        top, bottom = rows[0], rows[-1] + 1
        columns = np.flatnonzero((pixels[top:bottom] != before[top:bottom]).any(axis=(0, 2)))
        left, right = columns[0], columns[-1] + 1
        if even:  # WebP counts edges in steps of two pixels
            left, top = left & ~1, top & ~1
        return int(left), int(top), np.ascontiguousarray(pixels[top:bottom, left:right])


class PngFrames(_Frames):
    """Writes an animated PNG; see :class:`WebPFrames`."""

    def __init__(self, file: BinaryIO, like: Picture, metadata: Metadata, plays: int):
        super().__init__()
        self._file, self._plays = file, plays
        self._count = self._sequence = 0
        height, width = like.pixels.shape[:2]
        file.write(png.SIGNATURE + png.header(width, height, like.kind, 8))
        self._control_at = file.tell()
        file.write(self._control() + png_chunks(metadata))

    def add(self, picture: Picture) -> None:
        """Append one frame."""
        left, top, part = self._changed(picture.pixels)
        content = io.BytesIO()
        to_image(part, picture.kind).save(content, "PNG")
        content.seek(0)
        packed = b"".join(data for name, data in png.chunks(content) if name == b"IDAT")
        height, width = part.shape[:2]
        time = _ratio(picture.milliseconds)
        self._put(b"fcTL", struct.pack(">IIIIHHBB", width, height, left, top, *time, 0, 0))
        if self._count:
            self._put(b"fdAT", packed)
        else:
            self._file.write(png.chunk(b"IDAT", packed))
        self._count += 1

    def _put(self, name: bytes, data: bytes) -> None:
        self._file.write(png.chunk(name, struct.pack(">I", self._sequence) + data))
        self._sequence += 1

    def _control(self) -> bytes:
        return png.chunk(b"acTL", struct.pack(">II", self._count, self._plays))

    def finish(self) -> None:
        """Complete the file."""
        self._file.write(png.chunk(b"IEND", b""))
        self._file.seek(self._control_at)
        self._file.write(self._control())


def _ratio(milliseconds: float) -> tuple[int, int]:
    """Seconds as a fraction of two 16-bit numbers."""
    time = Fraction(max(0.0, milliseconds) / 1000).limit_denominator(65535)
    while time.numerator > 65535:
        if time >= 65535:
            return 65535, 1
        time = time.limit_denominator(time.denominator // 2 or 1)
    return time.numerator, time.denominator


class WebPFrames(_Frames):
    """Writes an animated WebP.

    Args:
        file: open, empty, and able to seek.
        like: of the size and kind of all frames.
        metadata: of the whole.
        plays: how often it is shown; 0 for ever.
        quality: options for Pillow.
    """

    def __init__(
        self, file: BinaryIO, like: Picture, metadata: Metadata, plays: int, **quality: Any
    ):
        super().__init__()
        self._file, self._metadata, self._quality = file, metadata, quality
        self._transparent, self._time = like.kind.endswith("A"), 0.0
        height, width = like.pixels.shape[:2]
        self._canvas = _three_bytes(width - 1, height - 1)
        file.write(b"RIFF\0\0\0\0WEBP" + self._header())
        if metadata.icc:
            file.write(_riff(b"ICCP", metadata.icc))
        file.write(_riff(b"ANIM", struct.pack("<IH", 0, plays)))

    def _header(self) -> bytes:
        kept = self._metadata
        flags = 0x02 | 0x20 * bool(kept.icc) | 0x10 * self._transparent
        flags |= 0x08 * bool(kept.exif) | 0x04 * bool(kept.xmp)
        return _riff(b"VP8X", struct.pack("<I", flags) + self._canvas)

    def add(self, picture: Picture) -> None:
        """Append one frame."""
        left, top, part = self._changed(picture.pixels, even=True)
        content = io.BytesIO()
        to_image(part, picture.kind).save(content, "WEBP", **self._quality)
        coded = b"".join(
            _riff(name, chunk)
            for name, chunk in riff_chunks(content.getvalue())
            if name in (b"ALPH", b"VP8 ", b"VP8L")
        )
        start, self._time = round(self._time), self._time + picture.milliseconds
        time = min(max(0, round(self._time) - start), _TOP_DURATION)  # rounding adds up to none
        height, width = part.shape[:2]
        place = _three_bytes(left // 2, top // 2, width - 1, height - 1, time)
        self._file.write(_riff(b"ANMF", place + b"\x02" + coded))  # 2: replace, do not blend

    def finish(self) -> None:
        """Complete the file."""
        if self._metadata.exif:
            self._file.write(_riff(b"EXIF", self._metadata.exif))
        if self._metadata.xmp:
            self._file.write(_riff(b"XMP ", self._metadata.xmp))
        size = self._file.tell()
        self._file.seek(4)
        self._file.write(struct.pack("<I", size - 8))


def _three_bytes(*numbers: int) -> bytes:
    return b"".join(struct.pack("<I", number)[:3] for number in numbers)


def _riff(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of a WebP file's chunks."""
    at = 12
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        yield data[at : at + 4], data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def is_lossless_webp(data: bytes) -> bool:
    """Whether a WebP file keeps its (first) picture without loss."""
    for name, chunk in riff_chunks(data):
        if name == b"ANMF":
            return is_lossless_webp(bytes(12) + chunk[16:])
        if name in (b"VP8L", b"VP8 "):
            return name == b"VP8L"
    return False
