"""The candidates of a search by round, growing while they are written, checked and piloted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message

from qllm.facts.candidates import CandidateFacts
from qllm.facts.search import RoundFacts, Score, SearchFacts, Writing
from qllm.text import choice_word, one_line
from qllm.tui.glyphs import verdict_text
from qllm.tui.widgets.rows import MOVES, Column, Row, RowList
from qllm.units import count, number
from synth.candidates import label

Place = tuple[int, int, int]
"""Round, slot, repair; a round itself is (round, -1, 0)."""

Cell = tuple[str, str]
"""Its text and style."""

_COLUMNS = (
    Column("candidate", 9),
    Column("state", 11),
    Column("return", 7, right=True),
    Column("why", 12, grows=True),
    Column("IGM", 9, from_width=58),
    Column("form", 7, from_width=74),
    Column("finite", 8, from_width=74),
)
_NAMES = tuple(column.title for column in _COLUMNS)
_WRITING = {"asked": "◌ asked", "writing": "✎ writing", "checking": "… checking"}
_IGM = {"by-gate": "by gate", "not-required": "not asked", "proved-over-reals": "proved ℝ"}
BEST, MARKED, PART, WAITS = "★", "Δ", "¹", "?"


def _key(place: Place) -> int:
    round_, slot, repair = place
    return (round_ * 1_000 + slot + 1) * 1_000 + repair


class CandidatesTable(RowList, inherit_bindings=False):
    """One row a candidate, and one a round before its candidates; never wider than the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", tooltip="the candidate's properties and mathematics"),
        *MOVES,  # without j and k, which scroll the pane beside the list
    ]

    @dataclass
    class Chosen(Message):
        """The cursor has moved to another row."""

        place: Place
        by_hand: bool

    def __init__(self) -> None:
        super().__init__(_COLUMNS, _cells, id="candidates")
        self._places: dict[int, Place] = {}
        self._sent_to: int | None = None
        self._told: int | None = None

    @property
    def chosen(self) -> Place | None:
        """The entry under the cursor; ``None`` in an empty list."""
        return None if self.key is None else self._places[self.key]

    @property
    def places(self) -> tuple[Place, ...]:
        """The rows from top to bottom."""
        return tuple(self._places.values())

    def choose(self, place: Place) -> None:
        """Put the cursor on a row, if it exists."""
        key = _key(place)
        if key in self._places and key != self.key:
            self._sent_to = key
            self.go_to(key)

    def show(self, view: SearchFacts, marked: frozenset[int]) -> None:
        """Show a search; the cursor stays on its row.

        Args:
            marked: numbers of the candidates that are marked for a diff.
        """
        rows = _rows(view, marked)
        self._places = {_key(place): place for place in rows}
        before = self.key
        self.put([Row(_key(place), cells) for place, cells in rows.items()])
        if before not in self._places:
            self._sent_to = self.key
        self._tell()

    def on_row_list_moved(self, event: RowList.Moved) -> None:
        """Post the cursor's place, once for every row."""
        event.stop()
        self._tell()

    def _tell(self) -> None:
        key = self.key
        if key is None or key == self._told:
            return
        first = self._told is None
        self._told = key
        self.post_message(self.Chosen(self._places[key], not first and key != self._sent_to))

    def action_open(self) -> None:
        self.post_message(self.Opened(self))


def _cells(value: dict[str, Cell], widths: Sequence[int]) -> list[Text]:
    return [Text(*value.get(name, ("", ""))) for name in _NAMES]


def _rows(view: SearchFacts, marked: frozenset[int]) -> dict[Place, dict[str, Cell]]:
    rows: dict[Place, dict[str, Cell]] = {}
    for r in view.rounds:
        rows[r.round, -1, 0] = _round_cells(r, view)
    for c in view.candidates:
        rows[c.place] = _candidate_cells(c, view, c.id in marked)
    for w in view.writing:
        rows.setdefault((w.round, w.slot, w.repair), _writing_cells(w))
    return dict(sorted(rows.items()))


def _round_cells(r: RoundFacts, view: SearchFacts) -> dict[str, Cell]:
    of_round = [c for c in view.candidates if c.round == r.round]
    accepted = sum(c.verdict == "accepted" for c in of_round)
    best = view.candidate(r.selected)
    why = f"{choice_word(r.decided)} {best.label}" if best else ""
    return {
        "candidate": (f"round {r.round + 1}", "bold"),
        "state": (f"{accepted} of {len(of_round)} ✓", "bold") if of_round else ("…", ""),
        "why": (why, "bold"),
    }


def _candidate_cells(c: CandidateFacts, view: SearchFacts, marked: bool) -> dict[str, Cell]:
    waits = view.waiting is not None and view.waiting.candidate_id == c.id
    sign = WAITS if waits else BEST if c.id == view.best else " "
    state = verdict_text(c.verdict)
    score = view.scores.get(c.id)
    return {
        "candidate": (
            f"{sign} {c.label}" + (f" {MARKED}" if marked else ""),
            "bold yellow" if sign != " " else "",
        ),
        "state": (state.plain, str(state.style)),
        "return": _score(score),
        "why": _why(c, view, score),
        "IGM": (one_line(_IGM.get(c.check.igm, c.check.igm), 12), ""),
        "form": (one_line(c.check.signature, 12), ""),
        "finite": (one_line(c.check.finite, 12), ""),
    }


def _why(c: CandidateFacts, view: SearchFacts, score: Score | None) -> Cell:
    """A word on a candidate: reason of rejection, or state of its pilots."""
    if c.verdict == "rejected":
        return one_line(c.why, 40), ""
    if c.verdict == "duplicate":
        first = view.candidate(c.duplicate_of)
        return f"same as {first.label if first else c.duplicate_of}", ""
    now = view.piloting
    if now is not None and c.label in now.names[now.at :]:
        if c.label == now.names[now.at]:
            return f"▶ pilot {now.share:.0%}", "cyan"
        return "◌ pilot waits", "dim"
    if score is not None and score.error:
        return "✗ pilot failed", "red"
    if view.standing is not None and c.id in view.standing.close:
        best = view.candidate(view.standing.best)
        return f"≈ not told from {best.label if best else 'the best'}", "yellow"
    return "", ""


def _score(score: Score | None) -> Cell:
    if score is None or score.value is None:
        return "", ""
    text = number(score.value)
    return (text, "") if score.whole else (f"{text}{PART}", "dim")


def _writing_cells(w: Writing) -> dict[str, Cell]:
    # In steps, since every change costs a drawing of the row.
    why = f"{count(w.characters // 50 * 50)} characters" if w.state == "writing" else ""
    return {
        "candidate": (f"  {label(w.round, w.slot, w.repair)}", "dim"),
        "state": (_WRITING[w.state], "cyan" if w.state != "asked" else "dim"),
        "why": (why, "dim"),
    }


def legend(view: SearchFacts, marked: bool) -> list[str]:
    """Legend of the marks on the list, the rarest first."""
    words = []
    if view.waiting is not None:
        words.append(f"{WAITS} waits for you")
    if view.candidate(view.best) is not None:
        decided = view.standing is not None and view.standing.decided
        words.append(f"{BEST} {choice_word(decided)}")
    if any(not s.whole for s in view.scores.values()):
        words.append(f"{PART} stopped early (halving)")
    if marked:
        words.append(f"{MARKED} marked for a diff")
    if view.scores:
        words.append("return: mean over seeds of the pilots' last evaluation")
    if any(c.check.igm == "by-gate" for c in view.candidates):
        words.append("by gate: it keeps every weight ≥ 0")
    return words
