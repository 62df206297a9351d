"""--where on lists of processes: those for which a condition on the names of their JSON is true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from tracer.answers.census import NOBODY
from tracer.ask.condition import Condition
from tracer.recording.schema import FLAT
from tracer.stream.metadata import Container, split_args
from tracer.stream.pidns import PidnsId, ProcId
from tracer.text.escape import decode

_TIME = pa.timestamp("ns")
_NAMES = ("pid", "ns_pid", "ppid", "ns_ppid", "pids", "pidns", "pidns_gen", "level", "pidns_chain", "proc_id")
_COMMAND = ("parent_id", "comm", "uid", "state", "exe", "args", "args_truncated")
_CONTAINER = ("container", "container_id", "image", "runtime", "incarnation")
SCHEMA = pa.schema(
    [*(FLAT.field(name) for name in (*_CONTAINER, *_NAMES, *_COMMAND)), ("user", pa.string()), ("started", _TIME)]
)
"""The names that a condition may use: those of `ps --json`, with the container's name as its value."""


class _Listed(Protocol):
    """What a condition may ask of a process: `tracer.answers.census.Entry` is one. None, b"" and "": not known."""

    @property
    def container(self) -> Container | None: ...
    @property
    def numbers(self) -> Sequence[int]: ...
    @property
    def spaces(self) -> Sequence[PidnsId] | None: ...
    @property
    def level(self) -> int: ...
    @property
    def proc_id(self) -> ProcId | None: ...
    @property
    def parent(self) -> ProcId | None: ...
    @property
    def ns_ppid(self) -> int | None: ...
    @property
    def comm(self) -> bytes: ...
    @property
    def exe(self) -> bytes: ...
    @property
    def args(self) -> bytes | None: ...
    @property
    def args_truncated(self) -> bool: ...
    @property
    def uid(self) -> int | None: ...
    @property
    def state(self) -> str: ...
    @property
    def started_ns(self) -> int | None: ...


L = TypeVar("L", bound=_Listed)


class ProcessFilter:
    """A condition on processes, as it was typed. needs: the names in it. Raises NstraceError (usage) where it is
    wrong."""

    def __init__(self, text: str) -> None:
        self._condition = Condition(text, SCHEMA)
        self.needs = frozenset(self._condition.needs)
        self._schema = pa.schema([SCHEMA.field(name) for name in self._condition.needs])

    def mask(self, processes: Sequence[_Listed], name_of: Callable[[int], str]) -> list[bool]:
        """For which of the processes it is true, in order. name_of: uid -> name. Raises NstraceError where it cannot be
        evaluated for one of them."""
        if not processes:
            return []
        columns = []
        for field in self._schema:
            if field.name == "user":
                values = [None if one.uid is None else name_of(one.uid) for one in processes]
            else:
                values = list(map(_VALUES[field.name], processes))
            columns.append(pa.array(values, field.type))
        found: list[bool] = self._condition.mask(pa.RecordBatch.from_arrays(columns, schema=self._schema)).tolist()
        return found

    def passing(self, processes: Sequence[L], name_of: Callable[[int], str]) -> list[L]:
        """Those of the processes that pass, as `mask`."""
        mask = self.mask(processes, name_of)
        return [one for one, passes in zip(processes, mask, strict=True) if passes]


def _of_container(value: Callable[[Container], Any]) -> Callable[[_Listed], Any]:
    return lambda one: value(one.container) if one.container else None


_VALUES: dict[str, Callable[[_Listed], Any]] = {
    "container": _of_container(lambda container: container.name or container.short_id),
    "container_id": _of_container(lambda container: container.id),
    "image": _of_container(lambda container: container.image),
    "runtime": _of_container(lambda container: container.runtime),
    "incarnation": _of_container(lambda container: container.incarnation),
    "pid": lambda one: one.numbers[0] if one.numbers else None,
    "ns_pid": lambda one: one.numbers[-1] if one.numbers else None,
    "ppid": lambda one: one.parent and one.parent.tgid,
    "ns_ppid": lambda one: one.ns_ppid,
    "pids": lambda one: list(one.numbers) or None,
    "pidns": lambda one: one.spaces[-1].inum if one.spaces else None,
    "pidns_gen": lambda one: one.spaces[-1].gen if one.spaces else None,
    "level": lambda one: one.level,
    "pidns_chain": lambda one: [space.inum for space in one.spaces or ()] or None,
    "proc_id": lambda one: one.proc_id and str(one.proc_id),
    "parent_id": lambda one: str(one.parent) if one.parent and one.parent != NOBODY else None,
    "comm": lambda one: decode(one.comm) or None,
    "uid": lambda one: one.uid,
    "started": lambda one: one.started_ns,
    "state": lambda one: one.state or None,
    "exe": lambda one: decode(one.exe) or None,
    "args": lambda one: None if one.args is None else [decode(arg) for arg in split_args(one.args)],
    "args_truncated": lambda one: one.args_truncated,
}
