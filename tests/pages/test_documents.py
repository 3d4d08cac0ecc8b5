"""README, CONTRIBUTING and CHANGELOG speak of what is there."""

import importlib
import re
from pathlib import Path

import pytest

import srlib

ROOT = Path(__file__).parents[2]


def tree() -> list[str]:
    """The paths of README's tree of rooms."""
    text = (ROOT / "README.md").read_text()
    lines = text.split("## Where everything is")[1].split("```")[1].strip().splitlines()
    return ["srlib/" * line.startswith("  ") + line.split()[0] for line in lines]


def table() -> list[str]:
    """The paths of the first table of CONTRIBUTING."""
    text = (ROOT / "CONTRIBUTING.md").read_text().split("\n\n- ")[0]
    return re.findall(r"`((?:srlib|tests|tools|book|experiments)/[^`]*)`", text)


@pytest.mark.parametrize("path", sorted({*tree(), *table()}))
def test_every_path_is_there(path):
    assert (ROOT / path).exists()


def test_the_tree_shows_every_room_and_every_public_module():
    shown = {path.removeprefix("srlib/").rstrip("/") for path in tree()}
    rooms = {path.parent.name for path in (ROOT / "srlib").glob("*/__init__.py")}
    modules = {path.name for path in (ROOT / "srlib").glob("[a-z]*.py")}
    assert rooms | modules <= shown


def test_every_new_name_of_the_changelog_can_be_imported():
    text = (ROOT / "CHANGELOG.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `srlib.")]
    assert len(rows) >= 20
    for _, old, new, _ in rows:
        names = re.findall(r"`(srlib\.[\w.]*)`", new)
        if new.strip().endswith("and the same name"):
            # `srlib.a`, `b` | `srlib.room.` and the same name
            room = names.pop()
            names = [room + name.split(".")[-1] for name in re.findall(r"`([\w.]+)`", old)]
        for name in names:
            module, _, attribute = name.rpartition(".")
            found = importlib.import_module(module)
            if not hasattr(found, attribute):
                importlib.import_module(name)
    assert f"## [{srlib.__version__}] - " in text
