"""Image files as people have them, sound and broken, each with what should become of it.

``python -m tests.imagefile.corpus FOLDER`` writes them all: the same bytes every time.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.imagefile import profiles
from tests.imagefile.imagekit import (
    HEIGHT,
    ICC,
    WIDTH,
    bomb_text,
    chunk,
    cmyk,
    cut,
    damaged_exif,
    drawn,
    exif,
    file,
    image,
    lab,
    link,
    moving,
    mpo,
    pages,
    palette,
    phone,
    photo,
    photo16,
    png,
    png16,
    saved,
    stale_tags,
    tiff,
    tiff_with_all,
    with_preview_page,
    with_text,
    xmp,
)


@dataclass(frozen=True)
class Case:
    """One file and its outcome.

    Attributes:
        name: the file's name; several cases may share a file.
        make: writes it.
        mode: of the enlarged file, as Pillow says; None when it is to be refused.
        to: the ending that it is enlarged to; its own by default.
        says: a regular expression for the one line that refuses it.
        stored: its width and height in pixels.
        turned: whether it lies on its side there.
        keeps: what must be found in the enlarged file.
        frames: of the enlarged file.
    """

    name: str
    make: Callable[[Path], None]
    mode: str | None = None
    to: str = ""
    says: str = ""
    stored: tuple[int, int] = (WIDTH, HEIGHT)
    turned: bool = False
    keeps: tuple[str, ...] = ()
    frames: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Of the enlarged file."""
        width, height = reversed(self.stored) if self.turned else self.stored
        return 2 * width, 2 * height

    @property
    def ending(self) -> str:
        """Of the enlarged file."""
        return self.to or Path(self.name).suffix

    @property
    def keeps_16_bits(self) -> bool:
        return self.name.startswith("16-bit") and self.ending in (".png", ".tif")

    @property
    def id(self) -> str:
        return f"{self.name}->{self.to}" if self.to else self.name


ALL = ("icc", "exif", "xmp", "comment", "dpi")
GREY_WITH_PROFILE = image("JPEG", "L", icc_profile=profiles.grey())
RGBA_WITH_PROFILE = image("PNG", "RGBA", icc_profile=ICC)
_APNG_DEFAULT = {"default_image": True, "loop": 2}

DONE = [
    Case("phone.jpg", phone(1), "RGB", keeps=(*ALL, "iptc")),
    *(
        Case(f"turned{n}.jpg", phone(n, "<>"[n % 2]), "RGB", keeps=(*ALL, "iptc"), turned=n > 4)
        for n in range(2, 9)
    ),
    *(
        Case("turned6.jpg", phone(6), "RGB", to=to, keeps=keeps, turned=True)
        for to, keeps in (
            (".png", ALL),
            (".webp", ("icc", "exif", "xmp")),
            (".tif", ("icc", "exif", "xmp", "dpi", "iptc")),
        )
    ),
    Case("UPPER.JPEG", image("JPEG"), "RGB"),
    Case("photo.jfif", image("JPEG"), "RGB", to=".jpg"),
    Case("no-ending", image("JPEG"), "RGB", to=".jpg"),
    Case("unknown.ending", image("PNG"), "RGB", to=".png"),
    Case("spaces and ünï.jpg", image("JPEG"), "RGB"),
    Case("progressive.jpg", image("JPEG", progressive=True), "RGB"),
    Case("grey.jpg", image("JPEG", "L"), "L"),
    Case("grey-profile.jpg", GREY_WITH_PROFILE, "L", keeps=("grey",)),
    Case("grey-profile.jpg", GREY_WITH_PROFILE, "RGB", to=".webp"),
    Case("cmyk.jpg", cmyk("JPEG"), "CMYK", keeps=("cmyk",)),
    Case("cmyk.jpg", cmyk("JPEG"), "CMYK", to=".tif", keeps=("cmyk",)),
    Case("cmyk.jpg", cmyk("JPEG"), "RGB", to=".png"),
    Case("cmyk.jpg", cmyk("JPEG"), "RGB", to=".webp"),
    Case("damaged-exif.jpg", damaged_exif, "RGB"),
    Case("stereo.jpg", mpo, "RGB"),
    Case("stereo.mpo", mpo, "RGB", to=".jpg"),
    Case("trailing-bytes.jpg", file(lambda: saved(drawn(), "JPEG") + bytes(1000)), "RGB"),
    Case("rgb.png", with_text, "RGB", keeps=("icc", "exif", "xmp", "dpi", "text"), turned=True),
    Case("rgb.png", with_text, "RGB", to=".jpg", keeps=("icc", "exif", "xmp", "dpi"), turned=True),
    Case(
        "gamma.png",
        file(lambda: png(2, 1, 8, 0, b"\0\1\2", chunk(b"gAMA", struct.pack(">I", 100000)))),
        "L",
        stored=(2, 1),
        keeps=("gamma",),
    ),
    Case("rgba.png", RGBA_WITH_PROFILE, "RGBA", keeps=("icc",)),
    Case("rgba.png", RGBA_WITH_PROFILE, "RGBA", to=".webp", keeps=("icc",)),
    Case("rgba.png", RGBA_WITH_PROFILE, "RGBA", to=".tif", keeps=("icc",)),
    Case("opaque-rgba.png", file(lambda: saved(drawn().convert("RGBA"), "PNG")), "RGB", to=".jpg"),
    Case("grey.png", image("PNG", "L"), "L"),
    Case("grey-alpha.png", image("PNG", "LA"), "LA"),
    Case("grey-alpha.png", image("PNG", "LA"), "LA", to=".tif"),
    Case("palette.png", file(lambda: palette("RGB")), "RGB"),
    Case("palette-alpha.png", file(lambda: palette("RGBA")), "RGBA"),
    Case("palette-key.png", file(lambda: palette("RGB", transparency=3)), "RGBA"),
    Case("rgb-key.png", file(lambda: saved(drawn(), "PNG", transparency=(40, 30, 220))), "RGBA"),
    Case("grey-key.png", file(lambda: saved(drawn("L"), "PNG", transparency=40)), "LA"),
    Case("one-bit.png", image("PNG", "1"), "L"),
    Case("two-bits.png", file(lambda: png(4, 1, 2, 0, b"\0\x1b")), "L", stored=(4, 1)),
    *(
        Case(
            f"16-bit-{name}.png",
            file(lambda c=c: png16(photo16(c), chunk(b"eXIf", exif(6)))),
            mode,
            keeps=("exif",),
            turned=True,
        )
        for name, c, mode in (
            ("grey", 1, "I;16"),
            ("grey-alpha", 2, "RGBA"),
            ("rgb", 3, "RGB"),
            ("rgba", 4, "RGBA"),
        )
    ),
    Case(
        "16-bit-key.png",
        file(lambda: png16(photo16(), chunk(b"tRNS", photo16()[0, 0].astype(">u2").tobytes()))),
        "RGBA",
    ),
    Case("16-bit-plain.png", file(lambda: png16(photo16())), "RGB", to=".tif"),
    Case("16-bit-plain.png", file(lambda: png16(photo16())), "RGB", to=".jpg"),
    Case("16-bit-plain-rgba.png", file(lambda: png16(photo16(4))), "RGBA", to=".webp"),
    Case("16-bit-plain-la.png", file(lambda: png16(photo16(2))), "RGBA", to=".tif"),
    Case("rgb.tif", tiff_with_all, "RGB", keeps=("icc", "exif", "xmp", "dpi", "iptc"), turned=True),
    Case(
        "rgb.tif",
        tiff_with_all,
        "RGB",
        to=".jpg",
        keeps=("icc", "exif", "xmp", "dpi", "iptc"),
        turned=True,
    ),
    Case("lzw.tiff", image("TIFF", compression="tiff_lzw"), "RGB"),
    Case("jpeg.tif", image("TIFF", compression="jpeg"), "RGB"),
    Case("fax.tif", image("TIFF", "1", compression="group4"), "L"),
    Case("palette.tif", image("TIFF", "P"), "RGB"),
    Case("rgba.tif", image("TIFF", "RGBA"), "RGBA"),
    Case("cmyk.tif", cmyk("TIFF"), "CMYK", keeps=("cmyk",)),
    Case("lab.tif", lab, "RGB"),
    Case("stale-tags.tif", stale_tags, "RGB", keeps=("software",)),
    Case("preview-page.tif", with_preview_page, "RGB"),
    Case("16-bit.tif", tiff(photo16(), photometric="rgb"), "RGB"),
    Case("16-bit-big-endian.tif", tiff(photo16(), photometric="rgb", byteorder=">"), "RGB"),
    Case(
        "16-bit-zip.tif",
        tiff(photo16(), photometric="rgb", compression="zlib", predictor=True),
        "RGB",
    ),
    Case("16-bit-tiles.tif", tiff(photo16(), photometric="rgb", tile=(16, 16)), "RGB"),
    Case(
        "16-bit-rgba.tif", tiff(photo16(4), photometric="rgb", extrasamples=["unassalpha"]), "RGBA"
    ),
    Case("16-bit-grey.tif", tiff(photo16(1)[..., 0], photometric="minisblack"), "I;16"),
    Case("16-bit-grey.tif", tiff(photo16(1)[..., 0], photometric="minisblack"), "I;16", to=".png"),
    Case("16-bit-cmyk.tif", tiff(photo16(4), photometric="separated"), "CMYK"),
    Case(
        "rgb.webp",
        image("WEBP", icc_profile=ICC, exif=exif(3), xmp=xmp(3)),
        "RGB",
        keeps=("icc", "exif", "xmp"),
    ),
    Case("lossless.webp", image("WEBP", "RGBA", lossless=True), "RGBA", keeps=("lossless",)),
    Case("still.gif", image("GIF"), "RGB", to=".png"),
    Case("moving.gif", moving("GIF", loop=0), "RGBA", to=".png", frames=4),
    Case("moving.gif", moving("GIF", loop=0), "RGBA", to=".webp", frames=4),
    Case("moving-3-times.gif", moving("GIF", loop=2), "RGBA", to=".png", frames=4),
    Case("moving-once.gif", moving("GIF"), "RGBA", to=".webp", frames=4),
    Case(
        "moving-transparent.gif",
        moving("GIF", "RGBA", loop=0, disposal=2),
        "RGBA",
        to=".png",
        frames=4,
    ),
    Case("moving.png", moving("PNG", loop=3), "RGB", frames=4),
    Case("moving-transparent.png", moving("PNG", "RGBA", loop=0), "RGBA", to=".webp", frames=4),
    Case("moving-default.png", moving("PNG", **_APNG_DEFAULT), "RGB", frames=3),
    Case("moving.webp", moving("WEBP", loop=5, icc_profile=ICC), "RGB", frames=4, keeps=("icc",)),
    Case(
        "moving-lossless.webp",
        moving("WEBP", "RGBA", lossless=True),
        "RGBA",
        frames=4,
        keeps=("lossless",),
    ),
    Case("photo.bmp", image("BMP", dpi=(300, 300)), "RGB", to=".png", keeps=("dpi",)),
    Case("photo.ppm", image("PPM"), "RGB", to=".png"),
    Case(
        "16-bit.ppm",
        file(lambda: b"P6 22 14 65535\n" + photo16().astype(">u2").tobytes()),
        "RGB",
        to=".png",
    ),
    Case(
        "16-bit.pgm",
        file(lambda: b"P5 22 14 65535\n" + photo16(1).astype(">u2").tobytes()),
        "I;16",
        to=".png",
    ),
    Case("photo.tga", image("TGA"), "RGB", to=".png"),
    Case(
        "icon.ico",
        file(lambda: saved(Image.fromarray(photo(32, 32, 4)), "ICO", sizes=[(16, 16), (32, 32)])),
        "RGBA",
        to=".png",
        stored=(32, 32),
    ),
    Case(
        "1x1.png", file(lambda: saved(Image.new("RGB", (1, 1), "red"), "PNG")), "RGB", stored=(1, 1)
    ),
    Case(
        "1x1-transparent.png",
        file(lambda: saved(Image.new("RGBA", (1, 1)), "PNG")),
        "RGBA",
        stored=(1, 1),
    ),
    Case(
        "1x3000.png",
        file(lambda: saved(Image.fromarray(photo(1, 3000)), "PNG")),
        "RGB",
        stored=(1, 3000),
    ),
    Case(
        "3000x1.jpg",
        file(lambda: saved(Image.fromarray(photo(3000, 1)), "JPEG")),
        "RGB",
        stored=(3000, 1),
    ),
    Case(
        "odd.png",
        file(lambda: saved(Image.fromarray(photo(31, 7, 4)), "PNG")),
        "RGBA",
        stored=(31, 7),
    ),
    Case("link.png", link("grey.png"), "L"),
]

REFUSED = [
    Case("empty.jpg", file(b""), says="is empty"),
    Case("header-alone.png", file(b"\x89PNG\r\n\x1a\n"), says="too damaged"),
    Case("cut.jpg", cut("JPEG", 0.9), says="truncated"),
    Case("cut.png", cut("PNG", 0.6), says="truncated|incomplete"),
    Case("cut.webp", cut("WEBP", 0.5), says="damaged|incomplete"),
    Case("cut.gif", cut("GIF", 0.5), to=".png", says="truncated|incomplete|damaged"),
    Case("cut.tif", cut("TIFF", 0.5), says="damaged|incomplete"),
    Case("cut.bmp", cut("BMP", 0.5), to=".png", says="truncated|incomplete"),
    Case("cut-16-bit.png", file(lambda: png16(photo16())[:200]), says="damaged|incomplete"),
    Case(
        "cut-moving.webp",
        lambda path: (moving("WEBP")(path), path.write_bytes(path.read_bytes()[:-60]))[0],
        says="damaged|incomplete",
    ),
    Case(
        "png-named.jpg",
        image("PNG"),
        says=r"is a PNG image that is named \.jpg; rename it to \.png",
    ),
    Case(
        "jpeg-named.png",
        image("JPEG"),
        says=r"is a JPEG image that is named \.png; rename it to \.jpg",
    ),
    Case("webp-named.jpg", image("WEBP"), says="is a WEBP image"),
    Case("text-named.png", file("Liebe Grüße\n".encode() * 9), says="is text"),
    Case("noise.jpg", file(np.random.default_rng(0).bytes(999)), says="not an image"),
    Case("zeros.png", file(bytes(4096)), says="not an image"),
    Case("document.pdf.jpg", file(b"%PDF-1.7\n%\xe2\xe3"), says="is a document"),
    Case("drawing.svg.png", file(b'<?xml version="1.0"?><svg width="9"/>'), says="vector drawing"),
    Case(
        "script.eps",
        file(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        to=".png",
        says="is a document",
    ),
    Case("photo.heic", file(b"\0\0\0\x18ftypheic" + bytes(90)), to=".png", says="HEIC photo"),
    Case("film.mp4", file(b"\0\0\0\x18ftypisom" + bytes(90)), to=".png", says="a video"),
    Case("camera.nef", image("TIFF"), to=".png", says="raw file"),
    Case("bomb.png", file(lambda: png(30000, 30000, 8, 0, b"\0" * 99)), says="million pixels"),
    Case(
        "bomb.bmp",
        file(
            b"BM"
            + struct.pack("<IIIIiiHHIIiiII", 0, 0, 54, 40, 30000, 30000, 1, 24, 0, 0, 0, 0, 0, 0)
        ),
        to=".png",
        says="million pixels",
    ),
    Case(
        "bomb.gif",
        file(
            b"GIF89a"
            + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
            + b","
            + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0)
            + b"\2\0;"
        ),
        to=".png",
        says="million pixels",
    ),
    Case("bomb-in-text.png", file(bomb_text), says="Decompressed data too large"),
    Case("32-bit-float.tif", tiff(photo(channels=1)[..., 0].astype(np.float32)), says="32 bits"),
    Case("32-bit-whole.tif", tiff(photo(channels=1)[..., 0].astype(np.int32)), says="32 bits"),
    Case(
        "planes.tif",
        tiff(np.moveaxis(photo16(), -1, 0), photometric="rgb", planarconfig="separate"),
        says="separate planes",
    ),
    Case("pages.tif", pages, says="has 3 pages"),
    Case(
        "too-wide.jpg",
        file(lambda: saved(Image.fromarray(photo(33000, 1)), "JPEG")),
        says="JPEG ends at 65500",
    ),
    Case(
        "too-high-for-webp.png",
        file(lambda: saved(Image.fromarray(photo(1, 9000)), "PNG")),
        to=".webp",
        says="WEBP ends at 16383",
    ),
    Case("rgba.png", image("PNG", "RGBA"), to=".jpg", says="JPEG cannot hold transparency"),
    Case("moving.gif", moving("GIF"), to=".jpg", says="JPEG cannot hold an animation"),
    Case("moving.gif", moving("GIF"), to=".tif", says="TIFF cannot hold an animation"),
    Case("rgb.png", with_text, to=".bmp", says=r"cannot write \.bmp"),
    Case("folder.png", lambda path: path.mkdir(), says="is a folder"),
    Case("pipe.png", lambda path: os.mkfifo(path), says="is a pipe or a device"),
    Case("broken-link.png", link("nothing.png"), says="link to a file that is not there"),
    Case("loop.png", link("loop.png"), says="cannot be looked at|not there"),
    Case("missing.png", lambda path: None, says="no such file"),
]

CASES = DONE + REFUSED


def write(folder: Path) -> int:
    """Write every file of the corpus; returns how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        path = folder / case.name
        if not os.path.lexists(path):
            case.make(path)
    return len(list(folder.iterdir()))


if __name__ == "__main__":
    print(write(Path(sys.argv[1])), "files in", sys.argv[1])
