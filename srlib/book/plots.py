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

from srlib.pixels import to_uint8

#: Okabe and Ito's palette: told apart by colour-blind readers. Line styles
#: repeat the distinction for readers without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")

STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)))

WIDTH = 8.0  # inches; at 96 dpi the width of the book's text column

DPI = 96

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
    "image.interpolation": "nearest",
    "image.cmap": "gray",
}


def figure(
    rows: int = 1, columns: int = 1, height: float = 3.4, width: float = WIDTH, **options
) -> tuple[Figure, np.ndarray]:
    """A figure in the book's style: ``(figure, axes)``, axes always ``(rows, columns)``."""
    with plt.rc_context(STYLE):
        return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **options)


def _show(axis, image: np.ndarray, title: str = "") -> None:
    image = image if image.dtype == np.uint8 else to_uint8(image)
    axis.imshow(image, interpolation="nearest", aspect="equal")
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()


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
    columns = list(rows[0])
    side = WIDTH / len(columns)
    fig, axes = figure(len(rows), len(columns), height=side * len(rows) + 0.35 * len(rows))
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            title = column if r == 0 else ""
            note = captions[r].get(column, "") if captions else ""
            _show(axes[r, c], row[column], "\n".join(filter(None, (title, note))))
    return fig


def contact_sheet(
    images: Sequence[np.ndarray], columns: int = 10, titles: Sequence[str] | None = None
) -> Figure:
    """Many small images in a grid, with titles if there are any."""
    lines = -(-len(images) // columns)
    fig, axes = figure(lines, columns, height=(WIDTH / columns + 0.25 * bool(titles)) * lines)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, title in zip(axes.flat, images, titles or [""] * len(images), strict=False):
        _show(axis, image, title)
    fig.set_layout_engine("constrained", w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
    return fig


def zoom(images: Mapping[str, np.ndarray], box: tuple[int, int, int]) -> Figure:
    """A detail of several images of one scene, magnified.

    Args:
        images: title -> image; all square, of any size.
        box: ``(top, left, side)`` in pixels of the largest of them.
    """
    largest = max(len(image) for image in images.values())
    fig, axes = figure(2, len(images), height=2 * WIDTH / len(images) + 0.4)
    for column, (title, image) in enumerate(images.items()):
        share = len(image) / largest
        top, left, side = (round(value * share) for value in box)
        _show(axes[0, column], image, title)
        frame = Rectangle(
            (left - 0.5, top - 0.5), side, side, fill=False, edgecolor="white", linewidth=1.5
        )
        axes[0, column].add_patch(frame)
        _show(axes[1, column], image[top : top + side, left : left + side])
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
            interpolation="nearest",
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


def note(fig: Figure, text: str) -> None:
    """A line above a figure, for what all of it depends on."""
    fig.suptitle(text, fontsize=9, color="0.3")
