"""Records of the ring -> Batch: pieces joined to the events behind them, gaps found from the sequence numbers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.events import EVENT, PIECE, Batch, Kind, PieceKind
from tracer.facts import CgroupName
from tracer.losses import Share

_FIRST_PIECE = PieceKind.CHAIN


class Decoded(NamedTuple):
    """What a run of records held: the events, and names of cgroups that belong ahead of them."""

    batch: Batch
    cgroups: list[CgroupName]

    @staticmethod
    def concat(parts: Iterable[Decoded]) -> Decoded:
        """What all parts held, one after the other."""
        parts = list(parts)
        return Decoded(Batch.concat(part.batch for part in parts), [name for part in parts for name in part.cgroups])


class Joiner:
    """Joins pieces to events. Keeps what came before its event until the next call.

    A CPU writes an event's pieces right before it, so the pieces of an event are those on its CPU since the last
    event there. Where the event itself failed they have no owner, and the next event's seq tells.
    """

    def __init__(self) -> None:
        self._waiting = np.empty(0, EVENT)
        self._names: dict[int, tuple[int, int, bytes]] = {}  # by CPU: of which seq and cgroup, and how far

    def join(self, records: NDArray[np.void]) -> Decoded:
        """records: array of EVENT as the ring had them, pieces among them, shape (n,)."""
        if not len(self._waiting) and not (records["kind"] >= _FIRST_PIECE).any():
            return Decoded(Batch(records), [])
        is_name = records["kind"] == PieceKind.CGROUP
        # A name that went out counts as told in the kernel, be its event refused: taken at once.
        names = self._take_names(records[is_name].view(PIECE))
        return Decoded(self._join(np.concatenate([self._waiting, records[~is_name]])), names)

    def _join(self, records: NDArray[np.void]) -> Batch:
        is_piece = records["kind"] >= _FIRST_PIECE
        owner = _owners(records, is_piece)
        self._waiting = _newest(records[is_piece & (owner < 0)])
        mine = np.flatnonzero(is_piece & (owner >= 0))
        pieces = records[mine].view(PIECE)
        # of an event that failed after its pieces went out: the next event there has another seq
        good = pieces["seq"] == records["seq"][owner[mine]]
        order = np.argsort(owner[mine][good], kind="stable")
        return Batch(records[~is_piece], _bytes_of(pieces[good][order]))

    def _take_names(self, pieces: NDArray[np.void]) -> list[CgroupName]:
        found = []
        for piece in pieces:
            cpu, seq, cgroup_id = int(piece["cpu"]), int(piece["seq"]), int(piece["id"])
            *whose, begun = self._names.pop(cpu, (0, 0, b""))
            raw = piece["bytes"][: piece["len"]].tobytes()
            if whose == [seq, cgroup_id]:  # else the rest of what was begun had no room
                raw = begun + raw
            if piece["last"]:
                found.append(CgroupName(cgroup_id, int(piece["parent_id"]), raw.decode("utf-8", "backslashreplace")))
            else:
                self._names[cpu] = (seq, cgroup_id, raw)
        return found


def _newest(pieces: NDArray[np.void]) -> NDArray[np.void]:
    """Of each CPU those of the last event: what is older belongs to one that was refused."""
    kept = np.zeros(len(pieces), bool)
    for cpu in np.unique(pieces["cpu"]).tolist():
        here = pieces["cpu"] == cpu
        kept |= here & (pieces["seq"] == pieces["seq"][here][-1])
    return pieces[kept]


def _owners(records: NDArray[np.void], is_piece: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each record the index of the next event on its CPU, itself for an event; -1: not there yet."""
    owner = np.full(len(records), -1, np.int64)
    for cpu in np.unique(records["cpu"][is_piece]).tolist():
        here = np.flatnonzero(records["cpu"] == cpu)
        events = here[~is_piece[here]]
        at = np.searchsorted(events, here)
        inside = at < len(events)
        owner[here[inside]] = events[at[inside]]
    return owner


def _bytes_of(pieces: NDArray[np.void]) -> bytes:
    used = np.arange(pieces["bytes"].shape[1]) < pieces["len"][:, None]
    return pieces["bytes"][used].tobytes()


NO_CPU = 0xFFFF
"""In a GAP row: on which CPU is not known."""

Whose = Callable[[int, list[int]], list[list[Share]]]
"""CPU, events lost in each of its gaps -> for each gap whose they were: `tracer.losses`."""


def nobodys(cpu: int, gaps: list[int]) -> list[list[Share]]:
    """Whose they were is not known."""
    return [[(None, lost)] for lost in gaps]


class GapFinder:
    """Finds losses in the sequence numbers of each CPU, and says them as GAP rows in their place.

    told: losses said so far, by CPU. A gap that is known to be of several pairs is told as a row for each.
    """

    def __init__(self, whose: Whose = nobodys) -> None:
        self.told: Counter[int] = Counter()
        self._whose = whose
        self._next: dict[int, int] = {}
        self._last_ns: dict[int, int] = {}

    @property
    def lost(self) -> int:
        """All losses said so far."""
        return self.told.total()

    def check(self, batch: Batch) -> Batch:
        """The batch with GAP rows ahead of the first event behind each loss."""
        rows = batch.rows
        gaps: list[tuple[int, NDArray[np.void]]] = []
        for cpu in np.unique(rows["cpu"]).tolist():
            here = np.flatnonzero(rows["cpu"] == cpu)
            seq = rows["seq"][here].astype(np.int64)
            expected = np.concatenate([[self._next.get(cpu, 0)], seq[:-1] + 1])
            holes = np.flatnonzero(seq != expected)
            if len(holes):
                times = rows["ts_ns"][here]
                before = np.concatenate([[self._last_ns.get(cpu, 0)], times[:-1]])
                windows = zip(before[holes].tolist(), times[holes].tolist(), strict=True)
                told = self._gaps(cpu, (seq - expected)[holes].tolist(), windows)
                gaps += zip(here[holes].tolist(), told, strict=True)
            self._next[cpu] = int(seq[-1]) + 1
            self._last_ns[cpu] = int(rows["ts_ns"][here[-1]])
        if not gaps:
            return batch
        gaps.sort(key=lambda gap: gap[0])
        places = np.repeat([at for at, _rows in gaps], [len(rows) for _at, rows in gaps])
        return Batch(np.insert(rows, places, np.concatenate([gap for _at, gap in gaps])), batch.heap)

    def tail(self, failed: Mapping[int, int], now_ns: int) -> Batch:
        """GAP rows for what was lost behind the last event of each CPU.

        failed: losses by CPU as the programs counted them *before* the ring was read empty. Not the sequence numbers:
        they count an event that is on its way too. What had failed by then and is no hole yet has no event behind it
        that could have been submitted before, so its numbers follow the last one's directly.
        """
        found = []
        for cpu, upto in failed.items():
            lost = upto - self.told[cpu]
            if lost > 0:
                found += self._gaps(cpu, [lost], [(self._last_ns.get(cpu, 0), now_ns)])
                self._next[cpu] = self._next.get(cpu, 0) + lost
                self._last_ns[cpu] = now_ns
        return Batch(np.concatenate(found)) if found else Batch(np.empty(0, EVENT))

    def _gaps(self, cpu: int, lost: list[int], windows: Iterable[tuple[int, int]]) -> list[NDArray[np.void]]:
        """For each gap its rows."""
        self.told[cpu] += sum(lost)
        shares = self._whose(cpu, lost)
        return [_gap_rows(cpu, share, *window) for share, window in zip(shares, windows, strict=True)]


def _gap_rows(cpu: int, shares: list[Share], since_ns: int, until_ns: int) -> NDArray[np.void]:
    rows = np.zeros(len(shares), EVENT)
    rows["kind"], rows["cpu"], rows["ts_ns"] = Kind.GAP, cpu, until_ns
    rows["start_ns"] = min(since_ns, until_ns)  # an event can be older than the clock that we told a tail by
    for row, (pair, lost) in zip(rows, shares, strict=True):
        row["seq"] = lost
        if pair is not None:
            row["chain"]["inum"][0], row["chain"]["gen"][0], row["cgroup_id"] = pair
    return rows


def missed_rows(missed: int, since_ns: int, now_ns: int) -> Batch:
    """The GAP row for tracepoint hits that no program ran for."""
    return Batch(_gap_rows(NO_CPU, [(None, missed)], since_ns, now_ns))
