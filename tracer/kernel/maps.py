"""The maps that the reader shares with the programs: counters, decisions, and the state of the reader.

The counters and the state are memory of ours; what needs bpf(2) is asked for (tracer.kernel.operations).
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterable, Iterator
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tracer.errors import NstraceError
from tracer.kernel import operations
from tracer.kernel.operations import DECISIONS, LOSS_BYTES, MAX_DECISIONS, MISSES, PAIR
from tracer.kernel.shared_memory import shared_memory
from tracer.stream.account import COUNTS
from tracer.stream.losses import Loser
from tracer.stream.selection import Decision
from tracer.system.broker import Privileged
from tracer.system.cpus import cpu_count
from tracer.system.fence import full_fence

_LOSS = np.dtype([("failed", "<u8"), ("throttled", "<u8")])  # struct loss, bpf/nstrace.bpf.c
_FOLLOW, _IGNORE = 1, 2


class Reader(IntEnum):
    """The state of the reader, as the programs know it (enum reader_state, bpf/nstrace.bpf.c). CLOSED: they report
    nothing and count nothing."""

    CLOSED = 0
    AT_WORK = 1
    ASLEEP = 2


class Maps:
    """Access to the maps. privileged: who performs `tracer.kernel.operations`; may be exchanged.

    counts, wake: descriptors of the maps of these names, which are not needed any more when this is made.
    """

    def __init__(self, counts: int, wake: int, privileged: Privileged) -> None:
        self.privileged = privileged
        self._cpus = cpu_count()
        self._counts = np.frombuffer(
            shared_memory(counts, COUNTS.itemsize * self._cpus, mmap.PROT_READ), COUNTS, self._cpus
        )
        self._wake = np.frombuffer(shared_memory(wake, 8, mmap.PROT_READ | mmap.PROT_WRITE), np.uint64, 1)
        self._look = 0

    def say(self, reader: Reader) -> None:
        """Report the reader's state to the programs, before anything that is read from now on; each call counts as a
        look at the ring."""
        self._look = (self._look + 1) & 0xFFFFFFFF
        self._wake[0] = reader | self._look << 32  # struct reader, bpf/nstrace.bpf.c; in one store
        full_fence()

    def decide(self, decisions: Iterable[Decision]) -> None:
        """Make the programs follow or ignore pairs of namespace and cgroup from now on."""
        self._ask_each(operations.DECIDE, decisions)

    def forget(self, decisions: Iterable[Decision]) -> None:
        """Make pairs of namespace and cgroup undecided again."""
        self._ask_each(operations.FORGET, decisions)

    def _ask_each(self, operation: str, decisions: Iterable[Decision]) -> None:
        rest = [
            PAIR.pack(pidns.gen, cgroup_id, pidns.inum, _FOLLOW if follow else _IGNORE)
            for pidns, cgroup_id, follow in decisions
        ]
        for at in range(0, len(rest), MAX_DECISIONS):
            part = rest[at : at + MAX_DECISIONS]
            with _errors_of("a map of the programs cannot be written"):
                self.privileged.ask(operation, DECISIONS.pack(len(part), b"".join(part)))

    def counts(self) -> NDArray[np.void]:
        """The programs' current counters: array of COUNTS, shape (cpus,)."""
        return self._counts.copy()

    def losses(self) -> dict[Loser, NDArray[np.uint64]]:
        """Losses by pair, as far as there was room for pairs: arrays of shape (cpus,)."""
        found, data = {}, self.privileged.ask(operations.LOSSES).data
        size = PAIR.size + LOSS_BYTES * self._cpus
        for at in range(0, len(data), size):
            gen, cgroup_id, inum, _pad = PAIR.unpack_from(data, at)
            loss = np.frombuffer(data, _LOSS, self._cpus, at + PAIR.size)
            found[Loser((inum, gen, cgroup_id))] = loss["failed"] - loss["throttled"]
            found[Loser((inum, gen, cgroup_id), throttled=True)] = loss["throttled"].copy()
        return found

    def missed(self) -> int:
        """How often the kernel did not run one of the programs because one was running on that CPU, 0 where it does not
        count; and how many failed execs there was no room to note."""
        with _errors_of("a program's counters cannot be read"):
            skipped = int(MISSES.unpack(self.privileged.ask(operations.MISSED).data)[0])
        return skipped + int(self._counts["unnoted"].sum())

    def open_tasks(self) -> int:
        """A descriptor from which the records of all tasks can be read."""
        with _errors_of("the kernel's list of tasks cannot be read"):
            return self.privileged.ask(operations.TASKS).fds[0]

    def close(self) -> None:
        """Unmap them. No other method may be called afterwards."""
        del self._counts, self._wake


@contextlib.contextmanager
def _errors_of(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NstraceError(
            f"{what}: {error.strerror}", "run it again; if that does not help, please report it"
        ) from error
