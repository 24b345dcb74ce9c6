"""The keys of a screen, taken from its bindings."""

from __future__ import annotations

from textwrap import wrap
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

_NOISE = frozenset(
    {"scroll_left", "scroll_right", "page_left", "page_right", "screen.copy_text", "cursor_parent"}
)
"""What Textual's widgets can do that means nothing here."""


_MOVING = frozenset({"app.focus_next", "app.focus_previous"})

_WIDTH = 76
"""Columns of the help, as its styles have it."""


class HelpScreen(ModalScreen[None]):
    """Every key that counts on a screen, with what it does."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "leave", "close", key_display="esc")
    ]

    def __init__(self, of: Screen[Any]) -> None:
        super().__init__()
        self._rows = key_rows(of)
        self._of = str(of.TITLE or "")

    def compose(self) -> ComposeResult:
        keys_width = max((cell_len(keys) for keys, _, _ in self._rows), default=0) + 2
        what_width = max((cell_len(what) for _, what, _ in self._rows), default=0) + 2
        lead = keys_width + what_width
        room = max(12, min(_WIDTH, round(0.96 * self.app.size.width)) - 8 - lead)
        said = Text.assemble((f"Keys: {self._of}\n", "bold"))
        for keys, what, more in self._rows:
            said.append(set_cell_size(keys, keys_width), "bold")
            said.append(set_cell_size(what, what_width))
            said.append(f"\n{' ' * lead}".join(wrap(more, room)) + "\n", "dim")
        said.append("ctrl+p finds a command by its name. esc closes this.", "dim")
        with VerticalScroll(id="help"):
            yield Static(said, markup=False)

    def action_leave(self) -> None:
        self.dismiss(None)


def key_rows(screen: Screen[Any]) -> list[tuple[str, str, str]]:
    """Keys, what they do, and more about it; the screen's own first, the app's last."""
    rows: dict[tuple[str, str], tuple[list[str], str]] = {}

    def rank(active: ActiveBinding) -> int:
        if active.binding.action in _MOVING:
            return 3
        return 0 if active.node is screen else 2 if active.node is screen.app else 1

    ranked = sorted(screen.active_bindings.values(), key=rank)
    for active in ranked:
        binding = active.binding
        if not binding.description or not active.enabled or binding.action in _NOISE:
            continue
        place = binding.action, binding.description.lower()
        keys, _ = rows.setdefault(place, ([], binding.tooltip))
        shown = screen.app.get_key_display(binding)
        if shown not in keys:
            keys.append(shown)
    return [(" ".join(keys), what, more) for (_, what), (keys, more) in rows.items()]
