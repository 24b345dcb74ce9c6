"""Devices, memory, model servers, sandbox layers."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import DataTable, Static

from qllm.text import one_line, rich_text
from qllm.tui.glyphs import status_text
from qllm.tui.jobs import Ended
from qllm.tui.reading.system import (
    Doctor,
    Findings,
    Job,
    JobsQuery,
    Machine,
    MachineReader,
    ModelLine,
)
from qllm.tui.reading.watch import Look, Query
from qllm.tui.screens.live import LiveScreen
from qllm.tui.widgets.bars import KeyBar, TitleBar
from qllm.tui.widgets.keyed import key_under_cursor, update_rows
from qllm.units import ABSENT, count

_EVERY_S = 2.0
_BAR = 20

_found: dict[str, Findings] = {}
"""Findings by home, cached as a check takes many seconds."""

_JOBS = ("run", "status", "kind", "task", "cores", "memory", "steps/s", "process")
_MODELS = ("model", "server", "backend", "tokens/s", "replies", "where")


class SystemScreen(LiveScreen):
    """Devices, memory, model servers, sandbox layers."""

    TITLE = "system"
    CSS_PATH = "system.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open run"),
        Binding("s", "serve", "start server"),
        Binding("x", "stop", "stop server"),
        Binding("d", "doctor", "doctor again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.machine: Machine | None = None
        self.findings: Findings | None = None
        self._reader: MachineReader | None = None
        self._doctor: Doctor | None = None
        self._jobs: dict[str, Job] = {}

    def compose(self) -> ComposeResult:
        yield TitleBar()
        with Horizontal(id="body"):
            with VerticalScroll(classes="column", id="left", can_focus=False):
                yield Static("machine", classes="head", id="machine-head")
                yield Static("reading …", id="machine", markup=False)
                yield Static("jobs", classes="head")
                yield Static("none is running", id="jobs-none", markup=False)
                yield DataTable(id="jobs", cursor_type="row", zebra_stripes=True)
                yield Static("models", classes="head")
                yield Static("reading …", id="models-none", markup=False)
                yield DataTable(id="models", cursor_type="row", zebra_stripes=True)
                yield Static("", id="log", markup=False)
            with VerticalScroll(classes="column", id="right", can_focus=False):
                yield Static("what works here (qllm doctor)", classes="head", id="doctor-head")
                yield Static("", id="doctor", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        for name, columns in (("#jobs", _JOBS), ("#models", _MODELS)):
            table = self.query_one(name, DataTable)
            for column in columns:
                table.add_column(column, key=column)
            table.display = False
        self.query_one("#log").display = False
        self._reader = MachineReader(self.qllm.home)
        self._read_machine()
        self.set_interval(_EVERY_S, self._read_machine)
        self.set_interval(0.3, self._follow_doctor)
        known = _found.get(str(self.qllm.home))
        if known is not None:
            self._show_findings(known)
        else:
            self.action_doctor()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys for servers where there are models, and for jobs where there are jobs."""
        if action in ("serve", "stop"):
            return self.machine is not None and bool(self.machine.models)
        return bool(self._jobs) if action == "open" else True

    # -- the machine -------------------------------------------------------------------------

    @work(thread=True, exclusive=True, group="machine")
    def _read_machine(self) -> None:
        assert self._reader is not None
        if self.qllm.frozen and self.machine is not None:
            return
        machine = self._reader.read()
        if self.is_mounted and self.app.is_running:
            self.app.call_from_thread(self.show_machine, machine)

    def show_machine(self, machine: Machine) -> None:
        before, self.machine = self.machine, machine
        if before is None or bool(before.models) != bool(machine.models):
            self.refresh_bindings()
        lines = [
            _bar("cpu", machine.cpu, f"of {machine.cores} cores, load {machine.load:.1f}"),
            _bar(
                "memory",
                machine.memory_used / max(1, machine.memory_total),
                f"{_bytes(machine.memory_used)} of {_bytes(machine.memory_total)}",
            ),
            _bar(
                "disk",
                machine.disk_used / max(1, machine.disk_total),
                f"{_bytes(machine.disk_total - machine.disk_used)} free at"
                f" {one_line(machine.disk_where, 40)}",
            ),
        ]
        self.query_one("#machine", Static).update(Text("\n").join(lines))
        none = self.query_one("#models-none", Static)
        none.display = not machine.models
        none.update(
            rich_text(
                machine.models_problem
                or "none is registered: qllm models add NAME FOLDER (the sampler needs none)"
            )
        )
        table = self.query_one("#models", DataTable)
        table.display = bool(machine.models)
        update_rows(table, {model.name: _model_cells(model) for model in machine.models})
        self._show_log()

    def _model(self) -> ModelLine | None:
        key = key_under_cursor(self.query_one("#models", DataTable))
        models = self.machine.models if self.machine is not None else ()
        return next((m for m in models if m.name == key), None)

    def _show_log(self) -> None:
        model, log = self._model(), self.query_one("#log", Static)
        log.display = model is not None and bool(model.log)
        if model is not None:
            text = "\n".join(one_line(line, 300) for line in model.log)
            log.update(rich_text(text, newlines=True))

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if event.data_table.id == "models":
            self._show_log()

    # -- jobs --------------------------------------------------------------------------------

    @property
    def query_now(self) -> Query:
        return JobsQuery()

    def show(self, look: Look) -> None:
        jobs: tuple[Job, ...] = look.data or ()
        before, self._jobs = self._jobs, {str(job.run): job for job in jobs}
        if bool(before) != bool(jobs):
            self.refresh_bindings()
        none = self.query_one("#jobs-none", Static)
        none.display = not jobs
        problem = look.problem if look.problem and not look.missing else ""
        none.update(rich_text(problem or "none is running"))
        table = self.query_one("#jobs", DataTable)
        table.display = bool(jobs)
        update_rows(table, {str(job.run): _job_cells(job) for job in jobs})

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if event.data_table.id == "jobs":
            self.action_open()

    def action_open(self) -> None:
        job = self._jobs.get(key_under_cursor(self.query_one("#jobs", DataTable)) or "")
        if job is not None:
            self.qllm.open_run(job.run, job.kind)

    # -- servers -----------------------------------------------------------------------------

    def action_serve(self) -> None:
        self._with_server("serve")

    def action_stop(self) -> None:
        self._with_server("stop")

    def _with_server(self, command: str) -> None:
        model = self._model()
        if model is None:
            self.notify("no model is registered", severity="warning")
            return
        if model.backend != "vllm":
            said = f"{model.name} has no server of ours ({model.state})"
            self.notify(said, severity="warning")
            return

        def tell(ended: Ended) -> None:
            said = one_line(f"{model.name}: {ended.last[-1] if ended.last else ended.how}", 300)
            severity = "information" if ended.well else "error"
            self.app.notify(said, severity=severity)  # type: ignore[arg-type]

        if self.qllm.start_job(["models", command, model.name], tell) is not None:
            word = "starting" if command == "serve" else "stopping"
            self.notify(f"{model.name}: {word} …")

    # -- doctor ------------------------------------------------------------------------------

    def action_doctor(self) -> None:
        if self._doctor is not None:
            return
        try:
            self._doctor = Doctor(self.qllm.home)
        except OSError as error:
            self._show_findings(Findings(problem=f"qllm doctor cannot be started: {error}"))
            return
        self.query_one("#doctor", Static).update(
            rich_text("trying everything out, in a process of its own …", "dim")
        )

    def _follow_doctor(self) -> None:
        found = self._doctor.found() if self._doctor is not None else None
        if found is not None:
            self._doctor = None
            _found[str(self.qllm.home)] = found
            self._show_findings(found)

    def _show_findings(self, findings: Findings) -> None:
        self.findings = findings
        self.query_one("#doctor", Static).update(_findings_text(findings))


_MOODS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


def _findings_text(findings: Findings) -> Text:
    if findings.problem:
        return rich_text(f"✗ {findings.problem}", "red")
    out = Text()
    for name, status, detail in findings.checks:
        glyph, style = _MOODS.get(status, ("?", ""))
        out.append(f"{glyph} {name:<11} ", style=style)
        out.append_text(rich_text(detail)).append("\n")
    if findings.layers:
        out.append("\nsandbox: layers around a candidate's process\n", style="bold")
        for name, state in findings.layers:
            glyph, style = _MOODS["ok" if state == "on" else "warn"]
            out.append(f"{glyph} {name:<16} ", style=style)
            out.append_text(rich_text(state)).append("\n")
    if findings.trials:
        held = sum(ok for _, ok, _ in findings.trials)
        out.append(f"\ntried from inside: held {held} of {len(findings.trials)}\n", style="bold")
        for tried, ok, said in findings.trials:
            glyph, style = _MOODS["ok" if ok else "fail"]
            out.append(f"{glyph} {tried:<24} ", style=style)
            out.append_text(rich_text(one_line(said, 60), "dim")).append("\n")
    out.rstrip()
    return out


def _bar(name: str, share: float, words: str) -> Text:
    full = round(min(1.0, max(0.0, share)) * _BAR)
    style = "red" if share > 0.9 else "yellow" if share > 0.75 else "green"
    bar = Text(f"{name:<7} ").append("█" * full, style=style).append("░" * (_BAR - full), "dim")
    return bar.append(f" {share:4.0%}  ").append(words, style="dim")


def _bytes(size: float | None) -> str:
    if size is None:
        return ABSENT
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"


def _job_cells(job: Job) -> dict[str, Text]:
    usage = job.usage
    where = f"{usage.pid}" if usage.here else f"{usage.pid} on {one_line(usage.host, 16)}"
    return {
        "run": Text(str(job.run)),
        "status": status_text(job.status),
        "kind": rich_text(job.kind),
        "task": rich_text(one_line(job.task, 24)),
        "cores": Text(ABSENT if usage.cpu is None else f"{usage.cpu:.1f}"),
        "memory": Text(_bytes(usage.memory)),
        "steps/s": Text(count(job.rate)),
        "process": rich_text(where),
    }


_SERVERS = {"ready": ("▶", "green"), "starting": ("◌", "yellow"), "stopped": ("■", "dim")}


def _model_cells(model: ModelLine) -> dict[str, Text]:
    glyph, style = _SERVERS.get(model.state, ("·", "dim"))
    replies = ABSENT
    if model.running is not None:
        replies = f"{model.running} + {model.waiting} waiting"
    return {
        "model": rich_text(one_line(model.name, 24)),
        "server": Text(f"{glyph} {model.state}", style=style),
        "backend": rich_text(model.backend),
        "tokens/s": Text(count(model.tokens_per_s)),
        "replies": Text(replies),
        "where": rich_text(one_line(model.url or model.where, 60)),
    }
