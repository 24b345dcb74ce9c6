"""The keys of a screen, taken from its bindings."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

_NOISE = frozenset(
    {"scroll_left", "scroll_right", "page_left", "page_right", "screen.copy_text", "cursor_parent"}
)
"""What Textual's widgets can do that means nothing here."""


class HelpScreen(ModalScreen[None]):
    """Every key that counts on a screen, with what it does.

    Args:
        of: the screen whose keys are shown.
    """

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "leave", "close", key_display="esc")
    ]

    def __init__(self, of: Screen[Any]) -> None:
        super().__init__()
        self._rows = key_rows(of)
        self._of = str(of.TITLE or "")

    def compose(self) -> ComposeResult:
        """One table."""
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(style="dim")
        for keys, what, more in self._rows:
            table.add_row(Text(keys), Text(what), Text(more))
        with VerticalScroll(id="help"):
            yield Static(Text(f"Keys: {self._of}", style="bold"))
            yield Static(table)
            yield Static(Text("ctrl+p finds a command by its name. esc closes this.", style="dim"))

    def action_leave(self) -> None:
        """Back to the screen."""
        self.dismiss(None)


def key_rows(screen: Screen[Any]) -> list[tuple[str, str, str]]:
    """Keys, what they do, and more about it; the screen's own first, the app's last."""
    rows: dict[tuple[str, str], tuple[list[str], str]] = {}
    ranked = sorted(
        screen.active_bindings.values(),
        key=lambda active: 0 if active.node is screen else 2 if active.node is screen.app else 1,
    )
    for active in ranked:
        binding = active.binding
        if not binding.description or not active.enabled or binding.action in _NOISE:
            continue
        place = binding.action, binding.description
        keys, _ = rows.setdefault(place, ([], binding.tooltip))
        keys.append(screen.app.get_key_display(binding))
    return [(" ".join(keys), what, more) for (_, what), (keys, more) in rows.items()]
