"""The built book in a real browser: from a folder, from a server, on a phone."""

import functools
import http.server
import itertools
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PHONE = {"width": 390, "height": 844}
LAPTOP = {"width": 1280, "height": 800}

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on this machine"
)


def _toc() -> list[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    return [toc["root"], *chapters]


PAGES = _toc()


@pytest.fixture(scope="session")
def html() -> Path:
    """The book, built by the very command of ``make book``; only what changed is built anew."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.build"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"python -m tools.build failed:\n{done.stdout}"
    return HTML


@pytest.fixture(scope="session")
def browser(html):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


class Visit:
    """One page opened at a phone's size, and all that it asked for and complained about."""

    def __init__(self, browser, url: str) -> None:
        self.url = url
        self.requests: list[str] = []
        self.failed: list[str] = []
        self.complaints: list[str] = []
        self.context = browser.new_context(viewport=PHONE)
        self.context.route("**/*", self._answer)
        self.page = self.context.new_page()
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("requestfailed", lambda r: self.failed.append(f"{r.url}: {r.failure}"))
        self.page.on("response", self._response)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url, wait_until="load")
        self.page.wait_for_timeout(100)  # scripts that start after load

    def _answer(self, route) -> None:
        """Other hosts cannot be reached from here: what asks for them fails at once."""
        if self.at_home(route.request.url):
            route.continue_()
        else:
            route.abort()

    def _response(self, response) -> None:
        if response.status >= 400 and "favicon" not in response.url:
            self.failed.append(f"{response.url}: {response.status}")

    def _console(self, message) -> None:
        if message.type == "error" and "favicon" not in f"{message.text} {message.location}":
            self.complaints.append(message.text)

    @staticmethod
    def at_home(url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme in ("file", "data", "blob") or parts.hostname == "127.0.0.1"

    @property
    def troubles(self) -> list[str]:
        """What was asked of other hosts, what failed, and what the browser complained about."""
        abroad = [url for url in self.requests if not self.at_home(url)]
        return [*abroad, *self.failed, *self.complaints]


@pytest.fixture(scope="session")
def visits(html, browser):
    """Every page of the table of contents, opened from the folder, once."""
    opened: dict[str, Visit] = {}

    def visit(name: str) -> Visit:
        if name not in opened:
            opened[name] = Visit(browser, (html / f"{name}.html").as_uri())
        return opened[name]

    yield visit
    for one in opened.values():
        one.context.close()


@pytest.fixture(scope="session")
def server(html):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


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
        assert images  # these pages show pictures


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
