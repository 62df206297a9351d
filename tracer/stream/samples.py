"""What a screen is told a few times a second: the messages, and two of them made one. Pure.

What a screen shows of a moment depends on that moment alone, not on when the screen was told: rates are of the time
WINDOW_NS before it, and whether a process is too brief to have a row of its own is decided by how long it lived.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tracer.stream.metadata import Container
from tracer.text.escape import safe_text

WINDOW_NS = 2_000_000_000
"""Rates are of what happened so long before the moment; a process that ended is shown for so long after it."""
BRIEF_NS = 500_000_000
"""A process that lived for less than this is counted, and has no row when it has ended."""
MAX_BRIEF, MAX_RAN, MAX_NOTES, MAX_OVER = 64, 20_000, 1000, 100

ProcKey = tuple[int, int]
"""PID on the host and start time: the identity of a process."""


class LaneFacts(msgspec.Struct, frozen=True, array_like=True):
    """A container's processes in one PID namespace. label: of the container, else what it is; title: with what tells it
    from other lanes of the container. spaces: that namespace and those around it, as (inode number, generation), the
    host's first. parent: the number of the lane around it; None: none."""

    number: int
    label: str
    title: str
    container: Container | None
    spaces: list[tuple[int, int]]
    parent: int | None

    @property
    def image(self) -> str:
        """The container's image; "": it is none, or not known."""
        return safe_text((self.container and self.container.image) or "")

    @property
    def level(self) -> int:
        """How deep the namespace is; 0: the host's."""
        return len(self.spaces) - 1

    @property
    def pidns(self) -> int:
        """The namespace's inode number."""
        return self.spaces[-1][0]


class Born(msgspec.Struct, frozen=True, array_like=True):
    """A process that has a row. pids: the host's first. parent: its identity as it began. uid: None: not known. args:
    what it runs, NUL-ended, b"": not known; is_cut: it had more of them. since_ns: when it began (CLOCK_BOOTTIME);
    was_there: before it could be followed."""

    key: ProcKey
    pids: list[int]
    lane: int
    parent: ProcKey
    uid: int | None
    comm: bytes
    exe: bytes
    args: bytes
    is_cut: bool
    since_ns: int
    was_there: bool


class Ran(msgspec.Struct, frozen=True, array_like=True):
    """An exec of a process that has a row, or a failed one: errno is not 0, exe what it tried."""

    key: ProcKey
    ts_ns: int
    uid: int | None
    comm: bytes
    exe: bytes
    args: bytes
    is_cut: bool
    errno: int


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """A process that had a row has ended. status: as wait(2) reports it; None: not reported."""

    key: ProcKey
    ts_ns: int
    status: int | None

    @property
    def is_brief(self) -> bool:
        """Whether it has lived too briefly to keep its row. Of an end that was not reported the time is not known."""
        return self.status is not None and self.ts_ns - self.key[1] < BRIEF_NS

    def is_over(self, now_ns: int) -> bool:
        """Whether it has no row at a moment any more."""
        return self.is_brief or self.ts_ns <= now_ns - WINDOW_NS


class Brief(msgspec.Struct, frozen=True, array_like=True):
    """Processes of one name that lived briefly, and ended in the time WINDOW_NS before the moment."""

    lane: int
    comm: bytes
    count: int
    failed: int


class Over(msgspec.Struct, frozen=True, array_like=True):
    """A process that never had a row, or lost it at its end: it may be a zombie, which no event tells."""

    born: Born
    ended: Ended


class Moved(msgspec.Struct, frozen=True, array_like=True):
    """A process that has a row is in another lane now."""

    key: ProcKey
    lane: int


class LaneCounts(msgspec.Struct, frozen=True, array_like=True):
    """What happened in a lane. recent: events in the time WINDOW_NS before the moment; failed, brief: since the sample
    before."""

    lane: int
    recent: int
    failed: int
    brief: int


class Loss(msgspec.Struct, frozen=True, array_like=True):
    """Events that were lost; of a container where label is not empty."""

    lost: int
    since_ns: int
    until_ns: int
    label: str


class Told(msgspec.Struct, frozen=True, array_like=True):
    """Something that happened to a container as a whole."""

    ts_ns: int
    label: str
    text: str


class Sample(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A moment, and what has changed since the sample before. now_ns: the moment (CLOCK_BOOTTIME). events: how many
    since then. living: how many processes live. brief: the most frequent ones. acts: of processes that live, how many
    forks and execs were theirs in the time WINDOW_NS before the moment. is_new: forget all that was said before.
    is_sure: no loss that has not been made up for. over: the last MAX_OVER of them."""

    now_ns: int
    events: int
    living: int
    lanes: list[LaneFacts]
    born: list[Born]
    ran: list[Ran]
    ended: list[Ended]
    brief: list[Brief]
    acts: list[tuple[int, int, int]]
    by_lane: list[LaneCounts]
    losses: list[Loss]
    told: list[Told]
    is_new: bool = False
    is_sure: bool = True
    over: list[Over] = []
    moved: list[Moved] = []


def merged(first: Sample, second: Sample) -> Sample:
    """Two samples, one after the other, as one: for a screen that was not ready for the first one. As large as what
    lives, not as the time that it takes."""
    if second.is_new:
        return second
    born = {one.key: one for one in [*first.born, *second.born]}
    ended = [*first.ended, *second.ended]
    over = {one.key: one for one in ended if one.key in born and one.is_over(second.now_ns)}
    lanes = {one.number: one for one in [*first.lanes, *second.lanes]}
    gone = [Over(born[key], one) for key, one in over.items()]
    return Sample(
        second.now_ns, first.events + second.events, second.living, list(lanes.values()),
        [one for one in born.values() if one.key not in over],
        [one for one in [*first.ran, *second.ran] if one.key not in over][-MAX_RAN:],
        [one for one in ended if one.key not in over],
        second.brief, second.acts, _added(first.by_lane, second.by_lane),
        [*first.losses, *second.losses][-MAX_NOTES:], [*first.told, *second.told][-MAX_NOTES:],
        first.is_new, second.is_sure, [*first.over, *second.over, *gone][-MAX_OVER:],
        list({one.key: one for one in [*first.moved, *second.moved] if one.key not in over}.values()),
    )  # fmt: skip


def _added(first: Sequence[LaneCounts], second: Sequence[LaneCounts]) -> list[LaneCounts]:
    sums = {one.lane: LaneCounts(one.lane, 0, one.failed, one.brief) for one in first}
    for one in second:
        before = sums.get(one.lane) or LaneCounts(one.lane, 0, 0, 0)
        sums[one.lane] = LaneCounts(one.lane, one.recent, one.failed + before.failed, one.brief + before.brief)
    return list(sums.values())
