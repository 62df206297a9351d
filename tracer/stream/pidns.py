"""Identity of PID namespaces and processes, and the chain of numbers that a process has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tracer.system.host_pidns import INITIAL_PIDNS_INUM

if TYPE_CHECKING:
    from tracer.stream.batch import Batch  # with numpy, which translating live has no time for


class PidnsId(NamedTuple):
    """A PID namespace. The inode number alone is reused at once; gen is ns_id where the kernel has it
    (include/linux/ns_common.h), else the start time in ns of the namespace's first process. It comes with every event:
    no descriptor is held to keep a number from being reused, which would come too late for a short life anyway."""

    inum: int
    gen: int


INITIAL_PIDNS = PidnsId(INITIAL_PIDNS_INUM, 0)
"""The host's PID namespace: there is only one."""


class ProcId(NamedTuple):
    """A process: PIDs are reused, so the number alone does not identify it. Printed as <tgid>-<start_ns>."""

    tgid: int
    start_ns: int

    def __str__(self) -> str:
        return f"{self.tgid}-{self.start_ns}"


class Number(NamedTuple):
    """The number that a process has in one PID namespace."""

    pidns: PidnsId
    nr: int


Chain = tuple[Number, ...]
"""A process's numbers, outermost first. The initial namespace has an entry only in level 0 processes' chains:
everywhere else its number is the tgid."""


def chain_of(batch: Batch, index: int) -> Chain:
    """The chain of the row at index, outermost first, without the initial namespace unless it is the only one."""
    row = batch.rows[index]
    inner = _numbers(row["chain"].tolist()[: max(1, int(row["level"]))])
    if row["deep_len"] > row["killer_len"]:
        import numpy as np

        from tracer.stream.batch import NUMBER

        inner += _numbers(np.frombuffer(batch.payload(index).deep, NUMBER).tolist())
    return tuple(reversed(inner))


def _numbers(items: list[Any]) -> list[Number]:
    """items: values of the dtype NUMBER, as tuples of its fields."""
    return [Number(PidnsId(inum, gen), nr) for inum, nr, gen in items]
