"""Which values of a row are known: the one place where every output and every answer asks. Pure.

A record has a member for each field, whatever its kind; most kinds have no use for some of them, and of what no event
reported some values cannot be known. Those are null in JSON and in Arrow, "-" or nothing in text, and no evidence for
an answer. What the member holds then means nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.events import EVENT, NO_CPU, Flag, Kind

Mask = NDArray[np.bool_]
_Kinds = frozenset[Kind]
_OFFSETS = {name: place[1] for name, place in (EVENT.fields or {}).items()}
_KIND_AND_FLAGS = np.dtype("<u2"), _OFFSETS["kind"]  # the record has one behind the other: read as one number
_UNSEEN, _CARRIED = np.uint8(Flag.INFERRED), np.uint8(Flag.CARRIED)
_INFERRED = int(Flag.INFERRED) << 8
_FORM = _INFERRED | 0xFF

_TRACED = frozenset({Kind.FORK, Kind.EXEC, Kind.EXIT, Kind.THREAD_FORK, Kind.THREAD_EXIT, Kind.MOVE})
_PROCESS = _TRACED | {Kind.SNAPSHOT, Kind.PIDNS}
# What is inferred from the kernel's list is as it was then. An exit is inferred of a process that was in the list no
# more, a snapshot of one from its first event, which came later.
_LISTED = frozenset({Kind.FORK, Kind.EXEC})
_NONE: _Kinds = frozenset()


def _kinds(*kinds: Kind) -> _Kinds:
    return frozenset(kinds)


class Rule(NamedTuple):
    """When a field has a value: in rows of the kinds `reported`, in INFERRED rows of the kinds `inferred`. where: of
    these the rows in which it has one; None: in all."""

    reported: _Kinds
    inferred: _Kinds
    where: Callable[[NDArray[np.void]], Mask] | None = None


_EVERY_PROCESS = Rule(_PROCESS, _PROCESS)
_COMMAND = Rule(_kinds(Kind.EXEC, Kind.SNAPSHOT), _kinds(Kind.FORK, Kind.EXEC, Kind.SNAPSHOT))
# A process of which neither file name nor arguments could be read had gone, or is one of the kernel's own. A cgroup row
# says in args what the cgroup stands for, a pidns row whose the namespace is, where an engine has said so.
_ARGS = Rule(
    _COMMAND.reported | {Kind.CGROUP, Kind.PIDNS},
    _COMMAND.inferred,
    lambda rows: (rows["args_len"] != 0) | (rows["exe_len"] != 0) & (rows["kind"] != Kind.PIDNS),
)
_END = Rule(_kinds(Kind.EXIT), _NONE)
_LOSS = Rule(_kinds(Kind.GAP), _NONE)
# Whoever took an orphan over meanwhile, no event told.
_PARENT = Rule(_PROCESS, _LISTED, lambda rows: (rows["parent_tgid"] != 0) | (rows["flags"] & _CARRIED == 0))
_SPACE = Rule(_PROCESS | {Kind.GAP}, _PROCESS, lambda rows: rows["chain"]["inum"][:, 0] != 0)

RULES = {
    **dict.fromkeys(("pid", "ns_pid", "pids", "level", "pidns_chain", "pidns_gens"), _EVERY_PROCESS),
    **dict.fromkeys(("tid", "ns_tid", "proc_id"), _EVERY_PROCESS),
    # Of what ran before a process's first exec nothing is known.
    "comm": _EVERY_PROCESS._replace(
        where=lambda rows: (rows.getfield(np.uint8, _OFFSETS["comm"]) != 0) | (rows["flags"] & _UNSEEN == 0)
    ),
    **dict.fromkeys(("pidns", "pidns_gen"), _SPACE),  # of a gap: whose events were lost, where that is certain
    "cgroup_id": Rule(_PROCESS | {Kind.GAP, Kind.CGROUP}, _PROCESS, lambda rows: rows["cgroup_id"] != 0),
    "old_cgroup_id": Rule(_kinds(Kind.MOVE), _NONE, lambda rows: rows["seq"] != 0),
    "start_ns": Rule(_PROCESS | {Kind.GAP, Kind.REPAIR}, _PROCESS),
    **dict.fromkeys(("ppid", "ns_ppid", "parent_start_ns"), _PARENT),
    "parent_id": _PARENT._replace(where=lambda rows: rows["parent_tgid"] != 0),  # 0: nobody is its parent
    "uid": Rule(_PROCESS, _LISTED),
    # Where the event happened. A list of processes is read on one CPU, which says nothing of them.
    "cpu": Rule(_TRACED | {Kind.GAP}, _NONE, lambda rows: rows["cpu"] != NO_CPU),
    "args_truncated": _COMMAND,
    **dict.fromkeys(("args", "args_bytes"), _ARGS),
    "exe": _COMMAND._replace(where=lambda rows: rows["exe_len"] != 0),
    # Only where an exec has changed it.
    "old_tid": Rule(
        _kinds(Kind.EXEC), _NONE, lambda rows: (rows["old_tid"] != 0) & (rows["old_tid"] != rows["tgid"])
    ),
    "state": Rule(_kinds(Kind.SNAPSHOT), _kinds(Kind.SNAPSHOT), lambda rows: rows["state"] != 0),
    **dict.fromkeys(("status", "exit_code", "signal", "core_dumped", "duration_ns"), _END),
    **dict.fromkeys(("lost", "throttled"), _LOSS),
    # A gap on a CPU of which nothing was read before began at some time since the start.
    "since": Rule(
        _kinds(Kind.GAP, Kind.REPAIR), _NONE, lambda rows: (rows["kind"] == Kind.REPAIR) | (rows["start_ns"] != 0)
    ),
}  # fmt: skip
"""By the names of the JSON and of a recording's columns. Of an exit `exit_code` or `signal` is null: it has one."""


class Known:
    """Asked for a field: in which of these rows (array of EVENT, shape (n,)) its value is known, shape (n,)."""

    def __init__(self, rows: NDArray[np.void]) -> None:
        self._rows = rows
        self._forms = rows.getfield(*_KIND_AND_FLAGS) & _FORM
        self._masks: dict[Rule, Mask] = {}

    def __call__(self, field: str) -> Mask:
        """Of one of RULES."""
        rule = RULES[field]
        if rule not in self._masks:
            mask = _by_form(rule.reported, rule.inferred).take(self._forms)
            self._masks[rule] = mask & rule.where(self._rows) if rule.where else mask
        return self._masks[rule]


@cache
def _by_form(reported: _Kinds, inferred: _Kinds) -> Mask:
    """For each form of row whether its kind is one of these."""
    result = np.zeros(_FORM + 1, bool)
    result[list(reported)] = True
    result[[kind | _INFERRED for kind in inferred]] = True
    return result
