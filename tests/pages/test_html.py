"""The built book in a real browser: from a folder, from a server, on a phone."""

import itertools
import re
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from pagekit import LAPTOP, PAGES, PHONE, Visit, browser, html, pytestmark, server, visits

__all__ = ["browser", "html", "pytestmark", "server", "visits"]


@pytest.mark.parametrize("name", PAGES)
def test_page_from_a_folder_needs_no_other_host_and_complains_of_nothing(visits, name):
    assert visits(name).troubles == []


@pytest.mark.parametrize("name", ["book/intro", "book/06-psnr"])
def test_page_from_a_server_needs_no_other_host_and_complains_of_nothing(browser, server, name):
    visit = Visit(browser, f"{server}/{name}.html")
    visit.context.close()
    assert len(visit.requests) > 3  # style sheets and scripts were asked for
    assert visit.troubles == []


WIDE = """limit => {
  const page = document.documentElement.scrollWidth;
  if (page <= limit) return [];
  const inner = element => {
    for (let up = element.parentElement; up; up = up.parentElement)
      if (getComputedStyle(up).overflowX !== 'visible' && up !== document.body) return true;
    return false;
  };
  return [`page: ${page}`, ...[...document.body.querySelectorAll('*')]
    .filter(e => e.getBoundingClientRect().right > limit && !inner(e))
    .map(e => `${e.tagName}.${e.className}: ${Math.round(e.getBoundingClientRect().right)}`)];
}"""


@pytest.mark.parametrize("screen", [PHONE, LAPTOP], ids=["phone", "laptop"])
@pytest.mark.parametrize("name", PAGES)
def test_page_does_not_scroll_sideways(visits, name, screen):
    page = visits(name).page
    page.set_viewport_size(screen)
    wide = page.evaluate(WIDE, screen["width"] + 1)
    page.set_viewport_size(PHONE)
    assert wide == []


@pytest.mark.parametrize("name", PAGES)
def test_every_image_is_there_and_says_what_it_shows(visits, name):
    page = visits(name).page
    # Images load lazily: bring each into view, then wait for it.
    page.evaluate("""async () => {
      const images = [...document.images];
      images.forEach(image => { image.loading = 'eager'; });
      await Promise.all(images.map(image => image.decode().catch(() => null)));
    }""")
    images = page.evaluate(
        "[...document.images].map(i => [i.getAttribute('src'), i.alt, i.naturalWidth])"
    )
    assert [image for image in images if not image[1].strip()] == [], "without alt text"
    assert [image for image in images if not image[2]] == [], "not found or broken"
    if name.endswith(("01-data", "02-cnn", "03-mse", "06-psnr", "intro")):
        # These pages show pictures: files, or drawings that are part of the page.
        assert images or page.locator("svg.drawing").count()


@pytest.mark.parametrize("name", PAGES)
def test_headings_have_one_top_and_skip_no_level(visits, name):
    levels = visits(name).page.evaluate(
        "[...document.querySelectorAll('article :is(h1, h2, h3, h4, h5, h6)')]"
        ".map(h => Number(h.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    all_tops = visits(name).page.locator("h1:visible").count()
    assert all_tops == 1


@pytest.mark.parametrize("name", PAGES)
def test_every_internal_link_leads_somewhere(visits, html, name):
    page = visits(name).page
    here = page.url.split("#")[0]
    links = set(
        page.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))")
    )
    dead = []
    for link in links:
        target = urlsplit(urljoin(here, link))
        if target.scheme != "file":
            continue
        path = Path(unquote(target.path))
        if not path.is_file() or not path.is_relative_to(html):
            dead.append(link)
        elif target.fragment and path.suffix == ".html":
            anchor = re.escape(unquote(target.fragment))
            if not re.search(rf"\bid=[\"']{anchor}[\"']", path.read_text()):
                dead.append(link)
    assert dead == []
    assert len([link for link in links if ".html" in link]) >= len(PAGES) - 1  # the side bar


def test_formulas_are_drawn_by_the_browser(visits):
    """MathML of a real size, and no TeX left over in the text."""
    drawn = 0
    for name in PAGES:
        page = visits(name).page
        for width, height in page.evaluate(
            "[...document.querySelectorAll('math')].map(m => m.getBoundingClientRect())"
            ".map(r => [r.width, r.height])"
        ):
            drawn += 1
            assert width > 0 and height > 0
        text = page.evaluate("""() => {
          const copy = document.querySelector('article').cloneNode(true);
          copy.querySelectorAll('pre, code, script, style').forEach(e => e.remove());
          return copy.textContent;
        }""")
        assert not re.search(r"\\\(|\\\[|\$\$|\\frac|\\log|\\text", text), name
    assert drawn >= 3


@pytest.mark.parametrize("word", ["bicubic", "hourglass"])
def test_search_works_without_a_server(browser, html, word):
    visit = Visit(browser, (html / "search.html").as_uri() + f"?q={word}")
    results = visit.page.locator("#search-results ul.search li a")
    results.first.wait_for(timeout=10_000)
    found = [link.split("?")[0] for link in results.evaluate_all("all => all.map(a => a.href)")]
    nothing = Visit(browser, (html / "search.html").as_uri() + "?q=zzyzxq")
    nothing.page.wait_for_timeout(500)
    count = nothing.page.locator("#search-results ul.search li a").count()
    nothing.context.close()
    visit.context.close()
    assert any(link.endswith(".html") and "/book/" in link for link in found)
    assert visit.troubles == []
    assert count == 0
