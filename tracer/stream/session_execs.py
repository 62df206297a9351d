"""What engines say of execs, brought to the sessions that they are. Pure.

An engine tells of an exec before its process begins, and does not know the PID until then; and whether it was a health
check shows when it is over: then the engine lists from when to when its last checks ran.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from tracer.stream.batch import EVENT, Batch, pad_args, split_args
from tracer.stream.lru import Lru
from tracer.stream.metadata import EngineEvent, ExecFact
from tracer.stream.schema import Kind
from tracer.stream.sessions import Sessions
from tracer.text.escape import decode

PATIENCE_NS = 30_000_000_000
_AGAIN_NS, _SELDOM_NS = 20_000_000, 500_000_000
_FRESH_NS = 2_000_000_000
_EARLIER_NS = 1_000_000_000  # than the engine says: the clock may have been set
_PROBE_NS = 2_000_000_000  # an engine notes a health check a moment after its end
_MAX_PENDING = 4096

Ask = Callable[[str], object]
"""Id of an exec -> ExecFact; None: there is no such exec; anything else: no answer yet. Never waits."""


@dataclass
class _Pending:
    """command: as the engine tells it. created_ns, died_ns: when it was made, and has ended, by the engine's word and
    the wall clock; None: it has not. matched: the session that it is, once that is known."""

    container_id: str
    command: str | None
    created_ns: int
    died_ns: int | None = None
    matched: int = 0


class SessionExecs:
    """Receives what engines say; `due` asks them. wall_offset_ns: wall clock minus boottime. redact: masks secrets in
    the rows of a batch."""

    def __init__(
        self, sessions: Sessions, ask: Ask, wall_offset_ns: int, redact: Callable[[Batch], Batch] = lambda batch: batch
    ) -> None:
        self._sessions, self._ask, self._wall_offset_ns, self._redact = sessions, ask, wall_offset_ns, redact
        self._pending: Lru[str, _Pending] = Lru(_MAX_PENDING)
        self._made: deque[_Pending] = deque(maxlen=_MAX_PENDING)  # in the order in which they were
        self._not_before_ns = 0

    def hear(self, events: Iterable[EngineEvent]) -> None:
        """Receive what engines say has happened."""
        for event in events:
            exec_id = event.attributes.get("execID")
            if not exec_id or not event.action.startswith("exec_"):
                continue
            pending = self._pending.get(exec_id)
            if event.action in ("exec_create", "exec_start") and pending is None:
                made = _Pending(event.container_id, event.attributes.get("command"), event.time_ns)
                self._pending.put(exec_id, made)
                self._made.append(made)
            elif event.action == "exec_die" and pending:
                pending.died_ns = event.time_ns

    def due_in_ns(self, now_ns: int) -> float:
        """How long until an engine is to be asked again; infinite: about nothing. now_ns: CLOCK_BOOTTIME."""
        return max(0, self._not_before_ns - now_ns) if len(self._pending) else math.inf

    def due(self, now_ns: int) -> Iterator[Batch]:
        """Rows that add to sessions what engines have said by now."""
        if self.due_in_ns(now_ns) > 0:
            return
        self._not_before_ns = now_ns + (_AGAIN_NS if self._is_fresh(now_ns) else _SELDOM_NS)
        for exec_id in self._pending:
            pending = self._pending.get(exec_id)
            if pending and self._is_over(pending, now_ns):
                self._pending.pop(exec_id)
            elif pending and self._is_wanted(pending):
                said = self._ask(exec_id)
                if isinstance(said, ExecFact):
                    command = _redacted(said.command, self._redact)
                    yield from self._matched(pending, msgspec.structs.replace(said, command=command), now_ns)
                elif said is None:
                    self._pending.pop(exec_id)

    def _is_fresh(self, now_ns: int) -> bool:
        """Whether an exec was made, or has ended, a moment ago."""
        pending = filter(None, map(self._pending.get, self._pending))
        latest_ns = max((one.died_ns or one.created_ns for one in pending), default=0)
        return now_ns + self._wall_offset_ns - latest_ns < _FRESH_NS

    def _is_over(self, pending: _Pending, now_ns: int) -> bool:
        """Whether nothing more is waited for."""
        since_ns = pending.died_ns or (0 if pending.matched else pending.created_ns)
        return since_ns > 0 and now_ns + self._wall_offset_ns - since_ns > PATIENCE_NS

    def _is_wanted(self, pending: _Pending) -> bool:
        """Whether there is a session that it may be; or it has ended, and was it a health check?"""
        if pending.matched:
            return pending.died_ns is not None
        return self._sessions.expects(pending.container_id)

    def _matched(self, pending: _Pending, said: ExecFact, now_ns: int) -> Iterator[Batch]:
        """The rows that say more of the exec's session, if that is found."""
        if not pending.matched:
            since_ns = pending.created_ns - self._wall_offset_ns - _EARLIER_NS
            pending.matched = self._sessions.match(said, since_ns)
        if not pending.matched:
            return
        is_health = self._is_health(pending, said, now_ns)
        kind = None if is_health is None else "health" if is_health else "exec"
        if row := self._sessions.describe(pending.matched, said, kind, now_ns):
            yield row
        if kind:
            self._pending.pop(said.exec_id)

    def _is_health(self, pending: _Pending, said: ExecFact, now_ns: int) -> bool | None:
        """Whether an exec was a health check: it has the command of one, and is the first that was made with it while
        the engine says that one ran. None: that is not known yet, or not at all."""
        if said.probes is None:
            return False
        for begin_ns, end_ns in said.probes:
            if begin_ns <= pending.created_ns <= end_ns:
                return not any(_is_like(other, pending, begin_ns) for other in self._made)
        is_late = pending.died_ns is not None and now_ns + self._wall_offset_ns - pending.died_ns > _PROBE_NS
        return False if is_late and said.probes else None


def _is_like(other: _Pending, pending: _Pending, since_ns: int) -> bool:
    """Whether another exec of the same command in the same container was made before it, but not before a time."""
    is_same = (other.container_id, other.command) == (pending.container_id, pending.command)
    return is_same and since_ns <= other.created_ns < pending.created_ns


def _redacted(words: Iterable[str], redact: Callable[[Batch], Batch]) -> list[str]:
    """The words of a command, with its secrets masked as in the row of an exec."""
    rows, args = np.zeros(1, EVENT), pad_args(word.encode("utf-8", "backslashreplace") for word in words)
    rows["kind"], rows["args_len"], rows["args_total"] = Kind.EXEC, len(args), len(args)
    return [decode(arg) for arg in split_args(redact(Batch(rows, args)).payload(0).args)]
