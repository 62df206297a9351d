"""Sessions: who came into a container from outside, all below them, and rows that say when each began and ended. Pure.

`visitors` finds who comes in, `members` who belongs to whom; an engine's word on its execs is matched by the PID on the
host and the container, which no other living process has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np

from tracer.stream.attribution import Attribution
from tracer.stream.batch import EVENT, Batch, of_kind, split_args
from tracer.stream.known import Known
from tracer.stream.members import Marks, Members
from tracer.stream.metadata import Container, ExecFact, SessionFact
from tracer.stream.pidns import ProcId, chain_of
from tracer.stream.schema import Flag, Kind
from tracer.stream.table import Table
from tracer.stream.visitors import Visitor, Visitors
from tracer.text.escape import decode
from tracer.text.wait_status import ending

_INFERRED, _MOVED = int(Flag.INFERRED), int(Flag.MOVED)
MAX_SESSIONS = 4096
PAST_NS = 30_000_000_000
"""How long after its end an engine's word on a session is waited for."""
LEFT_NS = 50_000_000
"""How long after the exit of a session's first process it is certain who outlives it: a hang-up, or the end of a pipe,
ends others a moment later."""
_MAX_COMMAND = 4096
_MAX_LEFT = 1024


@dataclass
class _Session:
    """where: a row of its first process, which says in which namespace and cgroup it is. ended_ns: None: it has not."""

    fact: SessionFact
    root: ProcId
    where: np.void
    ended_ns: int | None = None


def _bare(container: Container | None) -> Container | None:
    """Without its labels: they are many, and are said elsewhere."""
    return container and msgspec.structs.replace(container, labels={})


class _End(NamedTuple):
    """A session whose first process has exited. facts: what is to be said of that; due_ns: when at the latest. at: the
    index of the exit in the batch that is received; -1: it was in one before."""

    facts: dict[str, object]
    due_ns: int
    at: int


class _News(NamedTuple):
    """A row to insert ahead of the row at an index."""

    at: int
    row: Batch


class Sessions:
    """Receives every batch ahead of the table. At most MAX_SESSIONS are known at once: beyond that the oldest is
    forgotten first, and counted in evicted; its processes are not marked any more."""

    def __init__(self, attribution: Attribution, table: Table) -> None:
        self.evicted = 0
        self._attribution = attribution
        self._visitors, self._members = Visitors(attribution, table), Members()
        self._sessions: dict[int, _Session] = {}
        self._of_root: dict[ProcId, int] = {}
        self._ends: dict[int, _End] = {}
        self._last = 0

    def take(self, batch: Batch) -> Batch:
        """The batch with the number of its session in each row of a process, and with SESSION rows."""
        if not len(batch):
            return batch
        begun = {one.at: self._begin(batch, one) for one in self._newcomers(batch)}
        if not begun and not len(self._members):
            return batch
        marks = self._members.mark(batch.rows, {index: session.fact.number for index, session in begun.items()})
        if not marks.of_row.any() and not self._ends:
            return batch
        np.copyto(batch.rows["session"], marks.of_row, where=marks.of_row != 0)
        news = [_News(at, _row(session, session.where)) for at, session in begun.items()]
        news += [*self._changes(batch, marks), *self._ended_in(batch, marks)]
        self._forget_past(int(batch.rows["ts_ns"].max()))
        return _with(batch, sorted(news, key=lambda one: one.at))

    def forget(self, container: Container) -> None:
        """A life of a container is over, and nobody comes into it any more."""
        self._visitors.forget(container)

    def due_in_ns(self, now_ns: int) -> float:
        """How long until the end of a session is to be said, if nothing happens; infinite: none is. now_ns:
        CLOCK_BOOTTIME."""
        return max(0, min((end.due_ns for end in self._ends.values()), default=math.inf) - now_ns)

    def due(self, until_ns: float) -> Iterator[Batch]:
        """The rows of ends that are certain when every event until then was received; infinite: nothing more comes."""
        for number, end in list(self._ends.items()):
            if end.due_ns <= until_ns:
                yield self._ended(number, self._members.living(number), end.due_ns)

    def expects(self, container_id: str) -> bool:
        """Whether a session in this container may be an exec of which the engine has said nothing yet."""
        return any(_may_be_exec(session.fact, container_id) for session in self._sessions.values())

    def match(self, said: ExecFact, since_ns: int) -> int:
        """The number of the session that an exec is; 0: none is. since_ns: it began at the earliest then
        (CLOCK_BOOTTIME): its PID may have been another's before."""
        for number, session in reversed(self._sessions.items()):
            is_it = said.tgid == session.root.tgid and session.root.start_ns >= since_ns
            if is_it and _may_be_exec(session.fact, said.container_id):
                return number
        return 0

    def describe(self, number: int, said: ExecFact, kind: str | None, now_ns: int) -> Batch | None:
        """The row that adds to a session what an engine says of it; None: that is known already, or the session is
        forgotten. kind: exec, health; None: it is not known which."""
        session = self._sessions.get(number)
        if session is None or (session.fact.exec_id and session.fact.kind == kind):
            return None
        self._change(
            session,
            action="described",
            kind=kind,
            user=said.user or session.fact.user,
            command=_bounded(said.command) or session.fact.command,
            exec_id=said.exec_id,
        )
        return _row(session, session.where, now_ns)

    def _newcomers(self, batch: Batch) -> list[Visitor]:
        """The visitors of a batch that belong to no session yet: a runtime may move one after it has come in."""
        found: dict[ProcId, Visitor] = {}
        for visitor in self._visitors.find(batch):
            row = batch.rows[visitor.at]
            proc_id = ProcId(int(row["tgid"]), int(row["start_ns"]))
            if not self._members.of(*proc_id):
                found.setdefault(proc_id, visitor)
        return list(found.values())

    def _begin(self, batch: Batch, visitor: Visitor) -> _Session:
        row, self._last = batch.rows[visitor.at], self._last + 1
        root = ProcId(int(row["tgid"]), int(row["start_ns"]))
        is_listed = row["kind"] == Kind.SNAPSHOT and not row["flags"] & _MOVED
        inside = chain_of(batch, visitor.at) if row["level"] else ()
        fact = SessionFact(
            number=self._last,
            action="began",
            container=_bare(visitor.container),
            since_ns=root.start_ns,
            pids=[root.tgid, *(number.nr for number in inside)],
            kind=None if visitor.by_runtime or is_listed else "enter",
            asked_by=visitor.asker,
        )
        if row["kind"] != Kind.FORK:
            fact = msgspec.structs.replace(fact, user=_user(batch, visitor.at), command=_command(batch, visitor.at))
        session = self._sessions[self._last] = _Session(fact, root, row.copy())
        self._of_root[root] = self._last
        return session

    def _changes(self, batch: Batch, marks: Marks) -> Iterator[_News]:
        """What the first processes of sessions do in these rows: their first exec, and their end."""
        rows = batch.rows
        may_change = np.flatnonzero(of_kind(rows, Kind.EXEC, Kind.EXIT) & (marks.of_row != 0))
        roots = np.array([root.tgid for root in self._of_root], np.uint32)
        for at in may_change[np.isin(rows["tgid"][may_change], roots)].tolist():
            number = self._of_root.get(ProcId(int(rows["tgid"][at]), int(rows["start_ns"][at])))
            if number is None:
                continue
            session = self._sessions[number]
            if rows["kind"][at] == Kind.EXIT:
                self._end(session, batch, at)
            elif session.fact.command is None and (command := _command(batch, at)) is not None:
                session.where = rows[at].copy()  # a runtime has moved it to its place by now
                container = _bare(self._attribution.of_row(batch, at)) or session.fact.container
                self._change(session, action="described", user=_user(batch, at), command=command, container=container)
                yield _News(at, _row(session, session.where))

    def _end(self, session: _Session, batch: Batch, at: int) -> None:
        row = batch.rows[at]
        is_seen = bool(Known(batch.rows[at : at + 1])("status")[0])
        end = ending(int(row["status"])) if is_seen else None
        session.ended_ns, session.where = int(row["ts_ns"]), row.copy()
        facts: dict[str, object] = {
            "exit_code": end and end.exit_code,
            "signal": end and end.signal,
            "duration_ns": session.ended_ns - session.fact.since_ns if is_seen else None,
        }
        self._ends[session.fact.number] = _End(facts, session.ended_ns + LEFT_NS, at)
        del self._of_root[session.root]

    def _ended_in(self, batch: Batch, marks: Marks) -> Iterator[_News]:
        """The rows of ends that are certain within a batch: nobody is left, or who is has lived on for LEFT_NS."""
        times = batch.rows["ts_ns"]
        for number, end in list(self._ends.items()):
            begin = end.at + 1
            late = np.flatnonzero(times[begin:] >= end.due_ns)
            due = begin + int(late[0]) if len(late) else len(batch) + 1
            gone = max(end.at, marks.gone_at(number)) + 1
            at = min(due, gone)
            if at <= len(batch):
                ts_ns = int(times[at - 1]) if at == gone else end.due_ns
                yield _News(at, self._ended(number, marks.living(number, at - 1), ts_ns))
            else:
                self._ends[number] = end._replace(at=-1)

    def _ended(self, number: int, left: list[int], ts_ns: int) -> Batch:
        session = self._sessions[number]
        self._change(session, action="ended", left=left[:_MAX_LEFT], **self._ends.pop(number).facts)
        return _row(session, session.where, ts_ns)

    def _change(self, session: _Session, **changes: object) -> None:
        session.fact = msgspec.structs.replace(session.fact, **changes)

    def _forget_past(self, now_ns: int) -> None:
        """Forget sessions that have ended, where nobody of them lives and no engine will say more."""
        living = self._members.sessions()
        for number, session in list(self._sessions.items()):
            is_over = session.ended_ns is not None and number not in living
            if is_over and (session.ended_ns or 0) < now_ns - PAST_NS:
                del self._sessions[number]
        while len(self._sessions) > MAX_SESSIONS:
            number, session = next(iter(self._sessions.items()))
            del self._sessions[number]
            self._of_root.pop(session.root, None)
            self._ends.pop(number, None)
            self._members.forget(number)
            self.evicted += 1


def _may_be_exec(fact: SessionFact, container_id: str) -> bool:
    is_there = fact.container is not None and fact.container.id == container_id
    return is_there and fact.exec_id is None and fact.kind is None


def _user(batch: Batch, index: int) -> str | None:
    """The uid of the row's process, on the host."""
    return str(batch.rows["uid"][index]) if Known(batch.rows[index : index + 1])("uid")[0] else None


def _command(batch: Batch, index: int) -> list[str] | None:
    """What the row's process runs; None: not known."""
    if not Known(batch.rows[index : index + 1])("args")[0]:
        return None
    return _bounded([decode(arg) for arg in split_args(batch.payload(index).args[:_MAX_COMMAND])])


def _bounded(words: Sequence[str]) -> list[str]:
    """As many of the words as have _MAX_COMMAND characters together."""
    ends = np.cumsum([len(word) + 1 for word in words])
    return list(words[: int(np.searchsorted(ends, _MAX_COMMAND, side="right"))])


def _row(session: _Session, where: np.void, ts_ns: int | None = None) -> Batch:
    """What is said of a session, as a row in the place of another one."""
    rows, payload = np.zeros(1, EVENT), msgspec.json.encode(session.fact)
    rows["kind"], rows["session"], rows["flags"] = Kind.SESSION, session.fact.number, where["flags"] & _INFERRED
    rows["ts_ns"], rows["cgroup_id"] = ts_ns or where["ts_ns"], where["cgroup_id"]
    for name in ("inum", "gen"):
        rows["chain"][name][:, 0] = where["chain"][name][0]
    rows["args_len"] = rows["args_total"] = len(payload)
    return Batch(rows, payload)


def _with(batch: Batch, news: Sequence[_News]) -> Batch:
    """The batch with rows inserted. news: in the order of their places."""
    parts, done = [], 0
    for at, row in news:
        parts += [batch.part(done, at), row]
        done = at
    return Batch.concat([*parts, batch.part(done, len(batch))])
