"""The figures: drawn without a complaint, with the axes and words they promise."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import smooth_photo
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from srlib.book import plots

pytestmark = pytest.mark.usefixtures("no_screen", "closed_figures")


def drawn(fig) -> Figure:
    assert isinstance(fig, Figure)
    assert fig.get_figwidth() == plots.WIDTH
    fig.canvas.draw()
    return fig


def pictures(fig):
    return [image for axis in fig.axes for image in axis.get_images()]


def texts(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def test_figure_gives_a_grid_in_the_books_style_and_leaves_others_alone():
    before = dict(plt.rcParams)
    fig, axes = plots.figure(2, 3, height=3)
    drawn(fig)
    assert axes.shape == (2, 3)
    assert fig.dpi == 96
    assert fig.get_size_inches() * 96 == pytest.approx((704, 288))
    assert not axes[0, 0].spines["top"].get_visible()
    assert axes[0, 0].xaxis.get_gridlines()[0].get_visible()
    assert plots.figure()[1].shape == (1, 1)
    assert dict(plt.rcParams) == before


def test_gallery_shows_every_pixel_with_titles_on_top_and_captions():
    photos = [smooth_photo(16, 16, i) for i in range(4)]
    rows = [
        {"truth": photos[0], "input": photos[1][:8, :8]},
        {"truth": photos[2] / 255.0, "input": photos[3]},
    ]
    captions = [{"input": "30.1 dB"}, {"truth": "second"}]
    fig = drawn(plots.gallery(rows, captions))
    titles = [axis.get_title("left") for axis in fig.axes]
    assert titles == ["truth", "input\n30.1 dB", "second", ""]
    shown = [image.get_array() for image in pictures(fig)]
    for image, photo in zip(shown, [photos[0], photos[1][:8, :8], *photos[2:]], strict=True):
        np.testing.assert_array_equal(image, photo)  # floats were turned to 8 bits, rounded
    assert {image.get_interpolation() for image in pictures(fig)} == {"none"}
    assert not any(axis.axison for axis in fig.axes)
    titles = [axis.get_title("left") for axis in drawn(plots.gallery(rows)).axes]
    assert titles == ["truth", "input", "", ""]


@pytest.mark.parametrize(("count", "lines"), [(1, 1), (4, 1), (5, 2), (9, 3)])
def test_contact_sheet_has_room_for_all(count, lines):
    fig = drawn(plots.contact_sheet([smooth_photo(8, 8, i) for i in range(count)], columns=4))
    assert len({axis.get_position().y0 for axis in fig.axes}) == lines
    assert len(pictures(fig)) == count
    assert not any(axis.axison for axis in fig.axes)
    assert {image.get_interpolation() for image in pictures(fig)} == {"none"}


def test_zoom_shows_the_same_part_of_images_of_different_size():
    large, small = smooth_photo(32, 32, 1), smooth_photo(16, 16, 1)
    fig = drawn(plots.zoom({"truth": large, "input": small}, (8, 4, 10)))
    assert [axis.get_title("left") for axis in fig.axes] == ["truth", "input", "", ""]
    shown = [image.get_array() for image in pictures(fig)]
    for image, expected in zip(
        shown, [large, small, large[8:18, 4:14], small[4:9, 2:7]], strict=True
    ):
        np.testing.assert_array_equal(image, expected)
    frames = [axis.patches[0] for axis in fig.axes[:2]]
    assert [f.get_bbox().bounds for f in frames] == [(3.5, 7.5, 10, 10), (1.5, 3.5, 5, 5)]
    assert {image.get_interpolation() for image in pictures(fig)} == {"none"}


def test_curves_are_told_apart_without_colour():
    series = {f"run {i}": ([1, 2, 3], [i, i + 1, i + 3]) for i in range(1, 6)}
    fig = drawn(plots.curves(series, "epoch", "PSNR, dB", {"bicubic": 4.0}, logy=True))
    (axis,) = fig.axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("epoch", "PSNR, dB")
    assert [t.get_text() for t in axis.get_legend().get_texts()] == list(series)
    assert axis.get_yscale() == "log"
    assert texts(axis) == ["bicubic"]
    *runs, reference = axis.get_lines()
    assert set(reference.get_ydata()) == {4.0}
    for run, (x, y) in zip(runs, series.values(), strict=True):
        np.testing.assert_array_equal(run.get_xydata(), np.transpose([x, y]))
    dashes = {str(run._unscaled_dash_pattern) for run in runs}
    colours = {to_hex(run.get_color()) for run in runs}
    assert len(dashes) == len(colours) == len(runs)
    assert drawn(plots.curves({"a": ([1], [1])}, "x", "y")).axes[0].get_yscale() == "linear"


def test_histogram_counts_all_on_common_bins(rng):
    series = {"a": rng.normal(30, 2, 50), "b": rng.normal(33, 2, 80)}
    fig = drawn(plots.histogram(series, "PSNR, dB", {"worst": 27.0}, bins=10))
    (axis,) = fig.axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("PSNR, dB", "photos")
    named = [t.get_text() for t in axis.get_legend().get_texts()]
    assert named == [f"{n} (mean {v.mean():.2f})" for n, v in series.items()]
    assert texts(axis) == ["worst"]
    outlines = [patch.get_xy() for patch in axis.patches]
    edges = [np.unique(xy[:, 0]) for xy in outlines]
    np.testing.assert_array_equal(*edges)
    assert len(edges[0]) == 11
    for xy, values in zip(outlines, series.values(), strict=True):
        counts, _ = np.histogram(values, edges[0])
        np.testing.assert_array_equal(xy[1:-1:2, 1], counts)
    assert len({str(p.get_linestyle()) for p in axis.patches}) == 2


def test_scatter_draws_each_series(rng):
    x, y = rng.uniform(20, 30, (2, 12))
    fig = drawn(plots.scatter(x, {"a": y, "b": y + 1}, "detail", "PSNR, dB"))
    (axis,) = fig.axes
    first, second = axis.collections
    np.testing.assert_allclose(first.get_offsets(), np.transpose([x, y]))
    np.testing.assert_allclose(second.get_offsets(), np.transpose([x, y + 1]))
    assert first.get_paths()[0] != second.get_paths()[0]  # another marker
    named = [t.get_text() for t in axis.get_legend().get_texts()]
    assert named == ["a", "b"]


def test_bars_read_from_the_top_and_their_numbers_can_be_read():
    values = {"long": 3.25, "short": 0.02, "negative": -1.5}
    intervals = {"long": (3.0, 3.75), "short": (-0.1, 0.1), "negative": (-2.0, -1.25)}
    for given in (None, intervals):
        fig = drawn(plots.bars(values, "gain, dB", given))
        (axis,) = fig.axes
        assert axis.get_xlabel() == "gain, dB"
        assert [label.get_text() for label in axis.get_yticklabels()] == list(values)[::-1]
        assert [bar.get_width() for bar in axis.patches] == list(values.values())[::-1]
        assert sorted(texts(axis)) == ["-1.50", "0.02", "3.25"]
        for text, bar in zip(axis.texts, axis.patches, strict=True):
            assert float(text.get_text()) == pytest.approx(bar.get_width())
            # Dark, on the page beside the bar and not on it, and within the figure.
            assert to_hex(text.get_color()) == "#000000"
            extent = text.get_window_extent()
            assert not extent.overlaps(bar.get_window_extent())
            assert fig.bbox.x0 <= extent.x0 < extent.x1 <= fig.bbox.x1
    (errors,) = (c for c in axis.collections if len(c.get_segments()) == 3)
    ends = [(s[0, 0], s[1, 0]) for s in errors.get_segments()]
    np.testing.assert_allclose(ends, list(intervals.values())[::-1])


def test_contact_sheet_titles():
    fig = drawn(plots.contact_sheet([smooth_photo(8, 8, i) for i in range(3)], 2, ["a", "b", "c"]))
    assert [axis.get_title("left") for axis in fig.axes] == ["a", "b", "c"]


def test_spectra_share_one_scale_and_show_frequencies(rng):
    maps = {"truth": rng.normal(0, 5, (16, 16)), "network": rng.normal(20, 5, (32, 32))}
    fig = drawn(plots.spectra(maps))
    assert [axis.get_title() for axis in fig.axes] == list(maps)
    first, second = pictures(fig)
    assert first.get_clim() == second.get_clim()
    assert first.get_extent() == [-0.5, 0.5, 0.5, -0.5]


def test_intervals_show_means_ranges_and_single_values():
    cells = {"a": (1.0, (0.5, 1.5), [0.9, 1.1]), "b": (3.0, (2.0, 4.0), [3.0, 3.0])}
    shifted = {k: (m + 1, (lo + 1, hi + 1), v) for k, (m, (lo, hi), v) in cells.items()}
    fig = drawn(plots.intervals({"one": cells, "two": shifted}, "dB", {"truth": 0.0}))
    (axis,) = fig.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    assert axis.get_yticks()[0] > axis.get_yticks()[1]  # read from the top
    ranges = [tuple(line.get_xdata()) for line in axis.lines if line.get_linestyle() == "-"]
    assert ranges == [(0.5, 1.5), (2.0, 4.0), (1.5, 2.5), (3.0, 5.0)]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["one", "two"]
    assert texts(axis) == ["truth"]


def test_a_note_stands_above_the_figure():
    fig, _ = plots.figure()
    plots.note(fig, "random weights, seed 0")
    assert drawn(fig).get_suptitle() == "random weights, seed 0"
