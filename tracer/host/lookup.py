"""PROC as typed -> the living process that is meant. Combines the host as it is now with what an engine tells."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from tracer.answers.translation import home
from tracer.containers import paths
from tracer.containers.engine import FoundContainer
from tracer.containers.names import Names
from tracer.containers.resolve import choose
from tracer.errors import ExitCode, NstraceError
from tracer.facts import RUNTIME_COMM
from tracer.hints import shown
from tracer.host import procfs
from tracer.host.processes import Host
from tracer.host.procfs import Living
from tracer.pidns import Number
from tracer.proc import Proc, Space

_MAX_NEAR = 8


class Match(NamedTuple):
    """What was found for a PROC. is_thread: the number is that of a thread of the process."""

    process: Living
    is_thread: bool


class Lookup:
    """Finds processes and PID namespaces. All methods raise NstraceError where there is no such thing, or where it is
    not ours to see."""

    def __init__(self) -> None:
        self.names = Names()
        self.host = Host(self.names.describe)

    def find(self, proc: Proc) -> Match:
        """The process that is meant."""
        if proc.space == Space.HOST:
            found = self.host.process(proc.nr)
            if found is None:
                raise NstraceError(f"no process {proc.nr} on the host", self._elsewhere(proc.nr), ExitCode.NO_TARGET)
            return Match(found, found.tgid != proc.nr)
        with self.opened_pidns(proc.space, proc.where) as fd:
            found = self.host.inside(fd, proc.nr)
            if found is None:
                where = proc.text.rpartition("/")[0]
                raise NstraceError(f"no process {proc.nr} in {where}", self._near(fd, proc.nr), ExitCode.NO_TARGET)
            return Match(found, Number(self.host.identify(fd), proc.nr) not in (found.chain or ()))

    @contextlib.contextmanager
    def opened_pidns(self, space: Space, where: str) -> Iterator[int]:
        """A descriptor of the PID namespace that is meant by what stands in front of the slash of a PROC."""
        someone = self._someone_in(space, where)
        with contextlib.ExitStack() as stack:
            try:
                fd = stack.enter_context(procfs.opened_pidns(someone.tgid))
            except PermissionError as error:
                raise not_permitted(f"the PID namespace of {where}") from error
            except OSError:
                fd = -1
            if fd < 0 or someone.chain is None or self.host.identify(fd) != someone.chain[-1].pidns:
                raise NstraceError(f"{where} has just ended", "", ExitCode.NO_TARGET)
            yield fd

    def _someone_in(self, space: Space, where: str) -> Living:
        """A process that is in the namespace itself, not in one below it."""
        if space == Space.CONTAINER:
            return self._first_of(self.container(where))
        if space == Space.PIDNS:
            return self._inside(int(where))
        return self.find(Proc(Space.HOST, "", int(where) if where else os.getpid(), where)).process

    def _inside(self, inum: int) -> Living:
        hidden = False
        for process in self.host.processes():
            if process.chain and process.chain[-1].pidns.inum == inum:
                return process
            hidden = hidden or process.chain is None
        if hidden:
            raise not_permitted("the PID namespaces of other users' processes")
        raise NstraceError(
            f"no process is in a PID namespace {inum}", "lsns -t pid lists those that there are", ExitCode.NO_TARGET
        )

    def container(self, text: str) -> FoundContainer:
        """The one container with this name or id, also one that no engine knows but its cgroup names."""
        found = self.names.find(text)
        if found:
            return choose(text, found, self.names.all)
        unknown = [FoundContainer(id, id, "", True) for id in self._by_cgroup() if id.startswith(text)]
        exact = [container for container in unknown if container.id == text]
        if not unknown and self.names.error:
            raise self.names.error
        return choose(text, exact or unknown, self.names.all)

    def _by_cgroup(self) -> dict[str, list[Living]]:
        """The processes of every container, by its id."""
        containers: dict[str, list[Living]] = {}
        for process in self.host.processes():
            if found := paths.find(process.cgroup):
                containers.setdefault(found.id, []).append(process)
        return containers

    def _first_of(self, container: FoundContainer) -> Living:
        """Its first process, by the engine's word, which its cgroup must confirm; where no engine knows it, the one
        that has been there longest."""
        told = self.names.init_tgid(container.id)
        process = self.host.process(told) if told else None
        found = paths.find(process.cgroup) if process else None
        if process and (found.id == container.id if found else process.level > 0):
            return process
        members = [] if self.names.find(container.id) else self._by_cgroup().get(container.id, [])
        members = [member for member in members if not member.comm.startswith(RUNTIME_COMM)]
        if not members:
            raise NstraceError(f"{container.name} is not running", f"docker start {container.name}", ExitCode.NO_TARGET)
        return min(members, key=lambda member: (member.proc_id.start_ns, member.level, member.numbers[-1]))

    def _elsewhere(self, nr: int) -> str:
        """What to say of a number that nobody has on the host: who has it inside."""
        found = []
        for process in self.host.processes():
            for level in range(1, len(process.numbers)):
                if process.numbers[level] == nr and process.chain:
                    owner = home(self.host.owners(process)[: level + 1])
                    found.append(f"{owner.label if owner else f'pidns:{process.chain[level].pidns.inum}'}/{nr}")
        return f"inside there is {shown(found)}" if found else "ps -e lists the host's processes"

    def _near(self, fd: int, nr: int) -> str:
        """What to say of a number that nobody has in a namespace: those nearest that somebody has."""
        pidns = self.host.identify(fd)
        numbers = (number for process in self.host.processes() for number in process.chain or ())
        used = sorted({number.nr for number in numbers if number.pidns == pidns}, key=lambda used: abs(used - nr))
        return f"nearest there: {', '.join(map(str, sorted(used[:_MAX_NEAR])))}" if used else ""


def not_permitted(what: str) -> NstraceError:
    """The error for what only root may see."""
    return NstraceError(f"{what} cannot be read", "run it with sudo", ExitCode.NOT_PERMITTED)
