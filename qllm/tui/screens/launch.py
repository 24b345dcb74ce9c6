"""A form that starts a job."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar, get_args

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalGroup, VerticalScroll
from textual.events import DescendantFocus
from textual.timer import Timer
from textual.widgets import Button, Select, Static

from marl.errors import SettingsError
from qllm.errors import UsageError
from qllm.tui.form.fields import (
    ABOUT,
    FIRST,
    MORE,
    STORY,
    Checked,
    Command,
    Draft,
    Offer,
    changed,
    default_of,
    words,
)
from qllm.tui.jobs import Ended, StartedJob, command_line
from qllm.tui.reading.launch import LikeQuery, LikeRun, NothingQuery, StartedQuery, StartedRun
from qllm.tui.reading.watch import Look, Query
from qllm.tui.screens.live import LiveScreen
from qllm.tui.screens.setting import SettingRow, SettingScreen
from qllm.tui.widgets.bars import KeyBar, TitleBar
from qllm.tui.widgets.form_parts import HelpLines, Standing, TaskChoice
from qllm.tui.widgets.setting_search import SettingSearch
from qllm.units import duration

_PAUSE_S = 0.25
"""Delay from the last key to the check of the configuration."""

_Found = TypeVar("_Found")


class LaunchScreen(LiveScreen):
    """A form that starts a job.

    Args:
        like: a run whose settings it begins with.
    """

    TITLE = "launch"
    CSS_PATH = "launch.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "start", "start"),
        Binding("ctrl+f", "find", "find a setting", priority=True),
        Binding("ctrl+n", "clear", "clear", tooltip="all settings back to their defaults"),
        Binding("ctrl+y", "copy_command", "copy command"),
        Binding("ctrl+l", "copy_yaml", "copy YAML"),
        Binding("escape", "app.up", "back", tooltip="what was typed is there again with n"),
        Binding("n,f", "nothing", show=False),  # of no use here: it is the form, nothing changes
    ]

    def __init__(self, like: int | None = None) -> None:
        super().__init__()
        self.like = like
        """The run whose settings are still to be read."""
        self.draft = Draft()
        self.checked: Checked | None = None
        """Result of the check of the present form; ``None`` while it runs."""
        self.job: StartedJob | None = None
        self._of = like
        self._job_began = 0.0
        self._offer: Offer | None = None
        self._note = ""
        self._pause: Timer | None = None
        self._asked = 0
        self._start_then = False

    def compose(self) -> ComposeResult:
        yield TitleBar()
        with Horizontal(id="body"):
            with VerticalScroll(id="form", can_focus=False):
                with Horizontal(classes="line"):
                    yield Static("what", classes="name")
                    kinds = [(Text(f"{k:<8} {ABOUT[k]}"), k) for k in get_args(Command)]
                    yield Select(kinds, value="run", allow_blank=False, compact=True, id="kind")
                yield Static(STORY["run"], id="story", markup=False)
                yield TaskChoice()
                yield VerticalGroup(id="first")
                yield Static("more of it", classes="head")
                yield VerticalGroup(id="more")
                yield Static("all settings", classes="head")
                yield SettingSearch()
            yield Standing()
        yield HelpLines()
        yield KeyBar()

    def on_mount(self) -> None:
        """Read the available settings, which takes most of a second the first time."""
        self.query_one("#kind").focus()
        self._aside(lambda answer: answer.offer(), self._offered)

    def _aside(
        self,
        ask: Callable[[Any], _Found],
        then: Callable[[_Found], object],
        failed: Callable[[str], object] | None = None,
    ) -> None:
        """Ask `qllm.tui.form.answer` in a daemon thread, which does not delay closing the app."""
        app = self.app

        def later(what: Callable[..., object], given: object) -> None:
            if self.is_attached and app.is_running:
                with contextlib.suppress(RuntimeError):  # it is just being closed
                    app.call_from_thread(self.call_later, what, given)

        def work() -> None:
            from qllm.tui.form import answer

            try:
                found = ask(answer)
            except (UsageError, SettingsError) as error:
                later(failed or self._standing.wrong, str(error))
            else:
                later(then, found)

        threading.Thread(target=work, name="form", daemon=True).start()

    # -- what can be set ---------------------------------------------------------------------

    async def _offered(self, offer: Offer) -> None:
        self._offer = offer
        self.query_one(TaskChoice).offer(offer.tasks)
        left = self.qllm.drafts.get(self._of)
        if left is None:
            await self._show(self.draft)  # of a run, this stands until the run is read
            return
        self.like = None
        await self._show(left, "" if left.untouched else "as you left it: ctrl+n clears it")

    async def _show(self, draft: Draft, note: str = "") -> None:
        """Show a draft, and keep its changes."""
        self.draft, self._note = draft, note
        if self.like is None:
            self.qllm.drafts[self._of] = draft
        self.query_one(TaskChoice).choose(draft.task)
        self.query_one("#kind", Select).value = draft.command
        await self._fill()

    async def _fill(self) -> None:
        """Lay out the command's settings, in two frames so that keys are not delayed."""
        command = self.draft.command
        self.checked = None
        self._asked += 1
        self.query_one("#story", Static).update(STORY[command])
        await self._lay_out("#first", FIRST[command])
        self.call_after_refresh(self._fill_rest, command)

    async def _fill_rest(self, command: Command) -> None:
        gone = self not in self.app.screen_stack
        if command == self.draft.command and not gone:  # else another one is laid out already
            await self._lay_out("#more", MORE[command])
            self._changed()
            self._search()

    async def _lay_out(self, place: str, paths: Sequence[str]) -> None:
        if self._offer is None:
            return
        group, draft = self.query_one(place, VerticalGroup), self.draft
        await group.remove_children()
        await group.mount_all(
            SettingRow(s, default_of(s, draft.command), draft.values.get(s.path, ""))
            for s in self._offer.settings_of(paths)
        )

    def _search(self) -> None:
        if self._offer is not None:
            draft = self.draft
            self.query_one(SettingSearch).show(self._offer, draft.command, draft.values)

    # -- what is set -------------------------------------------------------------------------

    async def on_select_changed(self, event: Select.Changed) -> None:
        if event.select.id == "kind" and event.value != self.draft.command:
            self.draft.command = event.value  # type: ignore[assignment]  # one of the names
            await self._fill()

    def on_task_choice_changed(self, event: TaskChoice.Changed) -> None:
        self.draft.task = event.task
        self._changed()

    def on_setting_row_changed(self, event: SettingRow.Changed) -> None:
        self.draft.set(event.path, event.text)
        self._changed()

    def on_setting_search_chosen(self, event: SettingSearch.Chosen) -> None:
        setting, command = event.setting, self.draft.command

        async def kept(text: str | None) -> None:
            if text is not None:
                self.draft.set(setting.path, text)
                shown = setting.path in (*FIRST[command], *MORE[command])
                await self._fill() if shown else self._changed()
                self._search()

        value = self.draft.values.get(setting.path, "")
        self.app.push_screen(SettingScreen(setting, default_of(setting, command), value), kept)

    @property
    def words(self) -> tuple[str, ...]:
        """The form's command-line words after ``qllm``."""
        assert self._offer is not None
        draft = self.draft
        return words(draft.command, draft.task, changed(self._offer, draft.command, draft.values))

    # -- what the configuration says ---------------------------------------------------------

    def _changed(self) -> None:
        """Show the command line at once, and ask the configuration when the typing pauses."""
        if self._offer is None:
            return
        self.checked = None
        self._asked += 1
        self._standing.show_command(command_line(self.words))
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(_PAUSE_S, self._check)

    def _check(self) -> None:
        asked, command, task, said = self._asked, self.draft.command, self.draft.task, self.words
        settings = said[2:] if task else said[1:]

        def answered(checked: Checked) -> None:
            self._answered(asked, checked)

        self._aside(
            lambda answer: answer.check(command, task, settings),
            answered,
            lambda problem: answered(Checked(problem, "")),
        )

    def _answered(self, asked: int, checked: Checked) -> None:
        if asked != self._asked or not self.is_mounted:
            return  # something else was typed meanwhile
        self.checked = checked
        self._rebase(checked)
        self._standing.show_yaml(checked.yaml)
        if self.job is not None:
            return
        if checked.problem:
            self._standing.wrong(checked.problem)
        else:
            self._standing.say(
                "✓ can be started: ctrl+r" + (f" ({self._note})" if self._note else "")
            )
        if self._start_then:
            self._start_then = False
            self.action_start()

    def _rebase(self, checked: Checked) -> None:
        """Show this task's and preset's defaults where nothing is set."""
        if self._offer is None or not checked.defaults:
            return
        self._offer = self._offer.resolved(checked.defaults)
        for row in self.query(SettingRow):
            setting = self._offer.setting(row.setting.path) or row.setting
            row.rebase(setting, default_of(setting, self.draft.command))
        self._search()

    @property
    def _standing(self) -> Standing:
        return self.query_one(Standing)

    # -- the store ---------------------------------------------------------------------------

    @property
    def query_now(self) -> Query:
        if self.job is not None:
            return StartedQuery(self.job.pid, self._job_began)
        if self.like is not None and self._offer is not None:
            return LikeQuery(self.like)
        return NothingQuery()

    def show(self, look: Look) -> None:
        """Fill the form from a run, or open the run that was started."""
        match look.data:
            case StartedRun(run_id, kind):
                self.job = None
                self.app.pop_screen()
                self.qllm.open_run(run_id, kind)
            case LikeRun() as run:
                self._aside(lambda answer: answer.like(run.kind, run.config), self._be_like)
            case None if look.problem and isinstance(look.query, LikeQuery):
                self.like, self._note = None, look.problem

    async def _be_like(self, filled: tuple[Draft, str]) -> None:
        if self.like is not None:
            self.like = None
            await self._show(*filled)

    # -- starting ----------------------------------------------------------------------------

    def action_start(self) -> None:
        """Start the job, unless the configuration refuses it."""
        if self._offer is None or self.job is not None:
            return
        if self.checked is None:
            self._start_then = True
            self._standing.say("checking the settings; then it starts …", "-busy")
            return
        if self.checked.problem:
            self.app.bell()
            self._standing.wrong(f"not started: {self.checked.problem}")
            return
        self.job = self.qllm.start_job(self.words, self._job_ended, self._job_goes_on)
        if self.job is None:
            return
        self._job_began = time.time()
        if self.qllm.frozen:  # a run that has just begun has nothing to show standing still
            self.qllm.action_freeze()
            self.notify("the display is no longer frozen: it follows what you started")
        self._lock()
        self._job_goes_on()
        self.qllm.refresh_now()

    def _lock(self) -> None:
        """Disable the form while its job starts."""
        self.query_one("#form").disabled = self.job is not None
        self._standing.allow_start(self.job is None)
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (self.job is not None and action in ("start", "find", "clear"))

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_start()

    def _job_goes_on(self) -> None:
        job = self.job
        if job is not None and self.is_current:
            took = duration(max(0.0, time.time() - self._job_began))
            said = f"▶ starting ({took}, process {job.pid}): its run opens as soon as it is there"
            self._standing.say("\n".join([said, *job.last_lines(2)]), "-busy")

    def _job_ended(self, ended: Ended) -> None:
        job = self.job
        # Where it ended well its run is in the store, and the next look finds it.
        if job is not None and not ended.well and self.is_attached:
            self.job = None
            self._lock()
            said = [f"the job {ended.how}", *ended.last, f"log: {job.log}"]
            self._standing.wrong("\n".join(said))

    # -- keys --------------------------------------------------------------------------------

    def action_nothing(self) -> None:
        """Ignore keys that mean something else elsewhere in the app."""

    def action_find(self) -> None:
        self.query_one("#filter").focus()

    async def action_clear(self) -> None:
        """Reset to the defaults, or to the settings of the model run."""
        if self._offer is None:
            return
        self.qllm.drafts.pop(self._of, None)
        self.like = self._of
        command = self.draft.command
        await self._show(Draft(command) if self._of is None else Draft())
        self.qllm.refresh_now()

    def action_copy_command(self) -> None:
        if self._offer is not None:
            self.qllm.copy(command_line(self.words), "command line")

    def action_copy_yaml(self) -> None:
        if self.checked is not None:
            self.qllm.copy(self.checked.yaml, "YAML")

    # -- what is under the cursor ------------------------------------------------------------

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        row = next((w for w in event.widget.ancestors if isinstance(w, SettingRow)), None)
        if row is not None:
            self.query_one(HelpLines).describe(row.setting, self.draft.command)
        elif event.widget.id == "others":
            self.query_one(SettingSearch).tell()
        else:
            self.query_one(HelpLines).hint(event.widget.id)

    def on_setting_search_looked(self, event: SettingSearch.Looked) -> None:
        self.query_one(HelpLines).describe(event.setting, self.draft.command)
