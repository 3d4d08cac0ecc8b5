"""Small image files of every kind, for the corpus and the fuzz test: the same bytes every time."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

from tests.imagefile import profiles

ICC = profiles.rgb()
WIDTH, HEIGHT = 22, 14


def double(pixels: np.ndarray) -> np.ndarray:
    """The network of most tests: every pixel four times."""
    return pixels.repeat(2, axis=0).repeat(2, axis=1)


def photo(width: int = WIDTH, height: int = HEIGHT, channels: int = 3) -> np.ndarray:
    """A smooth picture without symmetry: turned or mirrored, it is another."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [40 + 9 * x % 200, 30 + 13 * y % 200, 220 - (4 * x + 3 * y) % 200]
    planes.append(np.where(x + y < 6, 0, np.where(x + y < 12, 128, 255)))
    chosen = {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[channels]
    return np.stack([planes[i] for i in chosen], -1).astype(np.uint8)


def photo16(channels: int = 3) -> np.ndarray:
    """The same with 16 bits, of which the lower eight matter."""
    eight = photo(channels=channels).astype(np.uint16)
    return np.where(eight < 255, eight * 257 + 37, 65535).astype(np.uint16)


def drawn(mode: str = "RGB") -> Image.Image:
    channels = {"L": 1, "LA": 2, "RGBA": 4}.get(mode, 3)
    made = Image.fromarray(photo(channels=channels).squeeze())
    return made if made.mode == mode else made.convert(mode)


def exif(
    orientation: int = 1,
    preview: bool = False,
    order: str = "<",
    more: Sequence[tuple[int, int, int, bytes]] = (),
    shift: int = 0,
) -> bytes:
    """EXIF with a maker's note, the size of the picture, a place, and perhaps a preview."""

    def directory(at: int, entries: list[tuple[int, int, int, bytes]], following: int = 0):
        end = at + 6 + 12 * len(entries)
        head, tail = struct.pack(order + "H", len(entries)), b""
        for tag, kind, count, data in sorted(entries):
            inline = len(data) <= 4
            field = data.ljust(4, b"\0") if inline else struct.pack(order + "I", end + len(tail))
            tail += b"" if inline else data + bytes(len(data) % 2)
            head += struct.pack(order + "HHI", tag, kind, count) + field
        return head + struct.pack(order + "I", following) + tail

    def short(*values: int) -> bytes:
        return struct.pack(f"{order}{len(values)}H", *values)

    def long(value: int) -> bytes:
        return struct.pack(order + "I", value)

    camera, details, place, small = 8, 200 + shift, 400 + shift, 500 + shift
    jpeg = saved(drawn().resize((8, 5)), "JPEG")
    main = directory(
        camera,
        [
            (271, 2, 6, b"Maker\0"),
            (272, 2, 9, b"Model 10\0"),
            (274, 3, 1, short(orientation)),
            (306, 2, 20, b"2024:05:06 07:08:09\0"),
            (315, 2, 7, b"Author\0"),
            (34665, 4, 1, long(details)),
            (34853, 4, 1, long(place)),
            *more,
        ],
        small if preview else 0,
    )
    inner = directory(
        details,
        [
            (33434, 5, 1, struct.pack(order + "II", 1, 250)),
            (36864, 7, 4, b"0232"),
            (37500, 7, 24, b"MakerNote\0" + bytes(range(14))),
            (40962, 3, 1, short(WIDTH)),
            (40963, 4, 1, long(HEIGHT)),
        ],
    )
    gps = directory(
        place, [(1, 2, 2, b"N\0"), (2, 5, 3, struct.pack(order + "6I", 48, 1, 51, 1, 0, 1))]
    )
    thumbnail = directory(small, [(513, 4, 1, long(600)), (514, 4, 1, long(len(jpeg)))])
    content = bytearray(600 + len(jpeg) if preview else 500 + shift)
    content[:8] = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    for at, part in ((camera, main), (details, inner), (place, gps)):
        content[at : at + len(part)] = part
    if preview:
        content[small : small + len(thumbnail)] = thumbnail
        content[600:] = jpeg
    return bytes(content)


def xmp(orientation: int = 1) -> bytes:
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        f'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{orientation}" '
        f'xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:PixelXDimension="{WIDTH}">'
        f"<exif:PixelYDimension>{HEIGHT}</exif:PixelYDimension><dc:title>Härbst</dc:title>"
        "<xmp:Thumbnails><rdf:Alt>AAAA</rdf:Alt></xmp:Thumbnails>"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


IPTC = b"\x1c\x02\x05\x00\x07Caption\x1c\x02\x50\x00\x06Author"


def saved(picture: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def file(data: bytes | Callable[[], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data() if callable(data) else data) and None


def image(format: str, mode: str = "RGB", **options) -> Callable[[Path], None]:
    return file(lambda: saved(drawn(mode), format, **options))


def cut(format: str, share: float, **options) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        data = saved(Image.fromarray(photo(60, 40)), format, **options)
        path.write_bytes(data[: int(len(data) * share)])

    return make


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG from its parts; ``rows`` with a filter byte before each row."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    parts = (head, *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png16(pixels: np.ndarray, *extra: bytes) -> bytes:
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], rows, *extra)


def with_text(path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "Herbst")
    texts.add_itxt("Author", "Zoë", "de", "Urheber")
    texts.add_itxt("XML:com.adobe.xmp", xmp().decode())
    drawn().save(
        path, "PNG", pnginfo=texts, dpi=(300, 300), exif=b"Exif\0\0" + exif(6), icc_profile=ICC
    )


def photoshop() -> bytes:
    content = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(IPTC)) + IPTC
    content += bytes(len(IPTC) % 2)
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content


def phone(orientation: int, order: str = "<") -> Callable[[Path], None]:
    def make(path: Path) -> None:
        drawn().save(
            path,
            "JPEG",
            quality=92,
            exif=b"Exif\0\0" + exif(orientation, True, order),
            xmp=xmp(orientation),
            icc_profile=ICC,
            comment=b"a comment",
            dpi=(240, 240),
            extra=photoshop(),
        )

    return make


def frames(mode: str = "RGB", count: int = 4) -> list[Image.Image]:
    """A square that walks over the photo; in RGBA, over nothing."""
    made = []
    for index in range(count):
        frame = drawn(mode) if mode != "RGBA" else Image.new("RGBA", (WIDTH, HEIGHT))
        frame.paste((255, 40 * index, 0, 255)[: len(mode)], (3 + 4 * index, 4, 7 + 4 * index, 9))
        made.append(frame)
    return made


def moving(format: str, mode: str = "RGB", **options) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        first, *others = frames(mode)
        times = [100, 200, 50, 1000]
        first.save(path, format, save_all=True, append_images=others, duration=times, **options)

    return make


def tiff(pixels: np.ndarray, **options) -> Callable[[Path], None]:
    # A date and a version in the file would make it another one every time.
    return lambda path: tifffile.imwrite(path, pixels, metadata=None, software="", **options)


def tiff_with_all(path: Path) -> None:
    """EXIF is a TIFF file without pixels: this one has them."""

    def long(value: int) -> bytes:
        return struct.pack(">I", value)

    def short(*values: int) -> bytes:
        return struct.pack(f">{len(values)}H", *values)

    dpi = struct.pack(">II", 300, 1)
    more = [
        (256, 4, 1, long(WIDTH)),
        (257, 4, 1, long(HEIGHT)),
        (258, 3, 3, short(8, 8, 8)),
        (262, 3, 1, short(2)),
        (273, 4, 1, long(4500)),
        (277, 3, 1, short(3)),
        (279, 4, 1, long(WIDTH * HEIGHT * 3)),
        (282, 5, 1, dpi),
        (283, 5, 1, dpi),
        (296, 3, 1, short(2)),
        (700, 1, len(xmp(8)), xmp(8)),
        (33723, 7, len(IPTC), IPTC),
        (34675, 7, len(ICC), ICC),
    ]
    path.write_bytes(exif(8, order=">", more=more, shift=4000) + photo().tobytes())


def mpo(path: Path) -> None:
    drawn().save(path, "MPO", save_all=True, append_images=[drawn().rotate(180)])


def cmyk(format: str, **options) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        inks = np.concatenate((photo(), photo(channels=1)[:, ::-1] // 3), axis=-1)
        picture = Image.frombytes("CMYK", (WIDTH, HEIGHT), inks.tobytes())
        picture.save(path, format, icc_profile=profiles.cmyk(), **options)

    return make


def palette(mode: str, **options) -> bytes:
    picture = drawn("RGBA" if mode == "RGBA" else "RGB").quantize(16)
    return saved(picture, "PNG", **options)


def lab(path: Path) -> None:
    Image.frombytes("LAB", (WIDTH, HEIGHT), photo().tobytes()).save(path, "TIFF")


def bomb_text() -> bytes:
    text = b"Comment\0\0" + zlib.compress(b"a" * (1 << 27), 9)
    return png(2, 2, 8, 0, b"\0\1\2\0\3\4", chunk(b"zTXt", text))


def link(to: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(to)


def damaged_exif(path: Path) -> None:
    broken = exif(6)[:60] + b"\xff" * 40
    drawn().save(path, "JPEG", exif=b"Exif\0\0" + broken)


def stale_tags(path: Path) -> None:
    description = '{"shape": [14, 22, 3]}'
    tifffile.imwrite(path, photo(), metadata=None, description=description, software="Studio 1",
                     extratags=[(33550, "d", 3, (1.0, 1.0, 0.0), True)])  # fmt: skip


def with_preview_page(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(photo(), photometric="rgb", metadata=None, software="")
        file.write(photo()[::2, ::2], photometric="rgb", subfiletype=1, metadata=None, software="")


def pages(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        for _ in range(3):
            file.write(photo(), photometric="rgb", metadata=None, software="")
