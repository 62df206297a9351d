"""JSON lines, schema 1: flat, snake_case, times in RFC 3339 with nanoseconds, absent = null."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np

from tracer.attribution import Attribution
from tracer.events import Batch, Flag, Kind, split_args
from tracer.facts import Container
from tracer.initial import INITIAL_PIDNS_INUM
from tracer.pidns import chain_of
from tracer.views.escape import decode, safe_json
from tracer.views.objects import container_object
from tracer.views.status import ending

_SECOND_NS = 1_000_000_000


class JsonLines:
    """One object a line. kinds: what to show, gaps always; threads: with tid and ns_tid.

    wall_offset_ns: wall clock minus boottime when the trace began.
    """

    header = ""

    def __init__(self, kinds: frozenset[Kind], threads: bool, wall_offset_ns: int) -> None:
        self._kinds = np.array(sorted(kinds | {Kind.GAP}))
        self._threads, self._offset = threads, wall_offset_ns
        self._encode = msgspec.json.Encoder().encode
        self._clock: tuple[int, str] = (-1, "")

    def render(self, batch: Batch, containers: Attribution) -> str:
        """One line for each row of a kind to show."""
        batch = batch.select(np.isin(batch.rows["kind"], self._kinds))
        objects = (self._object(batch, index, containers) for index in range(len(batch)))
        return "".join(safe_json(self._encode(item).decode()) + "\n" for item in objects)

    def _time(self, ts_ns: int) -> str:
        second, rest = divmod(ts_ns + self._offset, _SECOND_NS)
        if second != self._clock[0]:
            self._clock = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._clock[1]}.{rest:09}Z"

    def _object(self, batch: Batch, index: int, containers: Attribution) -> dict[str, Any]:
        row = batch.rows[index]
        kind = Kind(int(row["kind"]))
        if kind == Kind.GAP:
            return self._gap(row)
        container = containers.of_row(batch, index)
        result = self._common(batch, index, row, kind, container)
        if kind in (Kind.EXEC, Kind.SNAPSHOT):
            result |= self._command(batch, index, row, kind)
        if kind == Kind.EXIT:
            end = ending(int(row["status"]))
            result |= end._asdict() | {"duration_ns": int(row["ts_ns"]) - int(row["start_ns"])}
        if row["flags"] & Flag.INFERRED:
            result["inferred"] = True
        return result

    def _common(
        self, batch: Batch, index: int, row: np.void, kind: Kind, container: Container | None
    ) -> dict[str, Any]:
        chain = chain_of(batch, index)
        innermost = chain[-1]
        inside = chain if row["level"] else ()
        tgid, parent = int(row["tgid"]), int(row["parent_tgid"])
        result: dict[str, Any] = {
            "time": self._time(int(row["ts_ns"])),
            "event": kind.name.lower(),
            "container": container_object(container),
            "incarnation": container.incarnation if container else None,
            "pid": tgid,
            "ns_pid": innermost.nr,
            "ppid": parent,
            "ns_ppid": int(row["parent_vtgid"]),
            "pids": [tgid, *(number.nr for number in inside)],
            "pidns": innermost.pidns.inum,
            "pidns_gen": innermost.pidns.gen,
            "level": int(row["level"]),
            "pidns_chain": [INITIAL_PIDNS_INUM, *(number.pidns.inum for number in inside)],
        }
        if self._threads:
            result |= {"tid": int(row["tid"]), "ns_tid": int(row["vtid"])}
        return result | {
            "proc_id": f"{tgid}-{row['start_ns']}",
            "parent_id": f"{parent}-{row['parent_start_ns']}" if parent else None,
            "comm": decode(bytes(row["comm"])),
            "uid": int(row["uid"]),
            "cgroup_id": int(row["cgroup_id"]),
            "cpu": int(row["cpu"]),
            "ts_ns": int(row["ts_ns"]),
        }

    def _command(self, batch: Batch, index: int, row: np.void, kind: Kind) -> dict[str, Any]:
        payload = batch.payload(index)
        result: dict[str, Any] = {
            "exe": decode(payload.exe) or None,
            "args": [decode(arg) for arg in split_args(payload.args)],
        }
        if kind == Kind.SNAPSHOT:
            return result | {"state": chr(row["state"]) if row["state"] else None}
        old_tid = int(row["old_tid"])
        result["args_truncated"] = bool(row["flags"] & Flag.ARGS_TRUNCATED)
        result["old_tid"] = old_tid if old_tid != row["tgid"] else None
        return result

    def _gap(self, row: np.void) -> dict[str, Any]:
        return {
            "time": self._time(int(row["ts_ns"])),
            "event": "gap",
            "lost": int(row["seq"]),
            "cpu": int(row["cpu"]),
            "since": self._time(int(row["start_ns"])) if row["start_ns"] else None,
            "until": self._time(int(row["ts_ns"])),
            "ts_ns": int(row["ts_ns"]),
        }
