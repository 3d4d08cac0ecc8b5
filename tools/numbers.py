"""Numbers in prose: computed by the notebook, written before a comment that no reader sees.

    gains +2.97<!-- {gain:+.2f} --> dB over 566<!-- {len(names)} --> photos

The comment holds a field of an f-string, which the kernel works out after the last
cell. ``python -m tools.notebooks execute`` puts the answer in the place of what stands
before the comment, back to white space or one of ``( * | > ` ``. A comment that starts
with ``cpu`` is about something that is larger in that preset than in ``smoke``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from nbformat import NotebookNode

NUMBER = re.compile(r"(?P<text>[^\s(*|>`]*)<!-- (?P<cpu>cpu )?(?P<field>\{.*?\}) -->")
#: What looks like such a comment, well written or not.
LIKE = re.compile(r"<!--(?:(?!-->).)*\{.*?-->", re.S)
#: What the replaced text may begin with: other signs belong to the prose.
BEGIN = re.compile(r"[\w+\-−]")

#: Run in the kernel; an expression that fails says so by itself.
PROGRAM = '''
def _told(field):
    try:
        return {"text": eval('f"""' + field + '"""', globals())}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}

import json as _json

print("\\n" + _json.dumps({field: _told(field) for field in _json.loads(%r)}))
'''


class NumberError(ValueError):
    """A number that cannot be computed, or not be put into its place."""


class Number(NamedTuple):
    """One number of a notebook: its cell counted from 1, its text, what computes it."""

    cell: int
    text: str
    field: str
    cpu: bool

    def __str__(self) -> str:
        return f"cell {self.cell}, {self.text!r} before {self.field}"


def fields(notebook: NotebookNode) -> list[str]:
    """What computes the numbers of a notebook, each once; moved prose leaves it as it is."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return sorted({match["field"] for text in texts for match in NUMBER.finditer(text)})


def numbers(notebook: NotebookNode) -> Iterator[Number]:
    """All numbers of a notebook, in reading order.

    Raises:
        NumberError: where a comment is not written as it should be.
    """
    for count, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "markdown":
            continue
        found = {match.end(): match for match in NUMBER.finditer(cell.source)}
        for comment in LIKE.finditer(cell.source):
            if comment.end() not in found:
                raise NumberError(f"cell {count}: {comment[0]} is not <!-- {{field}} -->")
        for match in found.values():
            number = Number(count, match["text"], match["field"], bool(match["cpu"]))
            before = cell.source[: match.start("text")]
            if not BEGIN.match(number.text):
                raise NumberError(f"{number}: only a number or a word may stand there; write 0")
            if before.endswith("-->"):
                raise NumberError(f"{number}: leave a space after the number before it")
            if before.rpartition("\n")[2].count("`") % 2:
                raise NumberError(f"{number}: between backticks the comment would be seen")
            yield number


def program(found: Iterable[Number]) -> str:
    """Code that prints, as JSON, what each field says in the kernel it runs in."""
    return PROGRAM % json.dumps(sorted({number.field for number in found}))


def answers(outputs: Iterable[NotebookNode], found: Iterable[Number]) -> dict[str, str]:
    """The text of each field, from the output of :func:`program`.

    Raises:
        NumberError: naming each number that has none.
    """
    text = "".join(out.text for out in outputs if out.get("name") == "stdout")
    told = json.loads(text.strip().rpartition("\n")[2])
    wrong = []
    for number in found:
        answer = told[number.field]
        if "error" in answer:
            wrong.append(f"{number}: {answer['error']}")
        elif not re.fullmatch(r"[^\s(*|>`]+", answer["text"]) or not BEGIN.match(answer["text"]):
            wrong.append(f"{number}: {answer['text']!r} is no single word")
    if wrong:
        raise NumberError("\n".join(wrong))
    return {field: answer["text"] for field, answer in told.items()}


def differences(found: Iterable[Number], values: dict[str, str], cpu: bool = True) -> list[str]:
    """The numbers whose text is not the computed one; with or without those of the preset."""
    return [
        f"{number}: computed {values.get(number.field)!r}"
        for number in found
        if number.text != values.get(number.field) and (cpu or not number.cpu)
    ]


def write(notebook: NotebookNode, values: dict[str, str]) -> None:
    """Put the computed texts into their places."""

    def written(match: re.Match) -> str:
        return values[match["field"]] + match[0].removeprefix(match["text"])

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = NUMBER.sub(written, cell.source)
