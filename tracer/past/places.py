"""Which PID namespaces a name means at which time: a container can be renamed, and another get its name. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from tracer.past.gaps import NEVER_NS
from tracer.stream.attribution import Attribution
from tracer.stream.metadata import Container
from tracer.stream.pidns import PidnsId
from tracer.typed.descriptions import names_of

ALWAYS = (-NEVER_NS, NEVER_NS)


class Place(NamedTuple):
    """A PID namespace that is meant from a moment up to another one (boottime, ns; this one left out)."""

    pidns: PidnsId
    since_ns: int = ALWAYS[0]
    until_ns: int = ALWAYS[1]


def named_places(name: str, homes: Collection[tuple[PidnsId, Container]], attribution: Attribution) -> list[Place]:
    """The namespaces of all containers that have this name or had it earlier, each for the time in which its container
    was called so. In a time in which none was, all of them count: a rename takes no process away. homes: of each life
    of a container the namespace that its numbers count in."""
    meant = [(pidns, _times(name, container, attribution)) for pidns, container in homes if name in names_of(container)]
    cuts = sorted({*ALWAYS, *itertools.chain.from_iterable(time for _pidns, times in meant for time in times)})
    counting: dict[PidnsId, list[tuple[int, int]]] = {pidns: [] for pidns, _times in meant}
    for since_ns, until_ns in itertools.pairwise(cuts):
        had = {pidns for pidns, times in meant if any(since <= since_ns < until for since, until in times)}
        for pidns in had or counting:
            counting[pidns].append((since_ns, until_ns))
    return [Place(pidns, *time) for pidns, times in counting.items() for time in _joined(times)]


def as_called(container: Container, moment_ns: int, attribution: Attribution) -> Container:
    """The container without the names that it had no more at a moment."""
    if not container.earlier:
        return container
    kept = [name for name in container.earlier if _renamed_ns(container, name, attribution) > moment_ns]
    return msgspec.structs.replace(container, earlier=kept)


def _times(name: str, container: Container, attribution: Attribution) -> list[tuple[int, int]]:
    """From when to when a container had a name."""
    names = [*container.earlier, names_of(container)[0]]
    ends = [_renamed_ns(container, one, attribution) for one in container.earlier]
    begins = itertools.chain([ALWAYS[0]], ends)
    times = zip(names, begins, [*ends, ALWAYS[1]], strict=True)
    return [(since_ns, until_ns) for one, since_ns, until_ns in times if one == name]


def _renamed_ns(container: Container, name: str, attribution: Attribution) -> int:
    told_ns = attribution.renamed_ns(container, name)
    return ALWAYS[0] if told_ns is None else told_ns


def _joined(times: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same times, those that meet as one."""
    joined: list[tuple[int, int]] = []
    for since_ns, until_ns in times:
        if joined and joined[-1][1] == since_ns:
            joined[-1] = joined[-1][0], until_ns
        else:
            joined.append((since_ns, until_ns))
    return joined
