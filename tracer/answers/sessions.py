"""Who is in containers from outside: sessions of now, or of a recording, as `nstrace sessions` lists them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tracer.answers.census import Census, Entry
from tracer.stream.metadata import Container, ExecFact, Killer


@dataclass(frozen=True)
class Session:
    """One session. number: in its recording; None: of now. pids: of its first process, host first. kind, user, command,
    exec_id, asked_by: as in `SessionFact`. since_ns, ended_ns: by the wall clock; ended_ns None: it has not.

    exit_code, signal: how it ended; None: it has not, or that is not known. left: PIDs on the host of who outlived it;
    living: of all who live in it now, or at the moment.
    """

    number: int | None
    container: Container | None
    pids: tuple[int, ...]
    kind: str | None
    user: str | None
    command: tuple[str, ...] | None
    exec_id: str | None
    asked_by: Killer | None
    since_ns: int
    living: tuple[int, ...]
    ended_ns: int | None = None
    exit_code: int | None = None
    signal: str | None = None
    left: tuple[int, ...] = ()


def of_census(census: Census, execs: Iterable[ExecFact]) -> list[Session]:
    """The sessions of now, in order of their start. A first process is one that an engine reports as an exec, or one
    with a parent that has no number in its PID namespace, and that is not number 1 there."""
    known = {said.tgid: said for said in execs if said.tgid}
    return [_session(census, entry, known.get(entry.pid)) for entry in census if _is_root(census, entry, known)]


def _is_root(census: Census, entry: Entry, known: dict[int, ExecFact]) -> bool:
    if entry.is_zombie:
        return False
    said = known.get(entry.pid)
    if said and entry.container and entry.container.id == said.container_id:
        return True
    enters = entry.level > 0 and entry.ns_pid != 1 and entry.ns_ppid == 0 and _owns_namespace(census, entry)
    parent = census.parent(entry)
    return enters and not (parent and _is_inside(parent, entry))


def _owns_namespace(census: Census, entry: Entry) -> bool:
    """Whether number 1 of its PID namespace is of the same container: else it shares another's, and its parent says
    nothing."""
    first = next((one for one in census if one.pidns == entry.pidns and one.ns_pid == 1), None)
    return first is not None and _id(first.container) == _id(entry.container)


def _is_inside(parent: Entry, entry: Entry) -> bool:
    if entry.container:
        return _id(parent.container) == entry.container.id
    return parent.pidns in {number.pidns for number in entry.chain or ()}


def _id(container: Container | None) -> str | None:
    return container.id if container else None


def _session(census: Census, entry: Entry, said: ExecFact | None) -> Session:
    found = Session(
        number=None,
        container=entry.container,
        pids=entry.numbers,
        kind=None,
        user=None if entry.uid is None else str(entry.uid),
        command=None if entry.argv is None else tuple(entry.argv),
        exec_id=None,
        asked_by=None,
        since_ns=entry.started_ns,
        living=_below(census, entry),
    )
    if said is None:
        return found
    command = tuple(said.command) or found.command
    kind = "exec" if said.probes is None else None  # it has the command of a health check
    return replace(found, kind=kind, user=said.user or found.user, command=command, exec_id=said.exec_id)


def _below(census: Census, root: Entry) -> tuple[int, ...]:
    """The root, and all whose parents lead to it."""
    found = {root.proc_id}
    for entry in census:  # in the order of their start: parents come first
        if entry.parent in found:
            found.add(entry.proc_id)
    return tuple(sorted(proc_id.tgid for proc_id in found))
