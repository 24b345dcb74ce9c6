"""The lines that say all of what is to be filled in just now."""

from __future__ import annotations

from textual.widgets import Static

from qllm.text import rich_text
from qllm.tui.form.fields import Command, Setting, default_of

_HINTS = {
    "kind": "what is started: enter or a click opens the list; tab goes on to the next line",
    "task": "a task from the list of cards (`qllm tasks`), or a card's file of your own",
    "where": "what belongs to the task above: a family's number, or the path of a card's file",
    "filter": "words of a setting's name, meaning, choices or value; down goes to the list",
    "start": "starts a process of its own, which goes on when this app is closed",
}
"""By the id of what has the focus."""


class HelpLines(Static):
    """As many lines as it takes."""

    DEFAULT_CSS = """
    HelpLines {
        height: auto; min-height: 2; padding: 0 1; color: $text-muted; background: $boost;
    }
    """

    def __init__(self) -> None:
        super().__init__("", id="about", markup=False)

    def describe(self, setting: Setting, command: Command) -> None:
        """Say what a setting does, what it may be and what it is."""
        default = default_of(setting, command)
        said = f"{setting.path}: {setting.about} ({setting.values}; default: {default or 'none'}"
        said += f"; for {', '.join(setting.of)})" if setting.of else ")"
        self._say(said)

    def hint(self, of: str | None) -> None:
        """Say what something does that is no setting, if there is anything to say."""
        if of in _HINTS:
            self._say(_HINTS[of])

    def _say(self, text: str) -> None:
        self.update(rich_text(text))
        focused = self.screen.focused
        if focused is not None:  # more lines of help leave fewer for the form
            self.call_after_refresh(focused.scroll_visible, animate=False)
