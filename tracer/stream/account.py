"""The account of a trace: what the programs counted, compared with what the reader received and reported. Pure.

A tracepoint's hit is one of: missed (the kernel does not run a program inside itself, or there was no room to note a
failed exec), filtered, failed (refused by the ring; throttled of these: kept out for the sake of others) or submitted.
What was submitted is delivered, and what failed is reported as a gap. When the programs are detached and the ring is
empty, all of it adds up, by CPU and kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracer.stream.losses import Loser, PairKey
from tracer.stream.schema import COUNTED_KINDS, COUNTER_SLOTS, Kind

_MAX_LOSERS = 32
MOST = 1 << 48
"""More than a CPU can count: a hundred million events a second for a month."""
_COLUMNS = ("filtered", "attempts", "submitted", "failed", "throttled")
_LINE_BYTES = 64  # of the cache
_FIELDS: dict[str, tuple[str, int]] = {
    **{"seq": ("<u8", 1), "look": ("<u4", 1), "since_look": ("<u4", 1), "unnoted": ("<u8", 1)},
    **dict.fromkeys(_COLUMNS, ("<u8", COUNTER_SLOTS)),
}
COUNTS = np.dtype(
    {
        "names": list(_FIELDS),
        "formats": [unit if count == 1 else (unit, count) for unit, count in _FIELDS.values()],
        "itemsize": -(-(24 + len(_COLUMNS) * COUNTER_SLOTS * 8) // _LINE_BYTES) * _LINE_BYTES,
    }
)
"""struct counts of bpf/nstrace.bpf.c: what one CPU has counted."""


@dataclass(frozen=True)
class Account:
    """counts: array of COUNTS, shape (cpus,). missed: hits for which no program ran, and failed execs that could not be
    noted. delivered: events that the reader received, shape (cpus, COUNTER_SLOTS). reported: losses that the stream has
    reported, shape (cpus,). losses: whose they were as the programs counted, as far as they had room. faults:
    impossible values that the reader has seen."""

    counts: NDArray[np.void]
    missed: int
    delivered: NDArray[np.int64]
    reported: NDArray[np.int64]
    losses: Mapping[Loser, int] = field(default_factory=dict)
    faults: Sequence[str] = ()

    def total(self, column: str, kind: Kind | None = None) -> int:
        """One counter, summed over all CPUs, of one kind or of all."""
        values = self.counts[column]
        return int(values.sum() if kind is None else values[:, kind].sum())

    def broken(self) -> list[str]:
        """What is impossible, whatever was lost, a line each: another program has written the counters, or the ring.
        The numbers mean nothing then. Call it when all is read."""
        wrong = list(self.faults)
        for name in _COLUMNS:
            for cpu in np.flatnonzero((self.counts[name] > MOST).any(axis=1)).tolist():
                wrong.append(f"CPU {cpu}: {name} is {self.counts[name][cpu].max()}")
        for cpu, kind in zip(*np.nonzero(self.delivered > self.counts["submitted"]), strict=True):
            submitted, delivered = self.counts["submitted"][cpu, kind], self.delivered[cpu, kind]
            wrong.append(f"CPU {cpu}, {_name(kind)}: {submitted} submitted, but {delivered} delivered")
        failed = self.counts["failed"].sum(axis=1)
        for cpu in np.flatnonzero(self.reported > failed).tolist():
            wrong.append(f"CPU {cpu}: {failed[cpu]} failed, but {self.reported[cpu]} reported as lost")
        return wrong

    def differences(self) -> list[str]:
        """What does not add up, a line each; call it when all is read. Empty: everything is accounted for."""
        counts = self.counts
        wrong = []
        for cpu, kind in zip(*np.nonzero(counts["attempts"] != counts["submitted"] + counts["failed"]), strict=True):
            row = counts[cpu]
            wrong.append(
                f"CPU {cpu}, {_name(kind)}: {row['attempts'][kind]} attempts, but {row['submitted'][kind]} submitted "
                f"and {row['failed'][kind]} failed"
            )
        for cpu, kind in zip(*np.nonzero(self.delivered != counts["submitted"]), strict=True):
            submitted, delivered = counts["submitted"][cpu, kind], self.delivered[cpu, kind]
            wrong.append(f"CPU {cpu}, {_name(kind)}: {submitted} submitted, but {delivered} delivered")
        for cpu in np.flatnonzero(self.reported != counts["failed"].sum(axis=1)).tolist():
            wrong.append(f"CPU {cpu}: {counts['failed'][cpu].sum()} failed, but {self.reported[cpu]} reported as lost")
        return wrong

    def line(self) -> str:
        """The account in one line of text."""
        parts = f"{self.total('submitted')} delivered + {self.total('failed')} lost + {self.total('filtered')} filtered"
        seen = self.total("attempts") + self.total("filtered") + self.missed
        throttled = f"; {self.total('throttled')} of those lost were throttled" if self.total("throttled") else ""
        return f"{seen} seen = {parts}" + (f" + {self.missed} missed" if self.missed else "") + throttled

    def lines(self) -> list[str]:
        """The account by kind, a line each, under a header."""
        header = f"{'':<12} {'seen':>12} {'filtered':>12} {'lost':>12} {'delivered':>12}"
        rows = [header]
        for kind in COUNTED_KINDS:
            filtered, failed, submitted = (self.total(name, kind) for name in ("filtered", "failed", "submitted"))
            seen = filtered + self.total("attempts", kind)
            if seen:
                rows.append(f"{_name(kind):<12} {seen:>12} {filtered:>12} {failed:>12} {submitted:>12}")
        return rows

    def lines_of_losers(self, name: Callable[[PairKey], str]) -> list[str]:
        """Whose losses, a line each, most losses first. name: of a pair; several pairs can belong to one container."""
        lost, throttled = Counter[str](), Counter[str]()
        for loser, count in self.losses.items():
            if loser.pair and count:
                (throttled if loser.throttled else lost)[name(loser.pair)] += count
        both = lost + throttled
        if rest := self.total("failed") - both.total():
            both["whom is not known"] = rest
        return [
            f"lost of {who}: {count}" + (f", {throttled[who]} of them throttled" if throttled[who] else "")
            for who, count in both.most_common(_MAX_LOSERS)
        ]


def _name(kind: int) -> str:
    known = kind in tuple(Kind)
    return Kind(kind).name.lower().replace("_", " ") if known else f"kind {kind}"
