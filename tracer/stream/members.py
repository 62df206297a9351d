"""Which session each process belongs to: by who forked it, from the session's first process on. Pure.

Who forked it, and not its parent: an orphan is adopted by a stranger, and with CLONE_PARENT even a new process has the
parent of who forked it (clone(2)).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.stream.batch import of_kind
from tracer.stream.repair import identities, identity
from tracer.stream.schema import Flag, Kind

_ENDED, _INFERRED = int(Flag.ENDED), int(Flag.INFERRED)
MAX_MEMBERS = 262_144
_MAX_DOUBLINGS = 64  # as many generations as a number has
_NEVER, _BEFORE, _NOBODY = np.iinfo(np.int64).max, -1, -1
_MEMBER = np.dtype([("id", "u8"), ("session", "u4"), ("tgid", "u4"), ("begin", "i8"), ("end", "i8")])
"""A process that belongs to a session. begin, end: the indices of the rows of this batch in which it appeared, and in
which it ended; _BEFORE and _NEVER where these are in no row of it."""


class Marks(NamedTuple):
    """of_row: the session of each row's process, shape (n,); 0: none. members: array of _MEMBER."""

    of_row: NDArray[np.uint32]
    members: NDArray[np.void]

    def living(self, session: int, index: int) -> list[int]:
        """The PIDs on the host of who lives in the session when the row at index has come, in ascending order."""
        members = self.members
        lives = (members["session"] == session) & (members["begin"] <= index) & (members["end"] > index)
        return sorted(members["tgid"][lives].tolist())

    def gone_at(self, session: int) -> int:
        """The index of the row in which the last one of the session ended; beyond all rows where somebody lives on."""
        return int(self.members["end"][self.members["session"] == session].max(initial=_BEFORE))


class Members:
    """The living processes of all sessions, max_members at most; beyond that those of the oldest session are forgotten
    first, and counted in evicted."""

    def __init__(self, max_members: int = MAX_MEMBERS) -> None:
        self.evicted = 0
        self._max_members = max_members
        self._living = np.empty(0, _MEMBER)  # in the order of their ids

    def __len__(self) -> int:
        return len(self._living)

    def sessions(self) -> set[int]:
        """The numbers of the sessions that have processes."""
        return set(self._living["session"].tolist())

    def of(self, tgid: int, start_ns: int) -> int:
        """The session of a process; 0: it lives in none."""
        wanted = identity(np.array([tgid], np.uint64), np.array([start_ns], np.uint64))
        return int(_sessions_of(self._living, wanted)[0])

    def living(self, session: int) -> list[int]:
        """The PIDs on the host of who lives in the session, in ascending order."""
        return sorted(self._living["tgid"][self._living["session"] == session].tolist())

    def forget(self, session: int) -> None:
        """The processes of a session are not members of it any more."""
        self._living = self._living[self._living["session"] != session]

    def mark(self, rows: NDArray[np.void], roots: Mapping[int, int]) -> Marks:
        """Receive the next rows (array of EVENT, shape (n,)). roots: index of a row with which a session begins -> its
        number."""
        if not len(self._living) and not roots:
            return Marks(np.zeros(len(rows), np.uint32), self._living)
        ids = identities(rows)
        members = self._with_new(rows, ids, roots)
        of_row = _sessions_of(members, ids)
        place = np.minimum(np.searchsorted(members["id"], ids), len(members) - 1)
        of_row[members["begin"][place] > np.arange(len(rows))] = 0
        exits = np.flatnonzero((rows["kind"] == Kind.EXIT) & (of_row != 0))
        members["end"][place[exits]] = exits
        self._keep(members[members["end"] == _NEVER])
        return Marks(of_row, members)

    def _keep(self, living: NDArray[np.void]) -> None:
        if (surplus := len(living) - self._max_members) > 0:
            self.evicted += surplus
            newest = np.argsort(living["session"], kind="stable")[surplus:]
            living = living[np.sort(newest)]
        self._living = living.copy()
        self._living["begin"] = _BEFORE

    def _with_new(self, rows: NDArray[np.void], ids: NDArray[np.uint64], roots: Mapping[int, int]) -> NDArray[np.void]:
        """All members, those that appear in these rows too, in the order of their ids."""
        begins = of_kind(rows, Kind.FORK, Kind.SNAPSHOT) & (rows["flags"] & _ENDED == 0)
        begins[list(roots)] = True
        at = np.flatnonzero(begins)
        at = at[_sessions_of(self._living, ids[at]) == 0]
        sessions = self._inherited(rows, ids, at, roots)
        at, sessions = at[sessions != 0], sessions[sessions != 0]
        new = np.zeros(len(at), _MEMBER)
        new["id"], new["session"], new["tgid"] = ids[at], sessions, rows["tgid"][at]
        new["begin"], new["end"] = at, _NEVER
        everyone = np.concatenate([self._living, new])
        _ids, first = np.unique(everyone["id"], return_index=True)  # of one process the row in which it appeared first
        return everyone[first]

    def _inherited(
        self, rows: NDArray[np.void], ids: NDArray[np.uint64], at: NDArray[np.intp], roots: Mapping[int, int]
    ) -> NDArray[np.uint32]:
        """The session of each process that appears at these places: its own, or that of who forked it, or of who forked
        that one. Of many generations at once: each step doubles how far it looks back."""
        forkers = self._forkers(rows, ids, at)
        sessions = _sessions_of(self._living, forkers)
        places = {index: place for place, index in enumerate(at.tolist())}
        for index, number in roots.items():
            if index in places:
                sessions[places[index]] = number
        link = _places_of(ids[at], forkers)
        is_later = (link != _NOBODY) & (at[link] >= at) & (rows["kind"][at] != Kind.SNAPSHOT)
        link[is_later] = _NOBODY  # a fork before the session began; a list has no order
        for _doubling in range(_MAX_DOUBLINGS):
            open_ = np.flatnonzero((sessions == 0) & (link != _NOBODY))
            if not len(open_):
                break
            sessions[open_], link[open_] = sessions[link[open_]], link[link[open_]]
        return sessions

    def _forkers(self, rows: NDArray[np.void], ids: NDArray[np.uint64], at: NDArray[np.intp]) -> NDArray[np.uint64]:
        """The identity of who forked each of the processes that appear at these places. A list knows parents alone."""
        forkers = identity(rows["parent_tgid"][at], rows["parent_start_ns"][at])
        forker, flags = rows["old_tid"][at], rows["flags"][at]
        is_other = (rows["kind"][at] == Kind.FORK) & (flags & _INFERRED == 0)
        is_other &= (forker != 0) & (forker != rows["parent_tgid"][at])
        for place in np.flatnonzero(is_other).tolist():
            tgid = forker[place]
            before = np.flatnonzero((rows["tgid"][: at[place]] == tgid) & (rows["kind"][: at[place]] != Kind.GAP))
            known = self._living["id"][self._living["tgid"] == tgid]
            forkers[place] = ids[before[-1]] if len(before) else known[-1] if len(known) else 0
        return forkers


def _sessions_of(members: NDArray[np.void], ids: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """The session of each process, shape (n,); 0: of none."""
    if not len(members):
        return np.zeros(len(ids), np.uint32)
    place = np.minimum(np.searchsorted(members["id"], ids), len(members) - 1)
    found: NDArray[np.uint32] = np.where(members["id"][place] == ids, members["session"][place], 0).astype(np.uint32)
    return found


def _places_of(ids: NDArray[np.uint64], wanted: NDArray[Any]) -> NDArray[np.intp]:
    """Where each of the wanted ids is last among the ids; _NOBODY: it is not."""
    if not len(ids):
        return np.full(len(wanted), _NOBODY)
    order = np.argsort(ids, kind="stable")
    found = order[np.maximum(np.searchsorted(ids, wanted, side="right", sorter=order) - 1, 0)]
    return np.where(ids[found] == wanted, found, _NOBODY)
