"""Records of the ring -> Batch: pieces joined to the events behind them, gaps found from the sequence numbers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.stream.account import MOST
from tracer.stream.batch import EVENT, PIECE, Batch, join_rows, pick
from tracer.stream.losses import NOBODY, Share
from tracer.stream.metadata import CgroupName
from tracer.stream.schema import NO_CPU, PIECE_BYTES, Flag, Kind, PieceKind

_FIRST_PIECE, _NAME_PIECE, _REMOVED = int(PieceKind.CHAIN), int(PieceKind.CGROUP), int(PieceKind.REMOVED)
_PLACES = np.arange(PIECE_BYTES, dtype=np.uint16)
_MAX_CPUS = 1 << 16


class Decoded(NamedTuple):
    """What a run of records held: the events, the names of cgroups that belong ahead of them, and the ids of cgroups
    that were removed meanwhile."""

    batch: Batch
    cgroups: list[CgroupName]
    removed: Sequence[int] = ()

    @staticmethod
    def concat(parts: Iterable[Decoded]) -> Decoded:
        """The events, names and ids of all parts, in order."""
        parts = list(parts)
        names = [name for part in parts for name in part.cgroups]
        removed = [cgroup_id for part in parts for cgroup_id in part.removed]
        return Decoded(Batch.concat(part.batch for part in parts), names, removed)


class Joiner:
    """Joins pieces to events. Keeps pieces whose event has not come yet until the next call.

    A CPU writes an event's pieces right before it, so the pieces of an event are those on its CPU since the last event
    there. Where the event itself failed they have no owner; the seq of the next event shows that.
    """

    def __init__(self) -> None:
        self._waiting = np.empty(0, EVENT)
        self._names: dict[int, tuple[int, int, bytes]] = {}  # by CPU, unfinished: seq, cgroup id, bytes

    def join(self, records: NDArray[np.void]) -> Decoded:
        """The events of these records. records: array of EVENT as read from the ring, pieces among them, shape (n,)."""
        kinds = records["kind"]
        if not len(self._waiting) and not (kinds >= _FIRST_PIECE).any():
            return Decoded(Batch(records), [])
        names: list[CgroupName] = []
        is_name = kinds == _NAME_PIECE
        if is_name.any():
            # A name that went out counts as reported in the kernel, even if its event is refused: used at once.
            names = self._take_names(pick(records, is_name).view(PIECE))
            records = pick(records, ~is_name)
        is_removed = records["kind"] == _REMOVED
        removed = pick(records, is_removed).view(PIECE)["id"].tolist() if is_removed.any() else []
        if removed:
            records = pick(records, ~is_removed)
        if len(self._waiting):
            records = join_rows([self._waiting, records])
        return Decoded(self._join(records), names, removed)

    def _join(self, records: NDArray[np.void]) -> Batch:
        is_piece = records["kind"] >= _FIRST_PIECE
        pieces, owners = np.flatnonzero(is_piece), _owners(records["cpu"], is_piece)
        early = owners < 0
        self._waiting = _newest(pick(records, pieces[early])) if early.any() else records[:0]
        # of an event that failed after its pieces went out: the next event there has another seq
        seq = records["seq"]
        good = ~early & (seq[pieces] == seq[owners])
        order = np.argsort(owners[good], kind="stable")
        heap = _bytes_of(pick(records, pieces[good][order]).view(PIECE))
        return Batch(pick(records, np.flatnonzero(~is_piece)), heap)

    def _take_names(self, pieces: NDArray[np.void]) -> list[CgroupName]:
        found = []
        for piece in pieces:
            cpu, seq, cgroup_id = int(piece["cpu"]), int(piece["seq"]), int(piece["id"])
            *whose, begun = self._names.pop(cpu, (0, 0, b""))
            raw = piece["bytes"][: piece["len"]].tobytes()
            if whose == [seq, cgroup_id]:  # else there was no room for the rest of the earlier name
                raw = begun + raw
            if piece["last"]:
                name, maker = raw.decode("utf-8", "backslashreplace"), int(piece["maker"])
                found.append(CgroupName(cgroup_id, int(piece["parent_id"]), name, maker))
            else:
                self._names[cpu] = (seq, cgroup_id, raw)
        return found


def _newest(pieces: NDArray[np.void]) -> NDArray[np.void]:
    """For each CPU the pieces of the last event: older ones belong to an event that was refused."""
    kept = np.zeros(len(pieces), bool)
    for cpu in np.unique(pieces["cpu"]).tolist():
        here = pieces["cpu"] == cpu
        kept |= here & (pieces["seq"] == pieces["seq"][here][-1])
    return pieces[kept]


def _owners(cpus: NDArray[np.uint16], is_piece: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For each piece the index of the next event on its CPU; -1: that has not come yet."""
    by_cpu = np.argsort(cpus, kind="stable")
    is_event = ~is_piece[by_cpu]
    events = np.append(by_cpu[is_event], -1)  # behind each piece in this order stands its event, or another CPU's
    owners = np.empty(len(cpus), np.intp)
    owners[by_cpu] = events[np.cumsum(is_event) - is_event]
    owners = owners[is_piece]
    owners[cpus[owners] != cpus[is_piece]] = -1
    return owners


def _bytes_of(pieces: NDArray[np.void]) -> bytes:
    """The bytes that the pieces carry, one after the other."""
    joined: bytes = pieces["bytes"][pieces["len"][:, None] > _PLACES].tobytes()
    return joined


Whose = Callable[[int, list[int]], list[list[Share]]]
"""CPU, events lost in each of its gaps -> for each gap the pairs that lost them: `tracer.stream.losses`."""


def nobodys(cpu: int, gaps: list[int]) -> list[list[Share]]:
    """The shares of gaps whose pairs are not known."""
    return [[(NOBODY, lost)] for lost in gaps]


class GapFinder:
    """Finds losses in the sequence numbers of each CPU, and reports them as GAP rows in their place.

    reported: losses reported so far, by CPU. A gap that is known to be of several pairs becomes a row for each.
    began_ns: when the trace began: no loss is older. faults: impossible numbers that were seen; they are not reported
    as losses.
    """

    def __init__(self, whose: Whose = nobodys, began_ns: int = 0) -> None:
        self.reported: Counter[int] = Counter()
        self.faults: set[str] = set()
        self._whose = whose
        self._next = np.zeros(_MAX_CPUS, np.uint64)
        self._last_ns = np.full(_MAX_CPUS, began_ns, np.uint64)

    @property
    def lost(self) -> int:
        """The number of events reported as lost so far."""
        return self.reported.total()

    def check(self, batch: Batch) -> Batch:
        """The batch with GAP rows ahead of the first event after each loss."""
        rows = batch.rows
        if not len(rows):
            return batch
        counts = np.bincount(rows["cpu"])
        upto = self._next[: len(counts)]
        before = upto.copy()
        np.maximum.at(upto, rows["cpu"], rows["seq"] + 1)
        if not (upto - before == counts).all():
            upto[:] = before
            return self._search(batch)
        np.maximum.at(self._last_ns, rows["cpu"], rows["ts_ns"])
        return batch

    def _search(self, batch: Batch) -> Batch:
        """As `check`, for a batch in which something is missing."""
        rows = batch.rows
        by_cpu = np.argsort(rows["cpu"], kind="stable")
        cpus, seq, times = rows["cpu"][by_cpu], rows["seq"][by_cpu], rows["ts_ns"][by_cpu]
        begins = np.flatnonzero(np.append(True, cpus[1:] != cpus[:-1]))
        ends = np.append(begins[1:], len(rows)) - 1
        nothing = np.zeros(1, np.uint64)  # a plain 0 would make floats of all of it
        expected, before = np.append(nothing, seq[:-1] + 1), np.append(nothing, times[:-1])
        expected[begins], before[begins] = self._next[cpus[begins]], self._last_ns[cpus[begins]]
        self._next[cpus[ends]], self._last_ns[cpus[ends]] = seq[ends] + 1, times[ends]
        missing = (seq - expected).view(np.int64)
        for cpu in np.unique(cpus[(missing < 0) | (missing > MOST)]).tolist():
            self.faults.add(f"CPU {cpu}: the sequence numbers jump")
        holes = np.flatnonzero((missing > 0) & (missing <= MOST))
        return self._with_gaps(batch, by_cpu[holes], (seq - expected)[holes], before[holes]) if len(holes) else batch

    def _with_gaps(
        self, batch: Batch, places: NDArray[np.intp], lost: NDArray[np.uint64], since_ns: NDArray[np.uint64]
    ) -> Batch:
        """places: the indices of the rows after the gaps, in the order of their CPUs."""
        rows = batch.rows
        gaps: list[tuple[int, NDArray[np.void]]] = []
        for cpu in np.unique(rows["cpu"][places]).tolist():
            here = rows["cpu"][places] == cpu
            windows = zip(since_ns[here].tolist(), rows["ts_ns"][places[here]].tolist(), strict=True)
            reported = self._gaps(cpu, lost[here].tolist(), windows)
            gaps += zip(places[here].tolist(), reported, strict=True)
        gaps.sort(key=lambda gap: gap[0])
        at = np.repeat([place for place, _rows in gaps], [len(rows) for _place, rows in gaps])
        return Batch(np.insert(rows, at, np.concatenate([rows for _place, rows in gaps])), batch.heap)

    def tail(self, failed: Mapping[int, int], now_ns: int) -> Batch:
        """GAP rows for what was lost after the last event of each CPU.

        failed: losses by CPU as the programs counted them *before* the ring was read empty. Not the sequence numbers:
        they count an event that is on its way too. What had failed by then and is no hole yet has no event after it
        that could have been submitted before, so its numbers follow the last one's directly.
        """
        found = []
        for cpu, upto in failed.items():
            lost = upto - self.reported[cpu]
            if lost > MOST:
                self.faults.add(f"CPU {cpu}: {upto} failed")
            elif lost > 0:
                found += self._gaps(cpu, [lost], [(int(self._last_ns[cpu]), now_ns)])
                self._next[cpu] += lost
                self._last_ns[cpu] = now_ns
        return Batch(np.concatenate(found)) if found else Batch(np.empty(0, EVENT))

    def _gaps(self, cpu: int, lost: list[int], windows: Iterable[tuple[int, int]]) -> list[NDArray[np.void]]:
        """The rows of each gap."""
        self.reported[cpu] += sum(lost)
        shares = self._whose(cpu, lost)
        return [_gap_rows(cpu, share, *window) for share, window in zip(shares, windows, strict=True)]


def _gap_rows(cpu: int, shares: list[Share], since_ns: int, until_ns: int) -> NDArray[np.void]:
    rows = np.zeros(len(shares), EVENT)
    rows["kind"], rows["cpu"], rows["ts_ns"] = Kind.GAP, cpu, until_ns
    rows["start_ns"] = min(since_ns, until_ns)  # an event can be older than now_ns of a tail before it
    for row, (loser, lost) in zip(rows, shares, strict=True):
        row["seq"] = lost
        row["flags"] = Flag.THROTTLED if loser.throttled else 0
        if loser.pair is not None:
            row["chain"]["inum"][0], row["chain"]["gen"][0], row["cgroup_id"] = loser.pair
    return rows


def missed_rows(missed: int, since_ns: int, now_ns: int) -> Batch:
    """The GAP row for tracepoint hits that no program ran for."""
    return Batch(_gap_rows(NO_CPU, [(NOBODY, missed)], since_ns, now_ns))
