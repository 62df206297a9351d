"""PROC as typed -> the living process that it means. Combines the host as it is now with what an engine reports."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from tracer.answers.inventory import running
from tracer.answers.translation import home
from tracer.containers.answers import container_of
from tracer.containers.messages import FoundContainer
from tracer.containers.names import Names
from tracer.containers.resolve_targets import NotThere, Resolved, choose, indistinct, resolve, unnumbered
from tracer.errors import ExitCode, NstraceError
from tracer.host import procfs
from tracer.host.census import take_census
from tracer.host.processes import Host
from tracer.host.procfs import LivingProcess
from tracer.stream.metadata import Container
from tracer.stream.pidns import Number
from tracer.system.privileges import more_rights
from tracer.text.hints import shown
from tracer.typed.descriptions import POD, is_uid, not_one_of_pod
from tracer.typed.processes import Proc, Space
from tracer.typed.targets import BY_DESCRIPTION, Target, TargetKind, parse_target, split_life

_MAX_NEAR = 8
_PID_DIGITS = 8  # one more than a PID has at most


class Match(NamedTuple):
    """A process that was found for a PROC. is_thread: the number is that of a thread of the process."""

    process: LivingProcess
    is_thread: bool


class Lookup:
    """Finds processes and PID namespaces. All methods raise NstraceError where there is none, or it cannot be read."""

    def __init__(self, names: Names | None = None) -> None:
        """names: None: for a process that ends after this, and needs names at once."""
        self.names = names or Names()
        if names is None:
            self.names.prepare()
        self.host = Host(self.names.describe, self.names.inits, self.names.init_tgid)

    def targets(self, texts: Iterable[str], *, waits: bool = False, names_later: bool = False) -> Resolved:
        """What TARGETs mean to a stream that begins now. waits: as for `resolve`. names_later: patterns are kept where
        an engine is silent that may yet answer."""
        check = (lambda _target: None) if names_later and self.names.may_come else self._check
        return resolve(tuple(map(parse_target, texts)), self._meant, check, procfs.pidns_inum, waits=waits)

    def targets_of_now(self, texts: Iterable[str]) -> tuple[Target, ...]:
        """What TARGETs mean now."""
        targets = self.targets(texts).targets
        for target in targets:
            if target.life not in (None, 1):
                raise unnumbered(target.text, target.value)
        return targets

    def _check(self, target: Target) -> None:
        """Raises NotThere where only an engine knows which containers a target means, and none answers; except for one
        that means a container of now by what its cgroup or the node says, for pods where the kubelet's logs are, and
        for the uid of a pod, which cgroups have."""
        is_pod = target.kind == TargetKind.POD and (self.names.has_logs or is_uid(target.value))
        if is_pod or self.names.is_there:
            return
        if not any(container.is_named and target.means((container,), ()) for container in self._by_cgroup().values()):
            assert self.names.error
            raise _not_there(self.names.error)

    def find(self, proc: Proc) -> Match:
        """The process that a PROC means."""
        if proc.space == Space.HOST:
            found = self.host.process(proc.nr)
            if found is None:
                raise _nobody(f"no process {proc.nr} on the host", lambda: self._elsewhere(proc.nr))
            return Match(found, found.tgid != proc.nr)
        with self.opened_pidns(proc.space, proc.where) as fd:
            found = self.host.inside(fd, proc.nr)
            if found is None:
                where = proc.text.rpartition("/")[0]
                raise _nobody(f"no process {proc.nr} in {where}", lambda: self._near(fd, proc.nr))
            return Match(found, Number(self.host.identify(fd), proc.nr) not in (found.chain or ()))

    @contextlib.contextmanager
    def opened_pidns(self, space: Space, where: str) -> Iterator[int]:
        """A descriptor of the PID namespace that the part of a PROC before the slash means."""
        someone = self._someone_in(space, where)
        with contextlib.ExitStack() as stack:
            try:
                fd = stack.enter_context(procfs.opened_pidns(someone.tgid))
            except PermissionError as error:
                raise not_permitted(f"the PID namespace of {where}") from error
            except OSError:
                fd = -1
            if fd < 0 or someone.chain is None or self.host.identify(fd) != someone.chain[-1].pidns:
                raise NstraceError(
                    f"{where} has just ended", "nstrace containers lists what is running", ExitCode.NO_TARGET
                )
            yield fd

    def _someone_in(self, space: Space, where: str) -> LivingProcess:
        """A process that is in the namespace itself, not in one nested in it."""
        if space == Space.CONTAINER:
            return self._first_of(self.container(where))
        if space == Space.PIDNS:
            return self._inside(int(where))
        return self.find(Proc(Space.HOST, "", int(where) if where else os.getpid(), where)).process

    def _inside(self, inum: int) -> LivingProcess:
        hidden = False
        for process in self.host.processes():
            if process.chain and process.chain[-1].pidns.inum == inum:
                return process
            hidden = hidden or process.chain is None
        if hidden:
            raise not_permitted("the PID namespaces of other users' processes")
        raise _nobody(f"no process in PID namespace {inum}", lambda: "lsns -t pid lists PID namespaces")

    def unmatched(self, targets: Iterable[Target]) -> list[str]:
        """The patterns among these targets that mean no running container, as typed; none where names come later."""
        if self.names.may_come:
            return []
        running = [container_of(found.id, found.description) for found in self.names.running()]
        patterns = [target for target in targets if target.kind in BY_DESCRIPTION]
        unmatched = [target for target in patterns if not any(target.means((one,), ()) for one in running)]
        if not unmatched:
            return []
        others = self._by_cgroup().values()
        return [target.text for target in unmatched if not any(target.means((one,), ()) for one in others)]

    def container(self, text: str) -> FoundContainer:
        """The one container with this name or id, also one that no engine knows but a cgroup path shows. name:NAME is
        never an id; web#1 is web as it is shown in its first life; pod:POD is the one of a pod."""
        if text.startswith(POD):
            return self._of_pod(text)
        name, life = split_life(text.removeprefix("name:"))
        if life not in (None, 1):
            raise unnumbered(text, name)
        kind = TargetKind.CALLED if text.startswith("name:") else TargetKind.NAME
        return self._meant(Target(kind, name, text))

    def _of_pod(self, text: str) -> FoundContainer:
        target = parse_target(text)
        self._check(target)
        found = [one for one in self._by_cgroup().values() if target.means((one,), ())]
        if len(found) != 1:
            raise not_one_of_pod(target.value, [one.label for one in found])
        return FoundContainer(found[0].id, found[0].label, found[0].image or "", True)

    def _meant(self, target: Target) -> FoundContainer:
        try:
            return self._container(target.value, is_name=target.kind == TargetKind.CALLED)
        except NstraceError as error:
            raise self._meant_otherwise(target.value) or error from error

    def _meant_otherwise(self, text: str) -> NstraceError | None:
        """The error for a word that names no container because it is something else."""
        if text.endswith(".arrows"):
            hint = (
                f"it looks like a recording: -w {text} writes it, nstrace replay {text} shows it, --from {text} asks it"
            )
            return NstraceError(f"no container named {text!r}", hint, ExitCode.NO_TARGET)
        process = self.host.process(int(text)) if text.isdecimal() and len(text) < _PID_DIGITS else None
        if process is None:
            return None
        owner = home(self.host.owners(process))
        where = owner.label if owner else "a PID namespace" if process.level else "the host's, with all processes"
        return NstraceError(
            f"no container named {text!r}; process {text} is running",
            f"did you mean pid:{text}? it is the PID namespace of that process: {where}",
            ExitCode.NO_TARGET,
        )

    def _container(self, text: str, *, is_name: bool = False) -> FoundContainer:
        found = [one for one in self.names.find(text) if not is_name or one.name == text]
        if found:
            return choose(text, found, self.names.all)
        cgroups = sorted(self._by_cgroup().values(), key=lambda one: one.id)
        by_cgroup = [FoundContainer(one.id, one.name or one.id, one.image or "", True) for one in cgroups]
        unknown = [one for one in by_cgroup if one.name == text]
        if not unknown and not is_name:
            ids = {one.id for one in cgroups if one.has_id(text)}
            unknown = [one for one in by_cgroup if one.id in ids]
        if not unknown and self.names.error:
            raise _without_engine(self.names.error, by_cgroup)
        return choose(text, unknown, self.names.all)

    def _by_cgroup(self) -> dict[str, Container]:
        """The containers that processes are in, by their cgroups: by id."""
        found = (self.host.cgroups_container(process) for process in self.host.processes())
        return {container.id: container for container in found if container}

    def _first_of(self, container: FoundContainer) -> LivingProcess:
        """Its first process: as `tracer.answers.inventory.running` has it. A process that the engine reports as first,
        that is number 1 in a namespace and in no other container's cgroup, is faster to find and the same."""
        tgid = self.names.init_tgid(container.id)
        process = self.host.process(tgid) if tgid else None
        if process and process.level and process.numbers[-1] == 1:
            own = self.host.cgroups_container(process)
            if (own is None and not self.host.refutes(container.id, process.tgid)) or (own and own.id == container.id):
                return process
        everyone = running(take_census(self.host), self.names.init_tgid)
        init = next((one.init for one in everyone if one.container and one.container.id == container.id), None)
        process = self.host.process(init.proc_id.tgid) if init else None
        if process is None:
            raise self._without_process(container)
        return process

    def _without_process(self, container: FoundContainer) -> NstraceError:
        name = container.name
        if not container.running:
            return NstraceError(f"{name} is not running", f"docker start {name}", ExitCode.NO_TARGET)
        return indistinct(name, self.names.init_tgid(container.id))

    def hidden(self, target: Target, found: Collection[str]) -> Iterator[NstraceError]:
        """An error for each running container that a target means and that is not among those found, by id: it has a
        process, but nothing shows that the process is the container's."""
        for container in self.names.running():
            if container.id not in found and target.means((container_of(container.id, container.description),), ()):
                tgid = self.names.init_tgid(container.id)
                process = self.host.process(tgid) if tgid else None
                own = self.host.container(process) if process else None
                if process and (own is None or own.id != container.id):  # else it began after the others were read
                    yield indistinct(container.name, tgid)

    def _elsewhere(self, nr: int) -> str:
        """A hint for a number that no process has on the host: the processes that have it inside."""
        found = []
        for process in self.host.processes():
            for level in range(1, len(process.numbers)):
                if process.numbers[level] == nr and process.chain:
                    owner = home(self.host.owners(process)[: level + 1])
                    found.append(f"{owner.label if owner else f'pidns:{process.chain[level].pidns.inum}'}/{nr}")
        return f"in containers: {shown(found)}" if found else "ps -e lists the host's processes"

    def _near(self, fd: int, nr: int) -> str:
        """A hint for a number that no process has in a namespace: the nearest numbers in use."""
        pidns = self.host.identify(fd)
        numbers = (number for process in self.host.processes() for number in process.chain or ())
        used = sorted({number.nr for number in numbers if number.pidns == pidns}, key=lambda used: abs(used - nr))
        return f"PIDs in use there: {', '.join(map(str, sorted(used[:_MAX_NEAR])))}" if used else ""


def _without_engine(error: NstraceError, by_cgroup: list[FoundContainer]) -> NotThere:
    """The error for what may be the name of a container where only cgroups say what runs."""
    if not by_cgroup:
        return _not_there(error)
    ids = shown([container_of(one.id, None).short_id for one in by_cgroup])
    hint = f"{error.hint}. By their ids: {ids}"
    return NotThere(error.message, hint, error.exit_code, error.detail)


def _not_there(error: NstraceError) -> NotThere:
    """An engine's error, as that of a target for which it may yet be waited."""
    return NotThere(error.message, error.hint, error.exit_code, error.detail)


def not_permitted(what: str) -> NstraceError:
    """The error for what only root may read."""
    return NstraceError(f"{what} cannot be read", more_rights("CAP_SYS_PTRACE"), ExitCode.NOT_PERMITTED)


def _nobody(message: str, hint: Callable[[], str]) -> NstraceError:
    """The error for a process that does not exist, as far as can be seen."""
    if procfs.hides_others():
        return not_permitted("other users' processes")
    return NstraceError(message, hint(), ExitCode.NO_TARGET)
