"""The identities of living PID namespaces and of those around them. Combines nsfs and procfs."""

from __future__ import annotations

from tracer.host import nsfs, procfs
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId

_UNKNOWN = 0  # the generation of a namespace whose first process has exited


class PidnsIds:
    """Looks up each namespace's ancestry once. gen follows the same rule as in the probes (bpf/task.h), but where it is
    a start time, it is cut to a clock tick: /proc has no more."""

    def __init__(self) -> None:
        self._known: dict[PidnsId, tuple[PidnsId, ...]] = {}
        self._firsts: dict[int, tuple[int, int]] = {}  # inum -> first process: tgid, start in ticks

    def of(self, fd: int) -> tuple[PidnsId, ...]:
        """The namespace of this descriptor and all around it, outermost first, without the initial one."""
        own = self.identify(fd)
        if own not in self._known:
            with nsfs.ancestry(fd) as fds:
                self._known[own] = tuple(self.identify(around) for around in reversed(fds))
        return self._known[own]

    def identify(self, fd: int) -> PidnsId:
        """The identity of the namespace of this descriptor."""
        inum = nsfs.inum(fd)
        if inum == INITIAL_PIDNS.inum:
            return INITIAL_PIDNS
        gen = nsfs.ns_id(fd)
        return PidnsId(inum, self._birth_ns(fd, inum) if gen is None else gen)

    def first(self, fd: int) -> int | None:
        """The host PID of the namespace's first process; None: it has exited."""
        found = self._find_first(fd, nsfs.inum(fd))
        return found[0] if found else None

    def _birth_ns(self, fd: int, inum: int) -> int:
        """The start time of the namespace's first process, in ns. While the descriptor is open, no other namespace has
        the inum: so a process that was its first, and still lives, is."""
        known = self._firsts.get(inum)
        if known is None or procfs.start_ticks(known[0]) != known[1]:
            known = self._find_first(fd, inum)
        return known[1] * procfs.TICK_NS if known else _UNKNOWN

    def _find_first(self, fd: int, inum: int) -> tuple[int, int] | None:
        try:
            tgid = nsfs.host_tgid(fd, 1)
        except nsfs.NotTranslated:
            self._firsts = procfs.inits()
            return self._firsts.get(inum)
        ticks = procfs.start_ticks(tgid) if tgid else None
        if tgid is None or ticks is None or nsfs.host_tgid(fd, 1) != tgid:
            return None
        self._firsts[inum] = (tgid, ticks)
        return self._firsts[inum]
