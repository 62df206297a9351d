"""What a batch needs to be understood by itself: the rows about its containers, namespaces and sessions that came
earlier in the recording. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from tracer.stream.attribution import MAX_FACTS, Attribution, births_in, reduce
from tracer.stream.batch import Batch, of_kind
from tracer.stream.lru import Lru
from tracer.stream.needed_facts import fact_rows
from tracer.stream.pidns import PidnsId, chain_of
from tracer.stream.schema import PROCESS_KINDS, Kind

_MAX_BIRTHS = 8  # of one namespace, as in `tracer.stream.needed_facts`


class EarlierFacts:
    """Receives the batches of a recording in order."""

    def __init__(self) -> None:
        self._attribution = Attribution()
        self._births: Lru[PidnsId, list[Batch]] = Lru(MAX_FACTS)
        self._sessions: Lru[int, Batch] = Lru(MAX_FACTS)

    def learn(self, batch: Batch) -> None:
        """The next batch."""
        for part in self._attribution.split_and_learn(batch):
            if len(part.firsts):
                births = reduce(part, np.zeros(len(part), bool))
                for at in np.flatnonzero(births_in(births)).tolist():
                    self._note_birth(births.part(at, at + 1))
            if part.has(Kind.SESSION):
                for at in np.flatnonzero(part.rows["kind"] == Kind.SESSION).tolist():
                    self._sessions.put(int(part.rows["session"][at]), part.part(at, at + 1))

    def _note_birth(self, birth: Batch) -> None:
        pidns = chain_of(birth, 0)[-1].pidns
        births = [*(self._births.get(pidns) or []), birth]
        self._births.put(pidns, births if len(births) <= _MAX_BIRTHS else [births[0], *births[2:]])

    def needed_by(self, batch: Batch) -> Batch:
        """What was reported before this batch, and is about its containers, namespaces and sessions; as of its first
        row."""
        if not len(batch):
            return batch
        pairs = batch.pairs
        about = ~of_kind(batch.rows, Kind.CGROUP)
        cgroups: dict[int, None] = {}
        spaces: dict[PidnsId, None] = {}
        for pair in np.unique(pairs.of_row[about]).tolist():
            first, cgroup_id = pairs.first[pair], pairs.keys[pair][2]
            chain = chain_of(batch, first) if batch.rows["kind"][first] in PROCESS_KINDS else ()
            if chain:
                basis = self._attribution.basis(chain, cgroup_id)
                cgroups |= dict.fromkeys(basis.cgroups)
                spaces |= dict.fromkeys(basis.spaces)
            else:
                cgroups[cgroup_id] = None
        cgroups |= dict.fromkeys(self._left(batch))
        return self._rows(cgroups, spaces, np.unique(batch.rows["session"]).tolist(), int(batch.rows["ts_ns"][0]))

    def _left(self, batch: Batch) -> list[int]:
        """The cgroups from which processes have moved."""
        moves = batch.rows["kind"] == Kind.MOVE
        return [int(number) for number in np.unique(batch.rows["seq"][moves])] if moves.any() else []

    def _rows(self, cgroups: Iterable[int], spaces: Iterable[PidnsId], sessions: Iterable[int], ts_ns: int) -> Batch:
        known = ((cgroup_id, self._attribution.cgroups.get(cgroup_id)) for cgroup_id in cgroups)
        facts = fact_rows([(cgroup_id, fact) for cgroup_id, fact in known if fact], ts_ns)
        others = Batch.concat([*self._births_of(spaces), *self._told_of(sessions)])
        if len(others):
            others = Batch(others.rows.copy(), others.heap)
            others.rows["ts_ns"] = ts_ns
        return Batch.concat([facts, others])

    def _births_of(self, spaces: Iterable[PidnsId]) -> Iterator[Batch]:
        for pidns in spaces:
            yield from self._births.get(pidns) or ()

    def _told_of(self, sessions: Iterable[int]) -> Iterator[Batch]:
        for number in sessions:
            if number and (told := self._sessions.get(number)) is not None:
                yield told
