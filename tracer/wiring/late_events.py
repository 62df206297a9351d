"""What people are told of events that an engine's silence holds up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tracer.kernel.trace import now_ns
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch

_LATE_NS = 1_000_000_000


def is_old(since_ns: int) -> bool:
    """Whether people should know what has waited since then (boottime; 0: nothing has)."""
    return 0 < since_ns < now_ns() - _LATE_NS


class LateEvents:
    """say: writes a line for people."""

    def __init__(self, attribution: Attribution, say: Callable[[str], None]) -> None:
        self._attribution, self._say = attribution, say
        self._shown: Counter[str] = Counter()
        self._since_ns: dict[str, int] = {}
        self._has_said_silent = False

    def note(self, batch: Batch) -> None:
        """Note events that were held, and are shown now."""
        for at, pair in enumerate(batch.pairs.first):
            container = self._attribution.of_row(batch, pair)
            label, times = container.label if container else "the host", batch.rows["ts_ns"][batch.pairs.of_row == at]
            self._shown[label] += len(times)
            self._since_ns[label] = min(self._since_ns.get(label, int(times.min())), int(times.min()))

    def say_shown(self) -> None:
        """Say of what was noted since the last call which events people had to wait for."""
        for label, events in self._shown.items():
            if is_old(self._since_ns[label]):
                self._has_said_silent = False
                self._say(f"{label}: {events} events are shown late: the container engine had not named it before")
        self._shown.clear()
        self._since_ns.clear()

    def say_silent(self, oldest_ns: int) -> None:
        """Say once that events are held back, where they are. oldest_ns: of the first of them (boottime); 0: none."""
        if is_old(oldest_ns) and not self._has_said_silent:
            self._has_said_silent = True
            self._say("the container engine does not answer: events of unnamed containers are held back until it does")
