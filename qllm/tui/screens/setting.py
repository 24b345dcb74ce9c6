"""A dialog for one setting."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from qllm.text import rich_text
from qllm.tui.form.fields import Setting
from qllm.tui.widgets.bars import KeyBar
from qllm.tui.widgets.setting_row import SettingRow


class SettingScreen(ModalScreen[str | None]):
    """One setting; its result is the new text (empty for the default), or ``None`` if unchanged.

    Args:
        setting: what is set.
        default: its default here.
        value: what is set already; empty for the default.
    """

    CSS = """
    SettingScreen { align: center middle; }
    SettingScreen > VerticalGroup {
        width: 90%; max-width: 78; padding: 1 2; background: $surface; border: round $primary;
    }
    SettingScreen #row { margin: 1 0; height: 1; }
    SettingScreen SettingRow > .about { display: none; }
    SettingScreen SettingRow > .name { width: auto; min-width: 20; padding-right: 2; }
    SettingScreen SettingRow > Input, SettingScreen SettingRow > Select { width: 1fr; }
    SettingScreen .soft { color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "keep", "keep"),
        Binding("ctrl+d", "default", "default", priority=True),
        Binding("escape", "leave", "back"),
    ]

    def __init__(self, setting: Setting, default: str, value: str) -> None:
        super().__init__()
        self.setting = setting
        self._default = default
        self._value = value

    def compose(self) -> ComposeResult:
        """Name, meaning, control."""
        of = f"\nfor {', '.join(self.setting.of)}" if self.setting.of else ""
        with VerticalGroup():
            yield Static(rich_text(self.setting.about + of, newlines=True))
            with VerticalGroup(id="row"):
                yield SettingRow(self.setting, self._default, self._value)
            yield Static(
                rich_text(f"{self.setting.values}; default: {self._default or 'none'}"),
                classes="soft",
            )
        yield KeyBar()

    def on_mount(self) -> None:
        """Focus the control."""
        control = self.query_one(SettingRow).children[1]
        control.focus()

    def on_setting_row_changed(self, event: SettingRow.Changed) -> None:
        """Remember the value until it is kept."""
        event.stop()
        self._value = event.text

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter keeps what was typed."""
        event.stop()
        self.action_keep()

    def action_keep(self) -> None:
        """Return the value."""
        self.dismiss(self._value)

    def action_default(self) -> None:
        """Return to the default."""
        self.dismiss("")

    def action_leave(self) -> None:
        """Leave without a change."""
        self.dismiss(None)
