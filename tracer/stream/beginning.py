"""How a stream begins: the living processes, and the events that came while they were listed, in order. Pure.

The list takes a while, and events go on meanwhile. A process that has an event ahead of its place in the list, or ended
before the list came to it, existed all the same when the trace began: it begins with a SNAPSHOT row of that moment.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tracer.stream.batch import Batch, of_kind
from tracer.stream.repair import identities
from tracer.stream.schema import STREAM_KINDS, Flag, Kind

_ENDS = np.uint8(~(Flag.ENDING | Flag.ENDED) & 0xFF)


def owners_first(listed: Batch) -> Batch:
    """SNAPSHOT rows as the kernel lists them, by PID, with the first processes of nested PID namespaces ahead of all
    others, outer namespaces first: they show which container a namespace belongs to. PIDs wrap, so a process that
    entered the namespace later (nsenter) can have a lower one. Their time becomes that of the first row: they were born
    before."""
    rows = listed.rows
    is_first = _are_first(rows, int(rows["ts_ns"][0]) if len(rows) else 0)
    if not is_first.any():
        return listed
    first = np.flatnonzero(is_first)
    first = first[np.argsort(rows["level"][first], kind="stable")]
    ordered = listed.take(np.concatenate([first, np.flatnonzero(~is_first)]))
    ordered.rows["ts_ns"][: len(first)] = rows["ts_ns"].min()
    return ordered


def _are_first(rows: NDArray[np.void], moment_ns: int) -> NDArray[np.bool_]:
    """Which rows are of the first process of a nested PID namespace, and it was there at that moment."""
    found: NDArray[np.bool_] = (rows["level"] > 0) & (rows["chain"]["nr"][:, 0] == 1) & (rows["start_ns"] < moment_ns)
    return found


def in_order(listed: Batch, early: Batch, began_ns: int) -> Batch:
    """All rows in order of time. Each process that existed at the beginning has one SNAPSHOT row, ahead of its events;
    one that was forked since has none.

    listed: SNAPSHOT rows of all processes, each of the time when the list came to it. early: the events from began_ns
    until the list was read.
    """
    if not len(early):
        return listed
    places = dict(zip(identities(listed.rows).tolist(), range(len(listed)), strict=True))
    stays, begun = np.ones(len(listed), bool), []
    for identity, at in _first_rows(early):
        place, is_fork = places.get(identity), early.rows["kind"][at] == Kind.FORK
        if place is not None and not is_fork and listed.rows["ts_ns"][place] <= early.rows["ts_ns"][at]:
            continue
        if place is not None:
            stays[place] = False
        if not is_fork:
            begun.append(_beginning(listed, place, early, at))
    leads = stays & _are_first(listed.rows, began_ns)
    first = Batch.concat([listed.select(leads), *begun])
    first.rows["ts_ns"] = began_ns
    rest = Batch.concat([listed.select(stays & ~leads), early])
    return Batch.concat([owners_first(first), rest.take(np.argsort(rest.rows["ts_ns"], kind="stable"))])


def _first_rows(early: Batch) -> Iterator[tuple[int, int]]:
    """For each process its identity, and the index of its first row."""
    reported = np.flatnonzero(~of_kind(early.rows, *STREAM_KINDS))
    ids, first = np.unique(identities(early.rows[reported]), return_index=True)
    yield from zip(ids.tolist(), reported[first].tolist(), strict=True)


def _beginning(listed: Batch, place: int | None, early: Batch, at: int) -> Batch:
    """The SNAPSHOT row of a process for the moment when the trace began: as it was listed, if it had done no exec by
    then; else inferred from its first event, without what the exec has changed."""
    is_exec = early.rows["kind"][at] == Kind.EXEC
    if place is not None and not is_exec:
        row = listed.part(place, place + 1)
        rows, deep = row.rows.copy(), row.heap
        rows["flags"] &= _ENDS
    else:
        rows, deep = early.rows[at : at + 1].copy(), early.payload(at).deep
        rows["kind"], rows["flags"] = Kind.SNAPSHOT, Flag.INFERRED
        rows["tid"], rows["vtid"], rows["old_tid"] = rows["tgid"], rows["chain"]["nr"][:, 0], 0
        for name in ("seq", "status", "exe_len", "args_len", "args_total", "killer_len"):
            rows[name] = 0
        rows["deep_len"] = len(deep)
        if is_exec:
            rows["comm"], rows["exec_id"] = b"", rows["exec_id"] - np.uint16(1)
    rows["state"] = 0
    return Batch(rows, deep)
