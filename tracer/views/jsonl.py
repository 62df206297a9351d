"""JSON lines, schema 1: flat, snake_case, times in RFC 3339 with nanoseconds, absent = null.

`tracer.stream.schema` declares which members a line has, and their order. A number that is a field of the record needs
no code here; how any other value is written is here, once.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracer.stream.attribution import Attribution, fact_of
from tracer.stream.batch import Batch, of_kind, pick, split_args
from tracer.stream.distinct import distinct
from tracer.stream.killers import is_oom, killer_in, killer_object
from tracer.stream.known import Known
from tracer.stream.metadata import Container, Killer, SessionFact
from tracer.stream.pidns import chain_of
from tracer.stream.schema import CONTAINER_KINDS, PROCESS_KINDS, Column, Flag, Kind, members_of
from tracer.system.host_pidns import INITIAL_PIDNS_INUM
from tracer.text.clock import Clock, calendar
from tracer.text.escape import decode, safe_json
from tracer.text.exec_errors import error_name
from tracer.text.wait_status import ending
from tracer.views.facts import members
from tracer.views.objects import container_object
from tracer.views.sessions import session_object
from tracer.views.sheet import Sheet, render, sheet_of

_HOLE = "\0"
# The form of a row is what the constant parts of its line depend on; the bit at which each part begins in one number:
_KIND, _LEVEL, _HAS_PARENT, _SESSION = 0, 4, 6, 8
_MAX_KNOWN = 4096
_MARKS = [b"", b',"inferred":true', b',"carried":true', b',"inferred":true,"carried":true']
_MARK_OF_FLAGS = np.array([bool(f & Flag.INFERRED) + 2 * bool(f & Flag.CARRIED) for f in range(256)])
_SHORT_BYTES = 512
_CONSTANT = {"event", "container", "incarnation", "pidns", "pidns_gen", "level", "pidns_chain", "cgroup_id", "session"}
"""Members that are the same in all lines of a form."""
_NO_STATUS = np.uint32(1 << 31)
_EVERY = frozenset(members_of(Kind.FORK))
"""Members of the lines of all processes and threads; the others belong to a kind and come after them."""
_COMMAND, _LAST = ("exe", "args"), ("old_tid", "duration_ns")
"""Among a kind's own members: those that differ in each row, and the number that ends a line."""


_GAP = ("time", "event", "lost", "cpu", "container", "incarnation", "pidns", "pidns_gen", "cgroup_id", "throttled")
_NOTES = {Kind.GAP: (*_GAP, "since", "until", "ts_ns"), Kind.REPAIR: ("time", "event", "since", "ts_ns")}
"""The members of lines that are about no process, in order."""


class JsonLines:
    """One object a line. kinds: the kinds to show, gaps always; threads: with tid and ns_tid.

    wall_offset_ns: wall clock minus boottime when the trace began.

    Most of a line is the same for many rows: it is made once for each form of row, with holes.
    """

    header = ""

    def __init__(self, kinds: frozenset[Kind], threads: bool, wall_offset_ns: int) -> None:
        self._kinds = kinds
        self._members = members_of(Kind.FORK, threads=threads)
        self._known: dict[tuple[int, ...], tuple[Container | None, SessionFact | None, list[bytes]]] = {}
        self._clock = Clock(wall_offset_ns, calendar("%Y-%m-%dT%H:%M:%S", time.gmtime), 9)

    def render(self, batch: Batch, containers: Attribution) -> bytes:
        """One line for each row of a kind to show."""
        return render(
            batch,
            self._kinds,
            lambda events: self._events(events, containers),
            lambda notes, at: self._aside(notes, at, containers),
        )

    def rest(self) -> bytes:
        """As `View.rest`: every gap is in its place."""
        return b""

    def _events(self, batch: Batch, containers: Attribution) -> Sheet:
        rows, known, sheet = batch.rows, Known(batch.rows), sheet_of(len(batch))
        forms, of_row = self._forms(batch, known, containers)
        parts = iter(zip(*forms, strict=True))

        def constant() -> Sheet:
            sheet.choice(next(parts), of_row)
            return sheet

        def identity(tgid: str, start_ns: str, where: NDArray[np.bool_] | None = None) -> None:
            constant().number(rows[tgid], where=where)
            constant().number(rows[start_ns], where=where)

        def pids() -> None:
            deep = np.flatnonzero(rows["level"] >= 2)
            constant().number(rows["tgid"])
            constant().own(deep, [_between(batch, at) for at in deep.tolist()])
            sheet.number(rows["chain"]["nr"][:, 0], where=rows["level"] > 0)

        special: dict[str, Callable[[], None]] = {
            "time": lambda: self._clock.put(constant(), rows["ts_ns"]),
            "ns_pid": lambda: constant().number(rows["chain"]["nr"][:, 0]),
            "pids": pids,
            "proc_id": lambda: identity("tgid", "start_ns"),
            "parent_id": lambda: identity("parent_tgid", "parent_start_ns", known("parent_id")),
            "comm": lambda: constant().names(rows["comm"], known("comm"), _comm),
        }
        for column in self._members:
            if column.name in special:
                special[column.name]()
            elif column.name not in _CONSTANT:
                constant().number(rows[column.field], where=_where(column, known), absent=b"null")
        constant().own(*_endings(batch, known))
        _put_last_number(sheet, rows, known)
        if (marks := _marks(rows)).any():
            sheet.choice(_MARKS, marks)
        sheet.text(b"}\n")
        return sheet

    def _forms(self, batch: Batch, known: Known, containers: Attribution) -> tuple[list[list[bytes]], NDArray[np.intp]]:
        """The forms of line in a batch, each as its constant parts, and the index of each row's form."""
        rows, keys = batch.rows, batch.pairs.keys
        codes = (
            rows["kind"].astype(np.int64) << _KIND
            | np.minimum(rows["level"], 2).astype(np.int64) << _LEVEL
            | known("parent_id").astype(np.int64) << _HAS_PARENT
        )
        if (sessions := rows["session"]).any():
            codes |= sessions.astype(np.int64) << _SESSION
        first, of_row = distinct(codes, batch.pairs.of_row)
        pairs = batch.pairs.of_row[first].tolist()
        forms = zip(first.tolist(), codes[first].tolist(), pairs, strict=True)
        return [self._form(batch, at, containers, (code, *keys[pair])) for at, code, pair in forms], of_row

    def _form(self, batch: Batch, index: int, containers: Attribution, key: tuple[int, ...]) -> list[bytes]:
        container = containers.of_row(batch, index)
        session = containers.sessions.get(int(batch.rows["session"][index]))
        known = self._known.get(key)
        if known and known[0] is container and known[1] is session:
            return known[2]
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        parts = [safe_json(part).encode() for part in self._line(batch, index, container, session).split(_HOLE)]
        self._known[key] = container, session, parts
        return parts

    def _line(self, batch: Batch, index: int, container: Container | None, session: SessionFact | None) -> str:
        """A row's line up to its kind's own members, with holes for values that can differ within a form."""
        row = batch.rows[index]
        chain = chain_of(batch, index)
        inside = chain if row["level"] else ()
        known = Known(batch.rows[index : index + 1])
        identity = f'"{_HOLE}-{_HOLE}"'
        texts = {
            "time": f'"{_HOLE}Z"',
            "event": _json(Kind(int(row["kind"])).name.lower()),
            "container": _json(container_object(container)),
            "incarnation": _json(container.incarnation if container else None),
            "pids": f"[{_HOLE}{',' if inside else ''}{_HOLE}]",
            "pidns": str(chain[-1].pidns.inum),
            "pidns_gen": str(chain[-1].pidns.gen),
            "level": str(row["level"]),
            "pidns_chain": _json([INITIAL_PIDNS_INUM, *(number.pidns.inum for number in inside)]),
            "proc_id": identity,
            "parent_id": identity if known("parent_id")[0] else f"null{_HOLE}{_HOLE}",
            "cgroup_id": str(row["cgroup_id"]) if known("cgroup_id")[0] else "null",
            "session": _json(self._session(int(row["session"]), session)),
        }
        members = (f'"{column.name}":{texts.get(column.name, _HOLE)}' for column in self._members)
        return "{" + ",".join(members) + _HOLE

    def _session(self, number: int, fact: SessionFact | None) -> dict[str, Any] | None:
        """The session with this number; where nothing is known of it, the number alone."""
        since = f"{self._clock.text(fact.since_ns)}Z" if fact else None
        return session_object(number, fact, since) if number else None

    def _aside(self, batch: Batch, index: int, containers: Attribution) -> str:
        """The line of a row about no process."""
        rows = batch.rows[index : index + 1]
        row, known = rows[0], Known(rows)
        kind = Kind(int(row["kind"]))
        container = containers.of_row(batch, index)
        inum, _nr, gen = row["chain"][0].tolist()
        until = self._clock.text(int(row["ts_ns"])) + "Z"
        values = {
            "time": until,
            "event": kind.name.lower(),
            "lost": int(row["seq"]),
            "cpu": int(row["cpu"]) if known("cpu")[0] else None,
            "container": container_object(container),
            "incarnation": (container.incarnation or None) if container else None,
            "pidns": inum if known("pidns")[0] else None,
            "pidns_gen": gen if known("pidns_gen")[0] else None,
            "cgroup_id": int(row["cgroup_id"]) if known("cgroup_id")[0] else None,
            "throttled": bool(row["flags"] & Flag.THROTTLED),
            "since": self._clock.text(int(row["start_ns"])) + "Z" if known("since")[0] else None,
            "until": until,
            "ts_ns": int(row["ts_ns"]),
        }
        if kind in CONTAINER_KINDS:
            fact = fact_of(batch, index)
            if isinstance(fact, SessionFact):
                values["session"] = self._session(fact.number, fact)
            said = members(fact) | values
            marks = ((Flag.INFERRED, "inferred"), (Flag.CARRIED, "carried"))
            mark = {name: True for flag, name in marks if row["flags"] & flag}
            return safe_json(_json({column.name: said.get(column.name) for column in members_of(kind)} | mark))
        return safe_json(_json({name: values[name] for name in _NOTES[kind]}))


def _where(column: Column, known: Known) -> NDArray[np.bool_] | None:
    """In which lines of processes a column is known, shape (n,); None: in all."""
    rule = column.rule
    return None if rule is None or (rule.where is None and rule.inferred >= PROCESS_KINDS) else known(column.name)


@lru_cache(256)
def _own_members(kind: Kind, is_inferred: bool) -> tuple[Column, ...]:
    """The members of a kind alone, in order, without its command."""
    members = members_of(kind, is_inferred=is_inferred)
    return tuple(column for column in members if column not in _EVERY and column.name not in _COMMAND)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


@lru_cache(4096)
def _comm(raw: bytes, is_known: bool) -> str:
    return "null" if not is_known else safe_json(_json(decode(raw)))


def _between(batch: Batch, index: int) -> bytes:
    """The numbers between the host's and the innermost, to be written ahead of the innermost."""
    return "".join(f"{number.nr}," for number in chain_of(batch, index)[:-1]).encode()


def _endings(batch: Batch, known: Known) -> tuple[NDArray[np.intp], list[bytes]]:
    """The members of some kinds only, between those of all kinds and the last number: in which rows, and their text."""
    rows, commands = batch.rows, known("args_truncated")
    ends = of_kind(rows, Kind.EXIT, Kind.EXEC_FAILED)
    by_status = known("status") | known("errno")
    values = np.where(by_status, rows["status"], np.where(known("state"), rows["state"], 0))
    killed = np.flatnonzero(known("killed_by")) if len(batch.killed) else batch.killed
    values[killed] = _NO_STATUS  # a group of their own: each is made below
    first, of_row = distinct(rows["kind"], rows["flags"], values, known("old_tid"), commands)
    different = [_ending(rows[at], has).encode() for at, has in zip(first.tolist(), _has(rows, first), strict=True)]
    own = np.flatnonzero(commands | ends)
    endings = [different[number] for number in of_row[own].tolist()]
    places = np.searchsorted(own, killed).tolist()
    for place, at, has in zip(places, killed.tolist(), _has(rows, killed), strict=True):
        endings[place] = _ending(rows[at], has, killer_in(batch.payload(at).killer)).encode()
    return own, list(map(operator.add, _commands(batch, own, commands[own], known("args")[own]), endings))


def _commands(
    batch: Batch, at: NDArray[np.intp], has_command: NDArray[np.bool_], has_args: NDArray[np.bool_]
) -> list[bytes]:
    """The members of the command of each of the rows at these indices. has_command, has_args: in step with these."""
    texts = [_NO_COMMAND] * len(at)
    places, commands = np.flatnonzero(has_command).tolist(), batch.commands(at[has_command])
    for place, (raw, exe_len), is_whole in zip(places, commands, has_args[has_command].tolist(), strict=True):
        texts[place] = (_short_command if len(raw) <= _SHORT_BYTES else _command)(raw, exe_len, is_whole)
    return texts


def _put_last_number(sheet: Sheet, rows: NDArray[np.void], known: Known) -> None:
    """Add the number that ends a line: how long a process lived, or the tid that an exec has changed."""
    lived_ns = rows["ts_ns"].astype(np.int64) - rows["start_ns"].astype(np.int64)
    lived = known("duration_ns")
    sheet.number(np.where(lived, lived_ns, rows["old_tid"]), where=lived & (lived_ns >= 0) | known("old_tid"))
    odd = np.flatnonzero(lived & (lived_ns < 0))  # no kernel reports that, but a recording could
    sheet.own(odd, [str(ns).encode() for ns in lived_ns[odd].tolist()])


def _marks(rows: NDArray[np.void]) -> NDArray[np.intp]:
    """For each row which of _MARKS it has."""
    marks: NDArray[np.intp] = _MARK_OF_FLAGS.take(rows["flags"])
    return marks


class _Has(NamedTuple):
    """Which of these facts a row has."""

    status: bool
    state: bool
    old_tid: bool
    args_truncated: bool
    errno: bool
    oom: bool


def _has(rows: NDArray[np.void], at: NDArray[np.intp]) -> list[_Has]:
    """Of each of the rows at these indices which facts it has."""
    known = Known(pick(rows, at))
    return list(map(_Has._make, zip(*(known(name).tolist() for name in _Has._fields), strict=True)))


def _ending(row: np.void, has: _Has, killer: Killer | None = None) -> str:
    """The members of a row's kind after its command, up to the last number."""
    how = ending(int(row["status"]))._asdict() if has.status else {}
    how |= {"killed_by": killer and killer_object(killer), "oom": is_oom(killer) if has.oom else None}
    if has.errno:
        how = {"errno": int(row["status"]), "error": error_name(int(row["status"]))}
    letter = chr(row["state"]) if has.state else None
    text = ""
    for column in _own_members(Kind(int(row["kind"])), bool(row["flags"] & Flag.INFERRED)):
        if column.name in _LAST:
            text += f',"{column.name}":{"" if has.status or has.old_tid else "null"}'
        elif column.flag:
            text += _members({column.name: bool(row["flags"] & column.flag) if has.args_truncated else None})
        else:
            text += _members({column.name: letter if column.name == "state" else how.get(column.name)})
    return safe_json(text) if killer else text


def _members(members: dict[str, Any]) -> str:
    """The members as text that follows other members of an object."""
    return "," + _json(members)[1:-1]


def _command(raw: bytes, exe_len: int, has_args: bool) -> bytes:
    exe, args = decode(raw[:exe_len]), [decode(arg) for arg in split_args(raw[exe_len:])]
    return safe_json(_members({"exe": exe or None, "args": args if has_args else None})).encode()


_short_command = lru_cache(4096)(_command)  # mostly the same few
_NO_COMMAND = _command(b"", 0, has_args=False)
