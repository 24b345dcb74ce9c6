"""The base of every screen that shows the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.containers import VerticalScroll
from textual.events import ScreenResume
from textual.screen import Screen
from textual.widgets import Static, TabbedContent

from qllm.text import rich_text

if TYPE_CHECKING:
    from rich.text import Text
    from textual.content import Content

    from qllm.tui.app import QllmApp
    from qllm.tui.reading.watch import Look, Query


class LiveScreen(Screen[None]):
    """A screen with a query, which gets the answer whenever it changes.

    Screens never touch the store: a thread of the app reads it and posts what it found.

    Textual styles every widget of a new screen three times: when it is mounted, when the screen is
    shown, and when the terminal's size has given the screen its classes. Here it is once.
    """

    def __init__(self) -> None:
        super().__init__(classes=self.qllm.size_classes())
        self._shown = False
        self._written: dict[str, Text | Content] = {}

    def on_screen_resume(self, event: ScreenResume) -> None:
        """Leave out the styling of what has just been mounted."""
        if not self._shown:
            event.refresh_styles = False
        self._shown = True

    @property
    def qllm(self) -> QllmApp:
        return cast("QllmApp", self.app)

    @property
    def query_now(self) -> Query:
        """What this screen wants to know at the moment."""
        raise NotImplementedError

    def answered(self, look: Look) -> bool:
        """Whether there is data to show. A problem is shown here, in the screen's ``#notice``."""
        notices = self.query("#notice").results(Static)
        notice = next(iter(notices), None)
        if notice is None:
            return False  # the screen is on its way out, and its parts are gone
        notice.display = bool(look.problem)
        if look.problem:
            notice.update(rich_text(look.problem))
        return not look.problem

    def show(self, look: Look) -> None:
        """Show an answer to ``query_now``: its data, or its problem."""
        raise NotImplementedError

    def write(self, place: str, text: Text | Content, *, wraps: bool = True) -> None:
        """Show a text in the ``Static`` of this id, if it differs.

        Args:
            wraps: whether its height may change although it has as many lines as before; where it
                does not, the screen is not laid out again, which is dear.
        """
        before = self._written.get(place)
        if text is before or text == before:
            return
        self._written[place] = text
        same = before is not None and before.plain.count("\n") == text.plain.count("\n")
        self.query_one(f"#{place}", Static).update(text, layout=wraps or not same)

    def action_scroll(self, direction: int) -> None:
        """Scroll the tab in sight, wherever the keys are."""
        pane = self.query_one(TabbedContent).active_pane
        if pane is not None:
            pane.query_one(VerticalScroll).scroll_relative(y=3 * direction, animate=False)
