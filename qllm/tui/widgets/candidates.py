"""The candidates of a search by round, growing while they are written and checked."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.message import Message
from textual.widgets import DataTable

from qllm.jobs.synthesis_bridge import label
from qllm.text import one_line, rich_text
from qllm.tui.glyphs import verdict_text
from qllm.tui.reading.search_rows import CandidateRow
from qllm.tui.reading.search_view import RoundRow, Score, SynthesisView, Writing
from qllm.units import count, number

Key = tuple[int, int, int]
"""Round, slot, repair; a round itself is (round, -1, 0)."""

_COLUMNS = {
    "candidate": 10,
    "state": 11,
    "return": 7,
    "why": 21,
    "form": 7,
    "igm": 12,
    "finite": 8,
}
"""With their widths, which do not depend on what is in them, so that nothing jumps."""
_WRITING = {"asked": "◌ asked", "writing": "✎ writing", "checking": "… checking"}


def _name(key: Key) -> str:
    return ".".join(map(str, key))


def _key(name: str) -> Key:
    round_, slot, repair = map(int, name.split("."))
    return round_, slot, repair


class CandidatesTable(DataTable[Text]):
    """One row a candidate, and one a round before its candidates."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "open")]

    class Chosen(Message):
        """The cursor stands on another row."""

        def __init__(self, key: Key, by_hand: bool) -> None:
            super().__init__()
            self.key, self.by_hand = key, by_hand

    def __init__(self) -> None:
        super().__init__(id="candidates", cursor_type="row", zebra_stripes=True)
        self._cells: dict[Key, dict[str, Text]] = {}
        self._sent_to: Key | None = None
        self._told: Key | None = None

    def on_mount(self) -> None:
        """Lay the columns out."""
        for name, width in _COLUMNS.items():
            self.add_column(name, key=name, width=width)

    @property
    def chosen(self) -> Key | None:
        """Where the cursor stands; ``None`` in an empty table."""
        if not self.row_count:
            return None
        return _key(str(self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value))

    def choose(self, key: Key) -> None:
        """Put the cursor on a row, if it is there."""
        if key in self._cells and key != self.chosen:
            self._sent_to = key
            self.move_cursor(row=self.get_row_index(_name(key)), animate=False)

    def show(self, view: SynthesisView, marked: frozenset[int]) -> None:
        """Update the cells that changed; rows are never cleared and filled again.

        Args:
            marked: numbers of the candidates that are marked for a diff.
        """
        wanted = _rows(view, marked)
        stood, added = self.chosen, False
        for key in [k for k in self._cells if k not in wanted]:
            self.remove_row(_name(key))
            del self._cells[key]
        for key, cells in wanted.items():
            known = self._cells.get(key)
            if known is None:
                self.add_row(*cells.values(), key=_name(key))
                added = True
            else:
                for column, cell in cells.items():
                    if known[column] != cell or known[column].style != cell.style:
                        self.update_cell(_name(key), column, cell)
            self._cells[key] = cells
        if added:
            self._in_order(stood)

    def _in_order(self, stood: Key | None) -> None:
        """Corrections belong below what they correct; the cursor stays on its row."""
        keys = iter([_key(str(row.value)) for row in self.rows])
        # The table sorts by its cells, which know nothing of their row, in the order of `rows`.
        self.sort("candidate", key=lambda _: next(keys))
        if stood is not None and self.chosen != stood and stood in self._cells:
            self._sent_to = stood
            row = self.get_row_index(_name(stood))
            self.cursor_coordinate = Coordinate(row, self.cursor_column)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Say where the cursor stands, once for every row."""
        event.stop()
        key = self.chosen
        if key is None or key == self._told:
            return
        first = self._told is None
        self._told = key
        self.post_message(self.Chosen(key, by_hand=not first and key != self._sent_to))


def _rows(view: SynthesisView, marked: frozenset[int]) -> dict[Key, dict[str, Text]]:
    rows: dict[Key, dict[str, Text]] = {}
    for r in view.rounds:
        rows[r.round, -1, 0] = _round_cells(r, view)
    for c in view.candidates:
        rows[c.place] = _candidate_cells(c, view, c.id in marked)
    for w in view.writing:
        rows.setdefault((w.round, w.slot, w.repair), _writing_cells(w))
    return dict(sorted(rows.items()))


def _cells(**known: Text) -> dict[str, Text]:
    return {column: known.get(column, Text()) for column in _COLUMNS}


def _round_cells(r: RoundRow, view: SynthesisView) -> dict[str, Text]:
    of_round = [c for c in view.candidates if c.round == r.round]
    accepted = sum(c.verdict == "accepted" for c in of_round)
    best = view.candidate(r.selected)
    return _cells(
        candidate=Text(f"round {r.round + 1}", "bold"),
        state=Text(f"{accepted} of {len(of_round)}", "bold") if of_round else Text("…"),
        why=Text(f"selected {best.label}", "bold") if best else Text(),
    )


def _candidate_cells(c: CandidateRow, view: SynthesisView, marked: bool) -> dict[str, Text]:
    waiting = view.waiting is not None and view.waiting.candidate_id == c.id
    sign = "?" if waiting else "★" if c.id == view.best else " "
    place = Text(f"{sign} {c.label}" + (" Δ" if marked else ""))
    if sign != " ":
        place.stylize("bold yellow")
    why = Text()
    if c.verdict == "rejected":
        why = Text(one_line(c.rule or c.stage, 21))
    elif c.verdict == "duplicate":
        first = view.candidate(c.duplicate_of)
        why = Text(f"same as {first.label if first else c.duplicate_of}")
    score = view.scores.get(c.id)
    if score is not None and score.error:
        why = rich_text("pilot failed")
    return _cells(
        candidate=place,
        state=verdict_text(c.verdict),
        why=why,
        form=Text(one_line(c.form, 12)),
        igm=Text(one_line(c.igm, 14)),
        finite=Text(one_line(c.finite, 12)),
        **{"return": _score(score)},
    )


def _score(score: Score | None) -> Text:
    if score is None or score.value is None:
        return Text()
    text = number(score.value)
    return Text(text, justify="right") if score.whole else Text(f"{text}¹", "dim", justify="right")


def _writing_cells(w: Writing) -> dict[str, Text]:
    # In steps, since every change costs a drawing of the table.
    why = f"{count(w.characters // 50 * 50)} characters" if w.state == "writing" else ""
    return _cells(
        candidate=Text(f"  {label(w.round, w.slot, w.repair)}", "dim"),
        state=Text(_WRITING[w.state], "cyan" if w.state != "asked" else "dim"),
        why=Text(why, "dim"),
    )
