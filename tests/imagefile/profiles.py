"""Small ICC profiles of three colour spaces, made by hand for the corpus."""

import struct

from PIL import ImageCms


def rgb() -> bytes:
    """LittleCMS' sRGB; its date is set, so that it is the same every time."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    content[24:36] = struct.pack(">6H", 2024, 1, 1, 0, 0, 0)
    return bytes(content)


def grey(gamma: float = 1.8) -> bytes:
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": curve})


def cmyk() -> bytes:
    """Inks of which black alone is a dark grey: so the profile's effect is seen."""
    table = bytearray()
    for corner in range(16):
        cyan, magenta, yellow, black = (bool(corner & bit) for bit in (8, 4, 2, 1))
        lightness = 95 - 35 * cyan - 40 * magenta - 8 * yellow
        lightness = max(lightness, 5) * (0.25 if black else 1)
        a = (-35 * cyan + 70 * magenta) * (not black)
        b = (-45 * cyan - 5 * magenta + 85 * yellow) * (not black)
        table += bytes((round(lightness * 2.55), round(min(max(a, -80), 80) + 128), round(b + 128)))
    unit = [65536 if i % 4 == 0 else 0 for i in range(9)]
    straight = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + struct.pack(">9i", *unit)
    lut += straight * 4 + bytes(table) + straight * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})


def _profile(device: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    text = b"text" + bytes(4) + b"no rights reserved\0"
    name = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": name, b"cprt": text, b"wtpt": white, **tags}
    body, table = b"", struct.pack(">I", len(tags))
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", 132 + 12 * len(tags) + len(body), b"lcms", 0x02400000,
                       device, space, connection)  # fmt: skip
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body
