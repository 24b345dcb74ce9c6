"""A conversation with a model, growing while it is written."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from qllm.facts.search import ASKED, Turn
from qllm.text import one_line
from qllm.tui.widgets.source import shown, with_code
from qllm.units import duration, whole

_ROLES = {
    "system": ("■", "the task and the rules"),
    "user": ("▶", "asked"),
    "assistant": ("◀", "replied"),
}


class TurnBox(Static):
    """One turn."""

    def __init__(self, turn: Turn, unit: str) -> None:
        super().__init__(markup=False, classes="turn")
        self.turn: Turn | None = None
        self.say(turn, unit)

    def say(self, turn: Turn, unit: str) -> None:
        """Show what has been written since, or another turn."""
        self.display = True
        if turn is not self.turn:
            self.turn = turn
            for role in (*_ROLES, "other"):
                self.set_class(role == (turn.role if turn.role in _ROLES else "other"), f"-{role}")
            self.update(turn_content(turn, unit))


def turn_content(turn: Turn, unit: str = "tokens") -> Content:
    """A turn as plain text, without markup, links or controls.

    Args:
        unit: what its length is counted in: a writer that is no language model has no tokens.
    """
    glyph, word = _ROLES.get(turn.role, ("?", one_line(turn.role, 20)))
    who = one_line(turn.model, 40) if turn.model else ""
    if turn.asked and turn.role == "user":
        word = f"asked for the {ASKED[turn.asked]}"
    words = [f"{glyph} {who + ' ' if who and turn.role == 'assistant' else ''}{word}"]
    if turn.streaming:
        words.append("writing…")
    if turn.prompt_tokens is not None and turn.completion_tokens is not None:
        words.append(f"{whole(turn.prompt_tokens)} + {whole(turn.completion_tokens)} {unit}")
    if turn.latency_s is not None:
        words.append(duration(turn.latency_s))
    head = Content.styled(" · ".join(words), "bold $text-accent")
    if turn.streaming:  # colours would jump about while a block is open
        body = Content(shown(turn.content) + "▌")
    elif turn.role == "assistant":
        body = with_code(turn.content)
    else:
        body = Content(shown(turn.content))
    return Content("\n").join([head, body])


class Conversation(VerticalScroll):
    """A list of turns that follows its end while the end is in sight."""

    def __init__(self) -> None:
        super().__init__()
        self._subject: object = None
        self._boxes: list[TurnBox] = []
        """Reused for other turns when the subject changes, as mounting new ones is slower."""
        self._said: str | None = None
        self._folded = Static(markup=False, classes="folded")

    def compose(self) -> ComposeResult:
        yield self._folded

    def show(
        self, subject: object, turns: Sequence[Turn], folded: str = "", unit: str = "tokens"
    ) -> None:
        """Show the turns of a subject; boxes of unchanged turns are kept.

        Args:
            subject: what they are about; another subject starts at its beginning.
            folded: said above them, such as what is left out.
        """
        fresh = subject != self._subject
        at_end = not fresh and self.max_scroll_y > 0 and self.scroll_offset.y >= self.max_scroll_y
        short = not fresh and self.max_scroll_y == 0
        self._subject = subject
        if folded != self._said:
            self._said = folded
            self._folded.display = bool(folded)
            self._folded.update(Content(folded))
        for box, turn in zip(self._boxes, turns, strict=False):
            box.say(turn, unit)
        for box in self._boxes[len(turns) :]:
            box.display = False
        more = [TurnBox(turn, unit) for turn in turns[len(self._boxes) :]]
        if more:
            self._boxes += more
            self.mount_all(more)
        streaming = any(t.streaming for t in turns)
        if fresh and not streaming:
            self.scroll_home(animate=False)
        elif at_end or ((fresh or short) and streaming):
            self.call_after_refresh(self.scroll_end, animate=False)
