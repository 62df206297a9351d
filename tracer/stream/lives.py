"""The lives of containers, told by what their processes do: rows that say when one began and how it ended. Pure.

A life begins with the first process of the container's PID namespace, and ends when that process has exited and nobody
is left in the namespace: the kernel kills the others (zap_pid_ns_processes(), kernel/pid_namespace.c). A container
without a namespace of its own (--pid=host, --pid=container:) lives from its first program on, until that has exited
and none of its processes is left.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracer.stream.attribution import Attribution, labels_bytes
from tracer.stream.batch import EVENT, Batch, of_kind, pick
from tracer.stream.lru import Lru
from tracer.stream.metadata import NEVER_RAN, RUNTIME_COMM, Container, Killer, LifeFact, SignalSent
from tracer.stream.pidns import Chain, PidnsId, ProcId, chain_of
from tracer.stream.schema import INLINE_LEVELS, Flag, Kind
from tracer.stream.table import Table
from tracer.text.wait_status import ending

MAX_PAST, _MAX_PAST_BYTES = 2048, 1 << 22  # of their labels
_MAX_SIGNALS = 16
_MAX_FACT_BYTES = 1 << 16
_RUNTIMES = (RUNTIME_COMM, b"runc", b"crun")  # not yet the container's own program
_OOM = b'"oom"'
_CHANGES = (Kind.FORK, Kind.SNAPSHOT, Kind.EXIT)
LOST_END = "events were lost: that it has ended was found by a comparison with the kernel's list of processes"


@dataclass
class Life:
    """One life of a container, as far as it was seen.

    first: its first process. began_ns: when that began; without a namespace of its own: to run a program. pidns: the
    namespace that is its own; None: it has none. row: of the first process, which says where it is. signals: what an
    engine says that it has sent. has_oom: the OOM killer has ended one of its processes; said_oom: an engine says so.
    exit, killer: of the first process, once it has exited. left: who lives on then; died: how many those were.
    """

    container: Container
    first: ProcId
    began_ns: int
    pidns: PidnsId | None
    row: np.void
    chain: Chain
    signals: list[SignalSent] = field(default_factory=list)
    has_oom: bool = False
    said_oom: bool = False
    exit: np.void | None = None
    killer: Killer | None = None
    left: set[ProcId] = field(default_factory=set)
    died: int = 0


class Past(NamedTuple):
    """A life that has ended. stopped: what the stream has said of it."""

    life: Life
    stopped: LifeFact
    ended_ns: int


def _weight(lives: list[Past]) -> int:
    return sum(labels_bytes(past.life.container) for past in lives)


class _Found(NamedTuple):
    """A row to come behind the row at an index, -1: ahead of all."""

    at: int
    rows: Batch


class Lives:
    """Receives every batch ahead of the table. began_ns: when the trace began; who began before lives already, and of
    that no row is made. listed_ns: when those were listed."""

    def __init__(self, attribution: Attribution, table: Table, began_ns: int) -> None:
        self._attribution, self._table, self.began_ns = attribution, table, began_ns
        self.listed_ns = 0
        self._by_pidns: dict[PidnsId, Life] = {}
        self._ids: Counter[str] = Counter()  # of the lives in it
        self._sharing: dict[str, Life] = {}  # without a namespace of their own: by id
        self._ending: list[Life] = []
        self._ended_at: dict[str, int] = {}  # the index of the row in this batch, by id
        self._past: Lru[str, list[Past]] = Lru(MAX_PAST, _weight, _MAX_PAST_BYTES)
        self._begun: Lru[str, int] = Lru(MAX_PAST)

    def take(self, batch: Batch) -> Batch:
        """The batch, with rows about lives in their places."""
        self._ended_at.clear()
        found = [*self._who_is_left(batch), *self._changed(batch)]
        return _with_rows(batch, found) if found else batch

    def open(self, container_id: str) -> Life | None:
        """The life of a container that has not ended; None: none was seen."""
        if container_id in self._sharing:
            return self._sharing[container_id]
        lives = (life for life in reversed(self._by_pidns.values()) if life.container.id == container_id)
        return next(lives, None) if container_id in self._ids else None

    def past(self, container_id: str) -> list[Past]:
        """The last lives of a container that have ended, in order."""
        return self._past.get(container_id) or []

    def take_begun(self, container_id: str) -> bool:
        """Whether a life of this container began that was not asked about before."""
        count = self._begun.get(container_id) or 0
        self._begun.put(container_id, max(0, count - 1))
        return count > 0

    def living(self, life: Life) -> set[ProcId]:
        """The processes of a life, as the table knows them."""
        if life.pidns:
            return {process.proc_id for process in self._table.members(life.pidns)}
        return {one.proc_id for one in self._table.living() if self._is_of(life, one.chain, one.cgroup_id)}

    def current(self, life: Life) -> Container:
        """The container of a life as it is called now."""
        life.container = self._attribution.container(life.chain, int(life.row["cgroup_id"])) or life.container
        return life.container

    def _is_of(self, life: Life, chain: Chain, cgroup_id: int) -> bool:
        if life.pidns:
            return any(number.pidns == life.pidns for number in chain)
        found, own = self._attribution.container(chain, cgroup_id), self.current(life)
        return found is not None and (found.id, found.incarnation) == (own.id, own.incarnation)

    def _changed(self, batch: Batch) -> Iterator[_Found]:
        rows = batch.rows
        places = self._of_first_processes(batch)
        pairs = zip(batch.pairs.keys, batch.pairs.first, strict=True)
        sharing = [self._shares(PidnsId(*key[:2]), self._attribution.of_row(batch, at)) for key, at in pairs]
        if any(sharing):
            begin = np.array(sharing, bool)[batch.pairs.of_row] & of_kind(rows, Kind.EXEC, Kind.SNAPSHOT)
            places = [*places, *np.flatnonzero(begin).tolist()]
        if self._sharing or (len(batch.killed) and _OOM in batch.heap):
            firsts = [life.first.tgid for life in self._sharing.values()]
            ends = (rows["kind"] == Kind.EXIT) & (np.isin(rows["tgid"], firsts) | (rows["killer_len"] > 0))
            places = [*places, *np.flatnonzero(ends).tolist()]
        places = sorted(set(places))
        while places:
            at = heapq.heappop(places)
            row = rows[at]
            if row["kind"] == Kind.EXIT:
                yield from self._exited(batch, at)
            elif _is_first(row):
                yield from self._first_of_namespace(batch, at)
            elif life := self._first_of_cgroup(batch, at):
                yield from self._begin(life, at)
                for end in _exits_of(life.first, rows):
                    heapq.heappush(places, end)

    def _of_first_processes(self, batch: Batch) -> list[int]:
        """The rows in which the first process of a nested namespace appears or ends."""
        first = batch.firsts
        places: list[int] = first[of_kind(pick(batch.rows, first), *_CHANGES, Kind.MOVE)].tolist() if len(first) else []
        return places

    def _shares(self, pidns: PidnsId, container: Container | None) -> bool:
        """Whether a container's process is in a namespace that is not the container's own, for certain."""
        life = self._by_pidns.get(pidns)
        is_own = life is not None and container is not None and life.container.id == container.id
        return not is_own and self._attribution.is_elsewhere(pidns, container)

    def _first_of_namespace(self, batch: Batch, at: int) -> Iterator[_Found]:
        chain = chain_of(batch, at)
        pidns, container = chain[-1].pidns, self._attribution.of_row(batch, at)
        if container is None or pidns in self._by_pidns or self._is_inside(chain, container):
            return
        if container.id in self._sharing and not _is_runtime(batch.rows[at]):
            return  # a container that shares a namespace has made another
        life = _life(batch, at, container, chain, pidns)
        self._by_pidns[pidns] = life
        self._ids[container.id] += 1
        if self._sharing.pop(container.id, None) is None:  # else its runtime was taken for its first program
            yield from self._begin(life, at)

    def _is_inside(self, chain: Chain, container: Container) -> bool:
        """Whether a namespace was made inside the container: the container's own life goes on."""
        around = (self._by_pidns.get(number.pidns) for number in chain[:-1])
        return any(life is not None and life.container.id == container.id for life in around)

    def _first_of_cgroup(self, batch: Batch, at: int) -> Life | None:
        """The life that begins with this row, in a namespace that is not its own; None: none does."""
        row, container = batch.rows[at], self._attribution.of_row(batch, at)
        is_listed = row["kind"] == Kind.SNAPSHOT
        if container is None or container.id in self._ids or _is_runtime(row):
            return None
        if at < self._ended_at.get(container.id, 0):
            return None  # of the life that ends in this batch
        if row["flags"] & Flag.MOVED if is_listed else row["ts_ns"] < self.listed_ns:
            return None  # what it runs yet is not the container's; the list has who was there before
        known = self._sharing.get(container.id)
        if known and is_listed and int(row["start_ns"]) < known.first.start_ns:
            known.first, known.began_ns, known.row = _process(row), int(row["start_ns"]), row.copy()
        if known:
            return None
        life = self._sharing[container.id] = _life(batch, at, container, chain_of(batch, at), None)
        return life

    def _begin(self, life: Life, at: int) -> Iterator[_Found]:
        row = life.row
        if life.began_ns < self.began_ns or (row["kind"] == Kind.SNAPSHOT and row["flags"] & Flag.MOVED):
            self._begun.put(life.container.id, 1)  # an engine may be about to say that it has started
            return
        self._begun.put(life.container.id, (self._begun.get(life.container.id) or 0) + 1)
        fact = LifeFact("started", life.container)
        yield _Found(at, fact_row(fact, int(row["ts_ns"]), row, int(row["flags"]) & Flag.INFERRED))

    def _exited(self, batch: Batch, at: int) -> Iterator[_Found]:
        row, chain = batch.rows[at], chain_of(batch, at)
        life = self._life_of(batch, at, chain)
        if life is None:
            return
        killer = _killer(batch, at)
        if killer and killer.reason == "oom":
            life.has_oom = True
            victim = bytes(row["comm"]).decode("utf-8", "backslashreplace")
            fact = LifeFact("oom", self.current(life), killed_by=killer, victim=victim, victim_pid=int(row["tgid"]))
            yield _Found(at, fact_row(fact, int(row["ts_ns"]), life.row))
        if life.exit is None and life.first == _process(row):
            life.exit, life.killer, life.left = row.copy(), killer, self.living(life)
            yield from self._follow_end(life, batch, at)
            if life.left:
                self._ending.append(life)

    def _life_of(self, batch: Batch, at: int, chain: Chain) -> Life | None:
        container = self._attribution.of_row(batch, at) if self._sharing else None
        if container and container.id in self._sharing:
            return self._sharing[container.id]
        return next(
            (self._by_pidns[number.pidns] for number in reversed(chain) if number.pidns in self._by_pidns), None
        )

    def _who_is_left(self, batch: Batch) -> Iterator[_Found]:
        """What the batch says about lives whose first process had exited before."""
        for life in self._ending:
            yield from self._follow_end(life, batch, -1)
        self._ending = [life for life in self._ending if life.left]

    def _follow_end(self, life: Life, batch: Batch, at: int) -> Iterator[_Found]:
        """Who is left behind the row at `at`, which is the exit of the life's first process; -1: that was earlier. A
        row where that was the last one."""
        rows = batch.rows
        is_of = [self._is_of(life, chain_of(batch, first), key[2])
                 for first, key in zip(batch.pairs.first, batch.pairs.keys, strict=True)]  # fmt: skip
        if not any(is_of):
            return
        inside = np.array(is_of, bool)[batch.pairs.of_row] & of_kind(rows, *_CHANGES)
        inside[max(at, 0)] |= at >= 0  # whatever cgroup it has moved to
        for index in np.flatnonzero(inside).tolist():
            row = rows[index]
            process = _process(row)
            if row["kind"] != Kind.EXIT:
                life.died += index > at and process not in life.left
                life.left.add(process)
            else:
                life.left.discard(process)
            if index == at:
                life.died = len(life.left)
            if index >= at and not life.left:
                yield _Found(index, self._ended(life, rows[index]))
                self._ended_at[life.container.id] = index
                return

    def _ended(self, life: Life, last: np.void) -> Batch:
        """The row of an end. last: the row of the exit that was the last one."""
        assert life.exit is not None
        row, container = life.exit, self.current(life)
        is_inferred = bool(row["flags"] & Flag.INFERRED)
        how = None if is_inferred else ending(int(row["status"]))
        signal = how.signal if how else None
        is_open = is_inferred or (signal == "SIGKILL" and not life.killer)
        oom = True if life.has_oom or life.said_oom else None if is_open else False
        fact = LifeFact(
            "stopped",
            container,
            exit_code=how.exit_code if how else None,
            signal=signal,
            oom=oom,
            killed_by=life.killer,
            duration_ns=max(0, int(last["ts_ns"]) - life.began_ns),
            processes=life.died,
            first_pid=life.first.tgid,
            signals=life.signals or None,
            doubt=LOST_END if is_inferred else NEVER_RAN if _is_runtime(row) else None,
        )
        self._close(life, Past(life, fact, int(last["ts_ns"])))
        flags = (int(row["flags"]) | int(last["flags"])) & Flag.INFERRED
        return fact_row(fact, int(last["ts_ns"]), life.row, flags)

    def _close(self, life: Life, past: Past) -> None:
        if life.pidns:
            self._by_pidns.pop(life.pidns, None)
            self._ids[life.container.id] -= 1
            if not self._ids[life.container.id]:
                del self._ids[life.container.id]
        elif self._sharing.get(life.container.id) is life:
            del self._sharing[life.container.id]
        self._past.put(life.container.id, [*self.past(life.container.id)[-7:], past])


def note_signal(life: Life, sent: SignalSent) -> None:
    """Keep what an engine says that it has sent to a container: the last ones."""
    life.signals[:] = [*life.signals[1 - _MAX_SIGNALS :], sent]


def fact_row(fact: LifeFact, ts_ns: int, place: np.void | None = None, flags: int = 0) -> Batch:
    """A CONTAINER row. place: a row of a process in the container; None: no process of it is known."""
    rows = np.zeros(1, EVENT)
    row, payload = rows[0], msgspec.json.encode(fact)
    if len(payload) > _MAX_FACT_BYTES:  # a CGROUP row has the labels
        payload = msgspec.json.encode(msgspec.structs.replace(fact, container=_bare(fact.container)))
    row["kind"], row["ts_ns"], row["flags"] = Kind.CONTAINER, ts_ns, flags
    row["args_len"] = row["args_total"] = len(payload)
    if place is not None:
        row["level"] = min(int(place["level"]), INLINE_LEVELS)
        row["chain"], row["cgroup_id"] = place["chain"], place["cgroup_id"]
    return Batch(rows, payload)


def _bare(container: Container) -> Container:
    return msgspec.structs.replace(container, labels={})


def _life(batch: Batch, at: int, container: Container, chain: Chain, pidns: PidnsId | None) -> Life:
    row = batch.rows[at]
    began_ns = int(row["ts_ns"] if row["kind"] == Kind.EXEC else row["start_ns"])
    return Life(container, _process(row), began_ns, pidns, row.copy(), chain)


def _process(row: np.void) -> ProcId:
    return ProcId(int(row["tgid"]), int(row["start_ns"]))


def _exits_of(process: ProcId, rows: NDArray[np.void]) -> list[int]:
    """The indices of the rows in which it ends."""
    ends = (rows["kind"] == Kind.EXIT) & (rows["tgid"] == process.tgid) & (rows["start_ns"] == process.start_ns)
    return np.flatnonzero(ends).tolist()


def _killer(batch: Batch, at: int) -> Killer | None:
    raw = batch.payload(at).killer
    return msgspec.json.decode(raw, type=Killer) if raw else None


def _with_rows(batch: Batch, found: list[_Found]) -> Batch:
    """The batch with these rows in their places."""
    parts, done = [], 0
    for one in sorted(found, key=lambda one: one.at):
        parts += [batch.part(done, one.at + 1), one.rows]
        done = one.at + 1
    return Batch.concat([*parts, batch.part(done, len(batch))])


def _is_first(row: np.void) -> bool:
    """Whether its process is the first of a nested namespace."""
    return bool(row["chain"]["nr"][0] == 1 and row["level"] > 0)


def _is_runtime(row: np.void) -> bool:
    return bytes(row["comm"]).startswith(_RUNTIMES)
