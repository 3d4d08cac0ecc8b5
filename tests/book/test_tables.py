"""Markdown tables, read back by a Markdown parser."""

import pytest
from markdown_it import MarkdownIt

from srlib.book import tables


@pytest.mark.parametrize("rows", [[], [["a", 1]], [["a", 1], ["`b`", 2.5], ["", None]]])
def test_a_parser_finds_every_cell(rows):
    text = tables.markdown(["name", ""], rows)
    tokens = MarkdownIt("commonmark").enable("table").parse(text + "\nAfter it.")
    cells = [t.content for t in tokens if t.type == "inline"]
    assert cells == ["name", "", *(str(cell) for row in rows for cell in row), "After it."]


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"3 cells under 2 titles: \[1, 2, 3\]"):
        tables.markdown(["a", "b"], [[1, 2], [1, 2, 3]])
