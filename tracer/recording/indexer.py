"""What a writer says about its batches in their metadata, and at the end about all of them: by it readers skip what
they do not need."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracer.recording.keys import keys_of, packed
from tracer.stream.attribution import teaches
from tracer.stream.batch import Batch, of_kind
from tracer.stream.metadata import RUNTIME_COMM, RUNTIME_EXE, CgroupFact
from tracer.stream.schema import COUNTED_KINDS, Flag, Kind

_MAX_CGROUPS = 1 << 16  # that are remembered; of a forgotten one there is a first exec again


def is_always(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which rows a question needs whatever numbers it is about, shape (n,): all but what processes do, and what first
    processes of namespaces do."""
    result: NDArray[np.bool_] = ~of_kind(rows, *COUNTED_KINDS) | (rows["chain"]["nr"][:, 0] == 1)
    return result


class Indexer:
    """Receives the batches of one file in order. told: of which cgroups the files before have a first exec, or a list;
    with those of this file."""

    def __init__(self, told: Iterable[int] = ()) -> None:
        self._rows = self._last_ns = 0
        self._begin_ns: int | None = None
        self._facts = self._late = self._always = self._lost = 0
        self._nameless: set[int] = set()
        self.told = set(told)

    def forget(self, cgroup_ids: Iterable[int]) -> None:
        """Cgroups were removed: no process will run in them."""
        self.told.difference_update(cgroup_ids)
        self._nameless.difference_update(cgroup_ids)

    def of_batch(self, batch: Batch, carried: bool) -> dict[str, str]:
        """The metadata of the next batch, which has rows."""
        rows = batch.rows
        first_ns, last_ns = int(rows["ts_ns"].min()), int(rows["ts_ns"].max())
        lost = int(rows["seq"][rows["kind"] == Kind.GAP].sum()) if batch.has(Kind.GAP) else 0
        facts = int((teaches(batch) | of_kind(rows, Kind.MOVE, Kind.SESSION)).sum())
        late = self._late_names(batch) if batch.has(Kind.CGROUP) else 0
        always = int(is_always(rows).sum())
        if not carried:  # who reads all files reads no carried batch but the first
            always += self._first_execs(batch)
        said = {"first_row": self._rows, "first_ns": first_ns, "last_ns": last_ns, "lost": lost}
        said |= {"facts": facts, "late": late, "always": always}
        self._rows, self._late = self._rows + len(batch), self._late + late
        self._lost += lost
        self._begin_ns = first_ns if self._begin_ns is None else min(self._begin_ns, first_ns)
        self._last_ns = max(self._last_ns, last_ns)
        if not carried:
            self._facts, self._always = self._facts + facts, self._always + always
        said |= {"carried": 1} if carried else {}
        keys = packed(keys_of(batch), len(batch))
        return {name: str(number) for name, number in said.items()} | ({"keys": keys} if keys else {})

    def of_end(self, until_ns: int) -> dict[str, str]:
        """The metadata of the end. until_ns: until when everything was reported, if that is later than the last row."""
        last_ns = max(self._last_ns, until_ns)
        begin_ns = last_ns if self._begin_ns is None else self._begin_ns
        said = {"first_row": self._rows, "first_ns": last_ns, "last_ns": last_ns, "end": 1, "begin_ns": begin_ns}
        said |= {"all_facts": self._facts, "all_late": self._late, "all_always": self._always}
        said |= {"all_lost": self._lost}
        return {name: str(number) for name, number in said.items()}

    def of_quiet(self, until_ns: int) -> dict[str, str] | None:
        """The metadata of an empty batch which says that everything until then was reported; None: the last row is
        later."""
        if until_ns <= self._last_ns:
            return None
        self._last_ns = until_ns
        said = {"first_row": self._rows, "first_ns": until_ns, "last_ns": until_ns, "quiet": 1}
        return {name: str(number) for name, number in said.items()}

    def _late_names(self, batch: Batch) -> int:
        """How many rows name a container that was reported without a name before: a reader looks for them first."""
        late = 0
        for at in np.flatnonzero(batch.rows["kind"] == Kind.CGROUP).tolist():
            cgroup_id = int(batch.rows["cgroup_id"][at])
            fact = msgspec.json.decode(batch.payload(at).args, type=CgroupFact)
            if not fact.is_named:
                self._nameless.add(cgroup_id)
            elif cgroup_id in self._nameless:
                self._nameless.remove(cgroup_id)
                late += 1
        return late

    def _first_execs(self, batch: Batch) -> int:
        """How many rows are the first exec in their cgroup that is not the runtime's own, and no process was listed in
        it before: one of the two says in which namespace a container's numbers count."""
        rows = batch.rows
        tells = of_kind(rows, Kind.EXEC, Kind.SNAPSHOT) & (
            (rows["kind"] == Kind.EXEC) | (rows["flags"] & Flag.MOVED == 0)
        )
        new = set(np.unique(rows["cgroup_id"][tells]).tolist()) - self.told
        found = 0
        for at in np.flatnonzero(tells & np.isin(rows["cgroup_id"], list(new))).tolist() if new else ():
            if not new:
                break
            cgroup_id, is_exec = int(rows["cgroup_id"][at]), rows["kind"][at] == Kind.EXEC
            if cgroup_id not in new:
                continue
            is_helper = batch.payload(at).exe.startswith(RUNTIME_EXE)
            is_helper |= not is_exec and bytes(rows["comm"][at]).startswith(RUNTIME_COMM)
            if not is_helper:
                new.discard(cgroup_id)
                self.told.add(cgroup_id)
                found += is_exec
        if len(self.told) > _MAX_CGROUPS:
            self.told.clear()
        return found
