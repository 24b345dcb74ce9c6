"""One run: curves, metrics, log, configuration, what it uses."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Static, TabbedContent, TabPane

from qllm.store.states import ACTIVE, RESUMABLE
from qllm.text import rich_text, safe
from qllm.tui.reading.run import RunQuery, RunView
from qllm.tui.reading.watch import Look, Query
from qllm.tui.screens import run_text
from qllm.tui.screens.job import JobScreen
from qllm.tui.screens.reporting import CURVE_KEYS, REPORT_KEYS, CurvesScreen
from qllm.tui.widgets.bars import KeyBar, TitleBar
from qllm.tui.widgets.chart import Chart, Line, smoothed_line
from qllm.tui.widgets.rows import RowList
from qllm.tui.widgets.run_rows import MetricsGrid, TrainingsTable
from qllm.tui.widgets.source import coloured
from qllm.units import count, duration

_PANES = ("curves", "metrics", "log", "configuration", "system")
_SMOOTHING = (0.0, 0.6, 0.9)


class RunScreen(JobScreen, CurvesScreen):
    """One run: curves, metrics, log, configuration, what it uses."""

    TITLE = "run"
    CSS_PATH = "run.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(at), f"pane('{name}')", name, show=False)
            for at, name in enumerate(_PANES, 1)
        ),
        Binding("enter", "plot", "plot", tooltip="this metric over the algorithm's seeds"),
        Binding("enter", "returns", "returns", tooltip="instead of the metric"),
        Binding("x", "x_axis", "axis", tooltip="steps or seconds"),
        Binding("m", "smooth", "smooth", show=False, tooltip="no smoothing, some, much"),
        Binding("plus,equals_sign", "zoom(True)", "zoom", key_display="+", tooltip="look closer"),
        *CURVE_KEYS,
        Binding("p", "pause", "pause", tooltip="the job, after the step that it is in"),
        Binding("p", "go_on", "go on", tooltip="with a job that is paused"),
        Binding("s", "stop", "stop", tooltip="it saves a checkpoint first"),
        Binding("r", "resume", "resume", tooltip="from its last checkpoint"),
        Binding(
            "e", "evaluate", "evaluate", show=False, tooltip="greedy episodes of this training"
        ),
        Binding("c", "clone", "clone", show=False, tooltip="a form filled in as this run was"),
        Binding("g", "search", "search", tooltip="the search of this run"),
        *REPORT_KEYS,
    ]

    def __init__(self, run_id: int, *, training: int | None = None) -> None:
        super().__init__(run_id)
        self._view: RunView | None = None
        self._training = training
        self._metric: str | None = None
        self._by_time, self._smoothing = False, 0

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield Static("reading the run", id="facts", markup=False)
        with TabbedContent(id="panes"):
            with TabPane("1 curves", id="curves"), Horizontal(id="side-by-side"):
                yield Chart()
                yield Static(id="no-curves", markup=False)
                with Vertical(id="beside"):
                    yield TrainingsTable(id="trainings")
                    yield MetricsGrid(id="few-metrics")
            with TabPane("2 metrics", id="metrics"):
                yield MetricsGrid(id="all-metrics")
            with TabPane("3 log", id="log"), VerticalScroll(id="log-scroll"):
                yield Static(id="log-text", markup=False)
            with TabPane("4 configuration", id="configuration"), VerticalScroll():
                yield Static(id="yaml", markup=False)
            with TabPane("5 system", id="system"), VerticalScroll():
                yield Static(id="usage", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one("#log-scroll", VerticalScroll).anchor()
        self.query_one(TrainingsTable).focus()

    @property
    def query_now(self) -> Query:
        """The run, with the metrics of the training under the cursor."""
        return RunQuery(self.run_id, self._training, self._metric)

    @property
    def to_copy(self) -> str:
        return self._view.facts.command if self._view else ""

    # -- what is shown ---------------------------------------------------------------------

    def show(self, look: Look) -> None:
        if look.problem:
            self.write("facts", rich_text(look.problem, "bold"))
            return
        before, self._view = self._view, look.data
        first = before is None
        if before is None or before.facts.status != self._view.facts.status:
            self.refresh_bindings()
        self._draw()
        if first and self._training is not None:
            self.query_one(TrainingsTable).go_to(self._training)

    def _draw(self) -> None:
        view = self._view
        if view is None:
            return
        self.write("facts", run_text.facts(view.facts, self.size.width), wraps=False)
        self.query_one(TrainingsTable).show_trainings(view.trainings)
        pane = self.query_one("#panes", TabbedContent).active
        if pane == "curves":
            self.query_one("#few-metrics", MetricsGrid).show_metrics(view.metrics)
            self._draw_curves(view)
        elif pane == "metrics":
            self.query_one("#all-metrics", MetricsGrid).show_metrics(view.metrics)
        elif pane == "log":
            self.write("log-text", run_text.log(view.log))
        elif pane == "configuration":
            self.write("yaml", coloured(view.configuration or "it has none", "yaml"))
        elif pane == "system":
            used = run_text.usage(view.usage, view.facts, view.record, self.size.width)
            self.write("usage", used)

    def _draw_curves(self, view: RunView) -> None:
        x_title = "seconds of training" if self._by_time else "environment steps"
        weight = _SMOOTHING[self._smoothing]
        if self._metric is not None:
            title = safe(self._metric)
            curves = tuple(curve for curve in (view.plotted,) if curve is not None)
        else:
            title, curves = "return", view.curves
        # Axes without a curve would be made-up ones.
        chart, none = self.query_one(Chart), self.query_one("#no-curves", Static)
        none.display, chart.display = not curves, bool(curves)
        if not curves:
            reading = Text(f"reading {title}") if self._metric else run_text.no_curves(view)
            self.write("no-curves", reading)
            return
        lines = [
            Line(
                curve.algo if curve.seeds == 1 else f"{curve.algo} ×{curve.seeds}",
                curve.wall if self._by_time else curve.steps,
                curve.centre,
                *((curve.low, curve.high) if curve.seeds > 1 else ()),
            )
            for curve in curves
        ]
        if weight:
            title = f"{title}, smoothed {weight:g}"
        chart.draw(
            [smoothed_line(line, weight) for line in lines],
            x_title,
            title,
            write_x=duration if self._by_time else count,
        )

    def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        self._draw()

    def on_row_list_moved(self, event: RowList.Moved) -> None:
        if isinstance(event.rows, TrainingsTable) and event.rows.key is not None:
            shown = self._view.training if self._view else None
            if event.rows.has_focus and event.rows.key != (self._training or shown):
                self._training = event.rows.key
                self.qllm.refresh_now()

    def on_row_list_opened(self, event: RowList.Opened) -> None:
        self.action_plot() if isinstance(event.rows, MetricsGrid) else self.action_returns()

    # -- looking closer --------------------------------------------------------------------

    def action_pane(self, name: str) -> None:
        self.query_one("#panes", TabbedContent).active = name
        focus = {"curves": "#trainings", "metrics": "#all-metrics", "log": "#log-scroll"}
        if name in focus:
            self.query_one(focus[name]).focus()
        self._draw()

    def action_x_axis(self) -> None:
        self._by_time = not self._by_time
        self._draw()

    def action_smooth(self) -> None:
        self._smoothing = (self._smoothing + 1) % len(_SMOOTHING)
        self._draw()

    def action_plot(self) -> None:
        grid = self.focused
        if isinstance(grid, MetricsGrid) and grid.value is not None:
            self._show_metric(grid.value.name)
            self.query_one("#panes", TabbedContent).active = "curves"

    def action_returns(self) -> None:
        self._show_metric(None)

    def _show_metric(self, name: str | None) -> None:
        self._metric = name
        self.qllm.refresh_now()
        self.refresh_bindings()
        self._draw()

    # -- what can be done ------------------------------------------------------------------

    def action_stop(self) -> None:
        if self._view is not None:
            self.qllm.ask_to_stop([(self.run_id, self._view.facts.status)])

    def action_resume(self) -> None:
        if self._view is not None:
            self.qllm.resume_run(self.run_id, self._view.facts.status)

    def action_clone(self) -> None:
        from qllm.tui.screens.launch import LaunchScreen

        self.app.push_screen(LaunchScreen(like=self.run_id))

    def action_evaluate(self) -> None:
        self.qllm.evaluate_run(self.query_one(TrainingsTable).key or self.run_id)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what the state of the run allows; only a whole run has a search."""
        states = {
            "pause": ("running",),
            "go_on": ("paused",),
            "stop": ACTIVE,
            "resume": RESUMABLE,
        }
        if action in states:
            return self._view is not None and self._view.facts.status in states[action]
        if action == "plot":
            return isinstance(self.focused, MetricsGrid)
        if action == "returns":
            return self._metric is not None and not isinstance(self.focused, MetricsGrid)
        if action == "search":
            return self._view is not None and self._view.facts.kind == "run"
        return True

    def action_search(self) -> None:
        from qllm.tui.screens.synthesis import SynthesisScreen

        self.app.push_screen(SynthesisScreen(self.run_id))
