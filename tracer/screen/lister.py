"""The widget of nstrace top that shows processes: it draws the rows that are seen, however many there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tracer.screen.cells import CURSOR, segments
from tracer.screen.model import Proc, Row


class ProcessList(ScrollView, can_focus=True):
    """Rows with a cursor. now_ns: the moment that is shown (CLOCK_BOOTTIME)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False, priority=True),
        Binding("down,j", "move(1)", show=False, priority=True),
        Binding("pageup", "move_page(-1)", show=False, priority=True),
        Binding("pagedown", "move_page(1)", show=False, priority=True),
        Binding("home", "move(-10000000)", show=False, priority=True),
        Binding("end", "move(10000000)", show=False, priority=True),
    ]

    class Chosen(Message):
        """A process was clicked twice."""

    class Went(Message):
        """The cursor was moved."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        super().__init__()
        self._now_ns = now_ns
        self.rows: list[Row] = []
        self.cursor = 0
        self.pid_width, self.all_pids, self.names_container = 7, False, False

    @property
    def chosen(self) -> Proc | None:
        """The process under the cursor; None: it is on a heading, or there is none."""
        return self.rows[self.cursor].proc if self.cursor < len(self.rows) else None

    def show(self, rows: list[Row]) -> None:
        """Show these rows; the cursor stays on its process."""
        before = self.chosen
        self.rows = rows
        if before is not None and self.chosen is not before:
            self.cursor = next((at for at, row in enumerate(rows) if row.proc is before), self.cursor)
        self.cursor = max(0, min(self.cursor, len(rows) - 1))
        self.virtual_size = Size(self._cells, len(rows))
        self.refresh()

    @property
    def _cells(self) -> int:
        """How wide a row is: a scrollbar takes a part."""
        return self.scrollable_content_region.width

    def on_resize(self) -> None:
        """As textual calls it."""
        self.show(self.rows)

    def go_to(self, at: int) -> None:
        """Put the cursor there."""
        self.cursor = max(0, min(at, len(self.rows) - 1))
        self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False, force=True)
        self.refresh()

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self.go_to(self.cursor + by)
        self.post_message(self.Went())

    def action_move_page(self, by: int) -> None:
        """Move the cursor by as many rows as are seen."""
        self.action_move(by * max(1, self.size.height - 1))

    def on_click(self, event: events.Click) -> None:
        """A click chooses, a second one opens."""
        at = event.y + int(self.scroll_offset.y)
        if at < len(self.rows):
            self.go_to(at)
            if event.chain == 2:
                self.post_message(self.Chosen())

    def seen(self) -> list[Proc]:
        """The processes that are drawn now."""
        top = int(self.scroll_offset.y)
        return [row.proc for row in self.rows[top : top + self.size.height] if row.proc]

    def render_line(self, y: int) -> Strip:
        """As textual calls it: one line of what is seen."""
        at, cells = y + int(self.scroll_offset.y), self._cells
        if at >= len(self.rows):
            return Strip.blank(cells)
        parts = segments(self.rows[at], cells, self._now_ns(), self.pid_width, self.all_pids, self.names_container)
        if at == self.cursor and self.has_focus:
            parts = [Segment(part.text, (part.style or CURSOR) + CURSOR) for part in parts]
        return Strip(parts).adjust_cell_length(cells)
