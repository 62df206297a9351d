"""Targets as typed -> targets as they are now: a name becomes a container's id, a PID becomes its namespace."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tracer.errors import ExitCode, NstraceError
from tracer.text.hints import near, shown
from tracer.typed.targets import BY_DESCRIPTION, BY_NAME, Target, TargetKind

if TYPE_CHECKING:
    from tracer.containers.messages import FoundContainer


_LONG_ID = re.compile("[0-9a-f]{12,64}")  # at least what engines show of one


@dataclass(frozen=True)
class Resolved:
    """Targets in the order in which they were typed. not_running: names of containers among them without processes;
    running: ids of the others. missing: why a target means nothing yet, a line each."""

    targets: tuple[Target, ...]
    not_running: tuple[str, ...]
    running: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class NotThere(NstraceError):
    """No container is, or may be, what a target means; one may come."""


def resolve(
    targets: tuple[Target, ...],
    find: Callable[[Target], FoundContainer],
    check: Callable[[Target], None],
    pidns_of: Callable[[int], int],
    *,
    waits: bool = False,
) -> Resolved:
    """Look up what the targets mean on this host.

    find: a target that is a name or an id -> the container. check: raises NstraceError where a target selects
    containers by what is not known of them. pidns_of: host PID -> inode number of its PID namespace. All of them raise
    NstraceError where there is no such thing. waits: keep names, by which a container may come that is not there yet.
    """
    resolved: list[Target] = []
    not_running: dict[str, None] = {}
    running: dict[str, None] = {}
    missing: dict[str, None] = {}
    for target in targets:
        try:
            if target.kind in BY_NAME:
                container = find(target)
                if container.running:
                    running[container.id] = None
                else:
                    not_running[container.name] = None
                target = _of_container(target, container, waits)
            elif target.kind == TargetKind.PID:
                target = Target(TargetKind.PIDNS, str(pidns_of(int(target.value))), target.text)
            elif target.kind in BY_DESCRIPTION:
                check(target)
        except NotThere as error:
            if not waits:
                raise
            missing[error.message] = None
            target = _awaited(target)
        resolved.append(target)
    return Resolved(tuple(resolved), tuple(not_running), tuple(running), tuple(missing))


def _of_container(target: Target, container: FoundContainer, waits: bool) -> Target:
    """A target that means the container that it was found to mean. One of its lives keeps the name, by which lives are
    counted: the next may be another container's; and so does a name that waits for others. An id is called so where no
    engine has named it."""
    if (waits or target.life is not None) and target.value == container.name != container.id:
        return replace(target, kind=TargetKind.CALLED)
    return replace(target, kind=TargetKind.ID, value=container.id)


def _awaited(target: Target) -> Target:
    """A target for a container that may come: a name that is also the beginning of an id means no such id. A path is an
    id."""
    if target.kind == TargetKind.NAME and "/" not in target.value and not _LONG_ID.fullmatch(target.value):
        return replace(target, kind=TargetKind.CALLED)
    return target


def choose(text: str, found: list[FoundContainer], everyone: Callable[[], list[FoundContainer]]) -> FoundContainer:
    """The one container in found that the user means. Raises NstraceError where there is none, or there are several.

    everyone: returns all containers, for the names in the hint.
    """
    if not found:
        raise NotThere(f"no container named {text!r}", _near(text, everyone()), ExitCode.NO_TARGET)
    if len(found) > 1 and all(container.name == text for container in found):
        ids = shown([container.id for container in found])
        raise NstraceError(f"{len(found)} containers are called {text!r}", f"give one's id: {ids}", ExitCode.NO_TARGET)
    if len(found) > 1:
        candidates = shown([f"{container.name} ({container.id[:12]})" for container in found])
        message = f"{text!r} is not the name of a container, and {len(found)} container ids begin with it"
        raise NstraceError(message, f"give a name or more of the id: {candidates}", ExitCode.NO_TARGET)
    return found[0]


def unnumbered(text: str, name: str) -> NstraceError:
    """The error for a life with a number where only what runs now is known."""
    return NstraceError(
        f"{text!r}: what runs now has no number: lives are counted from the beginning of a stream or a recording",
        f"the container of now is {name}; of a recording, --from FILE knows {text}",
        ExitCode.NO_TARGET,
    )


def indistinct(name: str, init_tgid: int | None) -> NstraceError:
    """The error for a running container whose processes look like others'. init_tgid: host PID of its first one."""
    if init_tgid is None:
        return NstraceError(
            f"the container engine says that {name} is running, but no process of it was found",
            "nstrace containers lists what is running",
        )
    return NstraceError(
        f"{name} runs as process {init_tgid}, in a cgroup and a PID namespace that are not its own:"
        " its processes cannot be distinguished from others",
        f"pid:{init_tgid} means all processes in that PID namespace",
        ExitCode.NO_TARGET,
    )


def refuted(name: str, init_tgid: int) -> str:
    """What to say where the kernel contradicts what the engine reports of a container's first process."""
    return (
        f"the container engine says that the first process of {name} is {init_tgid}, which is in none of the PID"
        " namespaces of that container's cgroup: ignored"
    )


def _near(text: str, everyone: list[FoundContainer]) -> str:
    running = sorted(container.name for container in everyone if container.running)
    asked = near(text, [container.name for container in everyone])
    return asked + (f"running: {shown(running)}" if running else "no container is running")
