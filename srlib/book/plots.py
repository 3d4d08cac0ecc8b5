"""Every figure's look: pixels unsmoothed, one palette, legible in grey and at 390 px."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from srlib.book.drawing import DPI, WIDTH, Drawing, panels
from srlib.book.drawing import note as note

#: Okabe and Ito's palette: told apart by colour-blind readers. Line styles
#: repeat the distinction for readers without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")

STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)))

#: Around a part of a photo. Almost white: white itself is the page's colour, which may be dark.
FRAME = "#fffffe"

STYLE: dict[Any, Any] = {
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=STYLES),
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "image.interpolation": "none",
    "image.cmap": "gray",
}


def figure(
    rows: int = 1, columns: int = 1, height: float = 3.4, width: float = WIDTH, **options
) -> tuple[Figure, np.ndarray]:
    """A figure in the book's style: ``(figure, axes)``, axes always ``(rows, columns)``."""
    with plt.rc_context(STYLE):
        return plt.subplots(
            rows, columns, figsize=(width, height), squeeze=False, FigureClass=Drawing, **options
        )


def gallery(
    rows: Sequence[Mapping[str, np.ndarray]],
    captions: Sequence[Mapping[str, str]] | None = None,
) -> Figure:
    """Rows of images side by side; the keys are the column titles.

    Args:
        rows: one mapping a row, column title -> ``(H, W, 3)``, uint8 or [0, 1].
            Images may differ in size; each is drawn with its own pixels.
        captions: for each row, column title -> a line under the title.
    """
    titles = []
    for r, row in enumerate(rows):
        notes = captions[r] if captions else {}
        heads = [(column if r == 0 else "", notes.get(column, "")) for column in row]
        titles.append(["\n".join(filter(None, head)) for head in heads])
    return panels([list(row.values()) for row in rows], titles)


def contact_sheet(
    images: Sequence[np.ndarray], columns: int = 10, titles: Sequence[str] | None = None
) -> Figure:
    """Many small images in a grid, with titles if there are any."""
    names = titles or [""] * len(images)
    starts = range(0, len(images), columns)
    full = [images[i : i + columns] for i in starts]
    return panels(full, [names[i : i + columns] for i in starts], gap=4)


def zoom(images: Mapping[str, np.ndarray], box: tuple[int, int, int]) -> Figure:
    """A detail of several images of one scene, magnified.

    Args:
        images: title -> image; all square, of any size.
        box: ``(top, left, side)`` in pixels of the largest of them.
    """
    largest = max(len(image) for image in images.values())
    details, boxes = [], []
    for image in images.values():
        top, left, side = (round(value * len(image) / largest) for value in box)
        details.append(image[top : top + side, left : left + side])
        boxes.append((left, top, side))
    fig = panels([list(images.values()), details], [list(images), [""] * len(images)])
    for axis, image, (left, top, side) in zip(fig.axes, images.values(), boxes, strict=False):
        shown = np.ptp(axis.get_xlim()) / len(image)  # less than 1 if reduced
        corner = (left * shown - 0.5, top * shown - 0.5)
        frame = Rectangle(
            corner, side * shown, side * shown, fill=False, edgecolor=FRAME, linewidth=1.5
        )
        axis.add_patch(frame)
    return fig


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    lines: Mapping[str, float] | None = None,
    logy: bool = False,
) -> Figure:
    """Named curves, with horizontal reference lines labelled at their right end."""
    fig, axes = figure()
    axis = axes[0, 0]
    with plt.rc_context(STYLE):
        axis.set_prop_cycle(STYLE["axes.prop_cycle"])
        for name, (x, y) in series.items():
            axis.plot(x, y, label=name)
        for name, value in (lines or {}).items():
            axis.axhline(value, color="0.4", linewidth=1)
            axis.annotate(
                name, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                fontsize=9, color="0.3",
            )  # fmt: skip
        axis.set(xlabel=xlabel, ylabel=ylabel)
        if all(isinstance(value, int) for x, _ in series.values() for value in x):
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if logy:
            axis.set_yscale("log")
        axis.legend()
    return fig


def histogram(
    series: Mapping[str, np.ndarray],
    xlabel: str,
    marks: Mapping[str, float] | None = None,
    bins: int = 30,
) -> Figure:
    """Distributions as step outlines on common bins; dotted lines at ``marks``."""
    fig, axes = figure()
    axis = axes[0, 0]
    edges = np.histogram_bin_edges(np.concatenate(list(series.values())), bins)
    for i, (name, values) in enumerate(series.items()):
        label = f"{name} (mean {values.mean():.2f})"
        axis.hist(
            values, edges, histtype="step", label=label, linewidth=2,
            color=COLOURS[i], linestyle=STYLES[i],
        )  # fmt: skip
    for name, value in (marks or {}).items():
        axis.axvline(value, color="0.4", linestyle=":")
        axis.annotate(
            name, (value, 1), xycoords=("data", "axes fraction"), ha="left", va="top", fontsize=9,
            rotation=90,
        )  # fmt: skip
    axis.set(xlabel=xlabel, ylabel="photos")
    axis.legend(fontsize=9)
    return fig


def scatter(
    x: np.ndarray,
    series: Mapping[str, np.ndarray],
    xlabel: str,
    ylabel: str,
) -> Figure:
    """Points, one marker for each series."""
    fig, axes = figure(height=4.2)
    axis = axes[0, 0]
    for (name, y), colour, marker in zip(series.items(), COLOURS, "o^sDvP", strict=False):
        axis.scatter(x, y, s=14, alpha=0.6, color=colour, marker=marker, label=name)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.legend(fontsize=9)
    return fig


def bars(
    values: Mapping[str, float],
    xlabel: str,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """Horizontal bars with their numbers written out, and intervals where given."""
    fig, axes = figure(height=0.6 + 0.38 * len(values))
    axis = axes[0, 0]
    names = list(values)[::-1]
    heights = np.array([values[name] for name in names])
    errors = None
    if intervals:
        ends = np.array([intervals[name] for name in names])
        errors = np.abs(ends.T - heights)
    axis.barh(names, heights, xerr=errors, color=COLOURS[0], height=0.6, capsize=3)
    for row, (name, value) in enumerate(zip(names, heights, strict=True)):
        # Beyond the bar's end: inside, the number of a short bar would be white on white.
        side = 1 if value >= 0 else -1
        end = max((value, *intervals[name]), key=lambda x: side * x) if intervals else value
        axis.annotate(
            f"{value:.2f}", (end, row), (5 * side, 0), textcoords="offset points", va="center",
            ha="left" if side > 0 else "right", fontsize=9,
        )  # fmt: skip
    axis.margins(x=0.18)  # room for the numbers beside long names too
    axis.set_xlabel(xlabel)
    axis.grid(False, axis="y")
    return fig


def spectra(decibels: Mapping[str, np.ndarray]) -> Figure:
    """Power spectra side by side on one scale; see ``srlib.metrics.checkerboard.spectrum``."""
    fig, axes = figure(1, len(decibels), height=WIDTH / len(decibels) + 0.6)
    everything = np.concatenate([values.ravel() for values in decibels.values()])
    low, high = np.percentile(everything, (1, 99.9))
    for axis, (title, values) in zip(axes[0], decibels.items(), strict=True):
        # Half a bin beyond -1/2: there the Nyquist lines lie, at the left and upper border.
        axis.imshow(
            values, cmap="gray", vmin=low, vmax=high, extent=(-0.5, 0.5, 0.5, -0.5),
            interpolation="none",
        )  # fmt: skip
        axis.set_title(title, fontsize=9)
        axis.set_xticks([-0.5, 0, 0.5], ["-1/2", "0", "1/2"], fontsize=8)
        axis.set_yticks([-0.5, 0, 0.5], ["-1/2", "0", "1/2"], fontsize=8)
        axis.grid(False)
    return fig


def intervals(
    series: Mapping[str, Mapping[str, tuple[float, tuple[float, float], Sequence[float]]]],
    xlabel: str,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Means with intervals, a line for each category, a marker for each series.

    Args:
        series: series -> category -> (mean, interval, single values); single
            values are drawn as small dots.
        xlabel: of the common axis.
        marks: label -> position of vertical reference lines.
    """
    categories = list(next(iter(series.values())))
    fig, axes = figure(height=1.0 + 0.5 * len(categories))
    axis = axes[0, 0]
    step = min(0.3, 0.6 / max(len(series) - 1, 1))
    for i, (name, cells) in enumerate(series.items()):
        places = np.arange(len(categories))[::-1] + step * ((len(series) - 1) / 2 - i)
        colour, marker = COLOURS[i], "o^sDvP"[i]
        for place, category in zip(places, categories, strict=True):
            mean, (low, high), single = cells[category]
            axis.plot([low, high], [place, place], color=colour, linewidth=2, linestyle="-")
            axis.plot(single, [place] * len(single), ".", color=colour, markersize=4, alpha=0.5)
            axis.plot(
                mean, place, marker, color=colour, markersize=7, linestyle="none",
                label=name if category == categories[0] else None,
            )  # fmt: skip
    for label, place in (marks or {}).items():
        axis.axvline(place, color="0.4", linestyle=":", linewidth=1)
        axis.annotate(
            label, (place, 1), xycoords=("data", "axes fraction"), ha="left", va="bottom",
            fontsize=9,
        )  # fmt: skip
    axis.set_yticks(np.arange(len(categories))[::-1], categories)
    axis.set_xlabel(xlabel)
    fig.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    return fig
