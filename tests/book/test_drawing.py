"""Figures as vectors: pixels whole and unchanged, letters as letters, the same each time."""

import base64
import io
import itertools
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import smooth_photo
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from srlib.book import drawing, plots

pytestmark = pytest.mark.usefixtures("no_screen", "closed_figures")


def embedded(svg: str) -> list[np.ndarray]:
    found = re.findall(r'base64,([^"]*)"', svg)
    return [np.array(Image.open(io.BytesIO(base64.b64decode(one))))[..., :3] for one in found]


def boxes(fig) -> list[tuple[float, float, float, float]]:
    """Where its axes lie, in pixels from the top left corner: left, top, width, height."""
    wide, high = fig.get_size_inches() * 96
    found = [axis.get_position() for axis in fig.axes]
    return [(b.x0 * wide, (1 - b.y1) * high, b.width * wide, b.height * high) for b in found]


def test_photos_are_embedded_pixel_by_pixel():
    photos = [smooth_photo(64, 64, 1), smooth_photo(128, 128, 2)]
    svg = plots.gallery([{"input": photos[0], "truth": photos[1]}]).svg()
    for image, photo in zip(embedded(svg), photos, strict=True):
        np.testing.assert_array_equal(image, photo)
    assert svg.count("image-rendering:pixelated") == 2


@given(
    st.lists(st.sampled_from([16, 20, 32, 40, 64, 128]), min_size=1, max_size=5),
    st.integers(1, 3),
)
def test_every_pixel_is_a_square_of_whole_pixels_at_a_whole_place(sides, count):
    row = [np.zeros((side, side, 3), np.uint8) for side in sides]
    fig = drawing.panels([row] * count, [["one"] * len(row)] * count)
    found = boxes(fig)
    for (left, top, wide, high), side in zip(found, sides * count, strict=True):
        for value in (left, top, wide / side, high / side):
            assert value == pytest.approx(round(value), abs=1e-6)
        assert wide >= side
        assert left >= 0 and left + wide <= 704 + 1e-6
    for (l1, t1, w1, h1), (l2, t2, w2, h2) in itertools.combinations(found, 2):
        assert l1 + w1 <= l2 or l2 + w2 <= l1 or t1 + h1 <= t2 or t2 + h2 <= t1
    plt.close(fig)


def test_images_of_one_scene_are_shown_equally_large():
    low, high = np.zeros((64, 64, 3)), np.zeros((128, 128, 3))
    two = boxes(drawing.panels([[low, high]], [["", ""]]))
    assert [box[2] for box in two] == pytest.approx([256, 256])
    four = boxes(drawing.panels([[low, high, high, high]], [[""] * 4]))
    assert [box[2] for box in four] == pytest.approx([128] * 4)
    assert boxes(drawing.panels([[np.zeros((64, 96))]], [[""]]))[0][2:] == pytest.approx((672, 448))


def test_what_is_too_wide_is_averaged_over_whole_squares():
    photo = smooth_photo(200, 300, 3)
    small = drawing.fitting(photo, 100)
    assert small.shape == (66, 100, 3)
    expected = photo[:198].reshape(66, 3, 100, 3, 3).astype(float).mean(axis=(1, 3))
    np.testing.assert_allclose(small, expected, atol=0.51)
    assert drawing.fitting(photo, 300) is photo


def test_the_frame_of_a_zoom_lies_around_the_detail_also_of_a_reduced_photo():
    fig = plots.zoom({f"{i}": smooth_photo(256, 256, i) for i in range(4)}, (32, 64, 40))
    frame = fig.axes[0].patches[0].get_bbox()
    shown = len(fig.axes[0].get_images()[0].get_array())
    assert shown == 128
    assert frame.bounds == (31.5, 15.5, 20, 20)


def test_titles_stand_above_their_pictures_and_a_note_above_all():
    fig = plots.gallery([{"a": smooth_photo(16, 16, 1), "b " * 60: smooth_photo(16, 16, 2)}])
    before = boxes(fig)
    plots.note(fig, "what it depends on")
    fig.canvas.draw()
    added = boxes(fig)[0][1] - before[0][1]
    assert added == pytest.approx(round(added)) and added >= 16
    assert boxes(fig)[0][2:] == pytest.approx(before[0][2:])
    extents = [fig._suptitle.get_window_extent()]
    extents += [axis._left_title.get_window_extent() for axis in fig.axes]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(extents, 2))
    assert all(e.y1 <= fig.bbox.y1 and e.x1 <= fig.bbox.x1 + 1 for e in extents)


def test_the_same_figure_is_the_same_text_with_its_letters():
    def once() -> str:
        fig = plots.curves({"run": ([1, 2, 3], [3.0, 1.0, 2.0])}, "epoch", "PSNR, dB", {"x": 2.0})
        return fig.svg()

    assert once() == once()
    assert ">epoch</text>" in once()
    assert 'width="528pt"' in once()  # 704 pixels
    assert not re.search(r"date|matplotlib", once().split("<g")[0], re.I)


def test_a_notebook_gets_one_picture_and_of_a_long_one_pixels():
    formatter = DisplayFormatter()
    drawing.show_by(formatter.formatters)
    short = plots.curves({"run": ([1, 2], [1, 2])}, "x", "y")
    long = plots.scatter(np.arange(5000), {"a": np.arange(5000)}, "x", "y")
    shown = [formatter.format(fig)[0] for fig in (short, long)]
    kinds = [{kind for kind in data if kind.startswith("image/")} for data in shown]
    assert kinds == [{"image/svg+xml"}, {"image/png"}]
    assert Image.open(io.BytesIO(shown[1]["image/png"])).width == 704
