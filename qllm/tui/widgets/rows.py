"""A table that draws only its visible rows, for speed with any length.

Rows are values with a key. The cursor and the marks stay with their keys, whatever comes or goes
around them, and the view stays with the cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

MARK = "●"
MOVES: list[BindingType] = [
    Binding("up", "step(-1)", "up", show=False),
    Binding("down", "step(1)", "down", show=False),
    Binding("pageup", "page(-1)", "page up", show=False),
    Binding("pagedown", "page(1)", "page down", show=False),
    Binding("home", "jump(0)", "first", show=False),
    Binding("end", "jump(-1)", "last", show=False),
]


@dataclass(frozen=True)
class Column:
    """One column. Columns are separated by one blank."""

    title: str
    width: int
    right: bool = False
    """Whether its cells stand at the right, as numbers do."""
    from_width: int = 0
    """The width of the table from which on it is shown."""
    grows: bool = False
    """Whether it takes the space that is left over."""


@dataclass(frozen=True)
class Row:
    """One row: a key, the value behind it, and whatever its cells are made of."""

    key: int
    value: Any


class RowList(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows with a cursor.

    Args:
        cells: makes the cells of a row's value, one for each column; called for rows on screen.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--head",
        "rows--cursor",
        "rows--odd",
        "rows--mark",
    }
    DEFAULT_CSS = """
    RowList { background: $background; overflow-x: hidden; scrollbar-size-vertical: 1; }
    RowList > .rows--head { color: $text-muted; text-style: bold; background: $panel; }
    RowList > .rows--cursor { background: $surface-lighten-2; }
    RowList:focus > .rows--cursor { background: $primary-muted; text-style: bold; }
    RowList > .rows--odd { background: $surface; }
    RowList > .rows--mark { color: $accent; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *MOVES,
        Binding("k", "step(-1)", "up", show=False),
        Binding("j", "step(1)", "down", show=False),
    ]

    @dataclass
    class Opened(Message):
        """A row was clicked twice."""

        rows: RowList

    @dataclass
    class Moved(Message):
        """Other rows came into view, or the cursor moved."""

        rows: RowList

    def __init__(
        self,
        columns: Sequence[Column],
        cells: Callable[[Any, Sequence[int]], Sequence[Text]],
        *,
        marks: bool = False,
        id: str | None = None,  # noqa: A002 (Textual's own name)
    ) -> None:
        super().__init__(id=id)
        self._columns, self._cells, self._can_mark = tuple(columns), cells, marks
        self._rows: tuple[Row, ...] = ()
        self._at: dict[int, int] = {}
        self._cursor = 0
        self.marked: set[int] = set()

    # -- rows ------------------------------------------------------------------------------

    @property
    def value(self) -> Any:
        """The row under the cursor; None where there are no rows."""
        return self._rows[self._cursor].value if self._rows else None

    @property
    def key(self) -> int | None:
        return self._rows[self._cursor].key if self._rows else None

    @property
    def count(self) -> int:
        return len(self._rows)

    def in_view(self) -> tuple[int, ...]:
        """Keys of the rows on the screen."""
        first = round(self.scroll_y)
        return tuple(row.key for row in self._rows[first : first + max(1, self._height)])

    def put(self, rows: Sequence[Row]) -> None:
        """Show these rows. The cursor stays on its key, or else near its place."""
        key, before = self.key, self._rows
        self._rows = tuple(rows)
        if [row.key for row in before] == [row.key for row in self._rows]:
            for old, new in zip(before, self._rows, strict=True):
                if old.value is not new.value and old.value != new.value:
                    self.refresh_row(new.key)
            return
        self._at = {row.key: at for at, row in enumerate(self._rows)}
        from_top = self._cursor - round(self.scroll_y)
        fallback = min(self._cursor, max(0, len(self._rows) - 1))
        self._cursor = self._at.get(key, fallback) if key is not None else 0
        self._resize()
        self._show_cursor(from_top)
        self.refresh()

    def go_to(self, key: int) -> None:
        """Move the cursor to a row, if it exists."""
        if key in self._at:
            self._move(self._at[key])

    def toggle_mark(self) -> None:
        """Toggle the mark of the row under the cursor, and move down."""
        key = self.key
        if key is None:
            return
        self.marked ^= {key}
        self.refresh()
        self._move(self._cursor + 1)

    # -- movement --------------------------------------------------------------------------

    @property
    def _height(self) -> int:
        return max(1, self.scrollable_content_region.height - 1)

    def _resize(self) -> None:
        self.virtual_size = Size(0, len(self._rows) + 1)

    def _move(self, at: int) -> None:
        if not self._rows:
            return
        self._cursor = max(0, min(at, len(self._rows) - 1))
        self._show_cursor()
        self.refresh()
        self.post_message(self.Moved(self))

    def _show_cursor(self, from_top: int | None = None) -> None:
        top, height = round(self.scroll_y), self._height
        if from_top is not None and 0 <= from_top < height:
            top = self._cursor - from_top
        top = min(max(top, self._cursor - height + 1), self._cursor)
        self.scroll_to(y=max(0, top), animate=False, force=True)

    def action_step(self, by: int) -> None:
        self._move(self._cursor + by)

    def action_page(self, by: int) -> None:
        self._move(self._cursor + by * self._height)

    def action_jump(self, to: int) -> None:
        """To the first (0) or the last row (-1)."""
        self._move(to if to >= 0 else len(self._rows) + to)

    def on_resize(self, event: Resize) -> None:
        """Columns come and go with the width."""
        self._resize()
        self._show_cursor()
        self.post_message(self.Moved(self))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Post `Moved`, for those who fill the rows in view."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Moved(self))

    def on_click(self, event: Click) -> None:
        """To the row under the pointer; a second click opens it."""
        at = event.y - 1 + round(self.scroll_y)
        if event.y < 1 or at >= len(self._rows):
            return
        self._move(at)
        if event.chain == 2:
            self.post_message(self.Opened(self))

    # -- drawing ---------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the screen: the heading, then rows."""
        width = self.scrollable_content_region.width
        shown = [at for at, c in enumerate(self._columns) if width >= c.from_width]
        widths = self._widths(shown, width)
        if y == 0:
            style = self.get_component_rich_style("rows--head")
            titles = [Text(self._columns[at].title) for at in shown]
            return self._strip(titles, shown, widths, width, style, " ")
        at = y - 1 + round(self.scroll_y)
        if at >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        row = self._rows[at]
        name = "cursor" if at == self._cursor else "odd" if at % 2 else ""
        style = self.get_component_rich_style(f"rows--{name}") if name else self.rich_style
        cells = self._cells(row.value, widths)
        mark = MARK if row.key in self.marked else " "
        texts = [cells[at] for at in shown]
        return self._strip(texts, shown, widths, width, style, mark, at == self._cursor)

    def _widths(self, shown: Sequence[int], width: int) -> list[int]:
        """Width of every column, 0 for those that are not shown."""
        widths = [c.width if at in shown else 0 for at, c in enumerate(self._columns)]
        left = width - self._lead - sum(widths) - max(0, len(shown) - 1)
        growing = [at for at in shown if self._columns[at].grows]
        for place, at in enumerate(growing):
            widths[at] += max(0, left) // len(growing) + (place < max(0, left) % len(growing))
        return widths

    @property
    def _lead(self) -> int:
        return 2 if self._can_mark else 1

    def _strip(
        self,
        cells: Sequence[Text],
        shown: Sequence[int],
        widths: Sequence[int],
        width: int,
        style: Style,
        mark: str,
        cursor: bool = False,
    ) -> Strip:
        lead = "▌" if cursor else " "  # the cursor is there without colours, too
        line = [Segment(lead, style)]
        if self._can_mark:
            line.append(
                Segment(mark, style + self.get_component_rich_style("rows--mark", partial=True))
            )
        for place, (at, text) in enumerate(zip(shown, cells, strict=True)):
            fitted = text.copy()
            fitted.truncate(widths[at], overflow="ellipsis", pad=False)
            gap = " " * (widths[at] - fitted.cell_len)
            # Rich leaves a text's own style to whoever prints it.
            base = style + self.app.console.get_style(fitted.style, default=Style.null())
            parts = [
                Segment(part.text, base + part.style if part.style else base)
                for part in fitted.render(self.app.console, end="")
                if part.text
            ]
            space = [Segment(gap, style)] if gap else []
            line += [*space, *parts] if self._columns[at].right else [*parts, *space]
            if place < len(shown) - 1:
                line.append(Segment(" ", style))
        return Strip(line).adjust_cell_length(width, style).simplify()

    def refresh_row(self, key: int) -> None:
        """Draw one row again, if it is in view."""
        if key in self._at:
            y = self._at[key] + 1 - round(self.scroll_y)
            if 1 <= y <= self._height:
                self.refresh(Region(0, y, self.size.width, 1))
