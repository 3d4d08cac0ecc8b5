"""Opening an image file, or saying in one line why not.

Taught in chapter 10.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from PIL import Image, ImageFile, TiffImagePlugin

from srlib.errors import PhotoError, one_line

#: Formats that are opened, by Pillow's names. Not the ones that start another program
#: (EPS), hold no picture of their own (HDF5) or are not told from noise (TGA, but by name).
READABLE = (
    "PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000", "ICO", "ICNS",
    "DDS", "PSD", "PCX", "QOI", "SGI",
)  # fmt: skip
#: Formats that go by each other's names.
_ALIKE = ({"JPEG", "MPO"}, {"BMP", "DIB"})
#: Raw files of cameras: their only finished picture is a small preview.
_RAW = {".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"}
_DNG_VERSION = 50706
#: A longer canvas can be claimed, but not filled; its decoder would work for minutes.
LONGEST_WEBP = 16_383
_STRUCTURE, _PLANES, _BITS, _SUBFILE = 284, 2, 258, 254
_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def describe(path: str | os.PathLike) -> str:
    """A file's name as it can be printed in one line, whatever bytes it is made of."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@contextlib.contextmanager
def read_errors(path: str | os.PathLike) -> Iterator[None]:
    """Turn whatever decoders raise into one line about the file."""
    name = describe(path)
    try:
        yield
    except PhotoError as error:
        text = str(error)
        named = text.startswith(f"{name}: ")
        raise error if named else PhotoError(f"{name}: {text}") from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise PhotoError(
            f"{name}: claims more than {most} million pixels, as a decompression bomb does; "
            "if it is genuine, cut it into parts first"
        ) from error
    except MemoryError as error:
        raise PhotoError(f"{name}: does not fit in memory; cut it into parts first") from error
    except PermissionError as error:
        raise PhotoError(f"{name}: no permission to read it; change its access rights") from error
    except Exception as error:
        raise PhotoError(
            f"{name}: cannot be read as an image ({one_line(error)}); "
            "it may be damaged or incomplete: get it anew"
        ) from error


def check_file(path: str | os.PathLike) -> None:
    """Refuse what is no file with something in it; a pipe would be waited for without end.

    Raises:
        PhotoError: naming the file.
    """
    with read_errors(path):
        try:
            status = os.stat(path)
        except FileNotFoundError as error:
            if os.path.islink(path):
                raise PhotoError("is a link to a file that is not there") from error
            raise PhotoError("no such file; check the name") from error
        except PermissionError:
            raise
        except (OSError, ValueError) as error:  # a name with a zero byte, a loop of links
            raise PhotoError(f"cannot be looked at ({one_line(error)})") from error
        if stat.S_ISDIR(status.st_mode):
            raise PhotoError("is a folder; name an image file")
        if not stat.S_ISREG(status.st_mode):
            raise PhotoError("is a pipe or a device; name an image file")
        if not status.st_size:
            raise PhotoError("is empty; get it anew")


def open_image(path: str | os.PathLike) -> ImageFile.ImageFile:
    """Open an image file that :func:`check_file` has passed, and look at its header alone.

    Raises:
        PhotoError: when it is no image, one that its name does not promise, or
            one that cannot be enlarged.
    """
    with read_errors(path):
        ending = os.path.splitext(os.fsdecode(path))[1].lower()
        if ending in _RAW:
            raise PhotoError("is a camera's raw file; develop it to TIFF or JPEG first")
        Image.init()
        formats = [name for name in READABLE if name in Image.OPEN]
        formats += ["TGA"] if ending == ".tga" else []
        try:
            image = Image.open(path, formats=formats)
        except Image.UnidentifiedImageError as error:
            raise PhotoError(_why_not(path)) from error
        try:
            _check_name(image.format or "", ending)
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                _check_tiff(image)
            if image.format == "WEBP" and max(image.size) > LONGEST_WEBP:
                raise PhotoError("claims a side that no WebP has; it is damaged: get it anew")
        except BaseException:
            image.close()
            raise
        return image


def _check_name(format: str, ending: str) -> None:
    registered = Image.registered_extensions()
    promised = registered.get(ending, format)
    if promised == format or any({promised, format} <= alike for alike in _ALIKE):
        return
    endings = [known for known, name in registered.items() if name == format]
    usual = {"JPEG": ".jpg", "MPO": ".jpg"}.get(format) or next(iter(endings), "another ending")
    raise PhotoError(f"is a {format} image that is named {ending}; rename it to {usual}")


def _check_tiff(image: TiffImagePlugin.TiffImageFile) -> None:
    tags = image.tag_v2
    if _DNG_VERSION in tags:
        raise PhotoError("is a camera's raw file; develop it to TIFF or JPEG first")
    if tags.get(_STRUCTURE) == _PLANES and max(tags.get(_BITS, (1,))) > 8 and image.mode[0] != "I":
        raise PhotoError(
            "keeps its colours in separate planes of 16 bits; save it with interleaved channels"
        )
    pages = 1
    for index in range(1, image.n_frames):
        image.seek(index)
        pages += not image.tag_v2.get(_SUBFILE, 0) & 5  # 1: a preview, 4: a mask
    image.seek(0)
    if pages > 1:
        raise PhotoError(f"has {pages} pages; split it into single images first")


def _why_not(path: str | os.PathLike) -> str:
    with open(path, "rb") as file:
        head = file.read(512)
    if head[4:8] == b"ftyp":
        kind = "a HEIC photo" if head[8:12] in _HEIC else "a video"
        return f"is {kind}, which cannot be read; export it as JPEG or PNG"
    if head.startswith(b"%PDF") or head.startswith(b"%!PS"):
        return "is a document, not an image; export its pictures as PNG"
    if b"<svg" in head:
        return "is a vector drawing; draw it larger instead, as PNG"
    text = head.decode("utf-8", "ignore")  # it may be cut in the middle of a letter
    if len(text) > len(head) / 2 and all(c.isprintable() or c.isspace() for c in text):
        return "is text, not an image"
    return "is not an image of a known kind, or too damaged to be known; get it anew"
