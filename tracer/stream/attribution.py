"""Which container an event belongs to: by its cgroup, else by the PID namespace that it is in. Pure.

Sources put a CGROUP row into the stream ahead of the first event of every cgroup; this reads them, so that a
recording answers as the live host did.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracer.stream.batch import Batch, of_kind, pick
from tracer.stream.lru import Lru
from tracer.stream.membership import Birth, Member, Membership
from tracer.stream.metadata import RUNTIME_COMM, CgroupFact, Container, LifeFact, SessionFact
from tracer.stream.pidns import INITIAL_PIDNS, Chain, PidnsId, chain_of
from tracer.stream.schema import CONTAINER_KINDS, INLINE_LEVELS, Kind
from tracer.stream.told_sessions import ToldSessions

MAX_FACTS = 131_072  # twice of what tracer.containers.cgroups keeps
MAX_FACT_BYTES = 1 << 26  # of paths and labels: usually some hundred bytes each
_MAX_OWNERLESS = 8192  # namespaces, those that are over among them
_MAX_BEGUN = 8  # of a container's namespaces so many: its own is among the first
_SETTING_UP_NS = 1_000_000_000  # so long after its beginning a runtime may still move a first process about
_LABEL_BYTES = 200  # what a short label needs


class Attribution:
    """Containers by cgroup id and by the PID namespaces that their processes began. Receives every batch.

    Bounded: what was looked up longest ago is forgotten first. Sources remember less than this does, so that they
    report again what was forgotten. changes: how often a fact arrived that may change earlier answers: an engine names
    a container late, or a namespace's first process appears after others in it. learned: how often anything was learned
    that answers depend on. begun: how many beginnings of namespaces.
    """

    def __init__(self) -> None:
        self.cgroups: Lru[int, CgroupFact] = facts_by_cgroup()
        self.late: Lru[int, CgroupFact] = facts_by_cgroup()  # names that come later, known ahead
        self.expects_names = False  # any container may be named yet, whatever was reported of its engine
        self.sessions = ToldSessions()
        self.changes = self.learned = self.begun = 0
        self._renamed: Lru[tuple[str, str], int] = Lru(MAX_FACTS)  # when an id was told to have had a name before
        self._births: Lru[PidnsId, _Birth] = Lru(MAX_FACTS)
        self._begun: Lru[int, tuple[PidnsId, ...]] = Lru(MAX_FACTS)  # the first of them, by a container's own cgroup
        self._homeless: Lru[int, bool] = Lru(MAX_FACTS)  # asked about before that was known
        self._membership = Membership(self._birth_of, self.by_engine, self._home_of)
        self._by_engine: Lru[PidnsId, Container] = Lru(MAX_FACTS)  # as an engine reports: its cgroup does not show it
        self._ownerless: Lru[PidnsId, bool] = Lru(_MAX_OWNERLESS)  # asked about before any first process was seen
        self._cache: dict[tuple[PidnsId, int], Container | None] = {}

    def split_and_learn(self, batch: Batch) -> Iterator[Batch]:
        """The batch in parts, each yielded when what it says about containers is known, and nothing after it is.

        So an answer about a row depends only on the rows up to it, never on how a source has cut its batches: a
        recording, cut in another way, gives the same answers.
        """
        for part in self._parts(batch):
            yield from self.sessions.split_and_learn(part)

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        if not batch.has(Kind.CGROUP) and not len(batch.firsts):
            yield from [batch] if len(batch) else []
            return
        is_fact, births = batch.rows["kind"] == Kind.CGROUP, births_in(batch)
        at = 0
        for cut in itertools.chain(_cuts(batch, is_fact, births), [len(batch)]):
            if cut > at:
                part = batch.part(at, cut)
                self._learn(part)
                yield part
                at = cut

    def _learn(self, part: Batch) -> None:
        for index in np.flatnonzero(part.rows["kind"] == Kind.CGROUP).tolist():
            fact = msgspec.json.decode(part.payload(index).args, type=CgroupFact)
            cgroup_id = int(part.rows["cgroup_id"][index])
            for container in _containers(fact):
                self._note_names(container, int(part.rows["ts_ns"][index]))
            if not fact.is_named and (fact.pending or fact.container or fact.inner):  # else it is known to be no one's
                fact = self.late.get(cgroup_id) or fact
            self.changes += self.cgroups.get(cgroup_id) not in (None, fact)
            self.cgroups.put(cgroup_id, fact)
            self._cache.clear()
            self.learned += 1
        for index in np.flatnonzero(births_in(part)).tolist():
            self._learn_birth(part, index)

    def _note_names(self, container: Container, ts_ns: int) -> None:
        for name in container.earlier:
            if (container.id, name) not in self._renamed:
                self._renamed.put((container.id, name), ts_ns)

    def renamed_ns(self, container: Container, name: str) -> int | None:
        """When (boottime) it was told that a container has another name than this earlier one; None: not yet."""
        return self._renamed.get((container.id, name))

    def _learn_birth(self, part: Batch, index: int) -> None:
        chain, row = chain_of(part, index), part.rows[index]
        pidns, cgroup_id = chain[-1].pidns, int(row["cgroup_id"])
        if row["kind"] == Kind.PIDNS and (reported := reported_owner(part.payload(index).args)):
            self._note_names(reported, int(row["ts_ns"]))
            self.changes += self._by_engine.get(pidns) != reported
            self._by_engine.put(pidns, reported)
            self._cache.clear()
            self.learned += 1
        before = self._births.get(pidns)
        birth = _Birth(cgroup_id, chain, int(row["tgid"]), int(row["exec_id"]), _is_set_up(row))
        roots = _roots(self.cgroups.get(cgroup_id))
        if before is None or (roots and self._may_go_on(before, birth)):
            self._births.put(pidns, birth)
            self.begun += 1
            for root in roots:
                begun = self._begun.get(root) or ()
                self._begun.put(root, begun if pidns in begun else (*begun, pidns)[:_MAX_BEGUN])
            if roots:
                is_new = before is not None or pidns in self._ownerless or any(root in self._homeless for root in roots)
                self.changes += is_new
                self._cache.clear()
                self.learned += 1

    def forget(self, pidns: PidnsId) -> None:
        """A namespace is over, and nothing more will be asked about its processes."""
        birth = self._births.get(pidns)
        if birth:
            self._cache.pop((pidns, birth.cgroup_id), None)
        for root in _roots(self.cgroups.get(birth.cgroup_id)) if birth else []:
            begun = tuple(other for other in self._begun.get(root) or () if other != pidns)
            if begun:
                self._begun.put(root, begun)
            else:
                self._begun.pop(root)
        for table in (self._births, self._by_engine, self._ownerless):
            table.pop(pidns)

    def forget_cgroups(self, cgroup_ids: Iterable[int]) -> list[Container]:
        """Cgroups were removed, and nothing more will be asked about processes in them. Returns the lives of containers
        that are over: theirs were their own cgroups."""
        over: list[Container] = []
        for cgroup_id in cgroup_ids:
            fact = self.cgroups.get(cgroup_id)
            lives = zip(_roots(fact), _containers(fact), strict=True) if fact else ()
            over += [container for root, container in lives if root == cgroup_id]
            for table in (self.cgroups, self.late, self._begun, self._homeless):
                table.pop(cgroup_id)
        for container in over:
            for name in container.earlier:
                self._renamed.pop((container.id, name))
        return over

    def cgroups_of_spaces(self) -> set[int]:
        """The cgroups by which it knows whose the namespaces are."""
        births = (birth.cgroup_id for pidns in self._births if (birth := self._births.get(pidns)))
        return {one for cgroup_id in births for one in (cgroup_id, *_roots(self.cgroups.get(cgroup_id)))}

    def keep(self, spaces: Iterable[PidnsId]) -> None:
        """These namespaces live: what is known of them is forgotten last, however rarely it is asked for."""
        for pidns in spaces:
            for table in (self._births, self._by_engine):
                table.get(pidns)

    def _may_go_on(self, before: _Birth, now: _Birth) -> bool:
        """Whether the first process of a namespace is still on its way to where it begins: in no container's cgroup so
        far, or moved on by its runtime before it runs anything. Whoever moves it later does not make it another's."""
        if before.cgroup_id == now.cgroup_id:
            return False
        is_set_up = before.is_new and now.is_new and before.exec_id == now.exec_id
        return is_set_up or not self._along(before.chain, before.cgroup_id)

    def _along(self, chain: Chain, cgroup_id: int) -> list[Member]:
        return self._membership.along(chain, self.cgroups.get(cgroup_id))

    def _birth_of(self, pidns: PidnsId) -> Birth | None:
        birth = self._births.get(pidns)
        return Birth(birth.chain, self.cgroups.get(birth.cgroup_id)) if birth else None

    def _home_of(self, root: int) -> PidnsId | None:
        """The namespace that a container began, by its own cgroup. One within that of another container does not
        count: then the container shares that, and one of its processes has made it."""
        if not root:
            return None
        for pidns in self._begun.get(root) or ():
            birth = self._births.get(pidns)
            members = self._along(birth.chain, birth.cgroup_id) if birth else []
            if birth and members and members[-1].root == root and self._is_home(birth.chain, members):
                return pidns
        self._homeless.put(root, True)
        return None

    def _is_home(self, chain: Chain, members: list[Member]) -> bool:
        around = {member.container.id for member in members[:-1]}
        owners = [self._membership.owner(number.pidns) for number in chain[:-1]]
        reported = self.by_engine(chain[-1].pidns)
        is_own = reported is None or reported.id == members[-1].container.id
        return is_own and all(owner is None or owner.id in around for owner in owners)

    def begins(self, part: Batch, index: int) -> bool:
        """Whether the row of a first process is the one by which its namespace is known to have begun."""
        birth = self._births.get(chain_of(part, index)[-1].pidns)
        return (
            birth is not None
            and birth.tgid == part.rows["tgid"][index]
            and birth.cgroup_id == part.rows["cgroup_id"][index]
        )

    def basis(self, chain: Chain, cgroup_id: int) -> Basis:
        """What the answers about a process with this chain in this cgroup depend on."""
        begun = [pidns for root in _roots(self.cgroups.get(cgroup_id)) for pidns in self._begun.get(root) or ()]
        spaces = dict.fromkeys(number.pidns for number in chain) | dict.fromkeys(begun)
        births = [birth for pidns in spaces if (birth := self._births.get(pidns))]
        around = dict.fromkeys(number.pidns for birth in births for number in birth.chain)
        births += [birth for pidns in around if (birth := self._births.get(pidns))]
        return Basis([cgroup_id, *(birth.cgroup_id for birth in births)], [*around, *spaces])

    def of_cgroup(self, chain: Chain, cgroup_id: int) -> Container | None:
        """The container of a process by its cgroup alone; None: that is none's."""
        members = self._along(chain, cgroup_id)
        return members[-1].container if members else None

    def owner(self, pidns: PidnsId) -> Container | None:
        """The container whose process was the first of this namespace; None: of no container, or not known."""
        found = self._membership.owner(pidns)
        if found is None and pidns != INITIAL_PIDNS and pidns not in self._births:
            self._ownerless.put(pidns, True)
        return found

    def is_elsewhere(self, pidns: PidnsId, container: Container | None) -> bool:
        """Whether a process of a container that is in this PID namespace is in one that is not the container's own, for
        certain: the host's, or another's. Nobody's owner may only not have been reported yet."""
        if container is None or pidns.inum == INITIAL_PIDNS.inum:
            return container is not None
        owner = self.owner(pidns)
        return owner is not None and owner.id != container.id

    def by_engine(self, pidns: PidnsId) -> Container | None:
        """As `owner`, where an engine reports it and the cgroup does not show it."""
        return self._by_engine.get(pidns)

    def is_pending(self, chain: Chain, cgroup_id: int) -> bool:
        """Whether an engine may yet report another container for a process with this chain in this cgroup, or another
        name for its container."""
        births = (self._births.get(number.pidns) for number in chain)
        cgroup_ids = (cgroup_id, *(birth.cgroup_id for birth in births if birth))
        facts = map(self.cgroups.get, cgroup_ids)
        return any(fact.pending or (self.expects_names and _is_nameless(fact)) for fact in facts if fact)

    def container(self, chain: Chain, cgroup_id: int) -> Container | None:
        """The container of a process with this chain in this cgroup; None: it is in none (`Membership.container`)."""
        innermost = chain[-1].pidns
        key = (innermost, cgroup_id)
        if key not in self._cache:
            if len(self._cache) >= MAX_FACTS:
                self._cache.clear()
            self._cache[key] = self._find(chain, cgroup_id)
        return self._cache[key]

    def _find(self, chain: Chain, cgroup_id: int) -> Container | None:
        for number in chain:
            self.owner(number.pidns)  # notes who was asked about
        return self._membership.container(chain, self.cgroups.get(cgroup_id))

    def member(self, chain: Chain, cgroup_id: int) -> Member | None:
        """As `container`, with the cgroup that proves it (`Membership.member`). It is worked out at each call."""
        for number in chain:
            self.owner(number.pidns)
        return self._membership.member(chain, self.cgroups.get(cgroup_id))

    def enclosing(self, chain: Chain, cgroup_id: int) -> tuple[Container, ...]:
        """The process's container, then those around it, innermost first (`Membership.enclosing`)."""
        for number in chain:
            self.owner(number.pidns)
        return self._membership.enclosing(chain, self.cgroups.get(cgroup_id))

    def of_row(self, batch: Batch, index: int) -> Container | None:
        """The container of the row at index."""
        row = batch.rows[index]
        if row["kind"] in CONTAINER_KINDS:
            return self._named(fact_of(batch, index).container, batch, index)
        inum, _nr, gen = row["chain"][0].tolist()
        key = (PidnsId(inum, gen), int(row["cgroup_id"]))
        try:
            return self._cache[key]
        except KeyError:
            return self.container(chain_of(batch, index), key[1])

    def _named(self, said: Container | None, batch: Batch, index: int) -> Container | None:
        """The container that a row says itself, with the name that its other rows have, if it was not known yet."""
        if said is None or said.is_named:
            return said
        known = self.container(chain_of(batch, index), int(batch.rows["cgroup_id"][index]))
        return known if known and (known.id, known.incarnation) == (said.id, said.incarnation) else said


class Basis(NamedTuple):
    """Cgroups by their ids, and namespaces: outer ones first."""

    cgroups: list[int]
    spaces: list[PidnsId]


class _Birth(NamedTuple):
    """The first process of a namespace. chain: its own; exec_id: as in its row; is_new: the row is of its beginning."""

    cgroup_id: int
    chain: Chain
    tgid: int
    exec_id: int
    is_new: bool


def _roots(fact: CgroupFact | None) -> list[int]:
    """The own cgroups of the containers that a fact names; 0: of one, which was not recorded."""
    if fact is None:
        return []
    return [fact.root] * (fact.container is not None) + [inner.root for inner in fact.inner]


def _containers(fact: CgroupFact) -> list[Container]:
    own = [fact.container] if fact.container else []
    return own + [inner.container for inner in fact.inner]


def _is_nameless(fact: CgroupFact) -> bool:
    return bool(fact.container or fact.inner) and not fact.is_named


def facts_by_cgroup() -> Lru[int, CgroupFact]:
    """A table for as many facts as are remembered, by the ids of their cgroups."""
    return Lru(MAX_FACTS, _size, MAX_FACT_BYTES)


def _size(fact: CgroupFact) -> int:
    """About how many bytes of memory a fact needs, beside what each needs."""
    return len(fact.path) + sum(map(labels_bytes, _containers(fact)))


def labels_bytes(container: Container) -> int:
    """About how many bytes of memory the labels of a container need."""
    return sum(len(name) + len(value) + _LABEL_BYTES for name, value in container.labels.items())


def _is_set_up(row: np.void) -> bool:
    """Whether a first process may be about to become the container's: it is young, and a list shows it as runc's."""
    is_young = int(row["ts_ns"]) - int(row["start_ns"]) < _SETTING_UP_NS
    return is_young and (row["kind"] != Kind.SNAPSHOT or bytes(row["comm"]).startswith(RUNTIME_COMM))


def _cuts(batch: Batch, is_fact: NDArray[np.bool_], births: NDArray[np.bool_]) -> Iterator[int]:
    """Indices of rows that begin with facts which the rows before must not know."""
    facts = is_fact & ~np.concatenate([[True], is_fact[:-1]])
    last = 0
    for at in np.flatnonzero(facts | births).tolist():
        if facts[at] or _anyone_inside(batch.rows[last:at], batch.rows["chain"]["inum"][at, 0]):
            yield at
            last = at


def teaches(batch: Batch) -> NDArray[np.bool_]:
    """Which rows say something about containers, shape (n,)."""
    result: NDArray[np.bool_] = (batch.rows["kind"] == Kind.CGROUP) | births_in(batch)
    return result


def reported_owner(args: bytes) -> Container | None:
    """The container in the args of a PIDNS row; None: the row is about the namespace alone."""
    try:
        return msgspec.json.decode(args, type=Container) if args else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None  # recorded before such rows named a container: the arguments of a first process


_FACTS: dict[int, type[LifeFact] | type[SessionFact]] = {Kind.CONTAINER: LifeFact, Kind.SESSION: SessionFact}


def fact_of(batch: Batch, index: int) -> LifeFact | SessionFact:
    """What a row of CONTAINER_KINDS says. Raises msgspec.MsgspecError, ValueError or RecursionError where that cannot
    be read: a reader of recordings has checked it before."""
    fact = _FACTS[int(batch.rows["kind"][index])]
    return msgspec.json.decode(batch.payload(index).args, type=fact)


def reduce(part: Batch, mask: NDArray[np.bool_]) -> Batch:
    """The rows where mask is true, and from the others what identifies the namespaces of containers, as PIDNS rows."""
    if not len(part.firsts) or not (births := births_in(part) & ~mask).any():
        return part.select(mask)
    part = _without_commands(part, births & (part.rows["kind"] != Kind.PIDNS))
    part.rows["kind"][births] = Kind.PIDNS
    return part.select(mask | births)


def _without_commands(part: Batch, which: NDArray[np.bool_]) -> Batch:
    """A copy of the part, without the exe and args of these rows."""
    rows, keep = part.rows.copy(), np.ones(len(part.heap), bool)
    for at in np.flatnonzero(which & (rows["exe_len"] + rows["args_len"] > 0)).tolist():
        end = part.starts[at] + part.lengths[at]
        keep[part.starts[at] + rows["deep_len"][at] : end] = False
    for name in ("exe_len", "args_len", "args_total"):
        rows[name][which] = 0
    heap = part.heap if keep.all() else np.frombuffer(part.heap, np.uint8)[keep].tobytes()
    return Batch(rows, heap)


def births_in(batch: Batch) -> NDArray[np.bool_]:
    """Rows in which the first process of a nested namespace appears, or enters another cgroup, shape (n,)."""
    births, first = np.zeros(len(batch), bool), batch.firsts
    if len(first):
        births[first] = of_kind(pick(batch.rows, first), Kind.FORK, Kind.SNAPSHOT, Kind.PIDNS, Kind.MOVE)
    return births


def _anyone_inside(rows: NDArray[np.void], inum: int) -> bool:
    """Whether a row may be of a process in this namespace: a chain deeper than an event holds counts as yes."""
    inside = (rows["chain"]["inum"] == inum).any(axis=1) | (rows["level"] > INLINE_LEVELS)
    return bool(inside.any())
