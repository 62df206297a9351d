"""The host as it is now, without eBPF: living processes with all their numbers, and the container of each.

Combines /proc, the namespaces' descriptors and the names that an engine reports.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from tracer.containers import cgroup_paths
from tracer.containers.answers import Answer, Describe, Silence, container_of, is_id, runtime_by
from tracer.containers.believing import Claim, believe
from tracer.containers.claims import claim_of, claimed, keys_of
from tracer.containers.short_ids import ShortIds
from tracer.host import nsfs, procfs
from tracer.host.pidns_ids import PidnsIds
from tracer.host.procfs import LivingProcess
from tracer.stream.membership import Birth, Membership
from tracer.stream.metadata import CgroupFact, Container
from tracer.stream.pidns import Chain, Number, PidnsId
from tracer.system import cgroup_hierarchy
from tracer.system.clock_offset import wall_offset_ns

_MS_NS = 1_000_000
_INITS_EVERY_S = 1.0
_SURVEY_S = 1.0
_MAX_IDS = 65536


class Host:
    """Reads at each call; remembers only what cannot change: the ancestry of a namespace, how it began, a cgroup's
    container.

    describe: what an engine reports of a container. inits: the first processes, as the engine reports them, of all
    running containers except those with these ids: host PID -> id. init_of: the first process of one, by its id.
    """

    def __init__(
        self,
        describe: Describe,
        inits: Callable[[Collection[str]], Mapping[int, str]] = lambda _but: {},
        init_of: Callable[[str], int | None] = lambda _id: None,
    ) -> None:
        self._describe, self._inits, self._init_of = describe, inits, init_of
        self._spaces = PidnsIds()
        self._facts: dict[str, CgroupFact] = {}
        self._roots: dict[str, int] = {}  # a number for the path of each container's own cgroup
        self._births: dict[PidnsId, Birth | None] = {}
        self._reported: dict[PidnsId, Container | None] = {}
        self._survey: Survey | None = None
        self._places_then: dict[str, set[str]] = {}
        self._places_until_s = 0.0
        self._short_ids = ShortIds(_MAX_IDS)
        self._membership = Membership(self._births.get, self._reported.get, self._home_of)
        self._first_of: Mapping[int, str] = {}
        self._inits_due_s = 0.0
        self.wall_offset_ns = wall_offset_ns()

    def process(self, nr: int) -> LivingProcess | None:
        """The process with this PID on the host, or with a thread of this number; None: there is none."""
        return procfs.living(nr, self._spaces.of)

    def read(self, directory: int) -> LivingProcess:
        """The process of a directory, as `procfs.open_process` returns it. Raises OSError where it has exited."""
        return procfs.read_process(directory, self._spaces.of)

    def processes(self) -> Iterator[LivingProcess]:
        """All processes, in the order of their PIDs."""
        return procfs.processes(self._spaces.of)

    def started_ns(self, process: LivingProcess) -> int:
        """When it began, by the wall clock in ns, to a clock tick."""
        return (process.proc_id.start_ns + self.wall_offset_ns) // _MS_NS * _MS_NS

    def identify(self, fd: int) -> PidnsId:
        """The identity of the PID namespace of a descriptor."""
        return self._spaces.identify(fd)

    def is_alive(self, fd: int) -> bool:
        """Whether the first process of the PID namespace of a descriptor exists: without it none is born there."""
        return self._spaces.first(fd) is not None

    def inside(self, fd: int, nr: int) -> LivingProcess | None:
        """The process with this number in the namespace of a descriptor, or with a thread of this number there; None:
        there is none. The answer is checked against the question, so a number that was reused meanwhile does no
        harm."""
        pidns = self._spaces.identify(fd)
        try:
            tgid = nsfs.host_tgid(fd, nr)
        except nsfs.NotTranslated:
            return next((found for found in self.processes() if Number(pidns, nr) in (found.chain or ())), None)
        found = self.process(tgid) if tgid else None
        return found if found and has_number(found, Number(pidns, nr)) else None

    def container(self, process: LivingProcess) -> Container | None:
        """The container of a process (`Membership.container`); None: the host."""
        return self._membership.container(self._known_chain(process), self.fact_of(process.cgroup))

    def enclosing(self, process: LivingProcess) -> tuple[Container, ...]:
        """The containers that a process is in, innermost first: its own, and those around it."""
        return self._membership.enclosing(self._known_chain(process), self.fact_of(process.cgroup))

    def owners(self, process: LivingProcess) -> tuple[Container | None, ...]:
        """For each of its numbers, the host's first, the container that began the namespace. None: the host's, no
        container's, or one that cannot be read."""
        chain = self._known_chain(process)
        owners = tuple(self._membership.owner(number.pidns) for number in chain)
        return (None, *owners) if process.level and chain else (None,) * len(process.numbers)

    def _known_chain(self, process: LivingProcess) -> Chain:
        """The numbers of a process, without the host's where it has others; how their namespaces began is known then.
        (): they cannot be read."""
        if process.level == 0 or process.chain is None:
            return process.chain or ()
        inner = process.chain[1:]
        if any(number.pidns not in self._births for number in inner):
            with contextlib.suppress(OSError), procfs.opened_pidns(process.tgid) as fd:
                self._learn_births(fd)
        return inner

    def _learn_births(self, fd: int) -> None:
        """How the namespace of a descriptor and those around it began, by their first processes, outermost first."""
        with nsfs.ancestry(fd) as fds:
            for around in reversed(fds):
                pidns = self._spaces.identify(around)
                first = self._spaces.first(around)
                init = self.process(first) if first and pidns not in self._births else None
                if init and init.chain and init.chain[-1] == Number(pidns, 1):
                    self._births[pidns] = Birth(init.chain[1:], self.fact_of(init.cgroup))
                    self._reported[pidns] = self._by_engine(init)

    def fact_of(self, path: str) -> CgroupFact:
        """What the path of a cgroup says (`tracer.containers.believing`)."""
        if path in self._facts:
            return self._facts[path]
        answers: dict[str, Answer] = {}

        def runtime_of(container_id: str) -> str | None:
            answers[container_id] = self._describe(container_id)
            return runtime_by(container_id, answers[container_id])

        claims = [self._claim(path, found, answers) for found in cgroup_paths.claims(path, runtime_of)]
        is_final = not any(map(_may_change, answers.items()))
        for claim in claims:
            answers |= {key: self._describe(key) for key in keys_of(claim.found, claim.own)}
        believed = believe(claims, self._is_taken, lambda claim: self._distinct(claim, answers), self._is_elsewhere)
        fact = CgroupFact(path, believed.container, False, believed.root, believed.inner)
        if is_final:
            self._facts[path] = fact
        return fact

    def _distinct(self, claim: Claim, answers: Mapping[str, Answer]) -> Container:
        return self._short_ids.distinct(claimed(claim, answers))

    def _claim(self, path: str, found: cgroup_paths.Found, answers: Mapping[str, Answer]) -> Claim:
        own = "/" + "/".join(path.removeprefix("/").split("/")[: found.depth])
        root = self._roots.setdefault(own, len(self._roots) + 1)
        return claim_of(found, own, root, cgroup_hierarchy.maker(own), answers.get(found.id))

    def survey(self, processes: Iterable[LivingProcess] | None = None) -> Survey:
        """Which namespaces and cgroups the living processes have begun. processes: all of them, where they have been
        read already."""
        if processes is not None or self._survey is None or time.monotonic() > self._survey.until_s:
            self._survey = Survey(time.monotonic() + _SURVEY_S)
            for process in self.processes() if processes is None else processes:
                self._survey.add(process)
        return self._survey

    def _is_elsewhere(self, claim: Claim) -> bool:
        """Whether the container of a cgroup of root's making is in another one that is called by the same id: the one
        in which a PID namespace has begun first, or if there are several, whose first process the engine reports."""
        container_id = claim.found.id
        if not is_id(container_id) or len(self._places().get(container_id, ())) < 2:
            return False
        homes = self.survey().homes_of(container_id)
        if len({home.path for home in homes}) > 1:
            reported = self._init_of(container_id)
            homes = [home for home in homes if home.tgid == reported] or homes
        return bool(homes) and min(homes).path != claim.own

    def _places(self) -> Mapping[str, set[str]]:
        """By the id of each container, the paths of the cgroups of root's making that are called by it and in which
        somebody is. Where processes are not looked at anyway, their cgroups alone are."""
        if self._survey and time.monotonic() <= self._survey.until_s:
            return self._survey.places
        if time.monotonic() > self._places_until_s:
            self._places_until_s, self._places_then = time.monotonic() + _SURVEY_S, {}
            for found in filter(None, map(place_of, procfs.cgroups_in_use())):
                self._places_then.setdefault(found[0], set()).add(found[1])
        return self._places_then

    def _is_taken(self, container_id: str) -> bool:
        return container_id in self.survey().places

    def _home_of(self, root: int) -> PidnsId | None:
        """The namespace that a container began, by its own cgroup, outside of any other container's."""
        for first in self.survey().firsts:
            members = self._membership.along((first.chain or ())[1:], self.fact_of(first.cgroup))
            if members and members[-1].root == root and first.chain:
                owners = self.owners(first)
                ids = {member.container.id for member in members}
                if all(owner is None or owner.id in ids for owner in owners):
                    return first.chain[-1].pidns
        return None

    def cgroups_container(self, process: LivingProcess) -> Container | None:
        """The container of a process by its cgroup alone; None: that is none's."""
        members = self._membership.along(self._known_chain(process), self.fact_of(process.cgroup))
        return members[-1].container if members else None

    def _by_engine(self, init: LivingProcess) -> Container | None:
        """The container whose first process this is, as the engine reports, where its cgroup does not show that: it
        was moved there. None: its cgroup shows it, or no engine knows. init: the first process of a namespace."""
        members = self._membership.along((init.chain or ())[1:], self.fact_of(init.cgroup))
        own = members[-1].container if members else None
        if own and (own.name is None or self._is_first(own, init)):
            return None
        if time.monotonic() >= self._inits_due_s:  # all: a session in a container's own cgroup is not its first process
            self._first_of, self._inits_due_s = self._inits(()), time.monotonic() + _INITS_EVERY_S
        container_id = self._first_of.get(init.tgid)
        if container_id is None or (own and own.id == container_id) or self.refutes(container_id, init.tgid):
            return None
        return container_of(container_id, self._describe(container_id))

    def _is_first(self, own: Container, init: LivingProcess) -> bool:
        """Whether nothing contradicts that this is the first process of the container in whose cgroup it is: no other
        process there is number 1 of a namespace, or the engine says so."""
        if self._survey and time.monotonic() < self._survey.until_s:
            beside = [first for first in self._survey.firsts if first.cgroup == init.cgroup and first.tgid != init.tgid]
            if not beside:
                return True
        return self._init_of(own.id) in (None, init.tgid)

    def refutes(self, container_id: str, tgid: int) -> bool:
        """Whether a process cannot be the first of a container, as an engine reports: the container has processes in a
        cgroup of its own, and none of them is in the PID namespace of that process."""
        first = self.process(tgid)
        if first is None or first.chain is None:
            return False
        inside = [process for process in self.processes() if self._is_of(process, container_id)]
        spaces = [{number.pidns for number in process.chain or ()} for process in inside]
        return bool(spaces) and all(known and first.chain[-1].pidns not in known for known in spaces)

    def _is_of(self, process: LivingProcess, container_id: str) -> bool:
        fact = self.fact_of(process.cgroup)
        own = (fact.container, *(inner.container for inner in fact.inner))
        return any(container and container.id == container_id for container in own)


class Home(NamedTuple):
    """Where a container may have begun: when its first process did, which that is, the path of its own cgroup."""

    start_ns: int
    tgid: int
    path: str


class Survey:
    """What the living processes have begun: firsts: those that are number 1 of a nested namespace; places: the ids of
    containers in cgroups of root's making, with the paths of these. until_s: how long it is valid, by the monotonic
    clock."""

    def __init__(self, until_s: float) -> None:
        self.until_s = until_s
        self.firsts: list[LivingProcess] = []
        self.places: dict[str, set[str]] = {}
        self._homes: dict[str, list[Home]] = {}
        self._place_of: dict[str, tuple[str, str] | None] = {}

    def add(self, process: LivingProcess) -> None:
        """Look at the next process."""
        if process.cgroup not in self._place_of:
            self._place_of[process.cgroup] = place_of(process.cgroup)
        place = self._place_of[process.cgroup]
        if place:
            self.places.setdefault(place[0], set()).add(place[1])
        if process.level and process.numbers[-1] == 1:
            self.firsts.append(process)
            if place:
                home = Home(process.proc_id.start_ns, process.tgid, place[1])
                self._homes.setdefault(place[0], []).append(home)

    def homes_of(self, container_id: str) -> list[Home]:
        """Where a container of this id may have begun."""
        return self._homes.get(container_id, [])


def place_of(path: str) -> tuple[str, str] | None:
    """The id of the outermost container that the path of a cgroup names, and the path of its own; None: it names none,
    or not root alone could have called it so."""
    outermost = next(iter(cgroup_paths.claims(path, lambda key: "any" if is_id(key) else None)), None)
    if outermost is None:
        return None
    own = "/" + "/".join(path.removeprefix("/").split("/")[: outermost.depth])
    return None if cgroup_hierarchy.maker(own) else (outermost.id, own)


def _may_change(asked: tuple[str, Answer]) -> bool:
    """Whether what was answered by a key may be answered otherwise later: an engine that is not there may come."""
    key, answer = asked
    return answer is Silence.NO_ANSWER or (is_id(key) and isinstance(answer, Silence))


def has_number(process: LivingProcess, number: Number) -> bool:
    """Whether the process, or a thread of it, has this number."""
    chain = process.chain or ()
    for level, own in enumerate(chain):
        if own.pidns == number.pidns:
            return own.nr == number.nr or procfs.has_thread(process.tgid, level, number.nr)
    return False
