"""verify's readings: one fact from as many sources as there are. Combines /proc, ioctls, the view from inside, the
engine and the table of a running trace."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from tracer.answers.census import Census, Entry
from tracer.answers.inventory import running
from tracer.answers.verification import Finding, Member, Reading, Source, findings
from tracer.host import nsfs, procfs
from tracer.host.census import take_census
from tracer.host.lookup import Lookup
from tracer.kernel.inside import numbers_inside
from tracer.pidns import INITIAL_PIDNS, PidnsId
from tracer.table import Table
from tracer.targets import Target
from tracer.views.table import place


class Verifier:
    """Reads all sources of what the targets mean. table: what eBPF events have built, None: without."""

    def __init__(self, lookup: Lookup, targets: tuple[Target, ...], table: Table | None) -> None:
        self._lookup, self._targets, self._table = lookup, targets, table

    def read(self) -> list[Finding]:
        """Everything once: what there is to say of every process in each of its namespaces."""
        events = _numbers_of_events(self._table) if self._table else None
        census = take_census(self._lookup.host)
        shown = [entry for entry in census if any(entry.is_meant(target) for target in self._targets)]
        inits = self._inits(census)
        found = []
        for pidns, entries in _by_pidns(shown).items():
            members = {entry.proc_id.tgid: _member(entry, inits) for entry in entries}
            numbers = {Source.STATUS: {entry.proc_id.tgid: _number(entry, pidns) for entry in entries}}
            try:
                with _opened(entries, pidns) as fd:
                    numbers |= _asked(fd, members, max(numbers[Source.STATUS].values()))
            except (FileNotFoundError, ProcessLookupError):
                continue  # the namespace has ended
            if events is not None:
                numbers[Source.EVENTS] = events.get(pidns.inum, {})
            others = {entry.proc_id.tgid for entry in census if _is_in(entry, pidns)} - set(members)
            numbers = {source: _without(told, others) for source, told in numbers.items()}
            found += findings(Reading(pidns.inum, members, numbers))
        return found

    def _inits(self, census: Census) -> dict[int, int]:
        """For the first process of each container, what the engine has for it."""
        inits: dict[int, int] = {}
        for one in running(census, self._lookup.names.init_tgid):
            container = one.container
            if container is None or container.name is None:  # no engine knows it: it would take the id for a name
                continue
            if any(one.init.is_meant(target) for target in self._targets):
                told = self._lookup.names.init_tgid(container.id)
                inits |= {one.init.proc_id.tgid: told} if told else {}
        return inits


def _by_pidns(entries: list[Entry]) -> dict[PidnsId, list[Entry]]:
    """Who is in which namespace. The host's is of interest for those alone who have no other."""
    found: dict[PidnsId, list[Entry]] = {}
    for entry in entries:
        if entry.level == 0 and not procfs.is_ours_to_see(entry.proc_id.tgid):
            continue  # a hardened kernel hides it from the events' list of processes too
        for number in (entry.chain or ())[min(1, entry.level) :]:
            found.setdefault(number.pidns, []).append(entry)
    return found


def _member(entry: Entry, inits: Mapping[int, int]) -> Member:
    return Member(entry.proc_id, place(entry), entry.container, entry.is_zombie, inits.get(entry.proc_id.tgid))


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


def _asked(fd: int, members: Mapping[int, Member], highest: int) -> dict[Source, dict[int, int]]:
    told = {Source.INSIDE: numbers_inside(fd, highest)}
    with contextlib.suppress(nsfs.NotTranslated):
        asked = {tgid: nsfs.number_in(fd, tgid) for tgid in members}
        told[Source.IOCTL] = {tgid: nr for tgid, nr in asked.items() if nr is not None}
    return told


def _numbers_of_events(table: Table) -> dict[int, dict[int, int]]:
    found: dict[int, dict[int, int]] = {}
    for process in table.living():
        for number in process.chain:
            found.setdefault(number.pidns.inum, {})[process.proc_id.tgid] = number.nr
    return found
