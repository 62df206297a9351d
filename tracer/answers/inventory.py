"""What runs on a host: containers, and PID namespaces that belong to none, found in a census alone. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracer.answers.census import Census, Entry
from tracer.stream.metadata import RUNTIME_COMM, Container
from tracer.stream.pidns import PidnsId
from tracer.text.escape import safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True, repr=False)
class Running:
    """A container, or a PID namespace that no container began (container: None): what `tracer.containers` lists.

    init: its first process: number 1 in its namespace, or where the namespace is another container's, its first in it.
    processes: how many there are in it.
    """

    container: Container | None
    init: Entry
    processes: int

    def __repr__(self) -> str:
        what = f"container {safe_text(self.container.label)}" if self.container else f"pidns:{self._inum()}"
        count = "1 process" if self.processes == 1 else f"{self.processes} processes"
        return f"<{what}: init {'>'.join(map(str, self.init.numbers))}, {count}>"

    def _inum(self) -> str:
        return str(self.pidns.inum) if self.pidns else "?"

    @property
    def name(self) -> str | None:
        """The container's name; None: it has none, or no engine reports it."""
        return self.container.name if self.container else None

    @property
    def id(self) -> str | None:
        """The container's id; None: a PID namespace that no container began."""
        return self.container.id if self.container else None

    @property
    def image(self) -> str | None:
        """The container's image; None where no engine reports it."""
        return self.container.image if self.container else None

    @property
    def runtime(self) -> str | None:
        """What runs the container: docker, podman, ..."""
        return self.container.runtime if self.container else None

    @property
    def engine(self) -> str | None:
        """The engine that reports its name: docker, podman, podman:1000 (that of a user); None: none does."""
        return self.container.engine if self.container else None

    @property
    def labels(self) -> Mapping[str, str]:
        """The container's labels, {} where no engine reports them."""
        return self.container.labels if self.container else {}

    @property
    def since(self) -> datetime:
        """When its first process was started, in UTC."""
        return self.init.started

    @property
    def level(self) -> int:
        """The nesting depth of its PID namespace; 0: the host's."""
        return self.init.level

    @property
    def pidns(self) -> PidnsId | None:
        """Its PID namespace; None: it cannot be read."""
        return self.init.pidns


InitOf = Callable[[str], int | None]
"""Id of a container -> host PID of its first process, as the engine reports it; None: no engine reports one."""


def running(census: Census, init_of: InitOf = lambda _id: None) -> list[Running]:
    """Everything that has a process now, containers first, each kind in order of its start."""
    members: dict[object, list[Entry]] = {}
    for entry in census:
        if (key := _key(census, entry)) is not None:
            members.setdefault(key, []).append(entry)
    found = [Running(entries[0].container, _init(entries, init_of), len(entries)) for entries in members.values()]
    return sorted(found, key=lambda one: (one.container is None, one.init.proc_id.start_ns, one.init.numbers))


def _key(census: Census, entry: Entry) -> object:
    """What a process belongs to, a container or a namespace; None: the host."""
    if entry.container:
        return entry.container.id, entry.container.label
    if entry.level == 0:
        return None
    return entry.pidns or _first_hidden(census, entry).proc_id


def _first_hidden(census: Census, entry: Entry) -> Entry:
    """Where namespaces cannot be read: the oldest ancestor of the same depth, as it seems in the same namespace."""
    while (parent := census.parent(entry)) and parent.level == entry.level and parent.started_ns < entry.started_ns:
        entry = parent
    return entry


def _init(entries: Sequence[Entry], init_of: InitOf) -> Entry:
    """The first process of a container or namespace. entries: its members in the order of their start. It is the member
    whose parent is outside, as number 1 of a namespace. Where there is none (the container shares another's namespace)
    or several, the engine knows; else it is the outermost, or the oldest that came from outside: docker exec and
    nsenter come later, but a host process that was moved into the cgroup may be older."""
    ids = {entry.proc_id for entry in entries}
    outsiders = [entry for entry in entries if entry.parent not in ids]
    firsts = [entry for entry in outsiders if entry.level and entry.numbers[-1] == 1]
    container = entries[0].container
    if container and len(firsts) != 1:
        reported = init_of(container.id)
        if found := next((entry for entry in entries if entry.numbers[0] == reported), None):
            return found
    if firsts:
        return min(firsts, key=lambda entry: entry.level)
    settled = [entry for entry in outsiders if not entry.comm.startswith(RUNTIME_COMM)]
    return (settled or outsiders or entries)[0]
