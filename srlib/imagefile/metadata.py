"""What a photo's file says besides its pixels, and how it travels to another file.

Taught in chapter 10.
"""

from __future__ import annotations

import contextlib
import io
import math
import mmap
import os
import re
import struct
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from PIL import Image, PngImagePlugin

from srlib.imagefile import png, tiff

_XMP_TEXT = "XML:com.adobe.xmp"
_AFTER_PREVIEWS = b"</xmp:Thumbnails>"
_PREFIX = b"Exif\0\0"
#: PNG's own ways of saying which colours are meant, where there is no ICC profile.
_COLOUR_CHUNKS = {b"cHRM", b"gAMA", b"sRGB", b"cICP"}
_IPTC_RESOURCE = 0x0404
#: What a JPEG segment can hold.
_SEGMENT = 65533


@dataclass(frozen=True)
class Metadata:
    """All that is kept of a file besides its pixels.

    Attributes:
        icc: colour profile, without which the colours would be others.
        colour: PNG's colour chunks, names and contents.
        exif: as a TIFF structure, without prefix.
        xmp: XML.
        iptc: a press agency's caption and credits.
        comment: of JPEG, GIF and PNG.
        text: PNG's other texts by keyword.
        dpi: pixels per inch, horizontal and vertical.
        orientation: the EXIF tag, 1 to 8, that pixels are yet to be turned by.
    """

    icc: bytes | None = None
    colour: tuple[tuple[bytes, bytes], ...] = ()
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    comment: bytes | None = None
    text: dict[str, str] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None
    orientation: int = 1

    def stripped(self) -> Metadata:
        """Only what colours and orientation need."""
        return Metadata(self.icc, self.colour, orientation=self.orientation)

    def resized(self, width: int, height: int) -> Metadata:
        """The same for an upright picture of another size."""
        exif = None
        if self.exif:
            with contextlib.suppress(ValueError):  # EXIF that nobody can follow is left out
                exif = tiff.revised(self.exif, width, height)
        xmp = _revised_xmp(self.xmp, width, height) if self.xmp else None
        return replace(self, exif=exif, xmp=xmp, orientation=1)

    def for_kind(self, kind: str) -> Metadata:
        """Without a profile of another colour space than the picture's."""
        space = profile_space(self.icc)
        fits = space == b"RGB " if kind != "CMYK" else space == b"CMYK"
        fits |= space == b"GRAY" and kind in ("L", "LA")
        return self if fits else replace(self, icc=None)


def profile_space(icc: bytes | None) -> bytes:
    """The colour space that an ICC profile describes: ``b"RGB "``, ``b"GRAY"``, ``b"CMYK"``..."""
    return (icc or b"")[16:20]


def collect(image: Image.Image, path: str | os.PathLike | None = None) -> Metadata:
    """Everything that a loaded image's file says.

    Args:
        image: as Pillow opened it.
        path: its file, which holds more than Pillow tells; without it, what
            Pillow tells must do.

    Raises:
        ValueError: or nearly anything else, from Pillow, for damaged files.
    """
    info = image.info
    found = _of_tiff(image, path) if hasattr(image, "tag_v2") else {}
    text = dict(getattr(image, "text", {}))
    comment = info.get("comment") or text.pop("Comment", None)
    exif = info.get("exif") or _exif_from_text(info) or found.get("exif")
    return Metadata(
        icc=info.get("icc_profile") or None,
        colour=_colour_chunks(path) if path and image.format == "PNG" else (),
        exif=exif.removeprefix(_PREFIX) if exif else None,
        xmp=found.get("xmp") or _bytes(info.get("xmp") or info.get(_XMP_TEXT)),
        iptc=found.get("iptc") or info.get("photoshop", {}).get(_IPTC_RESOURCE) or None,
        comment=_bytes(comment),
        text={key: value for key, value in text.items() if not _is_metadata(key)},
        dpi=_resolution(info.get("dpi")),
        orientation=_orientation(image),
    )


def _is_metadata(keyword: str) -> bool:
    return keyword == _XMP_TEXT or keyword.startswith("Raw profile type")


def _bytes(value: str | bytes | None) -> bytes | None:
    value = value.encode("utf-8", "replace") if isinstance(value, str) else value
    return value if isinstance(value, bytes) and value else None


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(tiff.ORIENTATION, 1))
    except Exception:  # damaged EXIF raises almost anything, and says nothing
        return 1


def _exif_from_text(info: dict) -> bytes | None:
    """EXIF as ImageMagick used to write it into PNG: in hexadecimal."""
    text = info.get("Raw profile type exif")
    text = text.decode("latin-1") if isinstance(text, bytes) else text
    try:
        return bytes.fromhex("".join(text.split("\n")[3:])) if text else None
    except ValueError:
        return None


def _of_tiff(image: Image.Image, path: str | os.PathLike | None) -> dict[str, bytes | None]:
    try:
        if path is None:
            return {"exif": tiff.exif_from(image.getexif().tobytes().removeprefix(_PREFIX))}
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _, directory = tiff.load(data)
            tags = {"xmp": directory.get(tiff.XMP), "iptc": directory.get(tiff.IPTC)}
            found = {name: getattr(entry, "data", None) for name, entry in tags.items()}
            return {"exif": tiff.exif_from(data), **found}
    except Exception:  # damaged tags raise almost anything; the pixels are sound all the same
        return {}


def _colour_chunks(path: str | os.PathLike) -> tuple[tuple[bytes, bytes], ...]:
    kept = []
    with open(path, "rb") as file:
        for name, data in png.chunks(file):
            if name == b"IDAT":
                break
            if name in _COLOUR_CHUNKS:
                kept.append((name, data))
    return tuple(kept)


def _resolution(dpi: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    sane = all(math.isfinite(value) and 1 <= value < 65535 for value in (across, down))
    return (across, down) if sane else None


def _revised_xmp(xmp: bytes, width: int, height: int) -> bytes:
    """XMP with these sizes, upright, without its small previews."""
    start, end = xmp.find(b"<xmp:Thumbnails"), xmp.find(_AFTER_PREVIEWS)
    if 0 <= start < end:
        xmp = xmp[:start] + xmp[end + len(_AFTER_PREVIEWS) :]
    new = {
        b"tiff:Orientation": 1,
        b"tiff:ImageWidth": width,
        b"tiff:ImageLength": height,
        b"exif:PixelXDimension": width,
        b"exif:PixelYDimension": height,
    }
    for name, value in new.items():
        pattern = rb"(" + name + rb"\s*(?:=\s*[\"']|>\s*))\d+"
        xmp = re.sub(pattern, rb"\g<1>%d" % value, xmp)
    return xmp


def save_options(metadata: Metadata, format: str) -> dict:
    """What Pillow's ``save`` needs to write it all as PNG, JPEG or WebP.

    What a format has no place for, or not enough, is left out.
    """
    options: dict = {}
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.exif and (format != "jpeg" or len(metadata.exif) + len(_PREFIX) <= _SEGMENT):
        options["exif"] = _PREFIX + metadata.exif
    if metadata.dpi and format != "webp":
        options["dpi"] = metadata.dpi
    if format == "png":
        options["pnginfo"] = _png_info(metadata)
    elif metadata.xmp and (format == "webp" or len(metadata.xmp) <= _SEGMENT - 29):
        options["xmp"] = metadata.xmp
    if format == "jpeg":
        if metadata.comment and len(metadata.comment) <= _SEGMENT:
            options["comment"] = metadata.comment
        options["extra"] = _photoshop_segment(metadata.iptc) if metadata.iptc else b""
    return options


def _png_info(metadata: Metadata) -> PngImagePlugin.PngInfo:
    texts = PngImagePlugin.PngInfo()
    for name, data in metadata.colour:
        if not (metadata.icc and name == b"sRGB"):
            texts.add(name, data)
    if metadata.xmp:
        texts.add_itxt(_XMP_TEXT, metadata.xmp.decode("utf-8", "replace"))
    if metadata.comment:
        texts.add_text("Comment", metadata.comment.decode("utf-8", "replace"))
    for key, value in metadata.text.items():
        with contextlib.suppress(ValueError):  # a keyword that PNG would not take
            texts.add_text(key, value)
    return texts


def _photoshop_segment(iptc: bytes) -> bytes:
    resource = b"8BIM" + struct.pack(">HHI", _IPTC_RESOURCE, 0, len(iptc)) + iptc
    content = b"Photoshop 3.0\0" + resource + b"\0" * (len(iptc) % 2)
    if len(content) > _SEGMENT:
        return b""
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content


def png_chunks(metadata: Metadata) -> bytes:
    """The same as chunks of a PNG file, between its header and its pixels."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG", **save_options(metadata, "png"))
    file.seek(0)
    own = (b"IHDR", b"IDAT", b"IEND")
    return b"".join(png.chunk(name, data) for name, data in png.chunks(file) if name not in own)


def tiff_tags(metadata: Metadata) -> tuple[str, tiff.Directory]:
    """The same as tags of a TIFF file, and their byte order."""
    order, tags = "<", {}
    if metadata.exif:
        with contextlib.suppress(ValueError):
            order, directory = tiff.load(metadata.exif)
            tags = tiff.descriptive(directory)
    if metadata.dpi and 282 not in tags:
        for tag, value in zip((282, 283), metadata.dpi, strict=True):
            ratio = Fraction(value).limit_denominator(65535)
            packed = struct.pack(order + "II", ratio.numerator, ratio.denominator)
            tags[tag] = tiff.Entry(tiff.RATIONAL, 1, packed)
        tags[296] = tiff.Entry(tiff.SHORT, 1, struct.pack(order + "H", 2))  # per inch
    blobs = {
        tiff.XMP: (1, metadata.xmp),
        tiff.IPTC: (7, metadata.iptc),
        tiff.ICC: (7, metadata.icc),
    }
    for tag, (kind, data) in blobs.items():
        if data:
            tags[tag] = tiff.Entry(kind, len(data), data)
    return order, tags
