"""The first and the last line of every screen.

Textual's header and footer are made of a dozen widgets, one for each key, and are made anew with
every change of the keys; a screen opens a third faster with one widget for each line. The last line
keeps the key for help in a narrow terminal, too, where there is no room for all.
"""

from __future__ import annotations

from typing import Any

from rich.text import Text
from textual.events import Click
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget

from qllm.text import rich_text

_LAST = ("help", "quit")
"""Actions whose keys stand at the end of the line, and are never left out."""


class TitleBar(Widget):
    """The app, the screen, and whatever is to be said of the whole display."""

    DEFAULT_CSS = """
    TitleBar { dock: top; height: 1; padding: 0 1; background: $panel; color: $foreground; }
    """

    def on_mount(self) -> None:
        """Follow the titles."""
        for node in (self.app, self.screen):
            for name in ("title", "sub_title"):
                self.watch(node, name, self._changed, init=False)

    def _changed(self) -> None:
        self.refresh()

    def render(self) -> Text:
        """One line."""
        words = [self.app.title, self.screen.title or "", self.app.sub_title]
        said = rich_text(" — ".join(word for word in words if word))
        said.truncate(self.content_size.width, overflow="ellipsis")
        return said


class KeyBar(Widget):
    """The keys that count now, as far as there is room; a click presses one."""

    COMPONENT_CLASSES = {"keys--key", "keys--off"}  # noqa: RUF012 (Textual's own declaration)
    DEFAULT_CSS = """
    KeyBar {
        dock: bottom; height: 1;
        background: $footer-background; color: $footer-description-foreground;
    }
    KeyBar > .keys--key { color: $footer-key-foreground; text-style: bold; }
    KeyBar > .keys--off { text-style: dim; }
    """

    keys: reactive[tuple[tuple[str, str, str, str, bool], ...]] = reactive(())
    """Key, how it is written, what it does, its action, and whether it can be pressed now."""

    def on_mount(self) -> None:
        """Follow the bindings of the screen."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed, immediate=True)
        self._changed(self.screen)

    def on_unmount(self) -> None:
        """Follow them no more."""
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _changed(self, screen: Screen[Any]) -> None:
        if screen is not self.screen or not self.is_attached:
            return
        found: dict[str, tuple[str, str, str, str, bool]] = {}
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.show and binding.description and binding.action not in found:
                shown = self.app.get_key_display(binding)
                found[binding.action] = (
                    binding.key, shown, binding.description, binding.action, active.enabled,
                )  # fmt: skip
        self.keys = tuple(found.values())

    def _fitting(self) -> list[tuple[str, str, str, str, bool]]:
        """The keys there is room for: the screen's first, and always those for help and the end."""
        last = [key for name in _LAST for key in self.keys if key[3] == name]
        left = self.size.width - sum(map(_width, last))
        fitting = []
        for key in self.keys:
            if key in last:
                continue
            left -= _width(key)
            if left < 0:
                break
            fitting.append(key)
        return fitting + last

    def render(self) -> Text:
        """One line."""
        key_style = self.get_component_rich_style("keys--key", partial=True)
        off = self.get_component_rich_style("keys--off", partial=True)
        line = Text(no_wrap=True, end="")
        for _, shown, words, _, enabled in self._fitting():
            line.append(f" {shown} ", key_style if enabled else off)
            line.append(f"{words} ", None if enabled else off)
        return line

    def on_click(self, event: Click) -> None:
        """Press the key under the pointer."""
        at = 0
        for key in self._fitting():
            at += _width(key)
            if event.x < at:
                if key[4]:
                    self.app.simulate_key(key[0])
                else:
                    self.app.bell()
                return


def _width(key: tuple[str, str, str, str, bool]) -> int:
    return len(key[1]) + len(key[2]) + 3
