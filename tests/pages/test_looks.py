"""How the built pages look: nothing raw, nothing cut off, pixels whole, colours of the theme."""

import io
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from pagekit import LAPTOP, PAGES, PHONE, browser, html, pytestmark, visits
from PIL import Image

__all__ = ["browser", "html", "pytestmark", "visits"]

DESKTOP = {"width": LAPTOP["width"] - 15, "height": 800}  # of 1280, 15 are the scroll bar's

READ = """() => {
  const copy = document.querySelector('article').cloneNode(true);
  copy.querySelectorAll('pre, code, dt, script, style').forEach(e => e.remove());
  return copy.textContent;
}"""

#: Code of cells and of the text; what a program printed is another matter.
CUT_OFF = """() => {
  document.querySelectorAll('details').forEach(d => { d.open = true; });
  return [...document.querySelectorAll('div.highlight pre')]
    .filter(pre => !pre.closest('.cell_output') && !pre.textContent.includes('%pip'))
    .filter(pre => pre.offsetParent && pre.scrollWidth > pre.clientWidth + 1)
    .map(pre => pre.textContent.split('\\n').sort((a, b) => b.length - a.length)[0]);
}"""

BROKEN = """() => {
  const broken = [];
  for (const cell of document.querySelectorAll('article :is(td, th)')) {
    const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    for (let node; node = walker.nextNode();)
      for (const match of node.data.matchAll(/(?<![\\w-])[-+−]?\\d[\\d.,]*/g)) {
        const range = document.createRange();
        range.setStart(node, match.index);
        range.setEnd(node, match.index + match[0].length);
        const tops = [...range.getClientRects()].map(r => Math.round(r.top));
        if (new Set(tops).size > 1) broken.push(cell.textContent);
      }
  }
  return broken;
}"""

PIXELS = """async () => {
  const found = [];
  for (const shown of document.querySelectorAll('svg.drawing image')) {
    const file = new Image();
    file.src = shown.href.baseVal;
    await file.decode();
    const box = shown.getBoundingClientRect();
    found.push([box.width / file.naturalWidth, box.height / file.naturalHeight,
                getComputedStyle(shown).imageRendering]);
  }
  for (const image of document.querySelectorAll('div.cell_output img')) {
    image.loading = 'eager';
    await image.decode();
    found.push([image.width / image.naturalWidth, image.height / image.naturalHeight,
                getComputedStyle(image).imageRendering]);
  }
  return found;
}"""

names = pytest.mark.parametrize("name", PAGES)


def seen(page, screen, script):
    """What a script finds on a screen of this size; the page is a phone's again afterwards."""
    page.set_viewport_size(screen)
    found = page.evaluate(script)
    page.set_viewport_size(PHONE)
    return found


@names
def test_nothing_of_the_source_is_left_in_the_text(visits, name):
    text = visits(name).page.evaluate(READ)
    for raw in ("{cite}", "{term}", "|---", "| --- |", "<!--", "**"):
        assert raw not in text, text[max(0, text.index(raw) - 200) :][:400]


@names
def test_no_code_is_cut_off_on_a_laptop(visits, name):
    assert seen(visits(name).page, DESKTOP, CUT_OFF) == []


@pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=["phone", "laptop"])
@names
def test_no_number_of_a_table_is_broken(visits, name, screen):
    assert seen(visits(name).page, screen, BROKEN) == []


@names
def test_pictures_are_shown_at_whole_multiples(visits, name):
    page = visits(name).page
    wide = seen(page, DESKTOP, PIXELS)
    for times in [t for *both, _ in wide for t in both]:
        assert times == pytest.approx(max(1, round(times)), abs=0.01)
    for times in [t for across, *_ in page.evaluate(PIXELS) for t in (2 * across,)]:
        if times > 0.99:  # half the size of a laptop's: whole pixels of a finer screen
            assert times == pytest.approx(round(times), abs=0.02)
    assert {rendering for *_, rendering in wide} <= {"pixelated"}


@names
def test_every_drawing_says_what_it_shows(visits, name):
    labels = visits(name).page.evaluate(
        "[...document.querySelectorAll('svg.drawing')]"
        ".map(s => [s.getAttribute('role'), s.getAttribute('aria-label')])"
    )
    assert [label for role, label in labels if role != "img" or len(label or "") < 30] == []
    if name.endswith(("02-cnn", "03-mse", "06-psnr")):
        assert labels


@names
def test_names_of_files_are_no_links(visits, name):
    assert (
        visits(name).page.evaluate(
            "[...document.querySelectorAll('article a')].map(a => [a.textContent, a.href])"
            ".filter(([text, href]) => href === `http://${text}/` || href === `http://${text}`)"
        )
        == []
    )


def test_there_is_a_favicon(visits):
    link = visits("book/intro").page.evaluate("document.querySelector('link[rel~=icon]').href")
    assert Path(urlsplit(link).path).is_file()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("finer", [1, 2])
def test_a_photo_s_pixels_reach_the_screen_unchanged(html, browser, scheme, finer):
    context = browser.new_context(viewport=LAPTOP, device_scale_factor=finer, color_scheme=scheme)
    page = context.new_page()
    page.goto((html / "book" / "01-data.html").as_uri())
    image = page.locator("svg.drawing.pixels image").first
    file = Path(urlsplit(page.evaluate("e => new URL(e.href.baseVal, location).href",
                                       image.element_handle())).path)  # fmt: skip
    image.scroll_into_view_if_needed()
    box = image.bounding_box()
    truth = np.array(Image.open(file).convert("RGB"))
    times = round(finer * box["width"] / truth.shape[1])
    around = {"x": box["x"] - 2, "y": box["y"] - 2}
    around |= {"width": box["width"] + 4, "height": box["height"] + 4}
    seen = np.array(Image.open(io.BytesIO(page.screenshot(clip=around))).convert("RGB"))
    context.close()
    # A line of text may end between two pixels of the screen: it lies somewhere here.
    windows = np.lib.stride_tricks.sliding_window_view(
        seen, (truth.shape[0] * times, truth.shape[1] * times, 3)
    )[:, :, 0]
    shown = truth.repeat(times, 0).repeat(times, 1)
    assert (windows == shown).all(axis=(2, 3, 4)).any()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_take_the_theme_s_colours(html, browser, scheme):
    context = browser.new_context(viewport=LAPTOP, color_scheme=scheme)
    page = context.new_page()
    page.goto((html / "book" / "06-psnr.html").as_uri())
    chart = page.locator("svg.drawing:not(.pixels)", has=page.locator("path")).first
    chart.scroll_into_view_if_needed()
    seen = np.array(Image.open(io.BytesIO(chart.screenshot())).convert("L")).astype(int)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    context.close()
    grey = [int(part) for part in background[background.index("(") + 1 : -1].split(",")[:3]]
    assert np.median(seen) == pytest.approx(sum(grey) / 3, abs=3)  # no card
    strongest = seen.max() if scheme == "dark" else seen.min()
    assert abs(strongest - np.median(seen)) > 150  # letters that can be read
