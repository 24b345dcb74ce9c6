"""A form that starts a job."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, ClassVar, get_args
from weakref import WeakKeyDictionary

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import DescendantFocus
from textual.timer import Timer
from textual.widgets import Button, Input, OptionList, Select, Static
from textual.widgets.option_list import Option, OptionDoesNotExist

from qllm.errors import UsageError, WorkError
from qllm.text import rich_text, safe
from qllm.tui.form import process
from qllm.tui.form.fields import (
    ABOUT,
    Checked,
    Command,
    Offer,
    Prefilled,
    Task,
    changed,
    default_of,
    words,
)
from qllm.tui.jobs import StartedJob, command_line, start_job
from qllm.tui.reading.launch import (
    LikeQuery,
    LikeRun,
    NothingQuery,
    StartedQuery,
    StartedRun,
)
from qllm.tui.reading.watch import Look, Query
from qllm.tui.screens.live import LiveScreen
from qllm.tui.screens.setting import SettingScreen
from qllm.tui.widgets.bars import KeyBar, TitleBar
from qllm.tui.widgets.setting_row import SettingRow
from qllm.units import duration

_OWN_FILE = "\0file"
"""Stands for a card of the user's own among the tasks."""

_FIRST_TASK = "matrix/climbing"
_PAUSE_S = 0.25
"""After the last key before the configuration is asked."""


_left: WeakKeyDictionary[App[Any], Prefilled] = WeakKeyDictionary()
"""By app, the form as it was left without a start: what was typed is not lost."""


class LaunchScreen(LiveScreen):
    """A form that starts a job.

    Args:
        like: a run whose settings it begins with.
    """

    TITLE = "launch"
    CSS_PATH = "launch.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "start", "start"),
        Binding("ctrl+y", "copy_command", "copy command"),
        Binding("ctrl+l", "copy_yaml", "copy YAML"),
        Binding("ctrl+f", "find", "find a setting", priority=True),
    ]

    def __init__(self, like: int | None = None) -> None:
        super().__init__()
        self.like = like
        self.command: Command = "run"
        self.values: dict[str, str] = {}
        """What was changed, by path."""
        self.checked: Checked | None = None
        """What the configuration says of the form as it stands; ``None`` while it is asked."""
        self.job: StartedJob | None = None
        self._job_began = 0.0
        self._offer: Offer | None = None
        self._card: Task | None = None
        self._where = ""
        """A family's number, or the path of a card of the user's own."""
        self._note = ""
        self._pause: Timer | None = None
        self._asked = 0
        self._started = False

    def compose(self) -> ComposeResult:
        """The form, what it stands for, and what the setting with the focus does."""
        yield TitleBar()
        with Horizontal(id="body"):
            with VerticalScroll(id="form", can_focus=False):
                with Horizontal(classes="line"):
                    yield Static("what", classes="name")
                    kinds = [(Text(f"{name}: {ABOUT[name]}"), name) for name in get_args(Command)]
                    yield Select(kinds, value="run", allow_blank=False, compact=True, id="kind")
                with Horizontal(classes="line"):
                    yield Static("task", classes="name")
                    yield Select([], prompt="reading the tasks …", compact=True, id="task")
                with Horizontal(classes="line", id="where-line"):
                    yield Static("", classes="name", id="where-name")
                    yield Input(compact=True, id="where")
                    yield Static("", classes="after", id="where-after")
                yield Vertical(id="common")
                yield Static("all other settings", classes="head")
                yield Input(placeholder="type to search", compact=True, id="filter")
                yield OptionList(id="others", markup=False, compact=True)
            with VerticalScroll(id="side", can_focus=False):
                yield Static("reading the settings …", id="verdict", markup=False)
                yield Static("command line (ctrl+y copies)", classes="head")
                yield Static("", id="command", markup=False)
                yield Static("as a file for --config (ctrl+l copies)", classes="head")
                yield Static("", id="yaml", markup=False)
                yield Button("start (ctrl+r)", variant="success", compact=True, id="start")
        yield Static("", id="about", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        """Ask what can be set, which takes seconds the first time."""
        self.query_one("#where-line").display = False
        self.query_one("#kind").focus()
        self._read_offer()
        self.set_interval(0.5, self._follow_job)

    def on_unmount(self) -> None:
        """Nobody waits for what is still being read: the app could not end meanwhile."""
        if self._offer is None:
            process.shared().close()
        elif self.values and not self._started:
            _left[self.app] = Prefilled(self.command, self.task_name, dict(self.values))

    def _later(self, what: Callable[..., object], *given: object) -> None:
        """From a thread: call something here, if there still is a here."""
        if self.is_mounted and self.app.is_running:
            self.app.call_from_thread(self.call_later, what, *given)

    # -- what can be set ---------------------------------------------------------------------

    @work(thread=True)
    def _read_offer(self) -> None:
        try:
            offer = process.shared().offer()
        except (UsageError, WorkError) as error:
            self._later(self._say, str(error), "-wrong")
            return
        self._later(self._offered, offer)

    async def _offered(self, offer: Offer) -> None:
        self._offer = offer
        shown = [(_task_label(task), task.name) for task in offer.tasks]
        tasks = self.query_one("#task", Select)
        tasks.set_options([*shown, (Text("a card's file of your own"), _OWN_FILE)])
        names = [task.name for task in offer.tasks]
        tasks.value = _FIRST_TASK if _FIRST_TASK in names else names[0]
        left = _left.pop(self.app, None) if self.like is None else None
        if left is not None:
            await self._prefill(left)
        else:
            await self._fill()

    async def _fill(self) -> None:
        """Lay the settings of the command out."""
        if self._offer is None:
            return
        common = self.query_one("#common", Vertical)
        await common.remove_children()
        await common.mount_all(
            SettingRow(s, default_of(s, self.command), self.values.get(s.path, ""))
            for s in self._offer.common(self.command)
        )
        self._list_others()
        self._changed()

    def _list_others(self) -> None:
        if self._offer is None:
            return
        listed = self.query_one("#others", OptionList)
        at = listed.highlighted_option
        listed.clear_options()
        for setting in self._offer.others(self.command, self.query_one("#filter", Input).value):
            value = self.values.get(setting.path, "")
            line = Text(f"{setting.path:<28} ", style="bold" if value else "")
            line.append(safe(value) or default_of(setting, self.command) or "not set")
            line.append("  changed" if value else "", style="italic")
            listed.add_option(Option(line, id=setting.path))
        if at is not None and at.id is not None:
            with contextlib.suppress(OptionDoesNotExist):
                listed.highlighted = listed.get_option_index(at.id)

    # -- what is set -------------------------------------------------------------------------

    async def on_select_changed(self, event: Select.Changed) -> None:
        """Another command, or another task."""
        if event.select.id == "kind" and event.value != self.command:
            self.command = event.value  # type: ignore[assignment]  # one of the names
            await self._fill()
        elif event.select.id == "task" and self._offer is not None:
            self._card = next((t for t in self._offer.tasks if t.name == event.value), None)
            self._ask_where()
            self._changed()

    def _ask_where(self) -> None:
        """A family needs its number, a card of one's own its path."""
        family = self._card.family if self._card is not None else None
        own = self.query_one("#task", Select).value == _OWN_FILE
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

    def on_input_changed(self, event: Input.Changed) -> None:
        """Something was typed that is no setting."""
        if event.input.id == "filter":
            self._list_others()
        elif event.input.id == "where" and event.value != self._where:
            self._where = event.value
            self._changed()

    def on_setting_row_changed(self, event: SettingRow.Changed) -> None:
        """A setting was changed."""
        self._set(event.path, event.text)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """One of the others is to be changed."""
        assert self._offer is not None
        setting = self._offer.setting(str(event.option_id))
        if setting is None:
            return

        def kept(text: str | None) -> None:
            if text is not None:
                self._set(setting.path, text)
                self._list_others()

        value = self.values.get(setting.path, "")
        self.app.push_screen(SettingScreen(setting, default_of(setting, self.command), value), kept)

    def _set(self, path: str, text: str) -> None:
        if text:
            self.values[path] = text
        else:
            self.values.pop(path, None)
        self._changed()

    @property
    def task_name(self) -> str:
        """The task as it stands on the command line; empty if none is chosen."""
        if self._card is not None:
            return self._card.called(self._where)
        own = self.query_one("#task", Select).value == _OWN_FILE
        return self._where.strip() if own else ""

    @property
    def words(self) -> tuple[str, ...]:
        """The words after ``qllm`` that the form stands for."""
        assert self._offer is not None
        return words(self.command, self.task_name, changed(self._offer, self.command, self.values))

    # -- what the configuration says ---------------------------------------------------------

    def _changed(self) -> None:
        """Show the command line at once, and ask the configuration when the typing pauses."""
        if self._offer is None:
            return
        self.checked = None
        self._asked += 1
        self.query_one("#command", Static).update(rich_text(command_line(self.words)))
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(_PAUSE_S, self._check)

    def _check(self) -> None:
        self._ask(self._asked, self.command, self.task_name, self.words)

    @work(thread=True, group="check")
    def _ask(self, asked: int, command: Command, task: str, said: tuple[str, ...]) -> None:
        settings = said[2:] if task else said[1:]
        try:
            checked = process.shared().check(command, task, settings)
        except (UsageError, WorkError) as error:
            checked = Checked(str(error), "")
        self._later(self._answered, asked, checked)

    def _answered(self, asked: int, checked: Checked) -> None:
        if asked != self._asked or not self.is_mounted:
            return  # something else was typed meanwhile
        self.checked = checked
        self.query_one("#yaml", Static).update(rich_text(checked.yaml.rstrip(), newlines=True))
        if self.job is None:
            if checked.problem:
                self._say(f"✗ {checked.problem}", "-wrong")
            else:
                self._say("✓ can be started: ctrl+r" + (f" ({self._note})" if self._note else ""))

    def _say(self, text: str, state: str = "-right") -> None:
        verdict = self.query_one("#verdict", Static)
        verdict.update(rich_text(text, newlines=True))
        for one in ("-wrong", "-right", "-busy"):
            verdict.set_class(one == state, one)

    # -- the store ---------------------------------------------------------------------------

    @property
    def query_now(self) -> Query:
        """The run to be like, then the run that was started."""
        if self.job is not None:
            return StartedQuery(self.job.pid, self._job_began)
        if self.like is not None and self._offer is not None:
            return LikeQuery(self.like)
        return NothingQuery()

    def show(self, look: Look) -> None:
        """Fill the form like a run; go to the run that was started."""
        match look.data:
            case StartedRun(run_id, kind):
                self.job, self._started = None, True
                _left.pop(self.app, None)
                self.qllm.action_up()
                self.qllm.open_run(run_id, kind)
            case LikeRun() as run:
                self.like = None
                self._be_like(run)
            case None if look.problem and isinstance(look.query, LikeQuery):
                self.like = None
                self._note = look.problem

    @work(thread=True)
    def _be_like(self, run: LikeRun) -> None:
        try:
            filled = process.shared().like(run.kind, run.config)  # type: ignore[arg-type]
        except (UsageError, WorkError) as error:
            self._later(self._say, str(error), "-wrong")
            return
        self._later(self._prefill, filled)

    async def _prefill(self, filled: Prefilled) -> None:
        assert self._offer is not None
        self.values, self._note = dict(filled.values), filled.note
        self.command = filled.command
        named = next((t for t in self._offer.tasks if t.name == filled.task), None)
        if named is None:
            for task in self._offer.tasks:
                if task.family is not None:
                    before, _, after = task.name.partition("{" + task.family.name + "}")
                    number = filled.task.removeprefix(before).removesuffix(after)
                    if task.called(number) == filled.task and number.isdecimal():
                        named, self._where = task, number
        if named is None:
            self._where = filled.task
        self.query_one("#kind", Select).value = filled.command
        self.query_one("#task", Select).value = named.name if named is not None else _OWN_FILE
        self._card = named
        self._ask_where()
        await self._fill()

    # -- starting ----------------------------------------------------------------------------

    def action_start(self) -> None:
        """Start the job, unless the configuration refuses it."""
        if self._offer is None or self.job is not None:
            return
        if self.checked is not None and self.checked.problem:
            self.app.bell()
            self.notify(safe(self.checked.problem), severity="error", markup=False)
            return
        try:
            self.job = start_job(self.words, self.qllm.home)
        except WorkError as error:
            self._say(f"✗ {error}", "-wrong")
            return
        self._job_began = time.time()
        self.query_one("#start", Button).disabled = True
        self._follow_job()
        self.qllm.refresh_now()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The button does what its key does."""
        event.stop()
        self.action_start()

    def _follow_job(self) -> None:
        """Say how a start goes on, and how it ended if it made no run."""
        job = self.job
        if job is None:
            return
        ended = job.ended()
        if ended is None:
            took = duration(max(0.0, time.time() - self._job_began))
            last = job.last_lines(2)
            lines = [f"▶ process {job.pid} starts ({took}); its run opens when it is there", *last]
            self._say("\n".join(lines), "-busy")
            return
        if ended.well:  # its run is in the store, and the next look finds it
            return
        self.job = None
        self.query_one("#start", Button).disabled = False
        lines = [f"✗ the job {ended.how}", *ended.last, f"log: {job.log}"]
        self._say("\n".join(lines), "-wrong")

    # -- keys --------------------------------------------------------------------------------

    def action_find(self) -> None:
        """To the search among the other settings."""
        self.query_one("#filter").focus()

    def action_copy_command(self) -> None:
        """Copy the command line."""
        if self._offer is not None:
            self._copy(command_line(self.words), "command line")

    def action_copy_yaml(self) -> None:
        """Copy the settings as a file."""
        if self.checked is not None:
            self._copy(self.checked.yaml, "YAML")

    def _copy(self, text: str, what: str) -> None:
        self.app.copy_to_clipboard(text)
        self.notify(f"{what} copied")

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Say what the setting does that is about to be changed."""
        row = next((w for w in event.widget.ancestors if isinstance(w, SettingRow)), None)
        about = "" if row is None else f"{row.setting.about} ({row.setting.values})"
        if event.widget.id in _HINTS:
            about = _HINTS[event.widget.id]
        self.query_one("#about", Static).update(rich_text(about))

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Say what the setting under the cursor does."""
        if self._offer is not None and self.focused is event.option_list:
            setting = self._offer.setting(str(event.option_id))
            if setting is not None:
                of = f"; for {', '.join(setting.of)}" if setting.of else ""
                text = f"{setting.about} ({setting.values}{of})"
                self.query_one("#about", Static).update(rich_text(text))


_HINTS = {
    "kind": "what is started; enter or a click opens the list",
    "task": "a task from the list of cards (`qllm tasks`), or a card's file of your own",
    "filter": "words that must stand in a setting's name or meaning; down goes to the list",
    "others": "enter changes the setting under the cursor",
    "start": "starts a process of its own, which goes on when this app is closed",
}


def _task_label(task: Task) -> Text:
    label = Text(task.name).append(f"  {safe(task.title)}", style="dim")
    return label if task.plays else label.append("  (checks only)", style="italic")
