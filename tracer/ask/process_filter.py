"""--where on lists of processes: those for which a condition on the names of their JSON is true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from tracer.answers.census import NOBODY, Entry
from tracer.ask.condition import Condition
from tracer.recording.schema import FLAT
from tracer.stream.metadata import split_args
from tracer.text.escape import decode

_TIME = pa.timestamp("ns")
_NAMES = ("pid", "ns_pid", "ppid", "ns_ppid", "pids", "pidns", "pidns_gen", "level", "pidns_chain", "proc_id")
_COMMAND = ("parent_id", "comm", "uid", "state", "exe", "args", "args_truncated")
_CONTAINER = ("container", "container_id", "image", "runtime", "incarnation")
SCHEMA = pa.schema(
    [*(FLAT.field(name) for name in (*_CONTAINER, *_NAMES, *_COMMAND)), ("user", pa.string()), ("started", _TIME)]
)
"""The names that a condition may use: those of `ps --json`, with the container's name as its value."""


class ProcessFilter:
    """A condition on processes, as it was typed. Raises NstraceError (usage) where it is wrong."""

    def __init__(self, text: str) -> None:
        self._condition = Condition(text, SCHEMA)
        self._schema = pa.schema([SCHEMA.field(name) for name in self._condition.needs])

    def passing(self, entries: Sequence[Entry], name_of: Callable[[int], str]) -> list[Entry]:
        """Those of the processes that pass, in order. name_of: uid -> name."""
        if not entries:
            return []
        rows = [_row(entry, name_of) for entry in entries]
        columns = [pa.array([row[field.name] for row in rows], field.type) for field in self._schema]
        mask = self._condition.mask(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        return [entry for entry, passes in zip(entries, mask.tolist(), strict=True) if passes]


def _row(entry: Entry, name_of: Callable[[int], str]) -> dict[str, Any]:
    container, parent = entry.container, entry.parent
    chain = entry.chain or ()
    return {
        "container": container and (container.name or container.short_id),
        "container_id": container and container.id,
        "image": container and container.image,
        "runtime": container and container.runtime,
        "incarnation": container and container.incarnation,
        "pid": entry.numbers[0],
        "ns_pid": entry.numbers[-1],
        "ppid": parent and parent.tgid,
        "ns_ppid": entry.ns_ppid,
        "pids": list(entry.numbers),
        "pidns": entry.pidns and entry.pidns.inum,
        "pidns_gen": entry.pidns and entry.pidns.gen,
        "level": entry.level,
        "pidns_chain": [number.pidns.inum for number in chain] or None,
        "proc_id": str(entry.proc_id),
        "parent_id": str(parent) if parent and parent != NOBODY else None,
        "comm": decode(entry.comm) or None,
        "uid": entry.uid,
        "user": None if entry.uid is None else name_of(entry.uid),
        "started": entry.started_ns,
        "state": entry.state or None,
        "exe": decode(entry.exe) or None,
        "args": None if entry.args is None else [decode(arg) for arg in split_args(entry.args)],
        "args_truncated": entry.args_truncated,
    }
