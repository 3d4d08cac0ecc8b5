"""Directories of TIFF tags, which EXIF is made of too, and TIFF files of 8 and 16 bits.

Pillow neither writes colour of 16 bits nor keeps a camera's own notes (their
addresses break when EXIF is written anew), so both are done here.
Source: Adobe, "TIFF Revision 6.0", 1992. Taught in chapter 10.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

#: Bytes of one value, by TIFF type.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SHORT, LONG, RATIONAL = 3, 4, 5

WIDTH, HEIGHT, ORIENTATION = 256, 257, 274
EXIF, GPS, INTEROP = 34665, 34853, 40965
XMP, IPTC, ICC = 700, 33723, 34675
_PIXEL_WIDTH, _PIXEL_HEIGHT = 40962, 40963
_THUMBNAIL, _THUMBNAIL_LENGTH = 513, 514
_BRANCHES = (EXIF, GPS, INTEROP)

#: Tags that describe the photo and not how its pixels are stored: title, maker, model,
#: resolution, program, date, artist, computer, rating, copyright, Windows' own texts.
DESCRIPTIVE = {269, 270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316, 18246, 18249, 33432,
               *range(40091, 40096)}  # fmt: skip
#: Descriptions that programs write for themselves, about pixels that are no longer there.
_ABOUT_PIXELS = (b'{"shape"', b"ImageJ=", b"<?xml")

#: Classic TIFF addresses its bytes with 32 bits.
LARGEST = 2**32 - 2**20
_STRIP = 1 << 20
#: Bytes that tags may take together: a damaged file can point many at the same megabytes.
_MOST = 1 << 26


class Entry(NamedTuple):
    """A tag: TIFF's type, how many values, and their bytes."""

    type: int
    number: int  # of values
    data: bytes


Directory = dict[int, "Entry | Directory"]


class _Place(NamedTuple):
    tag: int
    type: int
    number: int  # of values
    entry: int  # where the twelve bytes of the entry are
    value: int  # where its value is


def _head(data) -> tuple[str, int]:
    """The byte order, for :mod:`struct`, and where the first directory is."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))
    if order is None or len(data) < 8:
        raise ValueError("no TIFF header")
    return order, struct.unpack_from(order + "I", data, 4)[0]


def _places(data, order: str, at: int) -> Iterator[_Place]:
    (count,) = struct.unpack_from(order + "H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
        inline = _SIZES.get(kind, 1) * number <= 4
        value = entry + 8 if inline else struct.unpack_from(order + "I", data, entry + 8)[0]
        yield _Place(tag, kind, number, entry, value)


def load(data) -> tuple[str, Directory]:
    """The first directory of a TIFF file or of EXIF, and those that it points to.

    Args:
        data: bytes, or a memory map of a file.

    Returns:
        The byte order (``"<"`` or ``">"``) and the tags; EXIF, GPS and
        interoperability are directories themselves. An entry that points
        outside of the data is left out.

    Raises:
        ValueError: when it is no TIFF structure, or BigTIFF.
    """
    order, at = _head(data)
    try:
        return order, _load(data, order, at, [_MOST])
    except struct.error as error:
        raise ValueError("damaged TIFF directory") from error


def _load(data, order: str, at: int, left: list[int], depth: int = 0) -> Directory:
    directory: Directory = {}
    for place in _places(data, order, at):
        size = _SIZES.get(place.type, 0) * place.number
        value = bytes(data[place.value : place.value + size]) if size <= left[0] else b""
        if not size or len(value) != size or place.tag in directory:
            continue
        left[0] -= size
        if place.tag not in _BRANCHES:
            directory[place.tag] = Entry(place.type, place.number, value)
        elif depth < 2 and place.type in (LONG, 13) and place.number == 1:
            branch = struct.unpack(order + "I", value)[0]
            directory[place.tag] = _load(data, order, branch, left, depth + 1)
    return directory


def dump(directory: Directory, order: str, at: int) -> bytes:
    """A directory, with all it points to, as the bytes that stand at the even address ``at``."""
    end = at + 2 + 12 * len(directory) + 4
    head, tail = struct.pack(order + "H", len(directory)), b""
    for tag, value in sorted(directory.items()):
        where = end + len(tail)
        pointer = struct.pack(order + "I", where)
        if isinstance(value, dict):
            kind, count, field = LONG, 1, pointer
            tail += dump(value, order, where)
        else:
            kind, count, data = value
            field = data.ljust(4, b"\0") if len(data) <= 4 else pointer
            tail += b"" if len(data) <= 4 else data + b"\0" * (len(data) % 2)
        head += struct.pack(order + "HHI", tag, kind, count) + field
    return head + struct.pack(order + "I", 0) + tail


def descriptive(directory: Directory) -> Directory:
    """The part of a TIFF directory that is still true of the enlarged picture."""
    kept = {tag: value for tag, value in directory.items() if tag in DESCRIPTIVE}
    if getattr(kept.get(270), "data", b"").startswith(_ABOUT_PIXELS):
        del kept[270]
    branches = {tag: directory[tag] for tag in (EXIF, GPS) if directory.get(tag)}
    return {**kept, **branches}


def exif_from(data) -> bytes | None:
    """What a TIFF file says about its photo, as EXIF for any format; None if nothing."""
    order, directory = load(data)
    kept = descriptive(directory)
    return header(order) + dump(kept, order, 8) if kept else None


def header(order: str, at: int = 8) -> bytes:
    """The eight bytes that TIFF files and EXIF begin with."""
    return (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, at)


def revised(exif: bytes, width: int, height: int) -> bytes:
    """EXIF of an upright picture of another size, without its small preview.

    Changed in place, so that everything else, a maker's notes with their
    addresses too, stays as it was.

    Raises:
        ValueError: when it is no EXIF that can be followed.
    """
    data = bytearray(exif)
    order, at = _head(data)
    sizes = {WIDTH: width, HEIGHT: height, _PIXEL_WIDTH: width, _PIXEL_HEIGHT: height}
    try:
        directories = [at]
        for start in directories:
            for place in list(_places(data, order, start)):
                if place.tag == ORIENTATION:
                    upright = (ORIENTATION, SHORT, 1, 1, 0)
                    struct.pack_into(order + "HHIHH", data, place.entry, *upright)
                elif place.tag in sizes:
                    size = (place.tag, LONG, 1, sizes[place.tag])
                    struct.pack_into(order + "HHII", data, place.entry, *size)
                elif place.tag == EXIF and len(directories) == 1:
                    directories.append(struct.unpack_from(order + "I", data, place.value)[0])
        _drop_preview(data, order, at)
    except struct.error as error:
        raise ValueError("damaged EXIF") from error
    return bytes(data)


def _drop_preview(data: bytearray, order: str, at: int) -> None:
    link = at + 2 + 12 * struct.unpack_from(order + "H", data, at)[0]
    if link + 4 > len(data):
        return  # some cameras end their EXIF without it
    (second,) = struct.unpack_from(order + "I", data, link)
    if not second:
        return
    struct.pack_into(order + "I", data, link, 0)
    try:
        found = {place.tag: place for place in _places(data, order, second)}
        start, length = (
            struct.unpack_from(order + "I", data, found[tag].value)[0]
            for tag in (_THUMBNAIL, _THUMBNAIL_LENGTH)
        )
    except (struct.error, KeyError):
        return
    if bytes(data[start : start + 2]) != b"\xff\xd8":
        return  # not the JPEG that it should be: the address may be anything's
    end = min(start + length, len(data))
    if end == len(data):
        del data[start:]
    else:
        data[start:end] = bytes(end - start)


def write(
    file: BinaryIO, pixels: np.ndarray, kind: str, directory: Directory, order: str = "<"
) -> None:
    """Write a TIFF file: strips, compressed without loss (Deflate with a predictor).

    Args:
        file: open, empty, and able to seek.
        pixels: ``(H, W, C)``, uint8 or uint16.
        kind: ``"L"``, ``"LA"``, ``"RGB"``, ``"RGBA"`` or ``"CMYK"``.
        directory: further tags, from :func:`descriptive` or a metadata module.
        order: byte order of those tags, and so of the file.

    Raises:
        OSError: when it cannot be written.
        ValueError: when the file would be larger than 4 GB.
    """
    height, width, channels = pixels.shape
    depth = pixels.dtype.itemsize
    if pixels.nbytes > LARGEST:
        raise ValueError("more than 4 GB, which TIFF cannot hold")
    rows = max(1, _STRIP // (width * channels * depth))
    starts, lengths = [], []
    file.write(header(order))
    for top in range(0, height, rows):
        strip = pixels[top : top + rows]
        step = strip.copy()
        step[:, 1:] -= strip[:, :-1]  # the predictor: differences, modulo the range
        content = zlib.compress(step.astype(f"{order}u{depth}").tobytes(), 6)
        starts.append(file.tell())
        lengths.append(len(content))
        file.write(content)
    file.write(b"\0" * (file.tell() % 2))

    def entry(kind: int, *values: int) -> Entry:
        code = {SHORT: "H", LONG: "I", RATIONAL: "I"}[kind]
        count = len(values) // (2 if kind == RATIONAL else 1)
        return Entry(kind, count, struct.pack(f"{order}{len(values)}{code}", *values))

    structure = {
        WIDTH: entry(LONG, width),
        HEIGHT: entry(LONG, height),
        258: entry(SHORT, *[8 * depth] * channels),
        259: entry(SHORT, 8),  # compression: Deflate
        262: entry(SHORT, {"L": 1, "RGB": 2, "CMYK": 5}[kind.removesuffix("A")]),
        273: entry(LONG, *starts),
        277: entry(SHORT, channels),
        278: entry(LONG, rows),
        279: entry(LONG, *lengths),
        284: entry(SHORT, 1),  # channels side by side
        317: entry(SHORT, 2),  # predictor: horizontal differences
    }
    if kind.endswith("A"):
        structure[338] = entry(SHORT, 2)  # alpha that is not multiplied into the colour
    at = file.tell()
    file.write(dump({**directory, **structure}, order, at))
    file.seek(4)
    file.write(struct.pack(order + "I", at))
