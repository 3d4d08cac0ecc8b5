"""Charts whose points carry their names: none covers another, whatever the points."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from srlib.book import charts, plots, results
from srlib.book.charts import Point

pytestmark = pytest.mark.usefixtures("no_screen", "closed_figures")


def published() -> list[Point]:
    rows = results.read("published")["rows"]
    points = [Point(r["model"], r["parameters"], r["Set5"]["psnr"], "published") for r in rows]
    return [point for point in points if point.x]


OURS = [
    Point("residual-mse", 488_780, 37.22, "here"),
    Point("residual-mse x8", 488_780, 37.40, "here, eight times"),
    Point("residual-perceptual", 488_780, 36.48, "here"),
    Point("small", 24_000, 36.9, "here"),
]
ARROW = ("residual-mse", "residual-mse x8")


def names(axis, points):
    """The labels' texts by name, drawn."""
    axis.figure.canvas.draw()
    wanted = {point.name for point in points}
    return {text.get_text(): text for text in axis.texts if text.get_text() in wanted}


def extent(text, renderer=None):
    """Of the letters alone: an annotation's own extent includes its line."""
    return plt.Text.get_window_extent(text, renderer or text.figure.canvas.get_renderer())


def test_no_name_covers_another_a_point_or_the_border():
    points = published() + OURS
    fig = charts.ladder(points, "parameters", "PSNR, dB", {"bicubic": 33.66}, [ARROW])
    (axis,) = fig.axes
    assert fig.get_figwidth() == plots.WIDTH
    found = names(axis, points)
    assert found.keys() == {point.name for point in points}
    boxes = {name: extent(text) for name, text in found.items()}
    boxes["bicubic"] = extent(next(t for t in axis.texts if t.get_text() == "bicubic"))
    for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
        assert not a.overlaps(b), f"{one} covers {other}"
    spots = axis.transData.transform([(point.x, point.y) for point in points])
    for name, box in boxes.items():
        assert not any(box.contains(*spot) for spot in spots), name
        assert axis.bbox.x0 <= box.x0 <= box.x1 <= axis.bbox.x1, name
        assert axis.bbox.y0 <= box.y0 <= box.y1 <= axis.bbox.y1, name
    # And not the arrow, which points upwards from one to the other.
    where = {point.name: spot for point, spot in zip(points, spots, strict=True)}
    for height in np.linspace(where[ARROW[0]][1], where[ARROW[1]][1], 9):
        assert not any(box.contains(where[ARROW[0]][0], height) for box in boxes.values())


@settings(max_examples=8)  # each draws a figure
@given(
    st.lists(st.tuples(st.floats(1e3, 1e7), st.floats(30, 40)), min_size=1, max_size=8, unique=True)
)
def test_a_few_names_find_room_wherever_their_points_are(places):
    points = [Point(f"model {i}", x, y, "all") for i, (x, y) in enumerate(places)]
    fig = charts.ladder(points, "cost", "score")
    boxes = [extent(text) for text in names(fig.axes[0], points).values()]
    assert len(boxes) == len(points)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    plt.close(fig)


def test_points_stand_where_they_should_and_groups_differ_in_shape():
    fig = charts.ladder(published() + OURS, "parameters", "PSNR, dB", {"bicubic": 33.66}, [ARROW])
    (axis,) = fig.axes
    assert axis.get_xscale() == "log"
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("parameters", "PSNR, dB")
    shown = {line.get_label(): line for line in axis.lines if line.get_label()[0] != "_"}
    assert list(shown) == ["published", "here", "here, eight times"]
    np.testing.assert_array_equal(
        shown["here"].get_xydata(), [(p.x, p.y) for p in OURS if p.group == "here"]
    )
    assert len({line.get_marker() for line in shown.values()}) == 3
    assert len({to_hex(line.get_color()) for line in shown.values()}) == 3
    (reference,) = [line for line in axis.lines if line.get_linestyle() == "--"]
    assert set(reference.get_ydata()) == {33.66}
    assert [text.get_text() for text in fig.legends[0].get_texts()] == list(shown)


def test_a_group_keeps_its_marker_where_another_has_no_points():
    groups = ("published", "here", "here, eight times")
    whole = charts.ladder(published() + OURS, "cost", "score", groups=groups).axes[0]
    alone = charts.ladder(OURS, "cost", "score", groups=groups)
    one, two = (
        {line.get_label(): (line.get_marker(), line.get_color()) for line in axis.lines}
        for axis in (whole, alone.axes[0])
    )
    assert two.items() <= one.items()
    assert [text.get_text() for text in alone.legends[0].get_texts()] == list(groups[1:])


@pytest.mark.parametrize(
    ("value", "shown"), [(0.01, "0.01"), (5, "5"), (2000, "2 K"), (1e6, "1 M"), (4.07e7, "40.7 M")]
)
def test_large_numbers_are_said_shortly(value, shown):
    assert charts._short(value) == shown


def test_ticks_between_powers_of_ten_only_where_there_are_few():
    narrow, wide = (1.0, 20.0), (1.0, 1e6)
    assert [charts._minor(value, narrow) for value in (2, 3, 5, 7, 20)] == ["2", "", "5", "", "20"]
    assert [charts._minor(value, wide) for value in (2, 5)] == ["", ""]


def test_an_oblique_arrow_is_not_covered():
    points = [
        Point("first", 1.0, 30.0, "once"),
        Point("first x8", 8.0, 31.0, "often"),
        Point("second", 1.6, 30.0, "once"),
        Point("second x8", 12.8, 31.0, "often"),
    ]
    pairs = [("first", "first x8"), ("second", "second x8")]
    (axis,) = charts.ladder(points, "cost", "score", arrows=pairs, height=4.2).axes
    boxes = [extent(text) for text in names(axis, points).values()]
    where = {point.name: axis.transData.transform((point.x, point.y)) for point in points}
    for start, end in pairs:
        for spot in np.linspace(where[start], where[end], 50):
            assert not any(box.contains(*spot) for box in boxes)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_one_group_needs_no_legend_and_a_far_name_gets_a_line():
    crowd = [Point(f"network {i}", 1e5 * 1.01**i, 37.0, "all") for i in range(9)]
    crowd += [Point("far away", 1e8, 30.0, "all")]
    fig = charts.ladder(crowd, "cost", "score")
    assert fig.legends == []
    texts = list(names(fig.axes[0], crowd).values())
    ties = [text for text in texts if text.arrow_patch is not None]
    assert 0 < len(ties) < len(texts)
    for a, b in itertools.combinations([extent(text) for text in texts], 2):
        assert not a.overlaps(b)
