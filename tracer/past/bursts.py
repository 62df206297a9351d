"""Gaps that lie close together, as one place where events were lost. Pure.

Where the ring overflows, each CPU has gaps of its own, which overlap, and hundreds follow each other. Who looks for
what is missing goes from one such place to the next. The page of nstrace timeline has the same rule (gaps.js).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tracer.text.counted import counted

QUIET_NS, SHARE = 100_000_000, 100
"""A place ends where nothing is lost for this long, or for this part of the recording where that is longer."""


class Place(NamedTuple):
    """Events that were lost close together: how many, in how many gaps. Times are boottime, in ns."""

    since_ns: int
    until_ns: int
    lost: int
    gaps: int

    def __str__(self) -> str:
        lost = f"{counted(self.lost, 'event')} lost" if self.lost else "events are missing"
        return lost if self.gaps == 1 else f"{lost} in {self.gaps} gaps"


def places(gaps: Iterable[tuple[int, int, int]], span_ns: int) -> list[Place]:
    """The places in order of time. gaps: since when (0: not known), until when, and how many events; span_ns: how long
    the recording is."""
    quiet_ns = max(QUIET_NS, span_ns // SHARE)
    found: list[Place] = []
    for since_ns, until_ns, lost in sorted((since_ns or until_ns, until_ns, lost) for since_ns, until_ns, lost in gaps):
        last = found[-1] if found else None
        if last and since_ns - last.until_ns < quiet_ns:
            until_ns = max(last.until_ns, until_ns)
            found[-1] = Place(last.since_ns, until_ns, last.lost + lost, last.gaps + 1)
        else:
            found.append(Place(since_ns, until_ns, lost, 1))
    return found
