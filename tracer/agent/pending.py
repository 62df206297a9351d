"""Incidents that are to be kept: each when its window is over and on the disk, one after the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tracer.agent.child import Child
from tracer.agent.config import Trigger
from tracer.agent.incidents import Incident, keep, name_of
from tracer.agent.notes import Note
from tracer.agent.store import Store

_MOST = 64  # that wait; one beyond is left out, and said
_LATE_NS = 10_000_000_000  # after its end a window is taken as it is on the disk


class _Waiting(NamedTuple):
    incident: Incident
    end_ns: int  # boottime


class Pending:
    """say: writes a line for people. ask: has the recorder write what has happened. child: the process that keeps one
    now. kept: how many were."""

    def __init__(self, store: Store, say: Callable[[str], None], ask: Callable[[], None]) -> None:
        self._store, self._say, self._ask = store, say, ask
        self._waiting: deque[_Waiting] = deque()
        self._asked_ns = self.kept = 0
        self.child: Child | None = None

    def note(self, note: Note, trigger: Trigger) -> None:
        """A condition was true."""
        at_ns = note.at_ns + note.wall_offset_ns
        incident = Incident(trigger, at_ns, name_of(at_ns, note.container, note.cause))
        if len(self._waiting) >= _MOST:
            self._say(f"{incident.name} is not kept: {_MOST} incidents wait to be")
            return
        self._say(f"{incident.name}: {trigger.where}")
        self._waiting.append(_Waiting(incident, incident.end_ns - note.wall_offset_ns))

    @property
    def due_in_s(self) -> float:
        """In how many seconds `go_on` has something to do; infinite: not before something else happens."""
        if not self._waiting or self.child:
            return float("inf")
        left_s = (self._first.end_ns - _now_ns()) / 1e9
        return left_s if left_s > 0 else 0.5

    @property
    def _first(self) -> _Waiting:
        return min(self._waiting, key=lambda one: one.end_ns)

    def go_on(self, settled_ns: int, most: int, is_last: bool = False) -> None:
        """Begin to keep the next one, if it is time. settled_ns: until when all is on the disk (boottime); most: how
        many are kept. is_last: the recorder has ended."""
        if self.child or not self._waiting:
            return
        first, now_ns = self._first, _now_ns()
        if not is_last and now_ns < first.end_ns:
            return
        if not is_last and settled_ns < first.end_ns and now_ns < first.end_ns + _LATE_NS:
            if self._asked_ns < first.end_ns:
                self._asked_ns = now_ns
                self._ask()
            return
        self._waiting.remove(first)
        self.child = Child("keeper of incidents", lambda: keep(first.incident, self._store, most, self._say))
        self.child.start()

    def reap(self) -> None:
        """The process that kept one has ended."""
        if self.child:
            self.child.reap()
            self.kept += self.child.exit_code == 0
            self.child = None

    def __bool__(self) -> bool:
        return bool(self._waiting or self.child)


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
