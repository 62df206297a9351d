"""Facts about cgroups, containers and arguments: what the stream, the engine and /proc share. Pure, and light."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

RUNTIME_COMM = b"runc:["  # runc:[0:PARENT], [1:CHILD], [2:INIT]: between the host and a container
RUNTIME_EXE = b"/proc/"  # runc runs itself again by a path below it

SHORT_DIGITS = 12
_ID = re.compile("[0-9a-f]{64}")
_ENGINES = ("docker", "podman")
_WORDS = ("host", "all")  # as TARGETs: a container of such a name is shown, and reached, by its id


class Pod(msgspec.Struct, frozen=True, omit_defaults=True):
    """The Kubernetes pod of a container. uid: as the API has it. name, namespace, container (what the pod calls the
    container): None where the node does not say them."""

    uid: str
    name: str | None = None
    namespace: str | None = None
    container: str | None = None


class Container(msgspec.Struct, frozen=True, omit_defaults=True):
    """A container as the stream knows it. id: 64 hex digits; where its runtime gives it a name alone (LXC, nspawn,
    ctr), the path of its own cgroup: several may have the same name. name, image, image_id (64 hex digits) and labels
    are None or {} where no engine reports them; engine is the one that does: docker, podman, or podman:1000 for that of
    a user; where none does, what has named it on the node: kubelet (its folders of logs), crictl, ctr, machinectl, lxc,
    incus. task: the id of its task, of Amazon's ECS. digits: so many of the id distinguish it from others.
    is_called_by_id: it is shown by its id, for its name is that of another container, which it cannot be a later life
    of. earlier: names that it had before in this life; it was renamed.

    incarnation counts, from 1, the lives (start to stop) that were shown by this name since the trace began: another
    container that gets the name later continues the count. 0: it has not lived yet.
    """

    id: str
    runtime: str
    name: str | None = None
    image: str | None = None
    labels: dict[str, str] = {}
    incarnation: int = 1
    engine: str | None = None
    pod: Pod | None = None
    task: str | None = None
    digits: int = SHORT_DIGITS
    image_id: str | None = None
    earlier: list[str] = []
    is_called_by_id: bool = False

    @property
    def short_id(self) -> str:
        """The first digits, 12 unless another container has the same; an id that is a path is whole."""
        return self.id if self.id_is_path else self.id[: self.digits]

    @property
    def id_is_path(self) -> bool:
        """Whether its runtime gives it a name alone (LXC, nspawn, ctr): its id is the path of its own cgroup. In
        recordings of before it is the name."""
        return _ID.fullmatch(self.id) is None

    def has_id(self, text: str) -> bool:
        """Whether a text is its id, or the beginning of one of 64 digits."""
        return self.id == text if self.id_is_path else bool(text) and self.id.startswith(text)

    @property
    def has_engine(self) -> bool:
        """Whether an engine reports it, which has its state and its first process, and not a node alone."""
        return self.engine is not None and self.engine.partition(":")[0] in _ENGINES

    @property
    def is_named(self) -> bool:
        """Whether it is known how people call it."""
        return self.name is not None or self.id_is_path

    @property
    def label(self) -> str:
        """What the column CONTAINER shows: name, else the short id; web#2 for a second life. Unique in a stream."""
        shown = self.name or self.short_id
        if shown in _WORDS or self.is_called_by_id:
            shown = f"{self.runtime}:{self.id}" if self.id in _WORDS else self.short_id
        return shown if self.incarnation <= 1 else f"{shown}#{self.incarnation}"


class CgroupName(NamedTuple):
    """One cgroup as the kernel reports it. parent_id: 0 at the root of its hierarchy. maker: who may make cgroups in
    the parent, and so decides what they are called: a user; 0: root alone; above 32 bits: several may."""

    cgroup_id: int
    parent_id: int
    name: str
    maker: int = 0


class Inner(msgspec.Struct, frozen=True, omit_defaults=True):
    """A container that a cgroup's path names where not root alone may make cgroups: it counts for processes in a PID
    namespace that began below its own cgroup, root (an id). within: the own cgroup of the container around it, in whose
    namespace that one has to be; 0: there is none around it."""

    root: int
    container: Container
    within: int = 0


class CgroupFact(msgspec.Struct, frozen=True):
    """What a cgroup id stands for: its path in the hierarchy, and the container that it belongs to.

    pending: an engine that did not answer may yet report that this is one of its containers, or the container's name.
    root: the id of the container's own cgroup, this one or one above it; 0: not recorded. inner: containers below it,
    or in a user's cgroups, outermost first (`tracer.stream.membership`).
    """

    path: str
    container: Container | None = None
    pending: bool = False
    root: int = 0
    inner: tuple[Inner, ...] = ()

    @property
    def is_named(self) -> bool:
        """Whether it says of each of its containers how people call it."""
        containers = [self.container] if self.container else []
        containers += [inner.container for inner in self.inner]
        return bool(containers) and all(container.is_named for container in containers)


class Killer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who sent the signal that ended a process: a process, or the kernel in its own name.

    pid, pids, comm, container: of the sender, as in the columns of these names; None where it is not known. kernel:
    the kernel sent it of its own accord; then pid and so on name whom that came from: who asked for memory, the first
    process of a namespace or the parent that ended. reason: why it did, where that is certain, such as "oom" or
    "pidns_ended". proc_id: the sender's identity.
    """

    pid: int | None = None
    pids: list[int] | None = None
    comm: str | None = None
    container: str | None = None
    kernel: bool = False
    reason: str | None = None
    proc_id: str | None = None


class SignalSent(msgspec.Struct, frozen=True):
    """A signal that an engine says it has sent to a container. time_ns: CLOCK_BOOTTIME, as far as the engine's clock is
    the host's."""

    signal: str
    time_ns: int


class LifeFact(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happened to a container: the payload of a CONTAINER row. What is None is not known, or not of this action.

    action: created, started, paused, unpaused, renamed, oom, stopped, restarting, health, removed. said_by: "kernel"
    where kernel facts show it, "engine" where only an engine says so. doubt: how the two differ, a sentence.
    processes: of an end, how many processes died with the container's first one; first_pid: that one's PID.
    signals: what an engine says that it had sent before. oom: of an end, whether the OOM killer has ended any process
    of this life; victim, victim_pid: name and PID on the host of the one that it has just ended.
    """

    action: str
    container: Container
    said_by: str = "kernel"
    exit_code: int | None = None
    signal: str | None = None
    oom: bool | None = None
    killed_by: Killer | None = None
    duration_ns: int | None = None
    processes: int | None = None
    signals: list[SignalSent] | None = None
    victim: str | None = None
    victim_pid: int | None = None
    first_pid: int | None = None
    old_name: str | None = None
    health: str | None = None
    doubt: str | None = None


NEVER_RAN = "its command was never run: that is how the process of its runtime ended"
"""The doubt of an end."""


class SessionFact(msgspec.Struct, frozen=True, omit_defaults=True):
    """Processes that came into a container from outside, and all below them: the payload of a SESSION row.

    number: counts from 1 in a stream. action: began, described (an engine has said more of it), ended. kind: exec,
    health, enter (nsenter and the like), or None where it is not known. since_ns: CLOCK_BOOTTIME. pids: of its first
    process. left: PIDs on the host of what outlives it.
    """

    number: int
    action: str
    container: Container | None
    since_ns: int
    pids: list[int]
    kind: str | None = None
    user: str | None = None
    command: list[str] | None = None
    exec_id: str | None = None
    asked_by: Killer | None = None
    exit_code: int | None = None
    signal: str | None = None
    duration_ns: int | None = None
    left: list[int] | None = None


class EngineEvent(msgspec.Struct, frozen=True):
    """What an engine says has happened to a container: a hint, late and perhaps lost.

    action: in docker's words: create, start, restart, die, kill, stop, oom, pause, unpause, rename, destroy,
    health_status, exec_create, exec_start, exec_die. time_ns: by the wall clock. attributes: exitCode, signal, execID,
    oldName and the like, bounded. labels: of the container, where it begins or ends.
    """

    container_id: str
    action: str
    time_ns: int
    engine: str
    name: str | None
    image: str | None
    attributes: dict[str, str]
    labels: dict[str, str] = {}


class ExecFact(msgspec.Struct, frozen=True):
    """What an engine says of a process that it has brought into a container (docker exec). tgid: its PID on the host;
    None: it has not begun. user: as it was asked for; "": the image's. exit_code: None: it runs. probes: where it may
    be a health check, for it has the command of one: from when to when the last ones ran, by the wall clock."""

    exec_id: str
    container_id: str
    tgid: int | None
    user: str
    command: list[str]
    exit_code: int | None = None
    probes: list[tuple[int, int]] | None = None


def pad_args(args: Iterable[bytes]) -> bytes:
    """An argument vector as the kernel keeps it: every argument ended by a NUL."""
    return b"".join(arg + b"\0" for arg in args)


def split_args(raw: bytes) -> list[bytes]:
    """The argument vector of NUL-ended raw bytes; a truncated last argument is kept."""
    if not raw:
        return []
    parts = raw.split(b"\0")
    if raw.endswith(b"\0"):
        parts.pop()
    return parts


def first_args(raw: bytes, most: int) -> tuple[list[bytes], bool]:
    """As `split_args`, but no more than this many arguments; and whether there are more: a megabyte of NULs is a
    million arguments."""
    if not raw:
        return [], False
    parts = raw.split(b"\0", most)
    rest = parts.pop() if len(parts) > most or raw.endswith(b"\0") else b""
    return parts, bool(rest)
