"""What is said about cgroups and namespaces, where a row needs it: the rest is nobody's business who reads a recording.

The kernel reports every cgroup, and the beginnings of all namespaces: they say which rows are meant. Names and labels
of other containers do not belong into the recording of one. So a fact waits here until a row comes that it is about,
and goes ahead of it; what changes it later (a name that comes late) follows at once. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from tracer.stream.attribution import MAX_FACTS, Attribution
from tracer.stream.batch import EVENT, Batch, of_kind
from tracer.stream.losses import PairKey
from tracer.stream.lru import Lru
from tracer.stream.metadata import CgroupFact
from tracer.stream.pidns import PidnsId, chain_of
from tracer.stream.schema import CONTAINER_KINDS, Kind

_MAX_BIRTHS = 8  # of one namespace: its first process may move between cgroups as often as it likes


def fact_rows(facts: Iterable[tuple[int, CgroupFact]], ts_ns: int) -> Batch:
    """CGROUP rows of facts, with the ids of their cgroups. ts_ns: when they were found (boottime)."""
    known = list(facts)
    rows, payloads = np.zeros(len(known), EVENT), [msgspec.json.encode(fact) for _cgroup_id, fact in known]
    rows["kind"], rows["ts_ns"] = Kind.CGROUP, ts_ns
    rows["cgroup_id"] = [cgroup_id for cgroup_id, _fact in known]
    rows["args_len"] = rows["args_total"] = [len(payload) for payload in payloads]
    return Batch(rows, b"".join(payloads))


class NeededFacts:
    """Receives the parts of a stream when the attribution has learned from them."""

    def __init__(self, attribution: Attribution) -> None:
        self._attribution = attribution
        self._births: Lru[PidnsId, list[Batch]] = Lru(MAX_FACTS)
        self._cgroups: Lru[int, None] = Lru(MAX_FACTS)  # what has been passed on, or will be when it is known
        self._spaces: Lru[PidnsId, None] = Lru(MAX_FACTS)
        self._pairs: Lru[PairKey, None] = Lru(MAX_FACTS)  # of rows that have all that they need

    def take(self, part: Batch) -> Batch:
        """The part, with the facts that its rows need ahead of them, and without others."""
        pairs = part.pairs
        if part.has(Kind.CGROUP, Kind.PIDNS):
            self._pairs = Lru(MAX_FACTS)  # what a row needs may have changed
        elif all(pair in self._pairs for pair in pairs.keys):
            return part
        is_fact = of_kind(part.rows, Kind.CGROUP, Kind.PIDNS)
        stays = ~is_fact
        for at in np.flatnonzero(is_fact).tolist():
            stays[at] = self._is_known(part, at)
        about = stays & (part.rows["kind"] != Kind.CGROUP)
        needed = self._needed(part, np.unique(pairs.of_row[about]).tolist())
        return Batch.concat([*needed, part.select(stays)])

    def forget(self, pidns: PidnsId) -> None:
        """A namespace is over: no row will need what is said of it."""
        self._births.pop(pidns)
        self._spaces.pop(pidns)

    def forget_cgroups(self, cgroup_ids: Iterable[int]) -> None:
        """Cgroups were removed: no row will need what is said of them."""
        for cgroup_id in cgroup_ids:
            self._cgroups.pop(cgroup_id)

    def _is_known(self, part: Batch, at: int) -> bool:
        """Whether the fact at a row is about what has been passed on; else it waits."""
        if part.rows["kind"][at] == Kind.CGROUP:
            return int(part.rows["cgroup_id"][at]) in self._cgroups
        pidns = chain_of(part, at)[-1].pidns
        if pidns in self._spaces:
            return True
        if not part.rows["args_len"][at] and not self._attribution.begins(part, at):
            return False  # it was moved later, which changes nothing
        births = [*(self._births.get(pidns) or []), part.part(at, at + 1)]
        self._births.put(pidns, births if len(births) <= _MAX_BIRTHS else [births[0], *births[2:]])
        return False

    def _needed(self, part: Batch, pairs: list[int]) -> Iterator[Batch]:
        cgroups: dict[int, None] = {}
        spaces: dict[PidnsId, None] = {}
        for pair in pairs:
            key, first = part.pairs.keys[pair], int(np.argmax(part.pairs.of_row == pair))
            if key not in self._pairs and not self._is_over(part, pair):
                needs = self._attribution.basis(chain_of(part, first), key[2])
                cgroups |= dict.fromkeys(needs.cgroups)
                spaces |= dict.fromkeys(needs.spaces)
                self._pairs.put(key, None)
        ts_ns = int(part.rows["ts_ns"][0])
        known = (
            (cgroup_id, self._attribution.cgroups.get(cgroup_id)) for cgroup_id in cgroups if self._is_new(cgroup_id)
        )
        yield fact_rows([(cgroup_id, fact) for cgroup_id, fact in known if fact], ts_ns)
        for pidns in spaces:
            if pidns not in self._spaces:
                self._spaces.put(pidns, None)
                yield from self._births.get(pidns) or ()
                self._births.pop(pidns)

    def _is_over(self, part: Batch, pair: int) -> bool:
        """Whether all that is said of a pair is what an engine says of a life that is over, and forgotten."""
        if part.pairs.keys[pair][2] in self._attribution.cgroups or not part.has(*CONTAINER_KINDS):
            return False
        return bool(of_kind(part.rows[part.pairs.of_row == pair], *CONTAINER_KINDS).all())

    def _is_new(self, cgroup_id: int) -> bool:
        is_new = cgroup_id not in self._cgroups
        self._cgroups.put(cgroup_id, None)
        return is_new
