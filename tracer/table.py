"""The translation table: which process has which number in which PID namespace, kept current by events. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tracer.events import Batch, Kind
from tracer.pidns import INITIAL_PIDNS, Chain, Number, PidnsId, ProcId, chain_of

_APPEARS = (Kind.FORK, Kind.EXEC, Kind.SNAPSHOT)


class Process:
    """One process. chain: its numbers, outermost first, the initial namespace's among them.

    exited_ns: when its last thread ended (CLOCK_BOOTTIME), None while it lives. A process that has exited keeps its
    numbers until its parent reaps it, which no event tells in time.
    """

    __slots__ = ("chain", "comm", "exited_ns", "parent", "proc_id")

    def __init__(self, proc_id: ProcId, chain: Chain, parent: ProcId, comm: bytes) -> None:
        self.proc_id = proc_id
        self.chain = chain
        self.parent = parent
        self.comm = comm
        self.exited_ns: int | None = None


class Table:
    """Lookups both ways. max_exited: how many exited processes stay known, the latest ones."""

    def __init__(self, max_exited: int = 4096) -> None:
        self._processes: dict[ProcId, Process] = {}
        self._spaces: dict[PidnsId, dict[int, Process]] = {}
        self._exited: deque[Process] = deque()
        self._max_exited = max_exited
        self.live = 0

    def __len__(self) -> int:
        return len(self._processes)

    def apply(self, batch: Batch) -> None:
        """Bring the table up to date with a batch of events."""
        rows = batch.rows
        columns = zip(
            rows["kind"].tolist(), rows["tgid"].tolist(), rows["start_ns"].tolist(), rows["ts_ns"].tolist(), strict=True
        )
        for index, (kind, tgid, start_ns, ts_ns) in enumerate(columns):
            proc_id = ProcId(tgid, start_ns)
            if kind == Kind.EXIT:
                self._exit(proc_id, ts_ns)
            elif kind in _APPEARS:
                known = self._processes.get(proc_id)
                if known is None:
                    self._add(batch, index, proc_id)
                elif kind == Kind.EXEC:
                    known.comm = bytes(rows["comm"][index])

    def _add(self, batch: Batch, index: int, proc_id: ProcId) -> None:
        row = batch.rows[index]
        inner = () if row["level"] == 0 else chain_of(batch, index)
        chain = (Number(INITIAL_PIDNS, proc_id.tgid), *inner)
        parent = ProcId(int(row["parent_tgid"]), int(row["parent_start_ns"]))
        process = Process(proc_id, chain, parent, bytes(row["comm"]))
        for pidns, nr in chain:
            space = self._spaces.setdefault(pidns, {})
            if before := space.get(nr):
                self._forget(before)  # its number was given away: it has been reaped
                space = self._spaces.setdefault(pidns, {})
            space[nr] = process
        self._processes[proc_id] = process
        self.live += 1

    def _exit(self, proc_id: ProcId, ts_ns: int) -> None:
        process = self._processes.get(proc_id)
        if process is None or process.exited_ns is not None:
            return
        process.exited_ns = ts_ns
        self.live -= 1
        self._exited.append(process)
        while len(self._exited) > self._max_exited:
            self._forget(self._exited.popleft())

    def _forget(self, process: Process) -> None:
        if self._processes.pop(process.proc_id, None) is None:
            return
        if process.exited_ns is None:
            self.live -= 1
        for pidns, nr in process.chain:
            space = self._spaces.get(pidns, {})
            if space.get(nr) is process:
                del space[nr]
            if not space:
                self._spaces.pop(pidns, None)

    def find(self, pidns: PidnsId, nr: int) -> Process | None:
        """The process that last had this number there, exited or not; None: not known."""
        return self._spaces.get(pidns, {}).get(nr)

    def to_host(self, pidns: PidnsId, nr: int) -> int | None:
        """The host PID of the living process with this number in a namespace; None: there is none, or not known."""
        process = self.find(pidns, nr)
        return process.proc_id.tgid if process and process.exited_ns is None else None

    def chain(self, tgid: int) -> Chain | None:
        """All numbers of the living process with this host PID, host first; None: there is none, or not known."""
        process = self.find(INITIAL_PIDNS, tgid)
        return process.chain if process and process.exited_ns is None else None

    def living(self) -> Iterable[Process]:
        """All processes that have not exited."""
        return (process for process in self._processes.values() if process.exited_ns is None)

    def is_alive(self, pidns: PidnsId) -> bool:
        """Whether anyone lives in this namespace: it ends when its first process has exited and nobody is left."""
        return any(process.exited_ns is None for process in self._spaces.get(pidns, {}).values())
