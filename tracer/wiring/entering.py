"""The moment in which a runtime brings a process into a container: whose it is shows a few milliseconds after its fork.

`docker exec` has runc enter the container's namespaces, fork there, and only then move the fork to the container's
cgroup. Where containers share a PID namespace (`--pid=container:web`) nothing else says whose it is: by its namespace
it is the wrong one's. So what was read waits for the move, and the fork is where its runtime moves it.
"""

from __future__ import annotations

import math
import time

import numpy as np
from numpy.typing import NDArray

from tracer.stream.batch import Batch, of_kind
from tracer.stream.decoding import Decoded
from tracer.stream.metadata import RUNTIME_COMM
from tracer.stream.schema import Kind

GRACE_S = 0.1
_MAX_ROWS = 1 << 16

_Identity = tuple[int, int]  # PID on the host, and start


class Entering:
    """Holds back what was read, for GRACE_S at most, while a process is on its way into a container."""

    def __init__(self) -> None:
        self._held: list[Decoded] = []
        self._on_their_way: set[_Identity] = set()
        self._until_s = math.inf

    def take(self, decoded: Decoded) -> list[Decoded]:
        """What may go on now, in its order."""
        batch = decoded.batch
        entering = _identities(batch, _entering(batch)) if len(batch.parentless) else set()
        if not entering and not self._held:
            return [decoded]
        self._held.append(decoded)
        if entering and not self._on_their_way:
            self._until_s = time.monotonic() + GRACE_S
        self._on_their_way |= entering
        self._on_their_way -= _identities(batch, of_kind(batch.rows, Kind.MOVE, Kind.EXEC, Kind.EXIT))
        is_full = sum(len(held.batch) for held in self._held) > _MAX_ROWS
        return self.release() if is_full or self.due_in() == 0 or not self._on_their_way else []

    def due_in(self) -> float:
        """In how many seconds what is held goes on whatever comes; infinite where nothing is held."""
        return max(0.0, self._until_s - time.monotonic()) if self._held else math.inf

    def release(self) -> list[Decoded]:
        """What is held, as one, each fork where its runtime has moved it."""
        held, self._held = self._held, []
        self._on_their_way.clear()
        if not held:
            return []
        whole = Decoded.concat(held)
        _put_where_they_go(whole.batch)
        return [whole]


def _entering(batch: Batch) -> NDArray[np.bool_]:
    """Rows of forks by which a runtime enters a container that runs, shape (n,)."""
    rows = batch.rows
    found, outside = np.zeros(len(batch), bool), batch.parentless
    for at in outside[(rows["kind"][outside] == Kind.FORK) & (rows["level"][outside] > 0)].tolist():
        found[at] = rows["chain"]["nr"][at, 0] != 1 and bytes(rows["comm"][at]).startswith(RUNTIME_COMM)
    return found


def _identities(batch: Batch, mask: NDArray[np.bool_]) -> set[_Identity]:
    if not mask.any():
        return set()
    return set(zip(batch.rows["tgid"][mask].tolist(), batch.rows["start_ns"][mask].tolist(), strict=True))


def _put_where_they_go(batch: Batch) -> None:
    rows = batch.rows
    for at in np.flatnonzero(_entering(batch)).tolist():
        same = (rows["tgid"][at + 1 :] == rows["tgid"][at]) & (rows["start_ns"][at + 1 :] == rows["start_ns"][at])
        later = np.flatnonzero(same) + at + 1
        if len(later) and rows["kind"][later[0]] == Kind.MOVE:
            rows["cgroup_id"][at] = rows["cgroup_id"][later[0]]
