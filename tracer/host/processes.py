"""The host as it is now, without eBPF: living processes with all their numbers, and the container of each.

Combines /proc, the namespaces' descriptors and the names that an engine reports.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping

from tracer.containers import cgroup_paths
from tracer.containers.cgroups import Answer, Describe, Description, Silence, believed, container_of
from tracer.host import nsfs, procfs
from tracer.host.pidns_ids import PidnsIds
from tracer.host.procfs import LivingProcess
from tracer.stream.metadata import Container
from tracer.stream.pidns import INITIAL_PIDNS, Number, PidnsId
from tracer.system.clock_offset import wall_offset_ns

_MS_NS = 1_000_000
_INITS_EVERY_S = 1.0


class Host:
    """Reads at each call; remembers only what cannot change: the ancestry of a namespace, its owner, a cgroup's
    container.

    describe: what an engine reports of a container. inits: the first processes, as the engine reports them, of all
    running containers except those with these ids: host PID -> id.
    """

    def __init__(
        self, describe: Describe, inits: Callable[[Collection[str]], Mapping[int, str]] = lambda _but: {}
    ) -> None:
        self._describe, self._inits = describe, inits
        self._spaces = PidnsIds()
        self._containers: dict[str, Container | None] = {}
        self._owners: dict[PidnsId, Container | None] = {}
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
        """The container of a process: by its cgroup, else that whose namespace it is in (nsenter); None: the host."""
        own = self.of_cgroup(process.cgroup)
        if own or process.chain is None:
            return own
        return next((owner for number in reversed(process.chain) if (owner := self._owner(process, number))), None)

    def containers(self, process: LivingProcess) -> tuple[Container | None, ...]:
        """The containers around it, outermost first, and last its own. None: the host's, no container's, or one that
        cannot be read."""
        return (*self.owners(process)[:-1], self.container(process))

    def owners(self, process: LivingProcess) -> tuple[Container | None, ...]:
        """For each of its numbers, the host's first, the container that began the namespace. None: the host's, no
        container's, or one that cannot be read."""
        if process.chain is None:
            return (None,) * len(process.numbers)
        return tuple(self._owner(process, number) for number in process.chain)

    def _owner(self, process: LivingProcess, number: Number) -> Container | None:
        """The container whose first process began this namespace of the process."""
        if number.pidns != INITIAL_PIDNS and number.pidns not in self._owners:
            with contextlib.suppress(OSError), procfs.opened_pidns(process.tgid) as fd:
                self._learn_owners(fd)
        return self._owners.get(number.pidns)

    def _learn_owners(self, fd: int) -> None:
        with nsfs.ancestry(fd) as fds:
            for around in fds:
                pidns = self._spaces.identify(around)
                first = self._spaces.first(around)
                init = self.process(first) if first else None
                if init and init.chain and init.chain[-1] == Number(pidns, 1):
                    self._owners[pidns] = self.of_cgroup(init.cgroup) or self._by_engine(init.tgid)

    def of_cgroup(self, path: str) -> Container | None:
        """The container that has this cgroup; None: none has."""
        if path in self._containers:
            return self._containers[path]
        answers: dict[str, Answer] = {}

        def runtime_of(container_id: str) -> str | None:
            answer = answers[container_id] = believed(self._describe(container_id), path)
            return answer.runtime if isinstance(answer, Description) else None

        found = cgroup_paths.find(path, runtime_of)
        container = container_of(found.id, answers.get(found.id), found.runtime) if found else None
        if not any(isinstance(answer, Silence) for answer in answers.values()):
            self._containers[path] = container
        return container

    def _by_engine(self, tgid: int) -> Container | None:
        """The container whose first process this is, as the engine reports. Asked only for a process that is the first
        in its namespace and in no container's cgroup: it was moved there."""
        if time.monotonic() >= self._inits_due_s:  # all: a session in a container's own cgroup is not its first process
            self._first_of, self._inits_due_s = self._inits(()), time.monotonic() + _INITS_EVERY_S
        container_id = self._first_of.get(tgid)
        if container_id is None or self.refutes(container_id, tgid):
            return None
        return container_of(container_id, self._describe(container_id))

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
        own = self.of_cgroup(process.cgroup)
        return own is not None and own.id == container_id


def has_number(process: LivingProcess, number: Number) -> bool:
    """Whether the process, or a thread of it, has this number."""
    chain = process.chain or ()
    for level, own in enumerate(chain):
        if own.pidns == number.pidns:
            return own.nr == number.nr or procfs.has_thread(process.tgid, level, number.nr)
    return False
