"""A pytest plugin: after nbval has run a notebook, its numbers in prose are computed again.

pytest -p tools.recount --nbval-lax ... book/*.ipynb
"""

from __future__ import annotations

from collections import defaultdict

import pytest
from nbformat.v4 import new_code_cell
from nbval.plugin import IPyNbCell

from tools import numbers


class Recount(IPyNbCell):
    """One more cell at the end, which asks the same kernel what the numbers are."""

    def runtest(self) -> None:
        found = list(numbers.numbers(self.parent.nb))
        self.cell.source = numbers.program(found)
        super().runtest()
        values = numbers.answers(self.test_outputs, found)
        if wrong := numbers.differences(found, values, cpu=False):
            raise numbers.NumberError("\n".join([self.parent.path.name, *wrong]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put it behind each notebook's last cell."""
    last = {item.parent: place for place, item in enumerate(items) if isinstance(item, IPyNbCell)}
    for notebook, place in sorted(last.items(), key=lambda pair: -pair[1]):
        notebook.skip_compare += ("image/svg+xml",)  # a picture, as PNG is
        item = Recount.from_parent(
            notebook,
            name="numbers",
            cell_num=items[place].cell_num + 1,
            cell=new_code_cell(),
            options=defaultdict(bool),
        )
        items.insert(place + 1, item)
