"""What a form stands for: whether it can be started, as a command line, and as a file."""

from __future__ import annotations

from typing import Literal

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalGroup, VerticalScroll
from textual.widgets import Button, Static

from qllm.text import rich_text

State = Literal["-right", "-wrong", "-busy"]


class Standing(Vertical):
    """The verdict with the button that starts, which stays on the screen whatever was typed."""

    DEFAULT_CSS = """
    Standing #verdict { padding: 0 1; }
    Standing #verdict.-wrong { border-left: thick $error; }
    Standing #verdict.-right { border-left: thick $success; }
    Standing #verdict.-busy { border-left: thick $warning; }
    Standing #command, Standing #yaml { padding: 0 1; background: $boost; }
    """

    def __init__(self) -> None:
        super().__init__(id="side")

    def compose(self) -> ComposeResult:
        """The button and the verdict, and below them what may be long."""
        with VerticalGroup(id="go"):
            yield Button("start (ctrl+r)", variant="success", compact=True, id="start")
            with VerticalScroll(id="said", can_focus=False):
                yield Static("reading the settings …", id="verdict", markup=False)
        with VerticalScroll(id="stands-for", can_focus=False):
            yield Static("command line (ctrl+y copies)", classes="head")
            yield Static("", id="command", markup=False)
            yield Static("as a file for --config (ctrl+l copies)", classes="head")
            yield Static("", id="yaml", markup=False)

    def say(self, text: str, state: State = "-right") -> None:
        """Show a verdict."""
        verdict = self.query_one("#verdict", Static)
        verdict.update(rich_text(text, newlines=True))
        for one in ("-wrong", "-right", "-busy"):
            verdict.set_class(one == state, one)

    def wrong(self, problem: str) -> None:
        """Show why it cannot be started, or why the start came to nothing."""
        self.say(f"✗ {problem}", "-wrong")

    def show_command(self, text: str) -> None:
        """Show the command line."""
        self.query_one("#command", Static).update(rich_text(text))

    def show_yaml(self, text: str) -> None:
        """Show the file."""
        self.query_one("#yaml", Static).update(rich_text(text.rstrip(), newlines=True))

    def allow_start(self, allowed: bool) -> None:
        """While a job starts, there is nothing to press."""
        button = self.query_one("#start", Button)
        button.disabled = not allowed
        button.label = "start (ctrl+r)" if allowed else "starting …"
