"""Incidents that are to be kept: each when its window is over and on the disk, one after the other; and the commands of
their triggers, one after the other as well: whoever makes one slow holds no incident up."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tracer.agent import command
from tracer.agent.child import PATIENCE_S, Child
from tracer.agent.config import Trigger
from tracer.agent.incidents import Incident, Limits, keep, name_of, path_for
from tracer.agent.notes import Note
from tracer.agent.store import Store

_MOST = 64  # that wait; one beyond is left out, and said
_LATE_NS = 10_000_000_000  # after its end a window is taken as it is on the disk
_KEEPER_S = 1800.0  # that one may take to be kept: others wait
_LAST_WORDS_S = 1.0  # that commands have when the agent ends


class _Waiting(NamedTuple):
    incident: Incident
    end_ns: int  # boottime


class _Kept(NamedTuple):
    trigger: Trigger
    path: Path


class Pending:
    """say: writes a line for people. ask: has the recorder write what has happened. close: closes, in a child, what is
    of its parent. kept: how many were."""

    def __init__(
        self, store: Store, say: Callable[[str], None], ask: Callable[[], None], close: Callable[[], None]
    ) -> None:
        self._store, self._say, self._ask, self._close = store, say, ask, close
        self._waiting: deque[_Waiting] = deque()
        self._commands: deque[_Kept] = deque()
        self._asked_ns = self.kept = 0
        self._keeper: Child | None = None
        self._runner: Child | None = None
        self._keeping: _Kept | None = None  # by the keeper

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
        if not self._waiting or self._keeper:
            return float("inf")
        left_s = (self._first.end_ns - _now_ns()) / 1e9
        return left_s if left_s > 0 else 0.5

    @property
    def _first(self) -> _Waiting:
        return min(self._waiting, key=lambda one: one.end_ns)

    def children(self) -> Iterator[Child]:
        """The processes that keep one now, and run a command."""
        yield from filter(None, (self._keeper, self._runner))

    def go_on(self, settled_ns: int, limits: Limits) -> None:
        """Begin to keep the next one, if it is time. settled_ns: until when all is on the disk (boottime)."""
        self._run_next()
        if self._keeper or not self._waiting:
            return
        first, now_ns = self._first, _now_ns()
        if now_ns < first.end_ns:
            return
        if settled_ns < first.end_ns and now_ns < first.end_ns + _LATE_NS:
            if self._asked_ns < first.end_ns:
                self._asked_ns = now_ns
                self._ask()
            return
        self._keep(first, limits)

    def _keep(self, first: _Waiting, limits: Limits) -> None:
        self._waiting.remove(first)
        incident, path = first.incident, path_for(first.incident, self._store)
        self._keeping = _Kept(incident.trigger, path)
        self._keeper = self._child("keeper of incidents", lambda: keep(incident, path, self._store, limits, self._say))

    def _run_next(self) -> None:
        if self._commands and not self._runner:
            trigger, path = self._commands.popleft()
            self._runner = self._child("command of a trigger", lambda: command.run(trigger, path, self._say))

    def _child(self, name: str, work: Callable[[], int]) -> Child:
        def begin() -> int:
            self._close()
            return work()

        child = Child(name, begin)
        child.start()
        return child

    def reap(self) -> None:
        """See who has ended."""
        if self._keeper and self._keeper.ends_within(0):
            self._keeper.reap()
            self._note_kept(self._keeper)
        elif self._keeper and self._keeper.ran_s > _KEEPER_S:
            self._keeper.signal(signal.SIGKILL)  # it was stopped, or is without end; once it ends, that is said
        if self._runner and self._runner.ends_within(0):
            self._runner.reap()
            self._runner = None

    def _note_kept(self, keeper: Child) -> None:
        self._keeper = None
        if keeper.exit_code and keeper.exit_code < 0:  # else it has said why
            self._say(f"an incident was not kept: the {keeper.name} has ended (signal {-keeper.exit_code})")
        if keeper.exit_code or not self._keeping:
            return
        self.kept += 1
        if not self._keeping.trigger.run:
            return
        if len(self._commands) < _MOST:
            self._commands.append(self._keeping)
        else:
            self._say(f"{self._keeping.path.name}: {_MOST} commands wait to be run: it has none")

    def finish(self, limits: Limits) -> None:
        """The recorder has ended: all windows end here, and commands have a moment left."""
        while self._keeper or self._waiting:
            if self._keeper:
                self._keeper.finish(PATIENCE_S, self._say)
                self._note_kept(self._keeper)
            if self._waiting:
                self._keep(self._first, limits)
        until_s = time.monotonic() + _LAST_WORDS_S
        while self._runner or (self._commands and time.monotonic() < until_s):
            self._run_next()
            if self._runner and not self._runner.ends_within(until_s - time.monotonic()):
                self._runner.signal(signal.SIGTERM)
            if self._runner:
                self._runner.finish(PATIENCE_S, self._say)
            self._runner = None
        for kept in self._commands:
            self._say(f"{kept.path.name}: the agent ends before its command was run")


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
