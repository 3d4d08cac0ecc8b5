"""How figures get onto a page: as vectors, with pictures whose pixels are whole.

A chart's text stays text, and the book's build gives its black and its greys the
colours of the page, light or dark (``book/_ext/drawings.py``). A picture is embedded
as it is and shown at a whole multiple of its size, so that nobody resamples it.
"""

from __future__ import annotations

import io
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from srlib.pixels import to_uint8

DPI = 96  # CSS pixels per inch

WIDTH = 704 / DPI  # inches: 704 pixels, the width of the book's text column on a laptop

#: A longer drawing is shown as PNG instead: thousands of points, or many pictures.
LONGEST = 260_000

#: What makes the same drawing the same text at each run, with letters for letters.
VECTORS: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "srlib"}

GAP = 8  # pixels between pictures
LINE = 16  # pixels of a line of a title, of 9 points


class Drawing(Figure):
    """A figure of the book, which a notebook shows as SVG."""

    def svg(self) -> str:
        """The drawing as text, the same for the same figure."""
        with plt.rc_context(VECTORS):
            buffer = io.StringIO()
            self.savefig(buffer, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
        text = buffer.getvalue()
        return text[text.index("<svg") :]

    def png(self) -> bytes:
        """The drawing as pixels."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=DPI)
        return buffer.getvalue()


def show_by(formatters: Mapping[str, Any]) -> None:
    """Let a notebook's formatters show drawings as SVG, and those that are too long as PNG."""

    def svg(drawing: Drawing) -> str | None:
        return text if len(text := drawing.svg()) <= LONGEST else None

    def png(drawing: Drawing) -> bytes | None:
        return None if svg(drawing) else drawing.png()

    formatters["image/svg+xml"].for_type(Drawing, svg)
    formatters["image/png"].for_type(Drawing, png)


if "IPython" in sys.modules and (_shell := sys.modules["IPython"].get_ipython()):
    show_by(_shell.display_formatter.formatters)


def fitting(image: np.ndarray, room: int) -> np.ndarray:
    """8 bits, and not wider than ``room``: a larger one is averaged over whole squares."""
    image = np.asarray(image)
    image = image if image.dtype == np.uint8 else to_uint8(image)
    factor = -(-image.shape[1] // room)
    if factor == 1:
        return image
    high, wide = (size // factor for size in image.shape[:2])
    cells = image[: high * factor, : wide * factor].astype(np.float32)
    cells = cells.reshape(high, factor, wide, factor, -1).mean(axis=(1, 3))
    return cells.round().astype(np.uint8).reshape(high, wide, *image.shape[2:])


def multiple(image: np.ndarray, widest: int, room: int) -> int:
    """How often a pixel is repeated, so that images of one scene are shown equally large."""
    return max(1, room // widest * widest // image.shape[1])


def panels(
    rows: Sequence[Sequence[np.ndarray]], titles: Sequence[Sequence[str]], gap: int = GAP
) -> Figure:
    """Rows of pictures, each under its title, their pixels shown as whole squares.

    Args:
        rows: of ``(H, W, 3)`` or ``(H, W)``, uint8 or [0, 1]; those of a row are
            shown equally wide, whatever their size, if whole multiples allow it.
        titles: as many; long ones are broken into lines.
        gap: pixels between pictures.

    Returns:
        The figure, with axes for each picture in reading order.
    """
    columns = max(map(len, rows))
    room = (round(WIDTH * DPI) + gap) // columns - gap
    placed: list[tuple[int, int, np.ndarray, str, int]] = []
    top = 0
    for images, names in zip(rows, titles, strict=True):
        images = [fitting(image, room) for image in images]
        widest = max(image.shape[1] for image in images)
        names = [_lines(name, room) for name in names]
        top += LINE * max(name.count("\n") + 1 if name else 0 for name in names) + 4
        times = [multiple(image, widest, room) for image in images]
        for column, one in enumerate(zip(images, names, times, strict=True)):
            placed.append((column * (room + gap), top, *one))
        top += max(t * len(image) for t, image in zip(times, images, strict=True)) + gap
    fig = plt.figure(FigureClass=Drawing, figsize=(WIDTH, top / DPI), dpi=DPI, layout="none")
    for left, above, image, name, factor in placed:
        high, wide = (factor * size for size in image.shape[:2])
        box = (left / DPI / WIDTH, 1 - (above + high) / top, wide / DPI / WIDTH, high / top)
        axis = fig.add_axes(box)
        axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="none", aspect="auto")
        axis.set_title(name, fontsize=9, pad=3, loc="left")
        axis.set_axis_off()
    return fig


def _lines(title: str, room: int) -> str:
    """A title in lines of a picture's width."""
    letters = max(8, int(room / 6.6))
    return "\n".join(textwrap.fill(line, letters) for line in title.split("\n"))


def note(fig: Figure, text: str) -> None:
    """A line above a figure, for what all of it depends on."""
    fig.suptitle(text, fontsize=9, color="0.3")
    if fig.get_layout_engine() is not None:
        return
    before = fig.get_figheight()
    after = before + LINE * (text.count("\n") + 1.5) / DPI
    fig.set_figheight(after)
    for axis in fig.axes:
        box = axis.get_position()
        axis.set_position((box.x0, box.y0 * before / after, box.width, box.height * before / after))
