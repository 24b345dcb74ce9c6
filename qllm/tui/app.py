"""The terminal app: it shows the run store and asks jobs for things, and does no work itself."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from qllm.tui.reading.watch import Look, Query, Watcher
from qllm.tui.screens.live import LiveScreen
from qllm.tui.screens.runs import RunsScreen

_EVERY_S = 0.2
"""The store is looked at five times a second at most."""


class QllmApp(App[None]):
    """All screens, one thread that reads the store for them.

    Args:
        home: The folder of the runs; ``None`` for the usual one.
    """

    TITLE = "QLLM"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (Textual's own declaration)
        (0, "-narrow"),
        (80, "-normal"),
        (120, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (24, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("f", "freeze", "freeze"),
        Binding("n", "launch", "new"),
        Binding("y", "system", "system"),
        Binding("escape", "up", "back", show=False),
    ]

    def __init__(self, home: Path | None = None) -> None:
        super().__init__()
        self.home = home
        self.frozen = False
        self._wanted: Query | None = None
        self._ended = threading.Event()
        self._look_again = threading.Event()

    def on_mount(self) -> None:
        """Show the runs, and begin to look at the store."""
        self.push_screen(RunsScreen())
        self.run_worker(self._watch, thread=True, name="watch", exit_on_error=True)
        self.set_interval(_EVERY_S, self._ask)

    def on_unmount(self) -> None:
        """Let the thread end."""
        self._ended.set()
        self._look_again.set()

    def action_freeze(self) -> None:
        """Stop or continue showing what changes; jobs are never touched."""
        self.frozen = not self.frozen
        self.sub_title = "frozen: the display, not the jobs" if self.frozen else ""
        self.refresh_now()

    def action_launch(self) -> None:
        """Fill in a form and start a job."""
        from qllm.tui.screens.launch import LaunchScreen

        self.push_screen(LaunchScreen())

    def action_system(self) -> None:
        """Show the machine."""
        from qllm.tui.screens.system import SystemScreen

        self.push_screen(SystemScreen())

    def action_up(self) -> None:
        """To the screen below; the list of runs is the last one."""
        if len(self.screen_stack) > 2:
            self.pop_screen()

    def open_run(self, run_id: int, kind: str) -> None:
        """Show one run on the screen for its kind; a search has its own."""
        from qllm.tui.screens.run import RunScreen
        from qllm.tui.screens.synthesis import SynthesisScreen

        self.push_screen(SynthesisScreen(run_id) if kind == "synth" else RunScreen(run_id))

    def open_candidate(self, candidate_id: int) -> None:
        """Show one candidate."""
        from qllm.tui.screens.candidate import CandidateScreen

        self.push_screen(CandidateScreen(candidate_id))

    def open_comparison(self, run_ids: tuple[int, ...]) -> None:
        """Show runs side by side."""
        from qllm.tui.screens.compare import CompareScreen

        self.push_screen(CompareScreen(run_ids))

    def refresh_now(self) -> None:
        """Look at the store now, and not at the next beat."""
        self._ask()
        self._look_again.set()

    def _ask(self) -> None:
        screen = self.screen
        self._wanted = screen.query_now if isinstance(screen, LiveScreen) else None

    def _watch(self) -> None:
        """In a thread: read the store for whichever screen is on top."""
        watcher = Watcher(self.home)
        try:
            while not self._ended.is_set():
                query = self._wanted
                if query is not None and not self.frozen:
                    look = watcher.look(query)
                    if look is not None and not self._ended.is_set():
                        self.call_from_thread(self._deliver, look)
                self._look_again.wait(_EVERY_S)
                self._look_again.clear()
        finally:
            watcher.close()

    def _deliver(self, look: Look) -> None:
        screen = self.screen
        if isinstance(screen, LiveScreen) and screen.query_now == look.query:
            screen.show(look)


def run_app(home: Path | None = None) -> None:
    """Open the app and return when it is closed."""
    QllmApp(home).run()
