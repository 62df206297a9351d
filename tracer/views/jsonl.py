"""JSON lines, schema 1: flat, snake_case, times in RFC 3339 with nanoseconds, absent = null."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracer.attribution import Attribution
from tracer.distinct import distinct
from tracer.events import Batch, Flag, Kind, split_args
from tracer.facts import Container
from tracer.initial import INITIAL_PIDNS_INUM
from tracer.known import Known
from tracer.pidns import chain_of
from tracer.views.clock import Clock
from tracer.views.escape import decode, safe_json
from tracer.views.objects import container_object
from tracer.views.sheet import Sheet, render, sheet_of
from tracer.views.status import Ending, ending

_HOLE = "\0"
# The form of a row is what the constant parts of its line depend on; where in one number its parts begin:
_KIND, _LEVEL, _HAS_PARENT = 0, 4, 6
_MAX_KNOWN = 4096
_MARKS = [b"", b',"inferred":true', b',"carried":true', b',"inferred":true,"carried":true']
_MARK_OF_FLAGS = np.array([bool(f & Flag.INFERRED) + 2 * bool(f & Flag.CARRIED) for f in range(256)])
_SHORT_BYTES = 512


class JsonLines:
    """One object a line. kinds: what to show, gaps always; threads: with tid and ns_tid.

    wall_offset_ns: wall clock minus boottime when the trace began.

    Most of a line is the same for many rows: it is made once for each form of row, with holes.
    """

    header = ""

    def __init__(self, kinds: frozenset[Kind], threads: bool, wall_offset_ns: int) -> None:
        self._shows = np.isin(np.arange(256), list(kinds | {Kind.GAP, Kind.REPAIR}))
        self._threads = threads
        self._known: dict[tuple[int, ...], tuple[Container | None, list[bytes]]] = {}
        self._clock = Clock(wall_offset_ns, "%Y-%m-%dT%H:%M:%S", 9, time.gmtime)

    def render(self, batch: Batch, containers: Attribution) -> bytes:
        """One line for each row of a kind to show."""
        shown = batch.select(self._shows[batch.rows["kind"]])
        return render(
            shown,
            lambda events: self._events(events, containers),
            lambda at: self._aside(shown, at, containers),
        )

    def _events(self, batch: Batch, containers: Attribution) -> Sheet:
        rows, known, sheet = batch.rows, Known(batch.rows), sheet_of(len(batch))
        forms, of_row = self._forms(batch, known, containers)
        parts = iter(zip(*forms, strict=True))

        def constant() -> Sheet:
            sheet.choice(next(parts), of_row)
            return sheet

        numbers = rows["tgid"], rows["chain"]["nr"][:, 0]
        inside = rows["level"] > 0
        deep = np.flatnonzero(rows["level"] >= 2)

        self._clock.put(constant(), rows["ts_ns"])
        constant().number(numbers[0])
        constant().number(numbers[1])
        constant().number(rows["parent_tgid"], where=known("ppid"), absent=b"null")
        constant().number(rows["parent_vtgid"], where=known("ns_ppid"), absent=b"null")
        constant().number(numbers[0])
        constant().own(deep, [_between(batch, at) for at in deep.tolist()])
        sheet.number(numbers[1], where=inside)
        if self._threads:
            constant().number(rows["tid"])
            constant().number(rows["vtid"])
        constant().number(numbers[0])
        constant().number(rows["start_ns"])
        constant().number(rows["parent_tgid"], where=known("parent_id"))
        constant().number(rows["parent_start_ns"], where=known("parent_id"))
        constant().names(rows["comm"], known("comm"), _comm)
        constant().number(rows["uid"], where=known("uid"), absent=b"null")
        constant().number(rows["cpu"], where=known("cpu"), absent=b"null")
        constant().number(rows["ts_ns"])
        constant().own(*_endings(batch, known))
        _put_last_number(sheet, rows, known)
        if (marks := _marks(rows)).any():
            sheet.choice(_MARKS, marks)
        sheet.text(b"}\n")
        return sheet

    def _forms(self, batch: Batch, known: Known, containers: Attribution) -> tuple[list[list[bytes]], NDArray[np.intp]]:
        """The forms of line that there are, each as its constant parts, and which of them each row has."""
        rows, keys = batch.rows, batch.pairs.keys
        codes = (
            rows["kind"].astype(np.int64) << _KIND
            | np.minimum(rows["level"], 2).astype(np.int64) << _LEVEL
            | known("parent_id").astype(np.int64) << _HAS_PARENT
        )
        first, of_row = distinct(codes, batch.pairs.of_row)
        pairs = batch.pairs.of_row[first].tolist()
        forms = zip(first.tolist(), codes[first].tolist(), pairs, strict=True)
        return [self._form(batch, at, containers, (code, *keys[pair])) for at, code, pair in forms], of_row

    def _form(self, batch: Batch, index: int, containers: Attribution, key: tuple[int, ...]) -> list[bytes]:
        container = containers.of_row(batch, index)
        known = self._known.get(key)
        if known and known[0] is container:
            return known[1]
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        parts = [safe_json(part).encode() for part in self._line(batch, index, container).split(_HOLE)]
        self._known[key] = container, parts
        return parts

    def _line(self, batch: Batch, index: int, container: Container | None) -> str:
        """A row's line up to its kind's own members, with holes for all that can differ within a form."""
        row = batch.rows[index]
        chain = chain_of(batch, index)
        inside = chain if row["level"] else ()
        known = Known(batch.rows[index : index + 1])
        identity = f'"{_HOLE}-{_HOLE}"'
        members = {
            "time": f'"{_HOLE}Z"',
            "event": _json(Kind(int(row["kind"])).name.lower()),
            "container": _json(container_object(container)),
            "incarnation": _json(container.incarnation if container else None),
            "pid": _HOLE,
            "ns_pid": _HOLE,
            "ppid": _HOLE,
            "ns_ppid": _HOLE,
            "pids": f"[{_HOLE}{',' if inside else ''}{_HOLE}]",
            "pidns": chain[-1].pidns.inum,
            "pidns_gen": chain[-1].pidns.gen,
            "level": row["level"],
            "pidns_chain": _json([INITIAL_PIDNS_INUM, *(number.pidns.inum for number in inside)]),
            **({"tid": _HOLE, "ns_tid": _HOLE} if self._threads else {}),
            "proc_id": identity,
            "parent_id": identity if known("parent_id")[0] else f"null{_HOLE}{_HOLE}",
            "comm": _HOLE,
            "uid": _HOLE,
            "cgroup_id": row["cgroup_id"] if known("cgroup_id")[0] else "null",
            "cpu": _HOLE,
            "ts_ns": _HOLE,
        }
        return "{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + _HOLE

    def _aside(self, batch: Batch, index: int, containers: Attribution) -> str:
        row = batch.rows[index]
        if row["kind"] == Kind.REPAIR:
            return self._repair(row)
        return safe_json(self._gap(batch.rows[index : index + 1], containers.of_row(batch, index)))

    def _gap(self, rows: NDArray[np.void], container: Container | None) -> str:
        """rows: the one of the gap."""
        row, known = rows[0], Known(rows)
        until = self._clock.text(int(row["ts_ns"])) + "Z"
        inum, _nr, gen = row["chain"][0].tolist()
        gap = {
            "time": until,
            "event": "gap",
            "lost": int(row["seq"]),
            "cpu": int(row["cpu"]) if known("cpu")[0] else None,
            "container": container_object(container),
            "incarnation": container.incarnation if container else None,
            "pidns": inum if known("pidns")[0] else None,
            "pidns_gen": gen if known("pidns_gen")[0] else None,
            "cgroup_id": int(row["cgroup_id"]) if known("cgroup_id")[0] else None,
            "throttled": bool(row["flags"] & Flag.THROTTLED),
            "since": self._clock.text(int(row["start_ns"])) + "Z" if known("since")[0] else None,
            "until": until,
            "ts_ns": int(row["ts_ns"]),
        }
        return _json(gap)

    def _repair(self, row: np.void) -> str:
        since, time = (self._clock.text(int(row[name])) + "Z" for name in ("start_ns", "ts_ns"))
        return _json({"time": time, "event": "repair", "since": since, "ts_ns": int(row["ts_ns"])})


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


@lru_cache(4096)
def _comm(raw: bytes, is_known: bool) -> str:
    return "null" if not is_known else safe_json(_json(decode(raw)))


def _between(batch: Batch, index: int) -> bytes:
    """The numbers between the host's and the innermost, to stand ahead of the latter."""
    return "".join(f"{number.nr}," for number in chain_of(batch, index)[:-1]).encode()


def _endings(batch: Batch, known: Known) -> tuple[NDArray[np.intp], list[bytes]]:
    """What only some kinds have, behind what all have and ahead of the last number: in which rows, and what."""
    rows, commands, is_exit = batch.rows, known("args_truncated"), batch.rows["kind"] == Kind.EXIT
    masks = [known(name) for name in _Has._fields]
    values = np.where(known("status"), rows["status"], np.where(known("state"), rows["state"], 0))
    first, of_row = distinct(rows["kind"], rows["flags"], values, known("old_tid"))
    has = map(_Has._make, zip(*(mask[first].tolist() for mask in masks), strict=True))
    different = [_ending(rows[at], each).encode() for at, each in zip(first.tolist(), has, strict=True)]
    endings = [different[number] for number in of_row.tolist()]
    told = np.flatnonzero(commands)
    for at, (raw, exe_len) in zip(told.tolist(), batch.commands(told), strict=True):
        command = _short_command(raw, exe_len) if len(raw) <= _SHORT_BYTES else _command(raw, exe_len)
        endings[at] = command + endings[at]
    own = np.flatnonzero(commands | is_exit)
    return own, [endings[at] for at in own.tolist()]


def _put_last_number(sheet: Sheet, rows: NDArray[np.void], known: Known) -> None:
    """The number that ends a line: how long a process lived, or the tid that an exec has changed."""
    lived_ns = rows["ts_ns"].astype(np.int64) - rows["start_ns"].astype(np.int64)
    lived = known("duration_ns")
    sheet.number(np.where(lived, lived_ns, rows["old_tid"]), where=lived & (lived_ns >= 0) | known("old_tid"))
    odd = np.flatnonzero(lived & (lived_ns < 0))  # no kernel tells that, but a recording could
    sheet.own(odd, [str(ns).encode() for ns in lived_ns[odd].tolist()])


def _marks(rows: NDArray[np.void]) -> NDArray[np.intp]:
    """Which of _MARKS each row has."""
    marks: NDArray[np.intp] = _MARK_OF_FLAGS.take(rows["flags"])
    return marks


class _Has(NamedTuple):
    """Which of these facts a row has."""

    status: bool
    state: bool
    old_tid: bool


def _ending(row: np.void, has: _Has) -> str:
    """The members of a row's kind behind its command, up to the last number."""
    if row["kind"] == Kind.EXIT:
        if has.status:
            return _members(ending(int(row["status"]))._asdict()) + ',"duration_ns":'
        return _members(dict.fromkeys((*Ending._fields, "duration_ns")))
    truncated = _members({"args_truncated": bool(row["flags"] & Flag.ARGS_TRUNCATED)})
    if row["kind"] == Kind.SNAPSHOT:
        return truncated + _members({"state": chr(row["state"]) if has.state else None})
    if row["kind"] == Kind.EXEC:
        return f'{truncated},"old_tid":{"" if has.old_tid else "null"}'
    return truncated


def _members(members: dict[str, Any]) -> str:
    """To follow other members of an object."""
    return "," + _json(members)[1:-1]


def _command(raw: bytes, exe_len: int) -> bytes:
    exe, args = decode(raw[:exe_len]), [decode(arg) for arg in split_args(raw[exe_len:])]
    return safe_json(_members({"exe": exe or None, "args": args if raw else None})).encode()


_short_command = lru_cache(4096)(_command)  # the same few again and again, mostly
