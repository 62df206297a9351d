"""The tree of cgroups as the kernel reports it, and the container that each of them belongs to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from tracer.containers import cgroup_paths
from tracer.containers.answers import Answer, Describe, Description, Silence, container_of, ids_in, is_id, runtime_by
from tracer.containers.believing import Believed, Claim, believe
from tracer.containers.claims import claim_of, claimed, enriched, keys_of
from tracer.containers.life_numbers import LifeNumbers
from tracer.containers.orphans import Orphans
from tracer.containers.places import Home, Places
from tracer.containers.pods import POD, key_of_pod
from tracer.containers.short_ids import ShortIds
from tracer.stream.lru import Lru
from tracer.stream.metadata import CgroupFact, CgroupName, Container

MAX_CGROUPS = 65536
_MAX_EARLIER = 8  # names of one life
_KEEP_PAST = 4096  # names and ids of containers whose cgroups are removed: lives go on counting by them
_TRIM_EVERY = 256  # removed cgroups
MAX_ASKED = 10  # so often the engine may not know a container, before the id stays its name


class Cgroups:
    """Receives names of cgroups in any order, returns facts: path, container, and which of its lives.

    describe: called for each life of a container until it answers. firsts: the living first processes of PID namespaces
    (`tracer.stream.first_processes`), as far as they were reported before a name is. first_of: id -> the first process
    that an engine reports, for as long as there is time to ask. max_cgroups bounds each table here: what was named, or
    was above what was named, longest ago is evicted first.
    """

    def __init__(
        self,
        describe: Describe,
        max_cgroups: int = MAX_CGROUPS,
        firsts: Callable[[], Iterable[tuple[int, int, int]]] = lambda: (),
    ) -> None:
        self._firsts = firsts
        self.first_of: Callable[[str], int | None] = lambda _id: None
        self._describe = describe
        self._places = Places(max_cgroups)
        self._known: Lru[int, CgroupName] = Lru(max_cgroups)
        self._orphans = Orphans(max_cgroups)
        self._labels, self._short_ids = LifeNumbers(max_cgroups), ShortIds(max_cgroups)
        self._containers: Lru[int, Container] = Lru(max_cgroups)  # by their root cgroup
        self._roots_own: Lru[str, None] = Lru(max_cgroups)  # ids of containers in cgroups of root's making
        self._claims: Lru[int, frozenset[str]] = Lru(max_cgroups)  # of others: what is claimed of their cgroups
        self._answers: Lru[str, Answer] = Lru(max_cgroups)  # the engine's last answer, by id
        self._open: Lru[int, _Open] = Lru(max_cgroups)
        self._in_vain: Lru[str, int] = Lru(max_cgroups)  # how often the engine did not know this id
        self._forgotten = 0  # cgroups, since names and ids were trimmed

    @property
    def evicted(self) -> int:
        """How many names were forgotten for lack of room."""
        return self._known.evicted + self._orphans.evicted

    @property
    def is_open(self) -> bool:
        """Whether an engine may yet change a fact."""
        return any(True for _cgroup_id in self._open)

    def learn(self, names: Iterable[CgroupName]) -> list[tuple[int, CgroupFact]]:
        """The facts that these names complete, with their cgroup ids, parents first. A cgroup whose parent is unknown
        waits for it; one that is known already adds nothing."""
        facts = []
        for name in names:
            if name.cgroup_id in self._known:
                self._ancestry(name.cgroup_id)
            elif name.parent_id and name.parent_id not in self._known:
                self._orphans.add(name)
            else:
                facts += self._settle(name)
        return facts

    def forget(self, cgroup_ids: Iterable[int]) -> set[str]:
        """Cgroups were removed, and nothing more will be asked about them. Returns by what engines and the node were
        asked for their containers, as far as no other cgroup has these: that may be forgotten, too."""
        ids = list(cgroup_ids)
        over = {key for cgroup_id in ids for key in self._keys_of(cgroup_id)}
        for cgroup_id in ids:
            self._orphans.take(cgroup_id)
            for table in (self._known, self._claims, self._open, self._containers):
                table.pop(cgroup_id)
        self._forgotten += len(ids)
        for key in over:
            self._answers.pop(key)
            self._in_vain.pop(key)
        if self._forgotten >= _TRIM_EVERY:
            self._forgotten = 0
            self._trim()
        return over

    def with_those_above(self, cgroup_ids: Iterable[int]) -> set[int]:
        """These cgroups and all above them, as far as they are known."""
        return {name.cgroup_id for cgroup_id in cgroup_ids for name in self._ancestry(cgroup_id)}

    def _keys_of(self, cgroup_id: int) -> set[str]:
        """By what the container whose own cgroup this is was asked for, and a pod by its cgroup."""
        ancestry = self._ancestry(cgroup_id)
        if not ancestry:
            return set()
        path, above = _path(ancestry), _path(ancestry[:-1])
        found = cgroup_paths.claims(path, lambda key: runtime_by(key, self._answers.get(key)))
        keys = {key for one in found if one.depth == len(ancestry) for key in (one.id, one.key)}
        keys |= {key for key in ids_in(ancestry[-1].name) if key not in above}
        for key in keys:
            self._places.forget(key, cgroup_id)
        keys = {key for key in keys if not self._places.has(key)}
        pod = key_of_pod(f"{path}/")
        return keys | {pod} if pod and key_of_pod(f"{above}/") is None else keys

    def _trim(self) -> None:
        """Forget names and ids of containers that are no more, but for the last ones."""
        for root in self._containers:
            if container := self._containers.get(root):
                self._labels.keep(container, root)
                self._short_ids.keep(container)
                self._roots_own.get(container.id)
        most = len(self._containers) + _KEEP_PAST
        self._labels.trim(most)
        self._short_ids.trim(most)
        self._roots_own.trim(most)

    def renew(self, about: frozenset[str] | set[str] | None = None) -> list[tuple[int, CgroupFact]]:
        """Ask the engine again for what is missing; the facts that this changes. An engine that is slow, or starts
        later, names its containers late. about: only what depends on these ids."""
        before = [
            (cgroup_id, opened)
            for cgroup_id in sorted(self._open)
            if (opened := self._open.get(cgroup_id)) and (about is None or not about.isdisjoint(opened.ids))
        ]
        for _cgroup_id, opened in before:
            for container_id in opened.ids:
                self._answers.pop(container_id)
        now = [(cgroup_id, self._fact(cgroup_id), opened.fact) for cgroup_id, opened in before]
        return [(cgroup_id, fact) for cgroup_id, fact, reported in now if fact != reported]

    def rename(self, container_id: str, name: str) -> list[tuple[int, CgroupFact]]:
        """The facts that another name of a container changes: of its last life, which keeps what it was called before.
        A life that has no name yet gets the one that the engine reports when it is asked again."""
        lives = [(root, self._containers.get(root)) for root in self._containers]
        root_id, before = max(((root, one) for root, one in lives if one and one.id == container_id), default=(0, None))
        if before is None or before.name in (None, name):
            return []
        earlier = [*before.earlier, before.name][-_MAX_EARLIER:]
        renamed = self._short_ids.distinct(msgspec.structs.replace(before, name=name, earlier=earlier, incarnation=1))
        self._containers.put(root_id, self._labels.number(renamed, before.incarnation, life=root_id))
        below = [one for one in self._known if root_id in (name.cgroup_id for name in self._ancestry(one))]
        return [(cgroup_id, self._fact(cgroup_id)) for cgroup_id in sorted(below)]

    def _settle(self, name: CgroupName) -> list[tuple[int, CgroupFact]]:
        """The facts of a cgroup whose parent is known, and of all cgroups that waited for it."""
        facts, ready = [], [name]
        while ready:
            name = ready.pop()
            self._ancestry(name.parent_id)
            self._known.put(name.cgroup_id, name)
            for container_id in ids_in(name.name):  # a new life: what the engine reported of the one before is old
                self._answers.pop(container_id)
            fact = self._fact(name.cgroup_id)
            facts += [(name.cgroup_id, fact), *self._disputed(fact), *self._ousted(fact)]
            ready += self._orphans.take(name.cgroup_id)
        return facts

    def _ancestry(self, cgroup_id: int) -> list[CgroupName]:
        """The cgroup and all above it, from below the root. Marks them as used, the root last: so no cgroup is
        forgotten before those below it."""
        found = []
        while name := self._known.get(cgroup_id):
            found.append(name)
            cgroup_id = name.parent_id
        if found and found[-1].name in ("", "/"):
            found.pop()
        return found[::-1]

    def _fact(self, cgroup_id: int) -> CgroupFact:
        ancestry = self._ancestry(cgroup_id)
        path = _path(ancestry)
        asked: dict[str, Answer] = {}

        def runtime_of(container_id: str) -> str | None:
            asked[container_id] = self._answer(container_id)
            return runtime_by(container_id, asked[container_id])

        found = [(one, ancestry[one.depth - 1]) for one in cgroup_paths.claims(path, runtime_of)]
        for one, own in found:
            for key in keys_of(one, _path(ancestry[: one.depth])) if not own.maker else ():
                asked[key] = self._answer(key)
        claims = [
            claim_of(one, _path(ancestry[: one.depth]), own.cgroup_id, own.maker, asked.get(one.id))
            for one, own in found
        ]
        believed = believe(claims, self._is_taken, lambda claim: self._life(claim, asked), self._is_elsewhere)
        named = {container.id for container in _containers(believed) if container.name}
        silent = {asked_id for asked_id, answer in asked.items() if answer is Silence.NO_ANSWER}
        pending = any(one not in named and (is_id(one) or one.startswith(POD)) for one in silent)
        fact = CgroupFact(path, believed.container, pending, believed.root, believed.inner)
        self._claims.pop(cgroup_id)
        if believed.inner:
            self._claims.put(cgroup_id, frozenset(inner.container.id for inner in believed.inner))
        may_change = [one for one in asked if self._may_change(one, asked) or self._places.is_contested(one)]
        self._keep_open(cgroup_id, fact, tuple(may_change))
        return fact

    def _is_elsewhere(self, claim: Claim) -> bool:
        if not is_id(claim.found.id):
            return False
        self._places.add(claim.found.id, claim.root, claim.own)
        return self._places.is_elsewhere(claim.found.id, claim.root, self._homes_of, self.first_of)

    def _homes_of(self, root: int) -> list[Home]:
        living = self._firsts()
        return [Home(start_ns, tgid) for cgroup_id, start_ns, tgid in living if self._is_below(cgroup_id, root)]

    def _is_below(self, cgroup_id: int, root: int) -> bool:
        return any(name.cgroup_id == root for name in self._ancestry(cgroup_id))

    def _is_taken(self, container_id: str) -> bool:
        return container_id in self._roots_own

    def _disputed(self, fact: CgroupFact) -> list[tuple[int, CgroupFact]]:
        """The facts that change because a container has a cgroup of root's making: what others had claimed to be it
        before is not."""
        if fact.container is None or fact.container.id in self._roots_own:
            return []
        self._roots_own.put(fact.container.id, None)
        claims = [(cgroup_id, self._claims.get(cgroup_id)) for cgroup_id in self._claims]
        return [(cgroup_id, self._fact(cgroup_id)) for cgroup_id, ids in claims if ids and fact.container.id in ids]

    def _ousted(self, fact: CgroupFact) -> list[tuple[int, CgroupFact]]:
        """The facts that change because a container is in this cgroup: others had been called by its id before."""
        if fact.container is None:
            return []
        container_id = fact.container.id
        others = self._places.others(container_id, fact.root)
        asked = self._homes_of, self.first_of
        refused = {root for root in others if self._places.is_elsewhere(container_id, root, *asked)}
        below = [one for one in self._known if refused and any(self._is_below(one, root) for root in refused)]
        return [(cgroup_id, self._fact(cgroup_id)) for cgroup_id in sorted(below)]

    def _answer(self, container_id: str) -> Answer:
        """What the engine has answered for an id, or answers now."""
        if container_id in self._answers:
            return self._answers.get(container_id)
        answer = self._describe(container_id)
        if not isinstance(answer, Silence):
            self._answers.put(container_id, answer)
        is_whole = isinstance(answer, Description) and answer.is_whole
        if not is_whole and not (isinstance(answer, Silence) and is_id(container_id)):
            self._in_vain.put(container_id, (self._in_vain.get(container_id) or 0) + 1)
        return answer

    def _may_change(self, container_id: str, asked: Mapping[str, Answer]) -> bool:
        answer = asked[container_id]
        if isinstance(answer, Description) and answer.is_whole:
            return False
        may_answer = isinstance(answer, Silence) and is_id(container_id)
        return may_answer or (self._in_vain.get(container_id) or 0) < MAX_ASKED

    def _keep_open(self, cgroup_id: int, fact: CgroupFact, ids: tuple[str, ...]) -> None:
        if ids:
            self._open.put(cgroup_id, _Open(fact, ids))
        else:
            self._open.pop(cgroup_id)

    def _life(self, claim: Claim, asked: Mapping[str, Answer]) -> Container:
        """The life of a container that has this root cgroup: a start makes a new one, and the kernel gives no cgroup id
        twice (kernfs_node.id). It keeps the name that it was first shown by."""
        before, now = self._containers.get(claim.root), claimed(claim, asked)
        now = self._short_ids.distinct(now)
        if before and (before.name or now.name is None):
            self._containers.put(claim.root, before := enriched(before, now))
            return before
        container = self._labels.number(now, before.incarnation if before else 1, life=claim.root)
        self._containers.put(claim.root, container)
        return container

    def described(self, container_id: str) -> Container:
        """A container as its engine reports it now, whether it lives or not."""
        return container_of(container_id, self._describe(container_id))

    def to_come(self, container: Container, is_new: bool) -> Container:
        """A container that has not lived yet, with the number that its first life will have, so that it is not shown
        like one of the lives before it. is_new: it was created now; else one that was not is left as it is."""
        return self._labels.promised(container, is_new)

    def moved(self, container_id: str) -> Container:
        """The life of a container whose processes are in no cgroup of its own, as its engine reports."""
        return self._labels.number(self._short_ids.distinct(container_of(container_id, self._answer(container_id))))


def _path(ancestry: Iterable[CgroupName]) -> str:
    return "/" + "/".join(name.name.replace("/", r"\x2f") for name in ancestry)


def _containers(believed: Believed) -> list[Container]:
    own = [believed.container] if believed.container else []
    return own + [inner.container for inner in believed.inner]


class _Open(NamedTuple):
    """A fact, as reported, that an engine's answer about one of these ids may change."""

    fact: CgroupFact
    ids: tuple[str, ...]
