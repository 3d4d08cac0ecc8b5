"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table, its last line ended.

    Args:
        header: a title for each column; it may be empty.
        rows: as many cells each, written as ``str`` writes them.

    Raises:
        ValueError: when a row is longer or shorter than the header.
    """
    lines = [header, *rows]
    for line in lines:
        if len(line) != len(header):
            raise ValueError(f"{len(line)} cells under {len(header)} titles: {list(line)}")
    head, *body = ("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
    return head + "|" + "---|" * len(header) + "\n" + "".join(body)
