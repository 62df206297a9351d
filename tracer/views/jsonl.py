"""JSON lines, schema 1: flat, snake_case, times in RFC 3339 with nanoseconds, absent = null."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from tracer.attribution import Attribution
from tracer.events import NO_CPU, Batch, Flag, Kind, split_args
from tracer.facts import Container
from tracer.initial import INITIAL_PIDNS_INUM
from tracer.pidns import chain_of
from tracer.views.clock import Clock
from tracer.views.escape import decode, safe_json
from tracer.views.objects import container_object
from tracer.views.status import Ending, ending

# The form of a row is what its pattern depends on; where in one number its parts begin, above the kind:
_LEVEL, _HAS_PARENT, _INFERRED, _UID, _PAIR = 4, 6, 7, 8, 40
_BELOW_PAIR = (1 << _PAIR) - 1
_MAX_KNOWN = 4096
_SHORT_BYTES = 512


class JsonLines:
    """One object a line. kinds: what to show, gaps always; threads: with tid and ns_tid.

    wall_offset_ns: wall clock minus boottime when the trace began.

    Most of a line is the same for many rows: it is made once a batch, as a pattern with holes.
    """

    header = ""

    def __init__(self, kinds: frozenset[Kind], threads: bool, wall_offset_ns: int) -> None:
        self._shows = np.isin(np.arange(256), list(kinds | {Kind.GAP, Kind.REPAIR}))
        self._threads = threads
        self._known: dict[tuple[int, ...], tuple[Container | None, str]] = {}
        self._clock = Clock(wall_offset_ns, "%Y-%m-%dT%H:%M:%S", 9, time.gmtime)

    def render(self, batch: Batch, containers: Attribution) -> str:
        """One line for each row of a kind to show."""
        batch = batch.select(self._shows[batch.rows["kind"]])
        if not len(batch):
            return ""
        rows = batch.rows
        numbers = rows["tgid"].tolist(), rows["chain"]["nr"][:, 0].tolist()
        parents = rows["parent_tgid"].tolist()
        values = zip(
            *self._clock.columns(rows["ts_ns"]),
            *numbers,
            parents,
            rows["parent_vtgid"].tolist(),
            *numbers,
            *((rows["tid"].tolist(), rows["vtid"].tolist()) if self._threads else ()),
            numbers[0],
            rows["start_ns"].tolist(),
            parents,
            rows["parent_start_ns"].tolist(),
            map(_comm, rows["comm"].tolist()),
            rows["cpu"].tolist(),
            rows["ts_ns"].tolist(),
            _endings(batch),
            strict=True,
        )
        lines = [pattern % holes for pattern, holes in zip(self._patterns(batch, containers), values, strict=True)]
        for at in np.flatnonzero(rows["kind"] == Kind.GAP).tolist():
            lines[at] = self._gap(rows[at], containers.of_row(batch, at))
        for at in np.flatnonzero(rows["kind"] == Kind.REPAIR).tolist():
            lines[at] = self._repair(rows[at])
        return safe_json("\n".join(lines) + "\n")

    def _patterns(self, batch: Batch, containers: Attribution) -> list[str]:
        """For each row its line, with holes for what render() puts in."""
        rows, keys, levels = batch.rows, batch.pairs.keys, np.minimum(batch.rows["level"], 2)
        forms = (
            rows["kind"].astype(np.int64)
            | levels.astype(np.int64) << _LEVEL
            | (rows["parent_tgid"] != 0).astype(np.int64) << _HAS_PARENT
            | (rows["flags"] & Flag.INFERRED != 0).astype(np.int64) << _INFERRED
            | rows["uid"].astype(np.int64) << _UID
            | batch.pairs.of_row << _PAIR
        )
        different, first = np.unique(forms, return_index=True)
        made = {
            form: self._known_pattern(batch, at, containers, (form & _BELOW_PAIR, *keys[form >> _PAIR]))
            for form, at in zip(different.tolist(), first.tolist(), strict=True)
        }
        patterns = [made[form] for form in forms.tolist()]
        for at in np.flatnonzero(levels == 2).tolist():  # the numbers between host and innermost are its own
            patterns[at] = self._pattern(batch, at, containers.of_row(batch, at))
        return patterns

    def _known_pattern(self, batch: Batch, index: int, containers: Attribution, key: tuple[int, ...]) -> str:
        container = containers.of_row(batch, index)
        known = self._known.get(key)
        if known and known[0] is container:
            return known[1]
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        pattern = self._pattern(batch, index, container)
        self._known[key] = container, pattern
        return pattern

    def _pattern(self, batch: Batch, index: int, container: Container | None) -> str:
        row = batch.rows[index]
        chain = chain_of(batch, index)
        inside = chain if row["level"] else ()
        ended_unseen = row["kind"] == Kind.EXIT and row["flags"] & Flag.INFERRED
        numbers = ["%d", *(str(number.nr) for number in inside[:-1]), "%d"]
        members = {
            "time": '"%s.%09dZ"',
            "event": _constant(Kind(int(row["kind"])).name.lower()),
            "container": _constant(container_object(container)),
            "incarnation": _constant(container.incarnation if container else None),
            "pid": "%d",
            "ns_pid": "%d",
            "ppid": "%d",
            "ns_ppid": "%d",
            "pids": f"[{','.join(numbers)}]" if inside else "[%d%.0s]",  # %.0s: a hole that stays empty
            "pidns": chain[-1].pidns.inum,
            "pidns_gen": chain[-1].pidns.gen,
            "level": row["level"],
            "pidns_chain": _constant([INITIAL_PIDNS_INUM, *(number.pidns.inum for number in inside)]),
            **({"tid": "%d", "ns_tid": "%d"} if self._threads else {}),
            "proc_id": '"%d-%d"',
            "parent_id": '"%d-%d"' if row["parent_tgid"] else "null%.0s%.0s",
            "comm": "%s",
            "uid": "null" if ended_unseen else row["uid"],
            "cgroup_id": row["cgroup_id"],
            "cpu": "null%.0s" if ended_unseen else "%d",
            "ts_ns": "%d%s",
            **({"inferred": "true"} if row["flags"] & Flag.INFERRED else {}),
        }
        return "{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}"

    def _gap(self, row: np.void, container: Container | None) -> str:
        until = self._clock.text(int(row["ts_ns"])) + "Z"
        gap = {
            "time": until,
            "event": "gap",
            "lost": int(row["seq"]),
            "cpu": int(row["cpu"]) if row["cpu"] != NO_CPU else None,
            "container": container_object(container),
            "throttled": bool(row["flags"] & Flag.THROTTLED),
            "since": self._clock.text(int(row["start_ns"])) + "Z" if row["start_ns"] else None,
            "until": until,
            "ts_ns": int(row["ts_ns"]),
        }
        return _json(gap)

    def _repair(self, row: np.void) -> str:
        since, time = (self._clock.text(int(row[name])) + "Z" for name in ("start_ns", "ts_ns"))
        return _json({"time": time, "event": "repair", "since": since, "ts_ns": int(row["ts_ns"])})


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _constant(value: Any) -> str:
    """As part of a pattern."""
    return _json(value).replace("%", "%%")


@lru_cache(4096)
def _comm(raw: bytes) -> str:
    return _json(decode(raw))


def _endings(batch: Batch) -> list[str]:
    """What only some kinds have, at the end of each row's line."""
    rows, kinds, endings = batch.rows, batch.rows["kind"], [""] * len(batch)
    inferred = rows["flags"] & Flag.INFERRED != 0
    commands = np.flatnonzero((kinds == Kind.EXEC) | (kinds == Kind.SNAPSHOT) | (kinds == Kind.FORK) & inferred)
    for at, (exe, args) in zip(commands.tolist(), batch.commands(commands), strict=True):
        endings[at] = _short_command(exe, args) if len(args) <= _SHORT_BYTES else _command(exe, args)
    is_exec = kinds == Kind.EXEC
    is_odd = is_exec & ((rows["flags"] & Flag.ARGS_TRUNCATED != 0) | (rows["old_tid"] != rows["tgid"]))
    for at in np.flatnonzero(is_exec & ~is_odd).tolist():
        endings[at] += _PLAIN_EXEC
    for at in np.flatnonzero(is_odd | (kinds == Kind.SNAPSHOT)).tolist():
        endings[at] += _members(_odd_command(rows[at]))
    for at in np.flatnonzero((kinds == Kind.EXIT) & inferred).tolist():
        endings[at] = _ENDED_UNSEEN
    exits = np.flatnonzero((kinds == Kind.EXIT) & ~inferred)
    lived_ns = (rows["ts_ns"][exits].astype(np.int64) - rows["start_ns"][exits].astype(np.int64)).tolist()
    for at, status, ns in zip(exits.tolist(), rows["status"][exits].tolist(), lived_ns, strict=True):
        endings[at] = _ended(status) + str(ns)
    return endings


def _members(members: dict[str, Any]) -> str:
    """To follow other members of an object."""
    return "," + _json(members)[1:-1]


_ENDED_UNSEEN = _members(dict.fromkeys((*Ending._fields, "duration_ns")))
_PLAIN_EXEC = _members({"args_truncated": False, "old_tid": None})


def _odd_command(row: np.void) -> dict[str, Any]:
    if row["kind"] == Kind.SNAPSHOT:
        return {"state": chr(row["state"]) if row["state"] else None}
    old_tid = int(row["old_tid"])
    truncated = bool(row["flags"] & Flag.ARGS_TRUNCATED)
    return {"args_truncated": truncated, "old_tid": old_tid if old_tid != row["tgid"] else None}


def _command(exe: bytes, args: bytes) -> str:
    return _members({"exe": decode(exe) or None, "args": [decode(arg) for arg in split_args(args)]})


_short_command = lru_cache(4096)(_command)  # the same few again and again, mostly


@lru_cache(1024)
def _ended(status: int) -> str:
    return _members(ending(status)._asdict()) + ',"duration_ns":'
