"""What the book's own Sphinx extensions make of a picture and of a text."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import nbformat
import pytest
from conftest import smooth_photo

from srlib.book import plots

EXTENSIONS = Path(__file__).parents[2] / "book" / "_ext"
DIAGRAM = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 300"><title>A kernel</title>
<style>@media (prefers-color-scheme: dark){svg{color:#ddd}}</style>
<defs><marker id="tip"/></defs><path id="unused" marker-end="url(#tip)" stroke="#000000"/>
<text fill="currentColor">two
words</text></svg>"""


def extension(name: str):
    spec = importlib.util.spec_from_file_location(name, EXTENSIONS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules.pop(name, None)
    spec.loader.exec_module(module)
    return module


drawings, told = extension("drawings"), extension("told")


@pytest.fixture
def chart(no_screen, closed_figures) -> str:
    return plots.curves({"a": ([1, 2], [1, 2])}, "x", "y", {"level": 1.5}).svg()


def test_a_diagram_keeps_its_colours_and_loses_style_and_title():
    html = drawings.inline(DIAGRAM, 'Says "what"', "d1-")
    root = ElementTree.fromstring(html)
    assert root.tag == "svg" and not {"style", "title"} & {e.tag for e in root.iter()}
    assert (root.get("role"), root.get("aria-label")) == ("img", 'Says "what"')
    assert (root.get("width"), root.get("height")) == ("720", "300")
    assert 'stroke="#000000"' in html and ">two words<" in html and "\n" not in html
    assert re.findall(r'id="([^"]*)"', html) == ["d1-tip"] and "url(#d1-tip)" in html


def test_a_chart_takes_the_page_s_colours(chart):
    html = drawings.inline(chart, "A line.", "d0-")
    assert not re.search(r"#([0-9a-f]{2})\1\1\b", html), "a grey of its own"
    assert "#0072b2" in html  # and the colours stay
    assert "currentColor 0%" in html and "currentColor 100%" in html
    assert "currentColor 60%" in html  # the level's line, "0.4"
    assert ElementTree.fromstring(html).get("width") == "704"
    assert "<metadata" not in html and "xmlns:" not in html


def test_two_charts_of_a_page_share_no_id(chart):
    one, two = (drawings.inline(chart, "", prefix) for prefix in ("d0-", "d1-"))
    ids = [set(re.findall(r'\bid="([^"]*)"', html)) for html in (one, two)]
    assert ids[0] and not ids[0] & ids[1]
    for html, own in zip((one, two), ids, strict=True):
        used = set(re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', html))
        assert {a or b for a, b in used} <= own


def test_a_photo_becomes_a_file_again(no_screen, closed_figures):
    kept = []
    svg = plots.gallery([{"a": smooth_photo(16, 16, 1)}]).svg()
    html = drawings.inline(svg, "", "d0-", lambda photo: kept.append(photo) or "../_images/p.png")
    assert kept[0].startswith(b"\x89PNG")
    assert 'href="../_images/p.png"' in html and "base64" not in html
    assert 'class="drawing pixels"' in html
    plt.close("all")


def test_the_expressions_are_no_part_of_the_page():
    text = 'It is **+2.97<!-- {gain:+.2f} -->** of (2<!-- cpu {row["x"]} -->). <!-- note --> {a}'
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    source = [nbformat.writes(notebook)]
    told.strip(None, "book/a", source)
    (cell,) = json.loads(source[0])["cells"]
    assert "".join(cell["source"]) == "It is **+2.97** of (2). <!-- note --> {a}"


@pytest.mark.parametrize("text", ["33.6 / 0.93", "+2.97 dB", "1,234,567", "-0.5", "12 %", "2 x 3"])
def test_cells_of_numbers_are_known(text):
    assert told.NUMBERS.fullmatch(text)


@pytest.mark.parametrize("text", ["residual-mse", "3 photos of 4", "x2", "", "T91, 291 images"])
def test_other_cells_are_too(text):
    assert not told.NUMBERS.fullmatch(text)
