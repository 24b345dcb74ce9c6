"""All settings of a command, to be searched."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option, OptionDoesNotExist

from qllm.text import rich_text, safe
from qllm.tui.form.fields import Command, Offer, Setting, default_of


class _Box(Input):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("down", "to_list", "to the list", show=False)]

    def action_to_list(self) -> None:
        assert isinstance(self.parent, SettingSearch)
        self.parent.to_list()


class _List(OptionList):
    def action_cursor_up(self) -> None:
        """From the first one back to what was typed."""
        if self.highlighted in (None, 0):
            self.screen.query_one(_Box).focus()
        else:
            super().action_cursor_up()


class SettingSearch(VerticalGroup):
    """Search of settings by words of their names, meanings, choices or values."""

    DEFAULT_CSS = """
    SettingSearch #others { height: auto; max-height: 14; border: none; padding: 0; }
    SettingSearch #others:focus { background-tint: $foreground 3%; }
    SettingSearch #none { color: $text-muted; }
    """

    @dataclass
    class Chosen(Message):
        """A setting is to be changed."""

        setting: Setting

    @dataclass
    class Looked(Message):
        """The cursor has moved to a setting."""

        setting: Setting

    def __init__(self) -> None:
        super().__init__(id="search")
        self._offer: Offer | None = None
        self._command: Command = "run"
        self._values: Mapping[str, str] = {}

    def compose(self) -> ComposeResult:
        yield _Box(placeholder="type to search all settings", compact=True, id="filter")
        yield _List(id="others", markup=False, compact=True)
        yield Static("", id="none", markup=False)

    def show(self, offer: Offer, command: Command, values: Mapping[str, str]) -> None:
        """List the settings of a command, with what they are set to."""
        self._offer, self._command, self._values = offer, command, values
        typed = self.query_one(_Box).value.strip()
        settings = offer.found(command, typed, values) if typed else offer.others(command)
        listed = self.query_one(_List)
        at = listed.highlighted_option
        listed.clear_options()
        listed.add_options(Option(self._line(s), id=s.path) for s in settings)
        if at is not None and at.id is not None:
            with contextlib.suppress(OptionDoesNotExist):
                listed.highlighted = listed.get_option_index(at.id)
        listed.display = bool(settings)
        none = self.query_one("#none", Static)
        none.display = not settings
        if not settings:
            none.update(rich_text(self._nothing(typed)))

    def _line(self, setting: Setting) -> Text:
        value = self._values.get(setting.path, "")
        default = default_of(setting, self._command)
        line = Text(f"{setting.path:<28} ", style="bold" if value else "")
        line.append(safe(value) or (default if default not in ("", "null") else "not set"))
        return line.append("  changed" if value else "", style="italic")

    def _nothing(self, typed: str) -> str:
        assert self._offer is not None
        others = self._offer.read_by(typed)
        if others:
            return f"{self._command} reads no setting with “{typed}”; {' and '.join(others)} can"
        return f"no setting has “{typed}”"

    def to_list(self) -> None:
        """From the box to the first setting that was found."""
        listed = self.query_one(_List)
        if listed.option_count:
            listed.focus()
            listed.highlighted = listed.highlighted or 0

    def tell(self) -> None:
        """Post `Looked` for the setting under the cursor."""
        option = self.query_one(_List).highlighted_option
        if option is not None:
            self._tell(option.id, self.Looked)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._offer is not None:
            self.query_one(_List).highlighted = None
            self.show(self._offer, self._command, self._values)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.to_list()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._tell(event.option_id, self.Chosen)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if event.option_list.has_focus:
            self._tell(event.option_id, self.Looked)

    def _tell(self, path: str | None, what: type[Chosen] | type[Looked]) -> None:
        setting = self._offer.setting(str(path)) if self._offer is not None else None
        if setting is not None:
            self.post_message(what(setting))
