"""The first and the last line of every screen.

Textual's header and footer are made of a dozen widgets, one for each key, and are made anew with
every change of the keys; a screen opens a third faster with one widget for each line. The last line
keeps the key for help in a narrow terminal, too, where there is no room for all.
"""

from __future__ import annotations

from typing import Any

from rich.text import Text
from textual.binding import ActiveBinding
from textual.events import Click
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget

from qllm.text import rich_text

_LAST = ("help", "quit")
"""Actions whose keys end the line, at any width."""


class TitleBar(Widget):
    """The app, the screen, and remarks on the whole display."""

    DEFAULT_CSS = """
    TitleBar { dock: top; height: 1; padding: 0 1; background: $panel; color: $foreground; }
    """

    def on_mount(self) -> None:
        for node in (self.app, self.screen):
            for name in ("title", "sub_title"):
                self.watch(node, name, self._changed, init=False)

    def _changed(self) -> None:
        self.refresh()

    def render(self) -> Text:
        words = [self.app.title, self.screen.title or "", self.app.sub_title]
        said = rich_text(" — ".join(word for word in words if word))
        said.truncate(self.content_size.width, overflow="ellipsis")
        return said


class KeyBar(Widget):
    """The available keys, as far as they fit; a click presses one."""

    COMPONENT_CLASSES = {"keys--key", "keys--off"}  # noqa: RUF012 (Textual's own declaration)
    DEFAULT_CSS = """
    KeyBar {
        dock: bottom; height: 1;
        background: $footer-background; color: $footer-description-foreground;
    }
    KeyBar > .keys--key { color: $footer-key-foreground; text-style: bold; }
    KeyBar > .keys--off { text-style: dim; }
    """

    keys: reactive[tuple[ActiveBinding, ...]] = reactive(())

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed, immediate=True)
        self._changed(self.screen)

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _changed(self, screen: Screen[Any]) -> None:
        if screen is not self.screen or not self.is_attached:
            return
        found: dict[str, ActiveBinding] = {}
        for active in screen.active_bindings.values():
            if active.binding.show and active.binding.description:
                found.setdefault(active.binding.action, active)
        self.keys = tuple(found.values())

    def _fitting(self) -> list[tuple[str, str, ActiveBinding]]:
        """Keys with their words, as far as they fit; help and quit always."""
        keys = [
            (f" {self.app.get_key_display(one.binding)} ", f"{one.binding.description} ", one)
            for one in self.keys
        ]
        last = [key for name in _LAST for key in keys if key[2].binding.action == name]
        left = self.size.width - sum(len(key) + len(words) for key, words, _ in last)
        fitting = []
        for key, words, one in keys:
            if one.binding.action not in _LAST:
                left -= len(key) + len(words)
                if left < 0:
                    break
                fitting.append((key, words, one))
        return fitting + last

    def render(self) -> Text:
        key_style = self.get_component_rich_style("keys--key", partial=True)
        off = self.get_component_rich_style("keys--off", partial=True)
        line = Text(no_wrap=True, end="")
        for key, words, one in self._fitting():
            line.append(key, key_style if one.enabled else off)
            line.append(words, None if one.enabled else off)
        return line

    def on_click(self, event: Click) -> None:
        at = 0
        for key, words, one in self._fitting():
            at += len(key) + len(words)
            if event.x < at:
                self.app.simulate_key(one.binding.key) if one.enabled else self.app.bell()
                return
