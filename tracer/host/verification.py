"""verify's readings: one fact from as many sources as there are. Combines /proc, ioctls, the view from inside, the
engine and the table of a running trace."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from tracer.answers.census import Census, Entry
from tracer.answers.inventory import running
from tracer.answers.verification import ENGINE, Compared, Reading, Round, Unanswered, Witness, findings
from tracer.errors import NstraceError
from tracer.host import nsfs, procfs
from tracer.host.census import take_census
from tracer.host.inside_operations import Inside, opened_namespace
from tracer.host.lookup import Lookup, not_permitted
from tracer.stream.pidns import PidnsId
from tracer.stream.table import Table
from tracer.typed.targets import Target
from tracer.views.table import place


class Verifier:
    """Reads from all sources what the targets mean. inside: who looks from inside. table: what eBPF events have built,
    None: without events."""

    def __init__(self, lookup: Lookup, targets: tuple[Target, ...], inside: Inside, table: Table | None) -> None:
        self._lookup, self._targets, self._inside, self._table = lookup, targets, inside, table
        self._no_view: dict[PidnsId, NstraceError] = {}
        self._unanswered: list[Unanswered] = []  # in the reading that is being made

    def read(self) -> Round:
        """One reading: what each source reports of every process in each of its namespaces, and which do not answer."""
        events = _numbers_of_events(self._table) if self._table else None
        census = take_census(self._lookup.host)
        shown = [entry for entry in census if any(entry.is_meant(target) for target in self._targets)]
        self._unanswered = _hidden(shown)
        engine = self._ask_engine(census)
        found = []
        for pidns, entries in _by_pidns(shown).items():
            members = {entry.proc_id.tgid: _member(entry, engine, census) for entry in entries}
            numbers = {Witness.STATUS: {entry.proc_id.tgid: _number(entry, pidns) for entry in entries}}
            try:
                numbers |= self._ask_namespace(pidns, entries)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
            if events is not None:
                numbers[Witness.EVENTS] = events.get(pidns.inum, {})
            others = {entry.proc_id.tgid for entry in census if _is_in(entry, pidns)} - set(members)
            numbers = {source: _without(known, others) for source, known in numbers.items()}
            failed = frozenset({Witness.INSIDE} - set(numbers))
            found += findings(Reading(pidns.inum, members, numbers, failed))
        return Round(found, self._unanswered)

    def _ask_namespace(self, pidns: PidnsId, entries: list[Entry]) -> dict[Witness, dict[int, int]]:
        """What the namespace itself reports of its processes, as far as it does. Raises OSError where it has ended."""
        highest = max(_number(entry, pidns) for entry in entries)
        someone = min(entries, key=lambda entry: entry.level).proc_id.tgid
        with opened_namespace(someone, pidns.inum) as fd:
            found = _translated(fd, entries)
        if any(entry.is_zombie and _number(entry, pidns) == 1 for entry in entries):
            return found  # its first process has exited: nobody is born there any more who could look
        try:
            found[Witness.INSIDE] = self._look_inside(someone, pidns, highest)
        except NstraceError as error:
            self._unanswered.append(Unanswered(Witness.INSIDE, _name(entries, pidns), error))
        return found

    def _look_inside(self, someone: int, pidns: PidnsId, highest: int) -> dict[int, int]:
        """As `Inside.numbers`. What has ended one child of ours would end the next one too: it is not tried again."""
        if pidns not in self._no_view:
            try:
                return self._inside.numbers(someone, pidns.inum, highest)
            except NstraceError as error:
                self._no_view[pidns] = error
        raise self._no_view[pidns]

    def _ask_engine(self, census: Census) -> dict[int, int | None]:
        """For each container that the engine knows, host PID of its first process -> the engine's; None: no answer."""
        reported: dict[int, int | None] = {}
        for one in running(census, self._init_or_none):
            container = one.container
            if container is None or not container.has_engine:  # an engine would take the id for a name
                continue
            if any(one.init.is_meant(target) for target in self._targets):
                try:
                    reported[one.init.proc_id.tgid] = self._init_tgid(container.id)
                except NstraceError as error:
                    reported[one.init.proc_id.tgid] = None
                    self._unanswered.append(Unanswered(ENGINE, place(one.init), error))
        return reported

    def _init_tgid(self, container_id: str) -> int:
        """The host PID of a container's first process, as the engine reports it. Raises NstraceError where it reports
        none, or what can be none, or does not answer in time."""
        tgid = self._lookup.names.first_tgid(container_id)
        if tgid is None:
            raise NstraceError("the container engine says that it is not running", "docker ps lists running containers")
        return tgid

    def _init_or_none(self, container_id: str) -> int | None:
        with contextlib.suppress(NstraceError):
            return self._init_tgid(container_id)
        return None


def _hidden(shown: list[Entry]) -> list[Unanswered]:
    """Processes whose PID namespaces cannot be read: their numbers are not known."""
    if procfs.hides_others():
        return [Unanswered("PID", "other users' processes", not_permitted("other users' processes"))]
    count = sum(entry.chain is None for entry in shown)
    why = not_permitted("PID namespaces of other users' processes")
    return [Unanswered("PIDNS", f"{count} processes", why)] if count else []


def _by_pidns(entries: list[Entry]) -> dict[PidnsId, list[Entry]]:
    """The processes of each namespace. The host's has only those that are in no other."""
    found: dict[PidnsId, list[Entry]] = {}
    for entry in entries:
        if entry.level == 0 and not procfs.is_ours_to_see(entry.proc_id.tgid):
            continue  # a hardened kernel hides it from the events' list of processes too
        for number in (entry.chain or ())[min(1, entry.level) :]:
            found.setdefault(number.pidns, []).append(entry)
    return found


def _member(entry: Entry, engine: Mapping[int, int | None], census: Census) -> Compared:
    tgid = entry.proc_id.tgid
    reported = engine.get(tgid)
    failed = tgid in engine and reported is None
    whose = "" if reported in (None, tgid) else _whose(reported, entry, census)
    return Compared(entry.proc_id, place(entry), entry.container, entry.is_zombie, reported, failed, whose)


def _whose(reported: int | None, entry: Entry, census: Census) -> str:
    """What the kernel says of the PID that the engine reports in place of an entry's: its cgroup and PID namespace."""
    other = next((one for one in census if one.proc_id.tgid == reported), None)
    if other is None:
        return ", which no process has"
    if other.container != entry.container:
        return f", a process {f'in the cgroup of {place(other)}' if other.container else 'in no container'}"
    if other.pidns and entry.pidns and other.pidns != entry.pidns:
        return f", a process in PID namespace {other.pidns.inum}"
    return ""


def _name(entries: list[Entry], pidns: PidnsId) -> str:
    """How to show a namespace: by the container of the outermost process there."""
    return f"{place(min(entries, key=lambda entry: entry.level))} (PID namespace {pidns.inum})"


def _number(entry: Entry, pidns: PidnsId) -> int:
    return next(number.nr for number in entry.chain or () if number.pidns == pidns)


def _is_in(entry: Entry, pidns: PidnsId) -> bool:
    return any(number.pidns == pidns for number in entry.chain or ())


def _without(known: Mapping[int, int], others: set[int]) -> dict[int, int]:
    return {tgid: nr for tgid, nr in known.items() if tgid not in others}


def _translated(fd: int, entries: list[Entry]) -> dict[Witness, dict[int, int]]:
    """The numbers that the namespace's descriptor translates; empty where the kernel does not translate."""
    with contextlib.suppress(nsfs.NotTranslated):
        asked = {tgid: nsfs.number_in(fd, tgid) for tgid in (entry.proc_id.tgid for entry in entries)}
        return {Witness.IOCTL: {tgid: nr for tgid, nr in asked.items() if nr is not None}}
    return {}


def _numbers_of_events(table: Table) -> dict[int, dict[int, int]]:
    found: dict[int, dict[int, int]] = {}
    for process in table.living():
        for number in process.chain:
            found.setdefault(number.pidns.inum, {})[process.proc_id.tgid] = number.nr
    return found
