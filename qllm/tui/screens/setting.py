"""One setting: on a line of the form, and in a dialog of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalGroup
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Select, Static, Switch

from qllm.text import rich_text
from qllm.tui.form.fields import SHORT, Setting
from qllm.tui.widgets.bars import KeyBar


class SettingRow(Horizontal):
    """Says what was set in `Changed`.

    Args:
        default: its default here, as one would type it.
        value: what is set already; empty for the default.
    """

    DEFAULT_CSS = """
    SettingRow { height: 1; }
    SettingRow > .name { width: 20; color: $text-muted; }
    SettingRow.-changed > .name { color: $text; text-style: bold; }
    SettingRow > Input, SettingRow > Select { width: 26; }
    SettingRow > Switch { border: none; height: 1; padding: 0; width: 10; }
    SettingRow > Switch:focus { border: none; background: $primary 30%; }
    SettingRow > .about { width: 1fr; padding-left: 2; color: $text-muted;
        text-wrap: nowrap; text-overflow: ellipsis; }
    """

    @dataclass
    class Changed(Message):
        """A setting has a new value; empty text means the default."""

        path: str
        text: str

    def __init__(self, setting: Setting, default: str, value: str = "") -> None:
        super().__init__()
        self.setting = setting
        self._default = default
        self._value = value
        self.set_class(bool(value) and value != default, "-changed")

    def compose(self) -> ComposeResult:
        yield Static(rich_text(self.setting.path), classes="name")
        yield self._control()
        yield Static(SHORT.get(self.setting.path, ""), classes="about", markup=False)

    def _control(self) -> Widget:
        setting, value = self.setting, self._value or self._default
        if setting.kind == "switch":
            return Switch(value == "true", animate=False, classes="control")
        if setting.kind == "choice":
            shown = self._choices(value)
            return Select(shown, value=value, allow_blank=False, compact=True, classes="control")
        default = self._default or "not set"
        return Input(self._value, placeholder=default, compact=True, classes="control")

    def rebase(self, setting: Setting, default: str) -> None:
        """Show another default, as another task or preset has it."""
        self.setting = setting
        if default == self._default:
            return
        self._default = default
        control = self.query_one(".control")
        if isinstance(control, Input):
            control.placeholder = default or "not set"
            return
        with self.prevent(Select.Changed, Switch.Changed):
            if isinstance(control, Select):
                chosen = self._value or default
                control.set_options(self._choices(chosen))
                control.value = chosen
            elif isinstance(control, Switch):
                control.value = (self._value or default) == "true"

    def _choices(self, value: str) -> list[tuple[Text, str]]:
        names = [*self.setting.choices, *([] if value in self.setting.choices else [value])]
        return [(rich_text(self._named(name)), name) for name in names]

    def _named(self, choice: str) -> str:
        return f"{choice} (default)" if choice == self._default else choice

    def on_select_changed(self, event: Select.Changed) -> None:
        event.stop()
        self._set(str(event.value))

    def on_switch_changed(self, event: Switch.Changed) -> None:
        event.stop()
        self._set("true" if event.value else "false")

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._set(event.value)

    def _set(self, text: str) -> None:
        chosen = self.setting.kind != "text" and text == self._default
        text = "" if chosen else text.strip()
        self.set_class(bool(text), "-changed")
        if text != self._value:
            self._value = text
            self.post_message(self.Changed(self.setting.path, text))


class SettingScreen(ModalScreen[str | None]):
    """One setting; its result is the new text (empty for the default), or ``None`` if unchanged.

    Args:
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
        control = self.query_one(SettingRow).children[1]
        control.focus()

    def on_setting_row_changed(self, event: SettingRow.Changed) -> None:
        """Remember the value until it is kept."""
        event.stop()
        self._value = event.text

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_keep()

    def action_keep(self) -> None:
        self.dismiss(self._value)

    def action_default(self) -> None:
        self.dismiss("")

    def action_leave(self) -> None:
        self.dismiss(None)
