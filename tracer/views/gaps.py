"""Gaps of one burst as one line of text. Pure.

Where the ring overflows, losses and events take turns: hundreds of gaps of one or two events each within some
milliseconds. Text folds them: they are collected until the burst is over, by the times of the rows alone, so that live
and replay give the same lines however their batches were cut. JSON and recordings have every gap in its place, and so
has text those that are not of the ring: they have no CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.text.counted import counted

QUIET_NS = 100_000_000
"""A burst is over when no gap follows within this time,"""
MOST_NS = 1_000_000_000
"""or so long after its first gap."""


@dataclass
class Gaps:
    """What gaps of one container have in common. since_ns: None: from the start of the stream. cpus: none: not known.
    throttled: how many of the lost events were kept out for the sake of others; only_throttled: all were."""

    since_ns: int | None
    until_ns: int
    lost: int = 0
    throttled: int = 0
    only_throttled: bool = False
    cpus: set[int] = field(default_factory=set)

    def add(self, other: Gaps) -> None:
        """Make these gaps one."""
        known = None not in (self.since_ns, other.since_ns)
        self.since_ns = min(self.since_ns or 0, other.since_ns or 0) if known else None
        self.until_ns = max(self.until_ns, other.until_ns)
        self.lost += other.lost
        self.throttled += other.throttled
        self.only_throttled &= other.only_throttled
        self.cpus |= other.cpus

    @property
    def what(self) -> str:
        """How many events are missing, and on which CPUs."""
        lost = f"lost {counted(self.lost, 'event')}" if self.lost else "events are missing"
        return lost + _on_cpus(self.cpus)

    @property
    def why(self) -> str:
        """How many of them were throttled, with a blank ahead; "" where none was."""
        if self.only_throttled:
            return " (throttled)"
        return f" ({self.throttled} throttled)" if self.throttled else ""


class Burst:
    """The gaps of the burst that is not over, by the label of their container."""

    def __init__(self) -> None:
        self._by_label: dict[str, Gaps] = {}
        self._first_ns = self._last_ns = 0

    def __len__(self) -> int:
        return len(self._by_label)

    def end_in(self, ts_ns: NDArray[Any]) -> int | None:
        """The index of the first of these times (ns, shape (n,)) with which the burst is over; None: it goes on."""
        if not self._by_label or not len(ts_ns):
            return None
        times = ts_ns.astype(np.int64)
        is_far = (np.abs(times - self._last_ns) > QUIET_NS) | (times - self._first_ns > MOST_NS)
        at = int(is_far.argmax())
        return at if is_far[at] else None

    def add(self, label: str, gaps: Gaps) -> None:
        """Add gaps that belong to it."""
        if not self._by_label:
            self._first_ns = gaps.until_ns
        self._last_ns = gaps.until_ns
        if label in self._by_label:
            self._by_label[label].add(gaps)
        else:
            self._by_label[label] = gaps

    def take(self) -> list[tuple[str, Gaps]]:
        """End it: the gaps of each label, in the order of their first ones."""
        gaps, self._by_label = list(self._by_label.items()), {}
        return gaps


def _on_cpus(cpus: set[int]) -> str:
    """The CPUs, with a blank ahead: " on CPU 3", " on CPUs 0-3,7"; "" where there is none."""
    known = sorted(cpus)
    if len(known) < 2:
        return f" on CPU {known[0]}" if known else ""
    cuts = [0, *(at for at, (a, b) in enumerate(pairwise(known), 1) if b != a + 1), len(known)]
    ranges = [known[begin:end] for begin, end in pairwise(cuts)]
    return " on CPUs " + ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in ranges)
