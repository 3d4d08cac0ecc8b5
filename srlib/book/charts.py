"""Figures of numbers that carry their names beside each point: PSNR against what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from srlib.book.plots import COLOURS, STYLE, figure

#: Marker and filling of each group: told apart without colour.
MARKERS = (("o", "none"), ("s", "full"), ("^", "full"), ("D", "none"))

FONT = 10.5  # points; on a phone the figure is drawn at half its width

Offset = tuple[float, float]

#: Where a name may stand, in points from its point, the best place first.
_OFFSETS: list[Offset] = [
    (distance * right, distance * up)
    for distance in (7, 14, 24, 36, 50, 66, 84)
    for right, up in ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
]


class Point(NamedTuple):
    """One model in a chart: its name, what it costs, what it scores, its group."""

    name: str
    x: float
    y: float
    group: str


def ladder(
    points: Sequence[Point],
    xlabel: str,
    ylabel: str,
    lines: Mapping[str, float] | None = None,
    arrows: Sequence[tuple[str, str]] = (),
    height: float = 5.6,
    groups: Sequence[str] | None = None,
) -> Figure:
    """Named points over a logarithmic cost, with labels that do not cover one another.

    Args:
        points: models; ``x`` must be positive.
        xlabel: of the cost, with its unit.
        ylabel: of the score, with its unit.
        lines: label -> height of horizontal reference lines, for what costs nothing.
        arrows: pairs of names, drawn from the first to the second.
        height: of the figure in inches.
        groups: in this order they get their markers; by default as they come.
            One of them may have no point here.
    """
    fig, axes = figure(height=height)
    axis = axes[0, 0]
    groups = groups or list(dict.fromkeys(point.group for point in points))
    with plt.rc_context(STYLE):
        for group, colour, (marker, fill) in zip(groups, COLOURS, MARKERS, strict=False):
            mine = [point for point in points if point.group == group]
            if not mine:
                continue
            axis.plot(
                [p.x for p in mine], [p.y for p in mine], marker, color=colour, fillstyle=fill,
                markersize=8, markeredgewidth=1.8, linestyle="none", label=group,
            )  # fmt: skip
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(lambda value, _: _short(value))
        axis.xaxis.set_minor_formatter(lambda value, _: _minor(value, axis.get_xlim()))
        axis.margins(x=0.14, y=0.14)
        for name, value in (lines or {}).items():
            axis.axhline(value, color="0.4", linewidth=1, linestyle="--")
            axis.annotate(
                name, (0, value), (4, -3), xycoords=("axes fraction", "data"), va="top",
                textcoords="offset points", fontsize=FONT, color="0.3",
            )  # fmt: skip
        where = {point.name: (point.x, point.y) for point in points}
        for start, end in arrows:
            style = {"arrowstyle": "->", "color": "0.35", "linewidth": 1.2, "shrinkB": 5}
            axis.annotate("", where[end], where[start], arrowprops=style)
        axis.set(xlabel=xlabel, ylabel=ylabel)
        if len({point.group for point in points}) > 1:
            fig.legend(loc="outside upper center", ncols=len(groups), fontsize=FONT)
    label(axis, points, [(where[start], where[end]) for start, end in arrows])
    return fig


def _short(value: float) -> str:
    """12000 as 12 K: as axes say large numbers."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " K")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _minor(value: float, limits: tuple[float, float]) -> str:
    """2 and 5 of each decade, where there are few decades."""
    leading = round(value / 10 ** np.floor(np.log10(value)), 6)
    return _short(value) if leading in (2, 5) and limits[1] / limits[0] < 150 else ""


def label(
    axis: Axes, points: Sequence[Point], arrows: Sequence[tuple[tuple, tuple]] = ()
) -> list[Annotation]:
    """Write each point's name where it covers no other name, no point and no arrow.

    The points with the most neighbours choose first. A name that had to go far
    is tied to its point by a thin line.
    """
    axis.figure.canvas.draw()  # settles the layout, so that pixels can be compared
    spots = axis.transData.transform([(point.x, point.y) for point in points])
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in spots]
    taken += [text.get_window_extent() for text in axis.texts if text.get_text()]
    for ends in arrows:
        start, end = axis.transData.transform(ends)
        along = np.linspace(start, end, 2 + int(np.linalg.norm(end - start) / 6))
        taken += [Bbox([spot - 3, spot + 3]) for spot in along]
    near = np.linalg.norm(spots[:, None] - spots[None], axis=-1) < 120
    written = {}
    for index in np.argsort(-near.sum(axis=1), kind="stable"):
        point = points[index]
        size = _size(axis, point.name)
        offset = min(_OFFSETS, key=lambda offset: _cost(axis, spots[index], offset, size, taken))
        written[index] = _write(axis, point, offset)
        taken.append(_box(axis, spots[index], offset, size))
    return [written[index] for index in range(len(points))]


def _size(axis: Axes, name: str) -> tuple[float, float]:
    text = axis.text(0.5, 0.5, name, transform=axis.transAxes, fontsize=FONT)
    extent = text.get_window_extent()
    text.remove()
    return extent.width, extent.height


def _box(axis: Axes, spot: np.ndarray, offset: Offset, size: tuple[float, float]) -> Bbox:
    """Where a name of this size would stand, in pixels, with a little air around it."""
    middle = spot + np.array(offset) * axis.figure.dpi / 72
    low = middle + (np.sign(offset) - 1) / 2 * size
    return Bbox([low, low + size]).padded(1.5)


def _cost(axis: Axes, spot: np.ndarray, offset: Offset, size: tuple, taken: list[Bbox]) -> float:
    """How much of a name would be covered, or lie outside; of equals the first is best."""
    box, frame = _box(axis, spot, offset, size), axis.bbox
    beyond = (frame.x0 - box.x0, box.x1 - frame.x1, frame.y0 - box.y0, box.y1 - frame.y1)
    cost = 1000 * sum(max(0.0, pixels) for pixels in beyond)
    for other in taken:
        both = Bbox.intersection(box, other)
        cost += both.width * both.height if both is not None else 0.0
    return cost


def _write(axis: Axes, point: Point, offset: Offset) -> Annotation:
    right, up = (int(side) for side in np.sign(offset))
    tie = {"arrowstyle": "-", "color": "0.55", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 5}
    return axis.annotate(
        point.name, (point.x, point.y), offset, textcoords="offset points", fontsize=FONT,
        ha=("center", "left", "right")[right], va=("center", "bottom", "top")[up],
        arrowprops=tie if np.hypot(*offset) > 12 else None, annotation_clip=False,
    )  # fmt: skip
