"""How long each chapter is, and how long it takes: counted, not guessed.

python -m tools.notebooks words
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from nbformat import NotebookNode

#: The row of a chapter's first table that says how long it takes; only its number is written.
TIME = re.compile(r"^(\| about )(\d+)( minutes \|)", re.M)
#: What is no word of the text: comments, code, targets of links, the rules of tables.
NO_WORDS = re.compile(r"<!--.*?-->|^```.*?^```$|\]\([^)]*\)|^\|[-:| ]+\|$|[|#>*]", re.M | re.S)
#: Seconds: of a word, of a line of code that is in view, of a picture or table that is shown.
WORD, LINE, SHOWN = 60 / 200, 3, 20


class Length(NamedTuple):
    """Words of prose; code cells in view, folded (``hide-input``) and hidden; minutes."""

    words: int
    visible: int
    folded: int
    hidden: int
    minutes: int


def length(notebook: NotebookNode) -> Length:
    """Of one chapter, without its exercises' solutions; minutes in steps of five."""
    words, lines, shown = 0, 0, 0
    kinds: Counter[str] = Counter()
    for cell in notebook.cells:
        if cell.cell_type != "code":
            words += len(re.findall(r"\S*\w\S*", NO_WORDS.sub(" ", cell.source)))
            continue
        tags = set(cell.metadata.get("tags", []))
        hidden = bool(tags & {"hide-cell", "remove-cell"})
        folded = bool(tags & {"hide-input", "remove-input"})
        kinds["hidden" if hidden else "folded" if folded else "visible"] += 1
        if not hidden:
            lines += 0 if folded else sum(bool(line.strip()) for line in cell.source.splitlines())
            shown += any("data" in output for output in cell.outputs)
    seconds = words * WORD + lines * LINE + shown * SHOWN
    minutes = max(5, 5 * round(seconds / 300))
    return Length(words, kinds["visible"], kinds["folded"], kinds["hidden"], minutes)


def write_time(notebook: NotebookNode) -> bool:
    """Say in the first cell how long the chapter takes; returns whether that is news."""
    cell = notebook.cells[0]
    before = cell.source
    cell.source = TIME.sub(rf"\g<1>{length(notebook).minutes}\g<3>", before)
    return cell.source != before


def table(lengths: dict[str, Length]) -> str:
    """One line a chapter, and the sums."""
    total = [sum(column) for column in zip(*lengths.values(), strict=True)]
    rows = [("chapter", *Length._fields), *((n, *row) for n, row in lengths.items())]
    rows.append(("all", *total))
    return "\n".join(f"{row[0]:16}" + "".join(f"{cell!s:>9}" for cell in row[1:]) for row in rows)
