"""The tool that executes, stamps and counts: on notebooks of its own."""

from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient.exceptions import CellExecutionError

from tools import notebooks as tool
from tools import words


@pytest.fixture
def house(tmp_path, monkeypatch) -> Path:
    """A small tree of its own for the tool: srlib, and a book folder."""
    for folder in ("srlib", "book"):
        (tmp_path / folder).mkdir()
    parts = [{"chapters": [{"file": f"book/{name}"} for name in "ab"]}]
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump({"root": "book/intro", "parts": parts}))
    (tmp_path / "srlib" / "__init__.py").write_text("SCALE = 2\n")
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "BOOK", tmp_path / "book")
    return tmp_path


def tiny(path: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_markdown_cell("# A page")]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_stale_until_executed_and_again_after_a_change_of_what_it_uses(house, monkeypatch):
    path = tiny(house / "book" / "a.ipynb", "print(6 * 7)", "import srlib\n6 * 7")
    other = tiny(house / "book" / "b.ipynb", "1 + 1")
    assert tool.stale([path, other]) == [path, other]
    assert tool.execute(path) > 0 and tool.execute(other) > 0
    assert tool.stale([path, other]) == []
    done = nbformat.read(path, as_version=4)
    assert done.cells[1].outputs[0].text == "42\n"
    assert done.cells[2].outputs[0].data["text/plain"] == "42"
    assert [cell.execution_count for cell in done.cells[1:]] == [1, 2]
    assert done.metadata.srlib == {"stamp": tool.stamp(done), "preset": "cpu", "numbers": {}}
    assert all("execution" not in cell.metadata for cell in done.cells)
    assert len(list(path.parent.iterdir())) == 2  # nothing left beside them
    (house / "srlib" / "__init__.py").write_text("SCALE = 3\n")
    assert tool.stale([path, other]) == [path]
    executed = []
    monkeypatch.setattr(tool, "run", lambda chosen, preset: executed.append(chosen) or 0)
    assert tool.main(["execute", "--stale"]) == tool.main(["execute"]) == 0
    assert executed == [[path], [path, other]]


def test_prose_and_outputs_make_nothing_stale(house):
    path = tiny(house / "book" / "a.ipynb", "1 + 1")
    notebook = nbformat.read(path, as_version=4)
    before = tool.stamp(notebook)
    notebook.cells[0].source = "# Another page"
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="2")]
    notebook.cells[1].execution_count = 7
    assert tool.stamp(notebook) == before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys; print('careful', file=sys.stderr)", "careful"),
        ("import warnings; warnings.warn('careful')", "careful"),
        ("1 / 0", "ZeroDivisionError"),
    ],
    ids=["stderr", "warning", "error"],
)
def test_a_failing_notebook_leaves_the_old_page_whole(house, source, message):
    path = tiny(house / "book" / "a.ipynb", "1 + 1", source)
    before = path.read_bytes()
    with pytest.raises((RuntimeError, CellExecutionError), match=message):
        tool.execute(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.ipynb"]


def test_addresses_are_written_from_the_configuration(house):
    config = {"repository": {"url": "https://github.com/me/my-book", "branch": "dev"}}
    (house / "_config.yml").write_text(yaml.safe_dump(config))
    path = tiny(house / "book" / "a.ipynb", '%pip install "srlib @ git+https://github.com/x/y"')
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source += "\n\n[Open this chapter in Colab](https://nowhere)"
    nbformat.write(notebook, path)
    tool.stamp_addresses()
    first, second = nbformat.read(path, as_version=4).cells
    assert "colab.research.google.com/github/me/my-book/blob/dev/book/a.ipynb)" in first.source
    assert second.source == '%pip install "srlib @ git+https://github.com/me/my-book"'


def test_words_lines_and_pictures_are_counted():
    v4 = nbformat.v4
    picture = v4.new_output("display_data", data={"image/png": ""})
    cells = [
        v4.new_markdown_cell(
            "# One two\n\n| about 99 minutes | reading |\n|---|---|\n\n> **Three**"
        ),
        v4.new_markdown_cell(
            "It is +2<!-- {gain:+.0f} --> [over there](03-mse).\n" + "word " * 993
        ),
        v4.new_code_cell("a = 1\n\nb = 2", outputs=[picture]),
        v4.new_code_cell("c = 3", metadata={"tags": ["hide-input"]}, outputs=[picture] * 2),
        v4.new_code_cell("d = 4", metadata={"tags": ["hide-cell"]}, outputs=[picture]),
    ]
    notebook = v4.new_notebook(cells=cells)
    # 1,005 words, 2 lines, 2 cells that show something: 300 + 6 + 40 seconds
    assert words.length(notebook) == (3 + 4 + 5 + 993, 1, 1, 1, 5)
    assert words.write_time(notebook)
    assert "| about 5 minutes | reading |" in cells[0].source
    assert not words.write_time(notebook)
