"""The committed chapters: executed, whole, up to date and in the book's form."""

import functools
import json
import re
import statistics
from base64 import b64decode
from pathlib import Path

import nbformat
import pytest
import yaml

from tools import notebooks as tool
from tools import pages, words

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
CHAPTERS = sorted(BOOK.glob("*.ipynb"))

MACHINE_PATH = re.compile(r"(?<![\w.\-/])/(?:home|root|work|tmp|Users)/")
REGISTRY = re.compile(r"pypi|pythonhosted|anaconda\.org|index-url|find-links|trusted-host", re.I)
LINES_AT_MOST = 15
MEDIAN_AT_MOST = 8
WORDS_PER_LINE = 5
BYTES_AT_MOST = 200_000


@functools.cache
def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def prose(path: Path) -> str:
    return "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def lines(cell: nbformat.NotebookNode) -> int:
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def outputs(path: Path) -> list[tuple[nbformat.NotebookNode, nbformat.NotebookNode]]:
    return [(cell, output) for cell in code_cells(path) for output in cell.outputs]


def has_image(cell: nbformat.NotebookNode) -> bool:
    return any(kind.startswith("image/") for o in cell.outputs for kind in o.get("data", {}))


def toc() -> list[str]:
    tree = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [tree["root"], *(c["file"] for part in tree["parts"] for c in part["chapters"])]


chapters = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def test_there_are_chapters():
    assert len(CHAPTERS) >= 4
    assert set(tool.notebooks()) == set(CHAPTERS)
    assert [f"book/{path.stem}" for path in tool.notebooks()] == [
        name for name in toc() if (ROOT / f"{name}.ipynb").exists()
    ]


# --- executed, and by this code -------------------------------------------------


@chapters
def test_it_is_a_valid_notebook_with_unique_cell_ids(path):
    text = json.loads(path.read_text())
    ids = [cell["id"] for cell in text["cells"]]
    assert len(ids) == len(set(ids))  # first: validating mends them
    nbformat.validate(text)


@chapters
def test_every_cell_was_executed_once_and_in_order(path):
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1)), "run make execute"


@chapters
def test_no_output_is_an_error_or_a_warning(path):
    for cell, output in outputs(path):
        assert output.output_type != "error", cell.source
        assert output.get("name") != "stderr", output.text
        assert "WARNING:" not in output.get("text", ""), output.text
        assert "Traceback" not in json.dumps(output), cell.source


@chapters
def test_the_stamp_is_that_of_this_code(path):
    found = read(path).metadata.get("srlib", {})
    assert found.get("stamp") == tool.stamp(read(path)), "run make execute"
    assert found.get("preset") == "cpu", "run make execute"


@chapters
def test_no_timing_is_kept(path):
    for cell in read(path).cells:
        assert not {"execution", "ExecuteTime", "papermill"} & set(cell.metadata)


@chapters
def test_nothing_tells_which_machine_made_it(path):
    # Outputs are searched as text: the letters of a picture's base64 mean nothing.
    texts = [cell.source for cell in read(path).cells]
    for _, output in outputs(path):
        texts.append(output.get("text", ""))
        data = output.get("data", {})
        shown = [str(value) for kind, value in data.items() if not kind.startswith("image/p")]
        texts += [re.sub(r"base64,[^\"]*", "base64,", value) for value in shown]
    texts.append(json.dumps(read(path).metadata))
    for text in texts:
        assert not MACHINE_PATH.search(text), text
        assert not REGISTRY.search(text), text


# --- the set-up cell and Colab --------------------------------------------------


def test_the_set_up_cell_is_the_same_everywhere():
    first = {code_cells(path)[0].source for path in CHAPTERS}
    assert len(first) == 1
    (cell,) = first
    url = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    assert f'"srlib @ git+{url}"' in cell
    assert 'find_spec("srlib") is None' in cell  # nothing is installed where srlib is
    (install,) = [line for line in cell.splitlines() if "%pip" in line]
    assert not re.search(r"tensorflow|keras|--editable|\s-e\s|--upgrade|\s-U\s", install, re.I)
    assert cell.splitlines()[-1].startswith("import srlib._backend ")  # first, and quietly


@chapters
def test_the_colab_link_leads_to_this_file(path):
    links = re.findall(r"\[[^\]]*Colab\]\([^)]*\)", prose(path))
    assert links == [tool.badge(path)]
    assert read(path).cells[0].source.count(tool.badge(path)) == 1
    branch = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["branch"]
    assert f"/blob/{branch}/book/{path.name})" in links[0]


@chapters
def test_no_cell_calls_a_shell(path):
    first, *others = code_cells(path)
    for cell in (first, *others):
        assert not re.search(r"^\s*!|%%(bash|sh|script)|get_ipython\(\)\.system", cell.source, re.M)
    for cell in others:
        assert not re.search(r"^\s*%pip", cell.source, re.M)


# --- figures --------------------------------------------------------------------


@chapters
def test_every_figure_has_alt_text_and_a_caption(path):
    figures = [cell for cell in code_cells(path) if has_image(cell)]
    assert figures
    for cell in figures:
        told = cell.metadata.get("mystnb", {})
        assert len(told.get("image", {}).get("alt", "")) >= 40, cell.source
        assert told.get("figure", {}).get("caption", "").strip(), cell.source


@chapters
def test_every_cell_that_promises_a_figure_shows_one(path):
    for cell in code_cells(path):
        if "mystnb" in cell.metadata or "plt.show()" in cell.source:
            assert has_image(cell), cell.source


def test_figure_names_are_unique_in_the_book():
    names = [
        cell.metadata["mystnb"]["figure"].get("name")
        for path in CHAPTERS
        for cell in code_cells(path)
        if "figure" in cell.metadata.get("mystnb", {})
    ]
    assert None not in names
    assert len(names) == len(set(names))


@chapters
def test_pictures_are_small(path):
    for cell, output in outputs(path):
        if "image/png" in output.get("data", {}):
            size = len(b64decode(output.data["image/png"]))
            assert size <= BYTES_AT_MOST, f"{size} bytes: {cell.source}"


# --- form -----------------------------------------------------------------------


@chapters
def test_code_cells_are_short(path):
    """All but those that plot or print, which are folded."""
    for cell in code_cells(path):
        if "hide-input" not in cell.metadata.get("tags", []):
            assert lines(cell) <= LINES_AT_MOST, cell.source


def test_the_median_code_cell_is_short():
    median = statistics.median(lines(cell) for path in CHAPTERS for cell in code_cells(path))
    assert median <= MEDIAN_AT_MOST


@chapters
def test_there_is_more_prose_than_code(path):
    words = len(prose(path).split())
    code = sum(lines(cell) for cell in code_cells(path))
    assert words >= WORDS_PER_LINE * code, f"{words} words for {code} lines"


@chapters
def test_the_reading_time_is_honest(path):
    (said,) = re.findall(r"^\| about (\d+) minutes \|", read(path).cells[0].source, re.M)
    counted = words.length(read(path)).minutes
    assert abs(int(said) - counted) <= 5, "run python -m tools.notebooks words"


@chapters
def test_the_chapter_has_the_book_s_form(path):
    text = prose(path)
    number = path.stem.split("-")[0].lstrip("0").upper()  # "A" of an appendix
    assert read(path).cells[0].source.startswith(f"# {number}. ")
    assert len(re.findall(r"^# ", text, re.M)) == 1
    can = re.search(r"^\*\*After this chapter you can\*\*\n\n((?:\d\. .+\n?)+)", text, re.M)
    assert can and can[1].count("\n") >= 2, "a list of what the reader will be able to do"
    assert re.search(r"^\| You need \| for \|\n\|[-| ]+\|\n(\| .+ \| .+ \|\n?)+", text, re.M)
    assert len(re.findall(r"^> \*\*Predict\.\*\* \S", text, re.M)) >= 2
    parts = [
        text.index(f"## {name}\n")
        for name in ("Common mistakes", "Summary", "Exercises", "Further reading")
    ]
    assert parts == sorted(parts)


@chapters
def test_every_exercise_has_a_hidden_solution(path):
    cells = read(path).cells
    (start,) = [i for i, cell in enumerate(cells) if "## Exercises\n" in cell.source]
    (end,) = [i for i, cell in enumerate(cells) if "## Further reading" in cell.source]
    solutions = [cell for cell in cells[start:end] if cell.cell_type == "code"]
    text = "\n".join(c.source for c in cells[start:end] if c.cell_type == "markdown")
    exercises = re.findall(r"^\*\*(\d)\.\*\* \S", text, re.M)
    assert exercises == [str(i + 1) for i in range(len(exercises))]
    assert len(solutions) >= len(exercises) >= 2
    for cell in solutions:
        assert "hide-cell" in cell.metadata.get("tags", []), cell.source
        assert lines(cell) > 0
    # Each exercise is followed by its solution, before the next one.
    for before, after in zip(cells[start:end], cells[start + 1 : end + 1], strict=True):
        if before.cell_type == "markdown" and re.search(r"^\*\*\d\.\*\* ", before.source, re.M):
            assert after.cell_type == "code", before.source
            assert len(re.findall(r"^\*\*\d\.\*\* ", before.source, re.M)) == 1


# --- the book around them -------------------------------------------------------


def test_every_page_of_the_table_of_contents_exists():
    for name in toc():
        found = [name + end for end in (".md", ".ipynb") if (ROOT / (name + end)).is_file()]
        assert len(found) == 1, name


def test_every_notebook_and_every_text_is_in_the_table_of_contents():
    files = {p.relative_to(ROOT).with_suffix("").as_posix() for p in CHAPTERS}
    files |= {p.relative_to(ROOT).with_suffix("").as_posix() for p in BOOK.glob("*.md")}
    assert files == set(toc())
    assert len(toc()) == len(set(toc()))


def test_every_citation_is_in_the_bibliography():
    known = re.findall(r"^@\w+\{([^,\s]+),", (BOOK / "references.bib").read_text(), re.M)
    assert len(known) == len(set(known))
    texts = [path.read_text() for path in BOOK.glob("*.md")]
    texts += [path.read_text() for path in (BOOK / "_generated").glob("*.md")]
    texts += [cell.source for path in CHAPTERS for cell in read(path).cells]
    # Double braces: a citation inside an f-string.
    found = re.findall(r"\{+cite(?::\w+)?\}+`([^`]+)`", "\n".join(texts))
    cited = {key.strip() for keys in found for key in keys.split(",")}
    assert cited
    assert cited - set(known) == set(), "cited, not in references.bib"


@pytest.mark.parametrize("name", pages.PAGES)
def test_a_generated_page_is_what_the_results_say_now(name):
    path = BOOK / "_generated" / name
    assert path.is_file(), "run python -m tools.notebooks pages"
    assert path.read_text() == pages.PAGES[name](), "run python -m tools.notebooks pages"


# --- the smoke preset -----------------------------------------------------------


def test_nbval_runs_in_the_smoke_preset():
    """Every nbval command sets it (and tests/book says that srlib then uses it)."""
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    runs = [line.strip() for line in makefile.splitlines() if "--nbval" in line]
    assert runs
    for line in runs:
        setting = line.split("$(BIN)")[0].strip()
        assert re.fullmatch(r"SRLIB_PRESET=smoke", setting), line
        assert "--nbval-cell-timeout=" in line  # its default is half an hour
        assert "book/*.ipynb" in line
        assert " -p tools.recount " in line  # which computes the numbers in prose again
