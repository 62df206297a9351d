"""The translation table: which process has which number in which PID namespace, kept current by events. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

import msgspec
import numpy as np

from tracer.stream.batch import Batch, of_kind
from tracer.stream.commands import Commands, Heard, Shared
from tracer.stream.pidns import INITIAL_PIDNS, Chain, Number, PidnsId, ProcId, chain_of
from tracer.stream.schema import CONTAINER_KINDS, LIFE_KINDS, NOTE_KINDS, Flag, Kind
from tracer.stream.short_lived import Aside, ShortLived, split

_EXEC, _EXIT, _MOVE, _ENDED = int(Kind.EXEC), int(Kind.EXIT), int(Kind.MOVE), int(Flag.ENDED)
_LIVES = frozenset(map(int, LIFE_KINDS))
_COLUMNS = (
    "kind", "flags", "tgid", "start_ns", "ts_ns", "comm", "parent_tgid", "parent_start_ns", "parent_vtgid", "exec_id"
)  # fmt: skip
ECHO_NS = 10_000_000_000
"""How long after its start a process's fork event may come: copy_process() sets the start time, the event is later."""
GRACE_NS = 2_000_000_000
MAX_PROCESSES = 262_144


class Process(msgspec.Struct, eq=False, gc=False):
    """One process; a small object, because there may be many.

    path: the PID namespaces that it is in, outermost first; tgid, between and nr: its numbers there, host first.
    parent_nr: its parent's in the innermost one, 0 where it has none there. cgroup_id: as last reported.
    exec_id: of its last exec, as EVENT has it. command: what it runs, where the table was told that; command_since_ns:
    as `Heard.since_ns`.
    exited_ns: when its last thread ended (CLOCK_BOOTTIME), or the latest possible time where no event reported it; None
    while it lives. An exited process keeps its numbers until its parent reaps it, which no event reports in time.
    """

    tgid: int
    start_ns: int
    path: tuple[PidnsId, ...]
    nr: int
    parent_tgid: int
    parent_start_ns: int
    parent_nr: int
    comm: bytes
    cgroup_id: int
    exec_id: int
    between: tuple[int, ...] = ()
    exited_ns: int | None = None
    command: Shared | None = None
    command_since_ns: int = 0

    @property
    def proc_id(self) -> ProcId:
        """Its identity: PID on the host and start time."""
        return ProcId(self.tgid, self.start_ns)

    @property
    def parent(self) -> ProcId:
        """The identity of the parent that it had when it first appeared."""
        return ProcId(self.parent_tgid, self.parent_start_ns)

    @property
    def chain(self) -> Chain:
        """Its numbers, outermost first, that of the initial namespace included."""
        return tuple(map(Number, self.path, (self.tgid, *self.between, self.nr)))


class Table:
    """Which process has a number in a PID namespace, and which numbers a process has.

    Exited processes stay known for grace_ns, and the latest keep_exited of them for longer. max_processes bounds all:
    the process that exited longest ago is evicted first, then the one that appeared longest ago; evicted counts both,
    evicted_living the latter.

    lost_since_ns: when the first events were lost that no repair has made up for; None: there are none.
    unsure: events were lost, and the processes have not been compared with the kernel's list since (GAP and REPAIR rows
    say so). Then a number may belong to a process that no event reported, and lookups of the living return None.

    commands: what the living processes run, as far as `runs` was called.
    """

    def __init__(
        self, max_processes: int = MAX_PROCESSES, *, grace_ns: int = GRACE_NS, keep_exited: int = 4096
    ) -> None:
        self.commands = Commands()
        self._host: dict[int, Process] = {}
        self._spaces: dict[PidnsId, dict[int, Process]] = {}  # all but the initial one
        self._exited: deque[Process] = deque()
        self._aside = Aside()
        self._max_processes, self._grace_ns, self._keep_exited = max_processes, grace_ns, keep_exited
        self._lost_until_ns: int | None = None
        self.lost_since_ns: int | None = None
        self._evicted: OrderedDict[ProcId, None] = OrderedDict()
        self.live = 0
        self.evicted = self.evicted_living = 0

    def __len__(self) -> int:
        return len(self._host) + self._aside.count

    def apply(self, batch: Batch) -> None:
        """Update the table with a batch of events."""
        if not len(batch):
            return
        batch = batch.without(*CONTAINER_KINDS)  # their chains are not those of a process
        if not len(batch):
            return
        others, brief = split(batch)
        self._apply_rows(others)
        if brief:
            self._set_aside(brief)
        self._mark_losses(others)
        self._make_room(int(batch.rows["ts_ns"][-1]))

    def _set_aside(self, brief: ShortLived) -> None:
        if self._aside.meets(brief.numbers):
            self._settle()
        spaces = [(self._space(pidns), nrs) for pidns, nrs in brief.numbers.items()]
        holders = [space[nr] for space, nrs in spaces for nr in space.keys() & nrs]
        if holders and max(holder.start_ns for holder in holders) > brief.rows["start_ns"].min():
            self._apply_rows(Batch(brief.rows))  # reported late: numbers have other owners by now
            return
        for holder in holders:
            self._forget(holder)
        self._aside.put(brief)

    def _settle(self) -> None:
        """Put the processes that were set aside into the table, when a look-up or a new process needs their numbers."""
        if self._aside.count:
            for brief in self._aside.take_all():
                self._apply_rows(brief)
            self._exited = deque(sorted(self._exited, key=lambda process: process.exited_ns or 0))

    def _apply_rows(self, batch: Batch) -> None:
        rows, pairs, host = batch.rows, batch.pairs, self._host
        places = pairs.spread([(_path(batch, at), key[2]) for key, at in zip(pairs.keys, pairs.first, strict=True)])
        columns = (rows[name].tolist() for name in _COLUMNS)
        events = zip(places, rows["chain"]["nr"][:, 0].tolist(), *columns, strict=True)
        for at, (place, nr, kind, flags, tgid, start_ns, ts_ns, comm, ptgid, pstart_ns, pnr, execs) in enumerate(
            events
        ):
            process = host.get(tgid)
            if process is not None and process.start_ns == start_ns:
                if kind == _EXEC:
                    process.comm, process.exec_id = comm, execs
                elif kind == _MOVE:
                    process.cgroup_id = place[1]
                elif kind == _EXIT and process.exited_ns is None:
                    self._exit(process, ts_ns)
            elif kind in _LIVES and not self._was_aside(tgid, start_ns):
                path, cgroup_id = place
                between = () if len(path) <= 2 else _between(batch, at)
                process = Process(tgid, start_ns, path, nr, ptgid, pstart_ns, pnr, comm, cgroup_id, execs, between)
                self._add(process)
                if flags & _ENDED:
                    self._exit(process, ts_ns)

    def runs(self, tgid: int, start_ns: int, exec_id: int, heard: Heard | None) -> None:
        """Note what a living process runs since its exec of this number; None: that is not known."""
        process = self._host.get(tgid)
        if process is None or process.start_ns != start_ns or process.exited_ns is not None:
            return
        self._forget_command(process)
        if heard and process.exec_id == exec_id:
            process.command, process.command_since_ns = self.commands.hold(heard.command), heard.since_ns

    def command_of(self, tgid: int, start_ns: int, exec_id: int) -> Heard | None:
        """What a living process runs, if that is since its exec of this number; None: not known."""
        process = self._host.get(tgid)
        if process is None or process.start_ns != start_ns or process.exec_id != exec_id or process.command is None:
            return None
        command = process.command.command
        return Heard(command, process.command_since_ns) if command else None

    def _forget_command(self, process: Process) -> None:
        if process.command:
            self.commands.release(process.command)
            process.command = None

    def _was_aside(self, tgid: int, start_ns: int) -> bool:
        """Whether it is a process that was set aside; if one had its PID, all are put into the table first."""
        if not self._aside.knows(INITIAL_PIDNS, tgid):
            return False
        self._settle()
        return self._host[tgid].start_ns == start_ns

    def _mark_losses(self, batch: Batch) -> None:
        rows = batch.rows
        for at in np.flatnonzero(of_kind(rows, *NOTE_KINDS)).tolist() if batch.has(*NOTE_KINDS) else ():
            since_ns, ts_ns = int(rows["start_ns"][at]), int(rows["ts_ns"][at])
            if rows["kind"][at] == Kind.GAP:
                self._lost_until_ns = max(self._lost_until_ns or 0, ts_ns)
                self.lost_since_ns = min(ts_ns if self.lost_since_ns is None else self.lost_since_ns, since_ns)
            elif self._lost_until_ns is not None and self._lost_until_ns <= since_ns:
                self._lost_until_ns = self.lost_since_ns = None

    @property
    def unsure(self) -> bool:
        """Whether events were lost that no repair has made up for."""
        return self._lost_until_ns is not None

    def _add(self, process: Process) -> None:
        if before := self._host.get(process.tgid):
            if before.start_ns > process.start_ns:
                return  # reported late: its number was given away
            self._forget(before)  # its number was given away: it has been reaped
        self._host[process.tgid] = process
        self.live += 1
        for pidns, nr in _inside(process):
            if self._aside.count and self._aside.knows(pidns, nr):
                self._settle()
            space = self._spaces.get(pidns)
            if space is None:
                space = self._spaces[pidns] = {}
            elif before := space.get(nr):
                if before.start_ns > process.start_ns:
                    continue
                self._forget(before)
                space = self._spaces.setdefault(pidns, {})
            space[nr] = process

    def _exit(self, process: Process, ts_ns: int) -> None:
        process.exited_ns = ts_ns
        self._forget_command(process)
        self.live -= 1
        self._exited.append(process)

    def _make_room(self, now_ns: int) -> None:
        """Forget processes whose grace is over; then, if there are too many, more of them in the order of eviction."""
        self._aside.drop(now_ns - self._grace_ns, self._keep_exited)
        if len(self) > self._max_processes:
            self._settle()
        exited = self._exited
        while len(exited) > self._keep_exited and now_ns - (exited[0].exited_ns or 0) > self._grace_ns:
            self._forget(exited.popleft())
        while len(self._host) > self._max_processes:
            if exited:
                self.evicted += self._forget(exited.popleft())
            else:
                self._evict(next(iter(self._host.values())))  # all live: in the order in which they appeared
        asked_from_ns = (now_ns if self.lost_since_ns is None else self.lost_since_ns) - ECHO_NS
        while self._evicted and (
            next(iter(self._evicted)).start_ns < asked_from_ns or len(self._evicted) > self._max_processes
        ):
            self._evicted.popitem(last=False)

    def _evict(self, process: Process) -> None:
        self._forget(process)
        self._evicted[process.proc_id] = None
        self.evicted += 1
        self.evicted_living += 1

    def was_evicted(self, proc_id: ProcId) -> bool:
        """Whether the process lived when it was evicted: it is forgotten, but it was seen. Known for those that began
        at most ECHO_NS before events were lost, or before now: no comparison with a list needs older ones; and for no
        more of them than the table has room for."""
        return proc_id in self._evicted

    def _forget(self, process: Process) -> bool:
        """Remove it. False: it was not in the table any more."""
        if self._host.get(process.tgid) is not process:
            return False
        del self._host[process.tgid]
        self._forget_command(process)
        if process.exited_ns is None:
            self.live -= 1
        for pidns, nr in _inside(process):
            space = self._spaces.get(pidns, {})
            if space.get(nr) is process:
                del space[nr]
                if not space:
                    del self._spaces[pidns]
        return True

    def find(self, pidns: PidnsId, nr: int) -> Process | None:
        """The process that last had this number in this namespace, exited or not; None: not known."""
        self._settle()
        return self._space(pidns).get(nr)

    def to_host(self, pidns: PidnsId, nr: int) -> int | None:
        """The host PID of the living process with this number in a namespace; None: there is none, or not known."""
        process = self._living(pidns, nr)
        return process.tgid if process else None

    def chain(self, tgid: int) -> Chain | None:
        """All numbers of the living process with this host PID, host first; None: there is none, or not known."""
        process = self._living(INITIAL_PIDNS, tgid)
        return process.chain if process else None

    def _living(self, pidns: PidnsId, nr: int) -> Process | None:
        process = self.find(pidns, nr)
        return process if process and process.exited_ns is None and not self.unsure else None

    def living(self) -> list[Process]:
        """All processes that have not exited, as of now: later look-ups and events do not change the list."""
        return [process for process in self._host.values() if process.exited_ns is None]

    def cgroup_of(self, tgid: int, start_ns: int) -> int:
        """The cgroup of a living process, as last reported; 0: it does not live, or is not known."""
        process = self._host.get(tgid)  # processes that were set aside have exited
        if process is None or process.start_ns != start_ns or process.exited_ns is not None:
            return 0
        return process.cgroup_id

    def holder(self, tgid: int, start_ns: int | None = None) -> Process | None:
        """Who last had this PID on the host, and began at this time where one is given, unless it ended in the batch in
        which it appeared; None: not known."""
        process = self._host.get(tgid)
        return process if process and start_ns in (None, process.start_ns) else None

    def spaces(self) -> list[PidnsId]:
        """The namespaces of the processes that it knows, but for the initial one."""
        return list(self._spaces)

    def is_alive(self, pidns: PidnsId) -> bool:
        """Whether a process lives in this namespace: it ends when its first process has exited and none is left."""
        return any(process.exited_ns is None for process in self._space(pidns).values())

    def members(self, pidns: PidnsId) -> list[Process]:
        """The processes that live in this namespace and in those nested in it."""
        return [process for process in self._space(pidns).values() if process.exited_ns is None]

    def _space(self, pidns: PidnsId) -> dict[int, Process]:
        return self._host if pidns == INITIAL_PIDNS else self._spaces.get(pidns, {})


def _path(batch: Batch, index: int) -> tuple[PidnsId, ...]:
    if not batch.rows["level"][index]:
        return (INITIAL_PIDNS,)
    return (INITIAL_PIDNS, *(number.pidns for number in chain_of(batch, index)))


def _between(batch: Batch, index: int) -> tuple[int, ...]:
    return tuple(number.nr for number in chain_of(batch, index)[:-1])


def _inside(process: Process) -> Iterable[tuple[PidnsId, int]]:
    """Its numbers in all namespaces except the initial one."""
    if len(process.path) == 2:
        return ((process.path[1], process.nr),)
    return zip(process.path[1:], (*process.between, process.nr), strict=False)
