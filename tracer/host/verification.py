"""verify's readings: one fact from as many sources as there are. Combines /proc, ioctls, the view from inside, the
engine and the table of a running trace."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping

from tracer.answers.census import Census, Entry
from tracer.answers.inventory import running
from tracer.answers.verification import ENGINE, Compared, Reading, Round, Unanswered, Witness, findings
from tracer.errors import NstraceError
from tracer.host import nsfs, procfs
from tracer.host.census import take_census
from tracer.host.lookup import Lookup, not_permitted
from tracer.kernel.inside import numbers_inside
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId
from tracer.stream.table import Table
from tracer.typed.targets import Target
from tracer.views.table import place

_ENGINE_S = 2.0  # that we wait in vain, for all containers together


class Verifier:
    """Reads all sources of what the targets mean. table: what eBPF events have built, None: without."""

    def __init__(self, lookup: Lookup, targets: tuple[Target, ...], table: Table | None) -> None:
        self._lookup, self._targets, self._table = lookup, targets, table
        self._no_view: dict[PidnsId, NstraceError] = {}
        self._engine_waited_s = 0.0  # in vain
        self._unanswered: list[Unanswered] = []  # in the reading that is being made

    def read(self) -> Round:
        """Everything once: what there is to say of every process in each of its namespaces, and who did not say it."""
        events = _numbers_of_events(self._table) if self._table else None
        census = take_census(self._lookup.host)
        shown = [entry for entry in census if any(entry.is_meant(target) for target in self._targets)]
        self._unanswered = _hidden(shown)
        engine = self._ask_engine(census)
        found = []
        for pidns, entries in _by_pidns(shown).items():
            members = {entry.proc_id.tgid: _member(entry, engine) for entry in entries}
            numbers = {Witness.STATUS: {entry.proc_id.tgid: _number(entry, pidns) for entry in entries}}
            try:
                numbers |= self._ask_namespace(pidns, entries)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
            if events is not None:
                numbers[Witness.EVENTS] = events.get(pidns.inum, {})
            others = {entry.proc_id.tgid for entry in census if _is_in(entry, pidns)} - set(members)
            numbers = {source: _without(told, others) for source, told in numbers.items()}
            failed = frozenset({Witness.INSIDE} - set(numbers))
            found += findings(Reading(pidns.inum, members, numbers, failed))
        return Round(found, self._unanswered)

    def _ask_namespace(self, pidns: PidnsId, entries: list[Entry]) -> dict[Witness, dict[int, int]]:
        """What the namespace itself says of its processes, as far as it answers. Raises OSError where it has ended."""
        highest = max(_number(entry, pidns) for entry in entries)
        with _opened(entries, pidns) as fd:
            told = _translated(fd, entries)
            try:
                told[Witness.INSIDE] = self._look_inside(fd, pidns, highest)
            except NstraceError as error:
                self._unanswered.append(Unanswered(Witness.INSIDE, _name(entries, pidns), error))
        return told

    def _look_inside(self, fd: int, pidns: PidnsId, highest: int) -> dict[int, int]:
        """As `numbers_inside`. Whoever ended a child of ours ends the next one too: that is not tried again."""
        if pidns not in self._no_view:
            try:
                return numbers_inside(fd, highest)
            except NstraceError as error:
                self._no_view[pidns] = error
        raise self._no_view[pidns]

    def _ask_engine(self, census: Census) -> dict[int, int | None]:
        """For the first process of each container that the engine knows, what it has for it; None: no answer."""
        told: dict[int, int | None] = {}
        for one in running(census, self._init_or_none):
            container = one.container
            if container is None or container.name is None:  # no engine knows it: it would take the id for a name
                continue
            if any(one.init.is_meant(target) for target in self._targets):
                try:
                    told[one.init.proc_id.tgid] = self._init_tgid(container.id)
                except NstraceError as error:
                    told[one.init.proc_id.tgid] = None
                    self._unanswered.append(Unanswered(ENGINE, place(one.init), error))
        return told

    def _init_tgid(self, container_id: str) -> int:
        """The engine's word for the first process of a container. Raises NstraceError where it has none, or has kept us
        waiting for too long."""
        if self._engine_waited_s > _ENGINE_S:
            raise NstraceError("the container engine does not answer in time")
        began = time.monotonic()
        try:
            tgid = self._lookup.names.require().init_tgid(container_id)
        except NstraceError:
            self._engine_waited_s += time.monotonic() - began
            raise
        if tgid is None:
            raise NstraceError("the container engine says that it is not running")
        return tgid

    def _init_or_none(self, container_id: str) -> int | None:
        with contextlib.suppress(NstraceError):
            return self._init_tgid(container_id)
        return None


def _hidden(shown: list[Entry]) -> list[Unanswered]:
    """Whose PID namespaces are not ours to see: nothing is known of them."""
    if procfs.hides_others():
        return [Unanswered("PID", "other users' processes", not_permitted("other users' processes"))]
    count = sum(entry.chain is None for entry in shown)
    why = not_permitted("PID namespaces of other users' processes")
    return [Unanswered("PIDNS", f"{count} processes", why)] if count else []


def _by_pidns(entries: list[Entry]) -> dict[PidnsId, list[Entry]]:
    """Who is in which namespace. The host's is of interest for those alone who have no other."""
    found: dict[PidnsId, list[Entry]] = {}
    for entry in entries:
        if entry.level == 0 and not procfs.is_ours_to_see(entry.proc_id.tgid):
            continue  # a hardened kernel hides it from the events' list of processes too
        for number in (entry.chain or ())[min(1, entry.level) :]:
            found.setdefault(number.pidns, []).append(entry)
    return found


def _member(entry: Entry, engine: Mapping[int, int | None]) -> Compared:
    tgid = entry.proc_id.tgid
    failed = tgid in engine and engine[tgid] is None
    return Compared(entry.proc_id, place(entry), entry.container, entry.is_zombie, engine.get(tgid), failed)


def _name(entries: list[Entry], pidns: PidnsId) -> str:
    """What to call a namespace: the container of the outermost process there."""
    return f"{place(min(entries, key=lambda entry: entry.level))} (PID namespace {pidns.inum})"


def _number(entry: Entry, pidns: PidnsId) -> int:
    return next(number.nr for number in entry.chain or () if number.pidns == pidns)


def _is_in(entry: Entry, pidns: PidnsId) -> bool:
    return any(number.pidns == pidns for number in entry.chain or ())


def _without(told: Mapping[int, int], others: set[int]) -> dict[int, int]:
    return {tgid: nr for tgid, nr in told.items() if tgid not in others}


@contextlib.contextmanager
def _opened(entries: list[Entry], pidns: PidnsId) -> Iterator[int]:
    """A descriptor of a namespace that these are in, or were until now: then ProcessLookupError."""
    if pidns == INITIAL_PIDNS:
        with procfs.opened_pidns(os.getpid()) as fd:
            yield fd
        return
    someone = min(entries, key=lambda entry: entry.level)
    with procfs.opened_pidns(someone.proc_id.tgid) as fd, nsfs.ancestry(fd) as around:
        found = next((one for one in around if nsfs.inum(one) == pidns.inum), None)
        if found is None:
            raise ProcessLookupError
        yield found


def _translated(fd: int, entries: list[Entry]) -> dict[Witness, dict[int, int]]:
    """What the namespace's descriptor says; nothing where the kernel does not translate."""
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
