"""Parts of the form: task, command line and verdict, help on the focused field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalGroup, VerticalScroll
from textual.message import Message
from textual.widgets import Button, Input, Select, Static

from qllm.text import rich_text, safe
from qllm.tui.form.fields import Command, Setting, Task, default_of

OWN_FILE = "\0file"
"""Stands for a card of the user's own among the tasks."""


class TaskChoice(VerticalGroup):
    """Says in `Changed` which task it is."""

    @dataclass
    class Changed(Message):
        """Another task; its name as on the command line, empty if none is chosen."""

        task: str

    def __init__(self) -> None:
        super().__init__()
        self._tasks: Sequence[Task] = ()
        self._card: Task | None = None
        self._where = ""
        """A family's number, or the path of a card of the user's own."""
        self._said = ""

    def compose(self) -> ComposeResult:
        with Horizontal(classes="line"):
            yield Static("task", classes="name")
            yield Select([], prompt="reading the tasks …", compact=True, id="task")
        with Horizontal(classes="line", id="where-line"):
            yield Static("", classes="name", id="where-name")
            yield Input(compact=True, id="where")
            yield Static("", classes="after", id="where-after")

    def on_mount(self) -> None:
        self.query_one("#where-line").display = False

    def offer(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        shown = [(_label(task), task.name) for task in tasks]
        listed = self.query_one("#task", Select)
        listed.set_options([*shown, (Text("a card's file of your own"), OWN_FILE)])

    def choose(self, name: str) -> None:
        """Show a task, given as on the command line."""
        card = next((t for t in self._tasks if t.name == name), None)
        for task in self._tasks:
            if card is None and task.family is not None:
                before, _, after = task.name.partition("{" + task.family.name + "}")
                number = name.removeprefix(before).removesuffix(after)
                if task.called(number) == name and number.isdecimal():
                    card, self._where = task, number
        if card is None:
            self._where = name
        self._card, self._said = card, name
        self.query_one("#task", Select).value = card.name if card is not None else OWN_FILE
        self._ask_where()

    @property
    def chosen(self) -> str:
        """The task as on the command line; empty if none is chosen."""
        if self._card is not None:
            return self._card.called(self._where)
        own = self.query_one("#task", Select).value == OWN_FILE
        return self._where.strip() if own else ""

    def on_select_changed(self, event: Select.Changed) -> None:
        event.stop()
        self._card = next((t for t in self._tasks if t.name == event.value), None)
        self._ask_where()
        self._say()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._where = event.value
        self._say()

    def _say(self) -> None:
        if self._tasks and self.chosen != self._said:
            self._said = self.chosen
            self.post_message(self.Changed(self._said))

    def _ask_where(self) -> None:
        """A family needs its number, a card of one's own its path."""
        family = self._card.family if self._card is not None else None
        own = self.query_one("#task", Select).value == OWN_FILE
        self.query_one("#where-line").display = own or family is not None
        name, after = ("file", "path of a card (.yaml)") if own else ("", "")
        if family is not None:
            name, after = family.name, f"{family.low} to {family.high}"
            if not self._where.isdecimal():
                self._where = str(family.low)
        elif own and self._where.isdecimal():
            self._where = ""
        self.query_one("#where-name", Static).update(Text(name))
        self.query_one("#where-after", Static).update(Text(after))
        self.query_one("#where", Input).value = self._where


def _label(task: Task) -> Text:
    label = Text(task.name).append(f"  {safe(task.title)}", style="dim")
    return label if task.plays else label.append("  (checks only)", style="italic")


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
        verdict = self.query_one("#verdict", Static)
        verdict.update(rich_text(text, newlines=True))
        for one in ("-wrong", "-right", "-busy"):
            verdict.set_class(one == state, one)

    def wrong(self, problem: str) -> None:
        """Show why it cannot be started, or why the start failed."""
        self.say(f"✗ {problem}", "-wrong")

    def show_command(self, text: str) -> None:
        self.query_one("#command", Static).update(rich_text(text))

    def show_yaml(self, text: str) -> None:
        self.query_one("#yaml", Static).update(rich_text(text.rstrip(), newlines=True))

    def allow_start(self, allowed: bool) -> None:
        """Disable the button while a job starts."""
        button = self.query_one("#start", Button)
        button.disabled = not allowed
        button.label = "start (ctrl+r)" if allowed else "starting …"


_HINTS = {
    "kind": "what is started: enter or a click opens the list; tab goes on to the next line",
    "task": "a task from the list of cards (`qllm tasks`), or a card's file of your own",
    "where": "what belongs to the task above: a family's number, or the path of a card's file",
    "filter": "words of a setting's name, meaning, choices or value; down goes to the list",
    "start": "starts a process of its own, which goes on when this app is closed",
}
"""By the id of what has the focus."""


class HelpLines(Static):
    """Help on the focused field, in as many lines as it needs."""

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
        """Describe a part of the form that is no setting, if there is a description."""
        if of in _HINTS:
            self._say(_HINTS[of])

    def _say(self, text: str) -> None:
        self.update(rich_text(text))
        focused = self.screen.focused
        if focused is not None:  # more lines of help leave fewer for the form
            self.call_after_refresh(focused.scroll_visible, animate=False)
