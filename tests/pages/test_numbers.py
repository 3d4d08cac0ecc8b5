"""Numbers in prose: written by the kernel, found when edited by hand, computed again in smoke."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tools import notebooks as tool
from tools import numbers

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
CODE = """
import os
gain, names, word = 2.966, ["a", "b"], "better"
row = {"x": 1234567}
steps = {"smoke": 3}.get(os.environ.get("SRLIB_PRESET"), 400)
"""
PROSE = """
It is 0<!-- {word} --> by **0<!-- {gain:+.2f} -->** dB, over (0<!-- {len(names)} -->).

| photos | share |
|---|---|
|0<!-- {row["x"]:,} -->|0<!-- {gain / 10:.1%} -->, after 0<!-- cpu {steps} --> steps |
"""
WRITTEN = """
It is better<!-- {word} --> by **+2.97<!-- {gain:+.2f} -->** dB, over (2<!-- {len(names)} -->).

| photos | share |
|---|---|
|1,234,567<!-- {row["x"]:,} -->|29.7%<!-- {gain / 10:.1%} -->, after 400<!-- cpu {steps} --> steps |
"""


def notebook(prose: str, code: str = CODE) -> nbformat.NotebookNode:
    v4 = nbformat.v4
    return v4.new_notebook(cells=[v4.new_markdown_cell(prose), v4.new_code_cell(code)])


def saved(path: Path, prose: str, code: str = CODE) -> Path:
    nbformat.write(notebook(prose, code), path)
    return path


def prose(path: Path) -> str:
    return nbformat.read(path, as_version=4).cells[0].source


@pytest.fixture
def page(tmp_path, monkeypatch) -> Path:
    (tmp_path / "srlib").mkdir()
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "BOOK", tmp_path)
    monkeypatch.delenv("SRLIB_PRESET", raising=False)
    return saved(tmp_path / "page.ipynb", PROSE)


def nbval(path: Path) -> subprocess.CompletedProcess:
    """The notebook in smoke, as ``make test`` runs it."""
    plugins = ["-p", "tools.recount", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *plugins, "--nbval-lax", "--nbval-current-env"]
    return subprocess.run(
        [*command, str(path)], cwd=ROOT, env=os.environ | {"SRLIB_PRESET": "smoke"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_they_are_written_where_they_stand_and_once_more_the_same(page):
    tool.execute(page)
    done = nbformat.read(page, as_version=4)
    assert done.cells[0].source == WRITTEN
    assert len(done.cells) == 2
    assert done.metadata.srlib.numbers['{row["x"]:,}'] == "1,234,567"
    assert done.metadata.srlib.stamp == tool.stamp(done)
    first = page.read_bytes()
    tool.execute(page)
    assert page.read_bytes() == first


def test_smoke_computes_them_again_all_but_those_of_the_other_preset(page):
    saved(page, WRITTEN)
    assert "2 passed" in nbval(page).stdout
    saved(page, WRITTEN.replace("+2.97", "+3.97").replace("400<", "401<"))
    said = nbval(page).stdout
    assert "1 failed, 1 passed" in said
    assert "page.ipynb" in said and "cell 1, '+3.97' before {gain:+.2f}: computed '+2.97'" in said
    assert "401" not in said.replace("'", " ").split("short test summary")[-1]


def test_a_drawing_is_a_picture_and_not_compared(page):
    code = "from IPython.display import SVG\nSVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')"
    done = notebook("", code)
    done.cells[1].metadata.tags = ["nbval-check-output"]
    data = {"image/svg+xml": "<svg/>", "text/plain": "<IPython.core.display.SVG object>"}
    done.cells[1].outputs = [nbformat.v4.new_output("execute_result", data, execution_count=1)]
    done.cells[1].execution_count = 1
    nbformat.write(done, page)
    assert "2 passed" in nbval(page).stdout


def test_the_tool_s_own_smoke_run_finds_them_too(page, monkeypatch):
    monkeypatch.setenv("SRLIB_PRESET", "smoke")
    saved(page, WRITTEN)
    tool.execute(page, keep=False)
    saved(page, WRITTEN.replace("better<", "worse<"))
    with pytest.raises(RuntimeError, match=r"page\.ipynb.*\n.*'worse' before \{word\}: .*'better'"):
        tool.execute(page, keep=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0<!-- {nothing} -->", "cell 1, '0' before {nothing}: NameError"),
        ("0<!-- {1 / 0} -->", "ZeroDivisionError"),
        ("0<!-- {gain:+.2q} -->", "ValueError"),
        ("0<!-- {1 +} -->", "SyntaxError"),
        ("0<!-- {'two words'} -->", "no single word"),
        ("0<!-- {''} -->", "no single word"),
        ("0<!-- {'(3'} -->", "no single word"),
        ("0 <!-- {gain} -->", "write 0"),
        ("±0<!-- {gain} -->", "write 0"),
        ("[0<!-- {gain} -->](a)", "write 0"),
        ("0<!-- {gain} -->-0<!-- {gain} -->", "leave a space"),
        ("`x 0<!-- {gain} -->`", "backticks"),
        ("0<!--{gain}-->", "is not <!--"),
        ("0<!-- gpu {gain} -->", "is not <!--"),
        ("0<!-- about\n{gain} -->", "is not <!--"),
    ],
)
def test_what_cannot_be_told_is_said_and_the_page_is_left(page, text, message):
    saved(page, text)
    before = page.read_bytes()
    with pytest.raises(RuntimeError) as error:
        tool.execute(page)
    assert message in str(error.value) and "page.ipynb" in str(error.value)
    assert page.read_bytes() == before


def test_other_comments_are_left_alone():
    assert list(numbers.numbers(notebook("a <!-- note --> b\n\n<!-- and\nmore -->"))) == []


def test_expressions_make_a_page_stale_and_words_around_them_do_not(page):
    before = tool.stamp(notebook(PROSE))
    moved = PROSE.replace("It is", "We find").replace("0<!--", "7<!--")
    assert tool.stamp(notebook(moved + "Again +2<!-- {gain:+.2f} -->.")) == before
    assert tool.stamp(notebook(PROSE.replace("{word}", "{word.upper()}"))) != before
    assert tool.stamp(notebook("")) == tool.stamp(notebook("Other words."))


# --- of the book's own chapters


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_no_number_was_edited_by_hand(path):
    read = nbformat.read(path, as_version=4)
    kept = read.metadata.get("srlib", {}).get("numbers", {})
    found = list(numbers.numbers(read))
    assert numbers.differences(found, kept) == [], "run make execute"
    assert set(kept) == {number.field for number in found}
    assert [number for number in found if len(number.field) > 60] == [], "compute it in a cell"


def test_text_pages_have_no_kernel_to_compute_with():
    for path in (ROOT / "book").glob("*.md"):
        assert not numbers.LIKE.search(path.read_text()), path.name
