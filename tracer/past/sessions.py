"""The sessions of a recording, from the rows that report them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from tracer.answers.sessions import Session
from tracer.stream.attribution import Attribution, fact_of
from tracer.stream.batch import Batch, of_kind
from tracer.stream.metadata import Container, SessionFact
from tracer.stream.repair import identities
from tracer.stream.schema import LIFE_KINDS, Kind


class SessionsSoFar:
    """Receives the batches of a run in order. attribution: what is known of containers by then; wall_offset_ns: wall
    clock minus boottime."""

    def __init__(self, attribution: Attribution, wall_offset_ns: int) -> None:
        self._attribution, self._wall_offset_ns = attribution, wall_offset_ns
        self._facts: dict[int, SessionFact] = {}
        self._rows: dict[int, Batch] = {}  # the last that was said of each
        self._ended_ns: dict[int, int] = {}
        self._living: dict[int, dict[int, int]] = {}  # session -> identity -> PID

    def take(self, batches: Iterable[Batch]) -> None:
        """Receive batches."""
        for batch in batches:
            rows = batch.rows
            for at in np.flatnonzero(rows["session"] != 0).tolist():
                if rows["kind"][at] == Kind.SESSION:
                    self._note(batch, at)
            self._note_processes(batch)

    def _note(self, batch: Batch, at: int) -> None:
        fact = fact_of(batch, at)
        assert isinstance(fact, SessionFact)
        self._facts[fact.number], self._rows[fact.number] = fact, batch.part(at, at + 1)
        if fact.action == "ended":
            told_ns = int(batch.rows["ts_ns"][at])  # a moment after the end where somebody outlived it
            ended_ns = told_ns if fact.duration_ns is None else fact.since_ns + fact.duration_ns
            self._ended_ns.setdefault(fact.number, ended_ns)

    def _note_processes(self, batch: Batch) -> None:
        rows = batch.rows
        about = np.flatnonzero((rows["session"] != 0) & of_kind(rows, *LIFE_KINDS, Kind.EXIT))
        columns = (rows[name][about].tolist() for name in ("session", "kind", "tgid"))
        for number, kind, tgid, identity in zip(*columns, identities(rows[about]).tolist(), strict=True):
            members = self._living.setdefault(number, {})
            if kind == Kind.EXIT:
                members.pop(identity, None)
            else:
                members[identity] = tgid

    def found(self, only_living: bool) -> list[Session]:
        """The sessions, in order of their numbers. only_living: those alone that have not ended, or of whom somebody
        lives."""
        sessions = [self._session(number, fact) for number, fact in sorted(self._facts.items())]
        return [one for one in sessions if not only_living or one.ended_ns is None or one.living]

    def _container(self, number: int) -> Container | None:
        """The container of a session, by the name that came later if it had none yet."""
        found = self._attribution.of_row(self._rows[number], 0)
        return found and msgspec.structs.replace(found, labels={})  # as the rows of sessions have it

    def _session(self, number: int, fact: SessionFact) -> Session:
        ended_ns = self._ended_ns.get(number)
        return Session(
            number=number,
            container=self._container(number),
            pids=tuple(fact.pids),
            kind=fact.kind,
            user=fact.user,
            command=None if fact.command is None else tuple(fact.command),
            exec_id=fact.exec_id,
            asked_by=fact.asked_by,
            since_ns=fact.since_ns + self._wall_offset_ns,
            living=tuple(sorted(self._living.get(number, {}).values())),
            ended_ns=None if ended_ns is None else ended_ns + self._wall_offset_ns,
            exit_code=fact.exit_code,
            signal=fact.signal,
            left=tuple(fact.left or ()),
        )
