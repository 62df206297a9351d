"""What the processes of a list run: the kernel's list of tasks does not say it, so it is read from /proc."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tracer.host.proc_operations import Proc
from tracer.kernel.trace import now_ns
from tracer.stream.batch import Batch, of_kind
from tracer.stream.schema import Flag, Kind

_PIECE_ROWS = 2048


class ListedCommands:
    """Adds commands to the rows that come from a list. max_args_bytes: how much of the arguments of each."""

    def __init__(self, proc: Proc, max_args_bytes: int) -> None:
        self._proc, self._max_args_bytes = proc, max_args_bytes

    def whole(self, batch: Batch) -> Batch:
        """The batch, with what each process of a list runs."""
        return Batch.concat(self.pieces(batch))

    def pieces(self, batch: Batch) -> Iterator[Batch]:
        """As `whole`, in pieces."""
        rows = batch.rows
        if not batch.has(Kind.SNAPSHOT) and not batch.may_have(Flag.INFERRED):
            yield batch
            return
        is_listed = of_kind(rows, Kind.SNAPSHOT) | of_kind(rows, Kind.FORK, Kind.EXEC) & _is_inferred(rows)
        if not is_listed.any():
            yield batch
            return
        is_listed &= rows["comm"] != b""  # what ran before an exec is not known
        is_listed &= rows["exe_len"] + rows["args_len"] == 0  # else it was held, and has its command
        for start in range(0, len(batch), _PIECE_ROWS):
            stop = min(len(batch), start + _PIECE_ROWS)  # each needs memory for its commands
            yield self._with_commands(batch.part(start, stop), np.flatnonzero(is_listed[start:stop]))

    def _with_commands(self, batch: Batch, asked: NDArray[np.intp]) -> Batch:
        rows, heap, at, most = batch.rows.copy(), [], 0, self._max_args_bytes
        processes = zip(rows["tgid"][asked].tolist(), rows["start_ns"][asked].tolist(), strict=True)
        commands = self._proc.commands(list(processes), most + 1)
        rows["seq"][asked] = now_ns()
        lengths = np.array([(len(exe), len(args)) for exe, args in commands], np.uint32).reshape(-1, 2)
        rows["flags"][asked[lengths[:, 1] > most]] |= np.uint8(Flag.ARGS_TRUNCATED)
        rows["exe_len"][asked] = lengths[:, 0]
        rows["args_len"][asked] = rows["args_total"][asked] = np.minimum(lengths[:, 1], most)
        deep_ends = (batch.starts[asked] + rows["deep_len"][asked]).tolist()
        for (exe, args), deep_end in zip(commands, deep_ends, strict=True):
            heap += [batch.heap[at:deep_end], exe, args[:most]]
            at = deep_end
        return Batch(rows, b"".join(heap) + batch.heap[at:])


def _is_inferred(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    inferred: NDArray[np.bool_] = rows["flags"] & Flag.INFERRED != 0
    return inferred
