"""The built book and a browser to look at it, for the tests of pages."""

import atexit
import functools
import http.server
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

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


@functools.cache
def _chromium():
    """One browser for all files of tests: a process can have one only."""
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    atexit.register(playwright.stop)
    return playwright.chromium.launch(
        executable_path=CHROMIUM,
        args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    )


@pytest.fixture(scope="session")
def browser(html):
    return _chromium()


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
