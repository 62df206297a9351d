"""Which cgroups are removed, and may be forgotten: nobody is in one, nobody comes into it, and its id is never used
again (cgroup_destroy_locked(), kernel/cgroup/cgroup.c; kernfs_node.id). Pure."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable

from tracer.stream.ended_spaces import LATER_NS

AT_ONCE = 64
"""So many are forgotten together: each time has a fixed cost."""


class RemovedCgroups:
    """Receives what the kernel reports. keep: so many are never due, the last: what is said of containers that have
    just ended needs them."""

    def __init__(self, keep: int = 0) -> None:
        self._keep = keep
        self._removed: dict[int, int] = {}  # when it was reported (boottime), by id
        self._in_use: set[int] = set()  # those that were old enough once, and something needed them

    def note(self, cgroup_ids: Iterable[int], now_ns: int) -> None:
        """These were removed, before now_ns (boottime)."""
        self._removed |= dict.fromkeys(cgroup_ids, now_ns)

    def may_be_due(self, until_ns: int) -> bool:
        """Whether it is time to forget: there are so many more than are kept, and they are old enough. until_ns:
        everything was said until then (boottime)."""
        if len(self._removed) < self._keep + AT_ONCE:
            return False
        last_ns = next(itertools.islice(self._removed.values(), AT_ONCE - 1, None))
        return last_ns <= until_ns - LATER_NS

    def due(self, until_ns: int, in_use: Collection[int] = ()) -> frozenset[int]:
        """Those of which nothing more is said, each once. until_ns: as above. in_use: those that something is still
        known of which needs them: they wait until others are due."""
        oldest = list(self._removed.items())[: max(0, len(self._removed) - self._keep)]
        old = {one for one, noted_ns in oldest if noted_ns <= until_ns - LATER_NS}
        for one in old:
            del self._removed[one]
        over = (old | self._in_use).difference(in_use)
        self._in_use = (old | self._in_use) - over
        return frozenset(over)
