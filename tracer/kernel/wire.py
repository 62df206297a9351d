"""Records of the ring -> Batch: pieces joined to the events behind them, gaps found from the sequence numbers. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.events import EVENT, PIECE, Batch, Kind, PieceKind
from tracer.facts import CgroupName

_FIRST_PIECE = PieceKind.CHAIN


class Decoded(NamedTuple):
    """What a run of records held: the events, and names of cgroups that belong ahead of them."""

    batch: Batch
    cgroups: list[CgroupName]


class Joiner:
    """Joins pieces to events. Keeps what came before its event until the next call.

    A CPU writes an event's pieces right before it, so the pieces of an event are those on its CPU since the last
    event there.
    """

    def __init__(self) -> None:
        self._waiting = np.empty(0, EVENT)
        self._names: dict[int, bytes] = {}

    def join(self, records: NDArray[np.void]) -> Decoded:
        """records: array of EVENT as the ring had them, pieces among them, shape (n,)."""
        if len(self._waiting):
            records = np.concatenate([self._waiting, records])
            self._waiting = records[:0]
        is_piece = records["kind"] >= _FIRST_PIECE
        if not is_piece.any():
            return Decoded(Batch(records), [])
        return self._join(records, is_piece)

    def _join(self, records: NDArray[np.void], is_piece: NDArray[np.bool_]) -> Decoded:
        owner = _owners(records, is_piece)
        orphaned = is_piece & (owner < 0)
        self._waiting = records[orphaned].copy()
        mine = np.flatnonzero(is_piece & (owner >= 0))
        pieces = records[mine].view(PIECE)
        names = self._take_names(pieces[pieces["kind"] == PieceKind.CGROUP])
        # of an event that failed after its pieces went out: the next event there has another seq
        good = (pieces["seq"] == records["seq"][owner[mine]]) & (pieces["kind"] != PieceKind.CGROUP)
        order = np.argsort(owner[mine][good], kind="stable")
        heap = _bytes_of(pieces[good][order])
        return Decoded(Batch(records[~is_piece], heap), names)

    def _take_names(self, pieces: NDArray[np.void]) -> list[CgroupName]:
        found = []
        for piece in pieces:
            cgroup_id = int(piece["id"])
            raw = self._names.pop(cgroup_id, b"") + piece["bytes"][: piece["len"]].tobytes()
            if piece["last"]:
                found.append(CgroupName(cgroup_id, int(piece["parent_id"]), raw.decode("utf-8", "backslashreplace")))
            else:
                self._names[cgroup_id] = raw
        return found


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


class GapFinder:
    """Finds losses in the sequence numbers of each CPU, and says them as GAP rows in their place."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self._last_ns: dict[int, int] = {}
        self.lost = 0

    def check(self, batch: Batch) -> Batch:
        """The batch with a GAP row ahead of the first event behind each loss."""
        rows = batch.rows
        gaps: list[tuple[int, NDArray[np.void]]] = []
        for cpu in np.unique(rows["cpu"]).tolist():
            here = np.flatnonzero(rows["cpu"] == cpu)
            seq = rows["seq"][here].astype(np.int64)
            expected = np.concatenate([[self._next.get(cpu, 0)], seq[:-1] + 1])
            for at in np.flatnonzero(seq != expected).tolist():
                before = int(rows["ts_ns"][here[at - 1]]) if at else self._last_ns.get(cpu, 0)
                lost = int(seq[at] - expected[at])
                gaps.append((int(here[at]), self._gap(cpu, lost, before, int(rows["ts_ns"][here[at]]))))
            self._next[cpu] = int(seq[-1]) + 1
            self._last_ns[cpu] = int(rows["ts_ns"][here[-1]])
        if not gaps:
            return batch
        gaps.sort(key=lambda gap: gap[0])
        return Batch(np.insert(rows, [at for at, _gap in gaps], np.concatenate([gap for _at, gap in gaps])), batch.heap)

    def tail(self, attempts: dict[int, int], now_ns: int) -> Batch:
        """GAP rows for what was lost behind the last event of each CPU. attempts: next seq by CPU, from the kernel,
        read when the ring was empty."""
        found = []
        for cpu, upto in attempts.items():
            lost = upto - self._next.get(cpu, 0)
            if lost > 0:
                found.append(self._gap(cpu, lost, self._last_ns.get(cpu, 0), now_ns))
                self._next[cpu] = upto
                self._last_ns[cpu] = now_ns
        return Batch(np.concatenate(found)) if found else Batch(np.empty(0, EVENT))

    def _gap(self, cpu: int, lost: int, since_ns: int, until_ns: int) -> NDArray[np.void]:
        self.lost += lost
        row = np.zeros(1, EVENT)
        row["kind"], row["cpu"], row["seq"] = Kind.GAP, cpu, lost
        row["start_ns"], row["ts_ns"] = since_ns, until_ns
        return row
