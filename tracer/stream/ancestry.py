"""How deep a row's process stands below the processes that were shown before. Pure.

It follows from the rows themselves, in their order, whatever batches they came in: a replay finds what live has found.
Who forked a process stays its parent here: the kernel gives an orphan to another one, which is no ancestor of what it
does. A process is its PID with its start time, so that a PID that is used again is another one. Where rows are missing
or the parent is not known, a process stands at the left.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracer.stream.batch import Batch, of_kind
from tracer.stream.known import Known
from tracer.stream.lru import Lru
from tracer.stream.schema import PROCESS_KINDS, SHOWN_KINDS

MOST = 64
"""So many ancestors are counted at most."""
_LIMIT = 1 << 16  # processes that are known, some 10 MB
_KINDS = PROCESS_KINDS & SHOWN_KINDS
_Key = tuple[int, int]


class _Node(msgspec.Struct, gc=False):
    """A process. parent: who forked it, as its first row says that knows it. is_shown: a row of it was shown."""

    parent: _Key | None = None
    is_shown: bool = False


class Ancestry:
    """The processes of one run so far. The one that no row has needed for longest is forgotten first."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._nodes: Lru[_Key, _Node] = Lru(limit)

    def depths(self, batch: Batch, shown: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many ancestors of the process were shown before each row, shape (n,); 0 in rows about no process. shown:
        which rows are shown, shape (n,)."""
        depths = np.zeros(len(batch), np.int64)
        rows = batch.rows
        them = np.flatnonzero(of_kind(rows, *_KINDS))
        names = ("tgid", "start_ns", "parent_tgid", "parent_start_ns")
        keys = zip(*(rows[name][them].tolist() for name in names), strict=True)
        has_parent, is_shown = Known(rows)("parent_id")[them].tolist(), shown[them].tolist()
        for at, (tgid, start_ns, *parent), knows_parent, shows in zip(
            them.tolist(), keys, has_parent, is_shown, strict=True
        ):
            node = self._node((tgid, start_ns))
            if node.parent is None and knows_parent:
                node.parent = (parent[0], parent[1])
            if shows:
                depths[at] = self._depth(node)
                node.is_shown = True
        return depths

    def _node(self, key: _Key) -> _Node:
        node = self._nodes.get(key)
        if node is None:
            node = _Node()
            self._nodes.put(key, node)
        return node

    def _depth(self, node: _Node) -> int:
        """Bounded, for a recording could say that two processes have forked each other."""
        depth = 0
        for _step in range(MOST):
            above = self._nodes.get(node.parent) if node.parent else None
            if above is None:
                break
            node, depth = above, depth + above.is_shown
        return depth
