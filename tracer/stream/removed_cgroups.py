"""Which cgroups are removed, and may be forgotten: nobody is in one, nobody comes into it, and its id is never used
again (cgroup_destroy_locked(), kernel/cgroup/cgroup.c; kernfs_node.id). Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tracer.stream.ended_spaces import LATER_NS

AT_ONCE = 64
"""So many are forgotten together: each time has a fixed cost."""


class RemovedCgroups:
    """Receives what the kernel reports. keep: so many are never due, the last: what is said of containers that have
    just ended needs them."""

    def __init__(self, keep: int = 0) -> None:
        self._keep, self._new = keep, 0
        self._removed: dict[int, int] = {}  # when it was reported (boottime), by id

    def note(self, cgroup_ids: Iterable[int], now_ns: int) -> None:
        """These were removed, before now_ns (boottime)."""
        noted = dict.fromkeys(cgroup_ids, now_ns)
        self._removed |= noted
        self._new += len(noted)

    def may_be_due(self) -> bool:
        """Whether it is time to forget: so many have come since the last time, and there are more than are kept."""
        return self._new >= AT_ONCE and len(self._removed) > self._keep

    def due(self, until_ns: int, in_use: Collection[int] = ()) -> frozenset[int]:
        """Those of which nothing more is said, each once. until_ns: everything was said until then (boottime). in_use:
        those that something is still known of which needs them: they wait."""
        self._new = 0
        oldest = list(self._removed)[: max(0, len(self._removed) - self._keep)]
        over = [one for one in oldest if self._removed[one] <= until_ns - LATER_NS]
        for one in over:
            noted_ns = self._removed.pop(one)
            if one in in_use:
                self._removed[one] = noted_ns  # behind the others: looked at again when these are
        return frozenset(over).difference(in_use)
