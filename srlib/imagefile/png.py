"""PNG files: their chunks, and pictures of 16 bits, of which Pillow writes grey alone.

Source: W3C, "Portable Network Graphics (PNG) Specification", third edition,
2025. Taught in chapter 10.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {"L": 0, "RGB": 2, "LA": 4, "RGBA": 6}
_BAND = 64


def chunk(name: bytes, data: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of a PNG file's chunks; it ends where the file does not go on."""
    if file.read(8) != SIGNATURE:
        return
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        data = file.read(min(length, 1 << 31))
        if len(data) != length:
            return
        yield name, data
        file.seek(4, 1)


def header(width: int, height: int, kind: str, bits: int) -> bytes:
    """The chunk that a PNG file begins with."""
    return chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPES[kind], 0, 0, 0)
    )


def write(file: BinaryIO, pixels: np.ndarray, kind: str, extra: bytes = b"") -> None:
    """Write a PNG file of 16 bits.

    Args:
        file: open and empty.
        pixels: uint16 ``(H, W, C)``.
        kind: ``"L"``, ``"LA"``, ``"RGB"`` or ``"RGBA"``.
        extra: chunks that belong before the pixels.
    """
    height, width, channels = pixels.shape
    file.write(SIGNATURE + header(width, height, kind, 16) + extra)
    packer = zlib.compressobj(6)
    above = np.zeros((1, width * channels * 2), np.uint8)
    for top in range(0, height, _BAND):
        rows = pixels[top : top + _BAND].astype(">u2").view(np.uint8).reshape(-1, above.shape[1])
        packed = packer.compress(_filtered(rows, above, 2 * channels).tobytes())
        above = rows[-1:]
        if packed:
            file.write(chunk(b"IDAT", packed))
    file.write(chunk(b"IDAT", packer.flush()) + chunk(b"IEND", b""))


def _filtered(rows: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    """Each row by PNG's filter (Sub, Up or Paeth) that leaves the smallest differences."""
    up = np.concatenate((above, rows[:-1]))
    left, corner = (np.pad(part, ((0, 0), (step, 0)))[:, : part.shape[1]] for part in (rows, up))
    a, b, c = (part.astype(np.int16) for part in (left, up, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    paeth = np.where((to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, up, corner))
    options = np.stack([rows - left, rows - up, rows - paeth])
    costs = np.abs(options.view(np.int8).astype(np.int16)).sum(axis=-1, dtype=np.int64)
    best = costs.argmin(axis=0)
    chosen = options[best, np.arange(len(rows))]
    return np.concatenate((np.array([1, 2, 4], np.uint8)[best][:, None], chosen), axis=1)
