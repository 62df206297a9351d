"""What nstrace top shows of time where a recording is played, and what it asks of the process that plays it."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text
from textual import events
from textual.widget import Widget

from tracer.screen.messages import Hello, Played, Request
from tracer.text.times import precise

_ARROW_NS = 5_000_000_000


class Playing:
    """Where a recording is, and what is asked for to go elsewhere. hello: what is shown; played: what was said last."""

    def __init__(self) -> None:
        self.hello = Hello("", 0)
        self.played = Played(0, False, 1.0)

    @property
    def is_live(self) -> bool:
        """Whether it is no recording, but what happens now."""
        return self.hello.is_live

    @property
    def part(self) -> float:
        """How much of it has been played, from 0 to 1."""
        return self._since_begin_ns / (self.hello.end_ns - self.hello.begin_ns)

    @property
    def label(self) -> str:
        """Which time it is there, and the speed."""
        now_ns = self.hello.begin_ns + self._since_begin_ns
        return f"{precise(now_ns + self.hello.wall_offset_ns)[11:]} x{self.played.speed:g}"

    @property
    def _since_begin_ns(self) -> int:
        return max(0, self.played.now_ns - self.hello.begin_ns)

    def arrow(self, way: int) -> Request:
        """Back (-1) or forth (1) a little."""
        return Request("seek", self._since_begin_ns + way * _ARROW_NS)

    def part_of(self, part: float) -> Request:
        """To this part of it; 0: its beginning, 1: its end."""
        return Request("seek", part * (self.hello.end_ns - self.hello.begin_ns))

    def faster(self, factor: float) -> Request:
        """So many times as fast."""
        return Request("speed", self.played.speed * factor)


class TimeLine(Widget):
    """How far a recording has been played. go: called with the part that was clicked at."""

    def __init__(self, playing: Playing, go: Callable[[float], None]) -> None:
        super().__init__(id="time")
        self._playing, self._go = playing, go

    def render(self) -> Text:
        """As textual calls it."""
        if self._playing.is_live:
            return Text("")
        label, cells = self._playing.label, self._cells
        at = min(cells - 1, int(self._playing.part * cells))
        return Text(f"{'━' * at}●{'─' * (cells - at - 1)} {label}", no_wrap=True)

    @property
    def _cells(self) -> int:
        return max(1, self.size.width - len(self._playing.label) - 1)

    def on_click(self, event: events.Click) -> None:
        """Go there."""
        self._go(min(1.0, event.x / self._cells))
