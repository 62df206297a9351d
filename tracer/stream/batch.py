"""Batch: what flows from every source to table, recorder and views. `tracer.stream.schema` declares its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tracer.stream.distinct import distinct
from tracer.stream.losses import PairKey
from tracer.stream.metadata import pad_args as pad_args
from tracer.stream.metadata import split_args as split_args
from tracer.stream.schema import (
    COMM_BYTES,
    EVENT_FIELDS,
    INLINE_LEVELS,
    KILLER_FIELDS,
    MAX_LEVELS,
    NUMBER_FIELDS,
    PIECE_BYTES,
    PIECE_FIELDS,
    PROCESS_KINDS,
    Field,
)

T = TypeVar("T")


_TYPES = {"u8": "u1", "u16": "<u2", "u32": "<u4", "u64": "<u8"}


def _dtype(fields: Sequence[Field], **types: np.dtype[Any]) -> np.dtype[Any]:
    """A packed structure. types: the types of members that are not plain numbers."""
    return np.dtype([(field.name, types.get(field.name, _TYPES.get(field.type))) for field in fields])


NUMBER = _dtype(NUMBER_FIELDS)
EVENT = _dtype(EVENT_FIELDS, comm=np.dtype(f"S{COMM_BYTES}"), chain=np.dtype((NUMBER, INLINE_LEVELS)))
KILLER = _dtype(KILLER_FIELDS, comm=np.dtype(f"S{COMM_BYTES}"), numbers=np.dtype(("<u4", MAX_LEVELS)))
PIECE = _dtype(PIECE_FIELDS, bytes=np.dtype(("u1", PIECE_BYTES)))


_RAW = np.dtype(("V", EVENT.itemsize))  # numpy copies a dtype with fields field by field: 20 times slower


def pick(rows: NDArray[np.void], where: NDArray[np.bool_] | NDArray[np.intp]) -> NDArray[np.void]:
    """The rows (array of EVENT) at these indices, or where a mask is true; a copy."""
    return rows.view(_RAW)[where].view(EVENT)


def join_rows(parts: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    """The rows of all parts (arrays of EVENT), one after the other."""
    return np.concatenate([part.view(_RAW) for part in parts]).view(EVENT)


@lru_cache
def _is_one_of(kinds: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.isin(np.arange(256), kinds)


_BITS = np.array([1 << min(kind, 63) for kind in range(256)], np.uint64)  # the last one: of kinds that there are not


@lru_cache
def _bits_of(kinds: tuple[int, ...]) -> int:
    return sum(1 << kind for kind in set(kinds))


def of_kind(rows: NDArray[np.void], *kinds: int) -> NDArray[np.bool_]:
    """Which rows are of one of these kinds, shape (n,)."""
    result: NDArray[np.bool_] = _is_one_of(kinds).take(rows["kind"])
    return result


class Payload(NamedTuple):
    """The parts of a row that have no fixed length, raw bytes as the kernel reported them; args are NUL-separated.

    killer: of an exit, the JSON of a `tracer.stream.metadata.Killer`; a struct killer until `tracer.stream.killers` has
    read it. Of CONTAINER_KINDS, args are the JSON of a fact.
    """

    deep: bytes
    exe: bytes
    args: bytes
    killer: bytes = b""


class Pairs(NamedTuple):
    """The different pairs of PID namespace and cgroup among rows: many facts depend on nothing else.

    first: the index of the first row of each, in step with keys: of a process, where there is one, for others have no
    chain. of_row: the index of each row's pair, shape (n,).
    """

    keys: list[PairKey]
    first: list[int]
    of_row: NDArray[np.intp]

    def spread(self, values: Sequence[T]) -> list[T]:
        """For each row the value of its pair. values: one for each pair, in step with keys."""
        if len(values) == 1:
            return [values[0]] * len(self.of_row)
        return [values[pair] for pair in self.of_row.tolist()]


class Batch:
    """Events in their order, with their parts of variable length beside them.

    rows: array of EVENT, shape (n,). heap: for each row in order its deep chain and killer (deep_len bytes, of which
    the last killer_len are the killer), file name (exe_len) and arguments (args_len).

    What many ask of a batch is worked out once, when it is asked first: a column of the rows is read for each answer.
    So whoever changes rows later makes a new batch, or calls `changed`.
    """

    def __init__(self, rows: NDArray[np.void], heap: bytes = b"") -> None:
        self.rows = rows
        self.heap = heap

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _kinds(self) -> int:
        return int(np.bitwise_or.reduce(_BITS.take(self.rows["kind"])))

    @cached_property
    def _flags(self) -> int:
        return int(np.bitwise_or.reduce(self.rows["flags"]))

    def has(self, *kinds: int) -> bool:
        """Whether a row is of one of these kinds."""
        return self._kinds & _bits_of(kinds) != 0

    def may_have(self, flags: int) -> bool:
        """Whether a row may have one of these flags. False: none has; it may be cleared where this is True."""
        return self._flags & flags != 0

    def changed(self) -> None:
        """Call it after changing kinds or flags of rows, unless flags were cleared alone."""
        for name in ("_kinds", "_flags"):
            self.__dict__.pop(name, None)

    @cached_property
    def firsts(self) -> NDArray[np.intp]:
        """The indices of rows whose process has number 1 in its innermost PID namespace, which is not the initial one,
        whatever their kind."""
        numbered: NDArray[np.intp] = np.flatnonzero(self.rows["chain"]["nr"][:, 0] == 1)
        return numbered[self.rows["level"][numbered] > 0] if len(numbered) else numbered

    @cached_property
    def parentless(self) -> NDArray[np.intp]:
        """The indices of rows whose process's parent has no number in its innermost PID namespace, whatever their
        kind: few, who came from outside, and what has no parent."""
        return np.flatnonzero(self.rows["parent_vtgid"] == 0)

    @cached_property
    def killed(self) -> NDArray[np.intp]:
        """The indices of rows with a killer."""
        return np.flatnonzero(self.rows["killer_len"])

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """How many bytes of the heap belong to each row, shape (n,)."""
        rows = self.rows
        lengths: NDArray[np.int64] = rows["deep_len"].astype(np.int64) + rows["exe_len"] + rows["args_len"]
        return lengths

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The offset in the heap at which each row's bytes begin, shape (n,)."""
        starts: NDArray[np.int64] = np.cumsum(self.lengths) - self.lengths
        return starts

    @cached_property
    def pairs(self) -> Pairs:
        """The different pairs of PID namespace and cgroup in the rows."""
        rows = self.rows
        inum, gen, cgroup_id = rows["chain"]["inum"][:, 0], rows["chain"]["gen"][:, 0], rows["cgroup_id"]
        first, of_row = distinct(inum, gen, cgroup_id)
        if not (has_chain := of_kind(rows, *PROCESS_KINDS)).all():
            them = np.flatnonzero(has_chain)[::-1]  # of equal places the last assignment counts
            first[of_row[them]] = them
        keys = zip(inum[first].tolist(), gen[first].tolist(), cgroup_id[first].tolist(), strict=True)
        return Pairs(list(keys), first.tolist(), of_row)

    def payload(self, index: int) -> Payload:
        """What the row at index has in the heap: chain, file name and arguments."""
        row = self.rows[index]
        deep = int(self.starts[index])
        exe = deep + int(row["deep_len"])
        killer, args = exe - int(row["killer_len"]), exe + int(row["exe_len"])
        heap, end = self.heap, args + int(row["args_len"])
        return Payload(heap[deep:killer], heap[exe:args], heap[args:end], heap[killer:exe])

    def commands(self, indices: NDArray[np.intp]) -> list[tuple[bytes, int]]:
        """What the rows at these indices run: file name and arguments joined, and the length of the file name."""
        heap, rows = self.heap, self.rows
        exe = self.starts[indices] + rows["deep_len"][indices]
        lengths = rows["exe_len"][indices]
        ends = exe + lengths + rows["args_len"][indices]
        return [
            (heap[start:end], length)
            for start, end, length in zip(exe.tolist(), ends.tolist(), lengths.tolist(), strict=True)
        ]

    def select(self, mask: NDArray[np.bool_]) -> Batch:
        """The rows where mask (shape (n,)) is true, in the same order."""
        if mask.all():
            return self
        if not self.heap:
            return Batch(pick(self.rows, mask))
        heap = np.frombuffer(self.heap, np.uint8)
        return Batch(pick(self.rows, mask), heap[np.repeat(mask, self.lengths)].tobytes())

    def only(self, *kinds: int) -> Batch:
        """The rows of these kinds, in the same order."""
        return self.select(of_kind(self.rows, *kinds)) if self._kinds & ~_bits_of(kinds) else self

    def without(self, *kinds: int) -> Batch:
        """The rows of other kinds, in the same order."""
        return self.select(~of_kind(self.rows, *kinds)) if self.has(*kinds) else self

    def take(self, indices: NDArray[np.intp]) -> Batch:
        """The rows at these indices, in the order of the indices."""
        ends = self.starts + self.lengths
        heap = b"".join(self.heap[self.starts[at] : ends[at]] for at in indices.tolist()) if self.heap else b""
        return Batch(self.rows[indices], heap)

    def part(self, start: int, stop: int) -> Batch:
        """The rows from start up to, but without, stop."""
        if start == 0 and stop == len(self):
            return self
        if not self.heap or start == stop:
            return Batch(self.rows[start:stop])
        ends = self.starts + self.lengths
        return Batch(self.rows[start:stop], self.heap[int(self.starts[start]) : int(ends[stop - 1])])

    @staticmethod
    def concat(batches: Iterable[Batch]) -> Batch:
        """The rows of all batches, one after the other."""
        parts = [batch for batch in batches if len(batch)]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Batch(np.empty(0, EVENT))
        return Batch(join_rows([part.rows for part in parts]), b"".join(part.heap for part in parts))


def with_killers(batch: Batch, at: Sequence[int], killers: Sequence[bytes]) -> Batch:
    """The batch, a copy, in which the rows at these places, which rise, have these killers in place of theirs."""
    rows, heap, done = join_rows([batch.rows]), [], 0
    for index, killer in zip(at, killers, strict=True):
        row = rows[index]
        end = int(batch.starts[index]) + int(row["deep_len"])
        heap += [batch.heap[done : end - int(row["killer_len"])], killer]
        row["deep_len"] = int(row["deep_len"]) - int(row["killer_len"]) + len(killer)
        row["killer_len"] = len(killer)
        done = end
    return Batch(rows, b"".join([*heap, batch.heap[done:]]))


def without_args(batch: Batch, which: NDArray[np.bool_]) -> Batch:
    """The batch, a copy where it differs, without the arguments of these rows."""
    rows = batch.rows
    which = which & (rows["args_len"] > 0)
    if not which.any():
        return batch
    keep = np.ones(len(batch.heap), bool)
    ends = batch.starts + batch.lengths
    for at in np.flatnonzero(which).tolist():
        keep[ends[at] - int(rows["args_len"][at]) : ends[at]] = False
    rows = rows.copy()
    rows["args_len"][which] = 0
    return Batch(rows, np.frombuffer(batch.heap, np.uint8)[keep].tobytes())
