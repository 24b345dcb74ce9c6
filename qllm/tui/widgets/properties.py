"""The properties that a candidate was held to, the violated ones on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType

from qllm.store.records import PropertyFacts
from qllm.text import one_line
from qllm.tui.widgets.candidate_text import by_weight, property_status
from qllm.tui.widgets.candidates import MOVES
from qllm.tui.widgets.rows import Column, Row, RowList
from qllm.units import whole

_COLUMNS = (
    Column("property", 18, grows=True),
    Column("found", 10),
    Column("examples", 8, right=True),
)


class PropertiesTable(RowList, inherit_bindings=False):
    """One row a property."""

    BINDINGS: ClassVar[list[BindingType]] = [*MOVES]

    def __init__(self) -> None:
        super().__init__(_COLUMNS, _cells, id="found")

    def show(self, properties: tuple[PropertyFacts, ...]) -> None:
        """Show these, what was found against the function first."""
        self.put([Row(at, fact) for at, fact in enumerate(by_weight(properties))])


def _cells(fact: PropertyFacts, widths: Sequence[int]) -> list[Text]:
    examples = whole(fact.examples) if fact.examples else ""
    return [Text(one_line(fact.name, 30)), property_status(fact.status), Text(examples)]
