"""The terminal app: it shows the run store and sends requests to jobs."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from qllm.paths import resolve_home
from qllm.tui.control import ControllingApp
from qllm.tui.reading.watch import Look, Query, Watcher
from qllm.tui.screens.live import LiveScreen
from qllm.tui.screens.runs import RunsScreen
from qllm.tui.terminal import when_gone
from qllm.tui.theme import keep_theme, kept_theme

if TYPE_CHECKING:
    from qllm.tui.form.fields import Draft

_EVERY_S = 0.2
"""The store is looked at five times a second at most."""

_FORM_S = 1.0
"""How long after the first picture a thread reads the settings, which takes most of a second."""

FROZEN = "FROZEN: the display, not the jobs (f goes on)"


@dataclass
class Looked(Message):
    """An answer of the reading thread."""

    look: Look


@dataclass
class Broken(Message):
    """An exception of the reading thread: a bug, since errors of the store are answers."""

    error: BaseException


class QllmApp(ControllingApp):
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
        Binding("n", "launch", "new", tooltip="fill in a form and start a job"),
        Binding(
            "y",
            "system",
            "system",
            show=False,
            tooltip="devices, memory, model servers, the sandbox",
        ),
        Binding("f", "freeze", "freeze", show=False, tooltip="stop the display, never the jobs"),
        Binding(
            "question_mark", "help", "help", key_display="?", tooltip="the keys that count now"
        ),
        Binding("ctrl+y", "copy_shown", "copy", show=False, tooltip="the command line of this run"),
        Binding("ctrl+s", "save_picture", "picture", show=False, tooltip="this screen as an SVG"),
        Binding("ctrl+z", "suspend_process", "suspend", show=False, tooltip="to the shell; fg"),
        Binding("escape", "up", "back", show=False, tooltip="to the screen below"),
        Binding("q", "quit", "quit", tooltip="close the app; jobs go on"),
    ]

    def __init__(self, home: Path | None = None) -> None:
        super().__init__(home)
        self.animation_level = "none"
        self.frozen = False
        self.drafts: dict[int | None, Draft] = {}
        """Unfinished forms: the empty form's under ``None``, copies of runs by run."""
        self._wanted: Query | None = None
        self._ended = threading.Event()
        self._look_again = threading.Event()
        self._taken = threading.Event()
        self._taken.set()
        theme = kept_theme(resolve_home(home))
        if theme in self.available_themes:
            self.theme = theme

    def on_mount(self) -> None:
        """Show the runs; the store is first read when something is on the screen."""
        self.push_screen(RunsScreen())
        self.theme_changed_signal.subscribe(
            self, lambda theme: keep_theme(resolve_home(self.home), theme.name)
        )
        self.set_interval(_EVERY_S, self._ask)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        # Of its own, and not a worker: a locked database must not keep the app from closing.
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        self._ask()
        if not self.is_headless:
            read = threading.Thread(target=_read_settings, name="settings", daemon=True)
            self.set_timer(_FORM_S, read.start)
            when_gone(lambda: self.call_from_thread(self.exit))

    def on_unmount(self) -> None:
        self._ended.set()
        self._look_again.set()
        self._taken.set()

    def get_key_display(self, binding: Binding) -> str:
        """A key's label: its name where a font may lack its sign."""
        shown = super().get_key_display(binding)
        return {"⏎": "enter"}.get(shown, shown)

    # -- what every screen can do ----------------------------------------------------------

    def action_freeze(self) -> None:
        """Stop or continue showing what changes; jobs are never touched."""
        self.frozen = not self.frozen
        self.sub_title = FROZEN if self.frozen else ""
        self.set_class(self.frozen, "-frozen")
        self.refresh_now()

    def action_launch(self) -> None:
        from qllm.tui.screens.launch import LaunchScreen

        self.push_screen(LaunchScreen())

    def action_system(self) -> None:
        from qllm.tui.screens.system import SystemScreen

        self.push_screen(SystemScreen())

    def action_help(self) -> None:
        from qllm.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    def action_up(self) -> None:
        """To the screen below; the list of runs is the last one.

        The screen is laid out first, since parts that are half made would miss each other.
        """
        self.screen.call_after_refresh(self._leave, self.screen)

    def _leave(self, screen: Screen[Any]) -> None:
        if self.screen is screen and len(self.screen_stack) > 2:
            self.pop_screen()

    async def action_quit(self) -> None:
        """Close the app, once the screen is laid out."""
        self.screen.call_after_refresh(self.exit)

    def action_copy_shown(self) -> None:
        text = str(getattr(self.screen, "to_copy", "") or "")
        if text:
            self.copy(text)

    def action_save_picture(self) -> None:
        """Save the screen as an SVG file in the folder of the runs."""
        folder = resolve_home(self.home) / "pictures"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = self.save_screenshot(path=str(folder))
        except OSError as error:
            self.notify(f"no picture: {error.strerror} ('{folder}')", severity="error")
            return
        self.notify(path, title="saved")

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette: what the screen can do, then what the app can."""
        for active in screen.active_bindings.values():
            binding = active.binding
            if active.enabled and binding.description and not binding.system:
                words = binding.tooltip or f"the key {self.get_key_display(binding)}"
                action, node = binding.action, active.node
                yield SystemCommand(
                    binding.description,
                    words,
                    lambda action=action, node=node: self.call_later(self.run_action, action, node),
                )
        for command in super().get_system_commands(screen):
            if command.title not in ("Quit", "Screenshot", "Keys"):
                yield command

    # -- screens ---------------------------------------------------------------------------

    def size_classes(self) -> str:
        """The classes that Textual gives a screen for the terminal's size."""
        across, down = self.HORIZONTAL_BREAKPOINTS, self.VERTICAL_BREAKPOINTS
        found = [
            max(one for one in breakpoints if one[0] <= size)[1]
            for breakpoints, size in ((across, self.size.width), (down, self.size.height))
        ]
        return " ".join(found)

    def open_run(self, run_id: int, kind: str) -> None:
        """Show one run on the screen for its kind; a search has its own."""
        from qllm.tui.screens.run import RunScreen
        from qllm.tui.screens.synthesis import SynthesisScreen

        self.push_screen(SynthesisScreen(run_id) if kind == "synth" else RunScreen(run_id))

    def evaluate_run(self, run_id: int) -> None:
        """Ask for greedy episodes of a training, or of all trainings of a run."""
        from qllm.tui.screens.evaluate import EvaluateScreen

        self.push_screen(EvaluateScreen(run_id))

    # -- reading ---------------------------------------------------------------------------

    def refresh_now(self) -> None:
        """Look at the store now, and not at the next beat."""
        self._ask()
        self._look_again.set()

    def _ask(self) -> None:
        # A question above a screen does not stop what is below it.
        live = next((s for s in reversed(self.screen_stack) if isinstance(s, LiveScreen)), None)
        self._wanted = live.query_now if live is not None and live.is_mounted else None

    def _watch(self) -> None:
        """In a thread: read the store for whichever screen is on top."""
        watcher = Watcher(self.home)
        answered: object = None
        try:
            while not self._ended.is_set():
                query = self._wanted
                topic = getattr(query, "topic", query)
                # While frozen, an empty screen is filled once.
                if query is not None and not (self.frozen and topic == answered):
                    look = watcher.look(query)
                    if look is not None and not self._ended.is_set():
                        answered = topic
                        self._taken.clear()
                        self.post_message(Looked(look))
                        self._taken.wait(10.0)  # never two looks under way
                        if _prepare():
                            self.call_from_thread(self._read_styles)
                self._look_again.wait(_EVERY_S)
                self._look_again.clear()
        except BaseException as error:  # noqa: BLE001 (the app ends with it, in its own thread)
            self.post_message(Broken(error))
        finally:
            watcher.close()

    def _read_styles(self) -> None:
        """Read the styles of all screens: each would have all of them parsed again otherwise.

        What is there by now stays, so the collector of garbage need not walk over it again and
        again: modules and styles are most of it, and a walk was a pause of 60 ms after a key.
        """
        for path in _STYLES:
            if not self.stylesheet.has_source(str(path), ""):
                self.stylesheet.read(path)
        self.stylesheet.parse()
        gc.freeze()

    def on_looked(self, message: Looked) -> None:
        """Hand an answer to the screen that asked, if it is still on top."""
        self._taken.set()
        if not self.is_running:
            return  # the app is closing, and screens lose their parts one by one
        look = message.look
        for screen in reversed(self.screen_stack):
            if isinstance(screen, LiveScreen):
                if screen.is_mounted and screen.query_now == look.query:
                    screen.show(look)
                return

    def on_broken(self, message: Broken) -> None:
        raise message.error


_STYLES = sorted((Path(__file__).parent / "screens").glob("*.tcss"))
"""Those of each screen, in a file of its module's name."""


def _prepare() -> bool:
    """Import the screens ahead of use; drawing libraries load slowly.

    Returns:
        Whether this was the first time.
    """
    names = [f"qllm.tui.screens.{path.stem}" for path in _STYLES]
    first = not all(name in sys.modules for name in names)
    for name in names:
        __import__(name)
    return first


def _read_settings() -> None:
    """Read a form's offers ahead of use."""
    from marl.errors import SettingsError
    from qllm.errors import UsageError
    from qllm.tui.form import answer

    with contextlib.suppress(UsageError, SettingsError):  # which the form will say
        answer.offer()
    gc.freeze()


def run_app(home: Path | None = None) -> bool:
    """Open the app and return when it is closed.

    Returns:
        Whether it was closed by a person, and not by an error of its own, which is then printed.
    """
    app = QllmApp(home)
    app.run()
    return not app.return_code
