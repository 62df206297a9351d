"""What runs on a host: containers, and PID namespaces that belong to none, found in a census alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracer.answers.census import Census, Entry
from tracer.facts import Container
from tracer.pidns import PidnsId


@dataclass(frozen=True, slots=True)
class Running:
    """A container, or a PID namespace that no container began (container: None).

    init: the first of its processes: number 1 in its namespace, or where it shares another's, the oldest.
    """

    container: Container | None
    init: Entry
    processes: int

    @property
    def pidns(self) -> PidnsId | None:
        """Its PID namespace; None: not ours to see."""
        return self.init.pidns


def running(census: Census) -> list[Running]:
    """Everything that has a process now, containers first, each kind in the order of its start."""
    members: dict[object, list[Entry]] = {}
    for entry in census:
        if (key := _key(census, entry)) is not None:
            members.setdefault(key, []).append(entry)
    found = [Running(entries[0].container, _init(census, entries), len(entries)) for entries in members.values()]
    return sorted(found, key=lambda one: (one.container is None, one.init.proc_id.start_ns, one.init.numbers))


def _key(census: Census, entry: Entry) -> object:
    """What a process is counted to; None: the host."""
    if entry.container:
        return entry.container.id, entry.container.incarnation
    if entry.level == 0:
        return None
    return entry.pidns or _first_hidden(census, entry).proc_id


def _first_hidden(census: Census, entry: Entry) -> Entry:
    """Where namespaces are not ours to see: the oldest ancestor that is as deep, so in the same one as far as one can
    tell."""
    while (parent := census.parent(entry)) and parent.level == entry.level and parent.started_ns < entry.started_ns:
        entry = parent
    return entry


def _init(census: Census, entries: Sequence[Entry]) -> Entry:
    """Number 1 of the outermost namespace. A container without one of its own: who did not come from its members."""
    firsts = [entry for entry in entries if entry.level and entry.numbers[-1] == 1]
    if firsts:
        return min(firsts, key=lambda entry: entry.level)
    ids = {entry.proc_id for entry in entries}
    return next((entry for entry in entries if entry.parent not in ids), entries[0])
