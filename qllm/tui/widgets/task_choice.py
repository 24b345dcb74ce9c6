"""The task of a form: one of the list, of a family with its number, or a card of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalGroup
from textual.message import Message
from textual.widgets import Input, Select, Static

from qllm.text import safe
from qllm.tui.form.fields import Task

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
        """The list, and a line for what belongs to some of its entries."""
        with Horizontal(classes="line"):
            yield Static("task", classes="name")
            yield Select([], prompt="reading the tasks …", compact=True, id="task")
        with Horizontal(classes="line", id="where-line"):
            yield Static("", classes="name", id="where-name")
            yield Input(compact=True, id="where")
            yield Static("", classes="after", id="where-after")

    def on_mount(self) -> None:
        """Most tasks need no more than their name."""
        self.query_one("#where-line").display = False

    def offer(self, tasks: Sequence[Task]) -> None:
        """Fill the list."""
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
        """The task as it stands on the command line; empty if none is chosen."""
        if self._card is not None:
            return self._card.called(self._where)
        own = self.query_one("#task", Select).value == OWN_FILE
        return self._where.strip() if own else ""

    def on_select_changed(self, event: Select.Changed) -> None:
        """Another one of the list."""
        event.stop()
        self._card = next((t for t in self._tasks if t.name == event.value), None)
        self._ask_where()
        self._say()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Another number, or another path."""
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
