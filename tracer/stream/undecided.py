"""Events that cannot be decided about yet: held until an engine reports whose they are, then shown or dropped. Pure.

Those of one container keep their order and their times; they come after what was shown of others meanwhile. Bounded: of
the oldest only the number is kept, and reported as a gap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.stream.attribution import reduce
from tracer.stream.batch import EVENT, Batch
from tracer.stream.losses import PairKey
from tracer.stream.repair import identities
from tracer.stream.schema import NO_CPU, Kind
from tracer.stream.selection import Selection

MAX_ROWS, MAX_HEAP_BYTES = 1 << 16, 1 << 24
_NO_PAIR: PairKey = (0, 0, 0)  # the pair is not known, for lack of room


class _GivenUp(NamedTuple):
    events: int
    since_ns: int
    until_ns: int


class Undecided:
    """Sorts the parts of a stream by what a selection has decided. rows: held now. lost: given up and reported as gaps.

    on_late: called with what was held, when it is shown.
    """

    def __init__(
        self,
        selection: Selection,
        on_late: Callable[[Batch], None] = lambda _batch: None,
        max_rows: int = MAX_ROWS,
        max_heap_bytes: int = MAX_HEAP_BYTES,
    ) -> None:
        self.rows = self.lost = 0
        self._selection, self._on_late = selection, on_late
        self._max_rows, self._max_heap_bytes = max_rows, max_heap_bytes
        self._parts: deque[Batch] = deque()
        self._heap_bytes = 0
        self._given_up: dict[PairKey, _GivenUp] = {}

    def take(
        self,
        part: Batch,
        shown: NDArray[np.bool_],
        waiting: NDArray[np.bool_],
        complete: Callable[[Batch], Batch] = lambda batch: batch,
    ) -> Iterator[Batch]:
        """What to show of a part of a batch (`Attribution.split_and_learn`): the rows where shown is true. Rows where
        waiting is true are held; complete: adds to them what cannot be found out later. Rows that the part's facts have
        decided come before the rows after these facts."""
        facts = _leading_facts(part) if self._parts or self._given_up else 0
        if facts:
            yield part.part(0, facts)
            yield from self._decided()
        part, shown, waiting = part.part(facts, len(part)), shown[facts:], waiting[facts:]
        if waiting.any():
            self._keep(complete(part.select(waiting)))
        if len(part):
            yield reduce(part, shown)

    @property
    def oldest_ns(self) -> int:
        """The time of the oldest row that is held; 0: none is."""
        return min((int(part.rows["ts_ns"].min()) for part in self._parts), default=0)

    def holds(self, batch: Batch) -> NDArray[np.bool_]:
        """True for the rows whose process is held, shape (n,)."""
        held = [identities(part.rows) for part in self._parts]
        found: NDArray[np.bool_] = np.isin(identities(batch.rows), np.concatenate(held) if held else [])
        return found

    def settle(self) -> Iterator[Batch]:
        """What is held of those about whom a decision can be made now."""
        self._selection.decide_again()
        yield from self._decided()

    def give_up(self) -> Iterator[Batch]:
        """At the end: gaps in place of everything that is still undecided."""
        while self._parts:
            self._give_up(self._parts.popleft())
        yield from self._gaps(list(self._given_up))

    def _keep(self, batch: Batch) -> None:
        self._parts.append(batch)
        self._count(batch, 1)
        while self.rows > self._max_rows or self._heap_bytes > self._max_heap_bytes:
            oldest = self._parts.popleft()
            self._count(oldest, -1)
            self._give_up(oldest)

    def _count(self, batch: Batch, sign: int) -> None:
        self.rows += sign * len(batch)
        self._heap_bytes += sign * len(batch.heap)

    def _give_up(self, batch: Batch) -> None:
        times = batch.rows["ts_ns"]
        for number, pair in enumerate(batch.pairs.keys):
            mine = times[batch.pairs.of_row == number]
            if pair not in self._given_up and len(self._given_up) >= self._max_rows:
                pair = _NO_PAIR
            known = self._given_up.get(pair, _GivenUp(0, int(mine.min()), 0))
            since_ns, until_ns = min(known.since_ns, int(mine.min())), max(known.until_ns, int(mine.max()))
            self._given_up[pair] = _GivenUp(known.events + len(mine), since_ns, until_ns)

    def _decided(self) -> Iterator[Batch]:
        """What is held of pairs that are followed now; nothing is kept of those that are ignored."""
        decided = [pair for pair in self._given_up if self._selection.follows(pair) is not None]
        yield from self._gaps([pair for pair in decided if self._selection.follows(pair)])
        for pair in decided:
            self._given_up.pop(pair, None)
        parts, self._parts, self.rows, self._heap_bytes = self._parts, deque(), 0, 0
        for part in parts:
            follow = [self._selection.follows(pair) for pair in part.pairs.keys]
            late, rest = (part.select(_where(part, follow, value)) for value in (True, None))
            if len(rest):
                self._parts.append(rest)
                self._count(rest, 1)
            if len(late):
                self._on_late(late)
                yield late

    def _gaps(self, pairs: list[PairKey]) -> Iterator[Batch]:
        rows = np.zeros(len(pairs), EVENT)
        for row, pair in zip(rows, pairs, strict=True):
            row["seq"], row["start_ns"], row["ts_ns"] = self._given_up.pop(pair)
            row["kind"], row["cpu"] = Kind.GAP, NO_CPU
            row["chain"]["inum"][0], row["chain"]["gen"][0], row["cgroup_id"] = pair
        if len(rows):
            self.lost += int(rows["seq"].sum())
            yield Batch(rows)


def _where(part: Batch, values: list[bool | None], value: bool | None) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.array([one is value for one in values], bool)[part.pairs.of_row]
    return found


def _leading_facts(part: Batch) -> int:
    others = part.rows["kind"] != Kind.CGROUP
    return int(np.argmax(others)) if others.any() else len(part)
