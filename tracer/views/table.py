"""ps: one line a process, with all its PIDs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tracer.answers.census import Census, Entry
from tracer.text.escape import safe, safe_text
from tracer.text.times import short
from tracer.views.columns import TextColumn, TextColumns, columns

UNKNOWN = "?"
LEAST_PLACE = len("pidns:4026532472")  # columns: what people copy as a TARGET stays whole
_STATES = {
    "R": "run", "S": "sleep", "D": "disk", "T": "stop", "t": "trace", "Z": "zombie", "X": "dead", "I": "idle",
    "P": "park",
}  # fmt: skip

NameOf = Callable[[int], str]
"""uid in the initial user namespace -> what the column USER shows."""


class OfHost(NamedTuple):
    """What of a host is shown. census: all its processes, as of now_ns (wall clock)."""

    host: str
    census: Census
    shown: Sequence[Entry]
    now_ns: int


def process_table(
    census: Census,
    shown: Sequence[Entry],
    name_of: NameOf,
    now_ns: int,
    *,
    containers: bool,
    pids: bool,
    line_width: int | None = None,
) -> TextColumns:
    """[CONTAINER] PID NSPID PPID NSPPID [PIDS] USER STARTED STATE COMMAND, a line for each of shown.

    containers, pids: with these columns. now_ns: the wall clock.
    """
    rows = _rows(OfHost("", census, shown, now_ns), name_of, containers, pids)
    return columns(_titles(containers, pids), rows, line_width)


def hosts_table(hosts: Sequence[OfHost], name_of: NameOf, *, pids: bool, line_width: int | None = None) -> TextColumns:
    """As `process_table`, with the column HOST ahead, and always CONTAINER."""
    rows = [[safe_text(one.host), *row] for one in hosts for row in _rows(one, name_of, True, pids)]
    return columns([TextColumn("HOST"), *_titles(True, pids)], rows, line_width)


def _titles(containers: bool, pids: bool) -> list[TextColumn]:
    return [
        *([TextColumn("CONTAINER", gives_way=True, least=LEAST_PLACE)] if containers else []),
        *(TextColumn(title, right=True) for title in ("PID", "NSPID", "PPID", "NSPPID")),
        *([TextColumn("PIDS")] if pids else []),
        *(TextColumn(title) for title in ("USER", "STARTED", "STATE", "COMMAND")),
    ]


def _rows(of: OfHost, name_of: NameOf, containers: bool, pids: bool) -> list[list[str]]:
    return [
        [
            *([place(entry)] if containers else []),
            *_numbers(entry),
            *([chain(entry)] if pids else []),
            user_of(entry, name_of),
            short(entry.started_ns, of.now_ns),
            state(entry) or UNKNOWN,
            f"{command_of(entry)} {reaper(of.census, entry)}" if entry.is_zombie else command_of(entry),
        ]
        for entry in of.shown
    ]


def _numbers(entry: Entry) -> list[str]:
    """PID NSPID PPID NSPPID; in nested namespaces NSPID is all numbers except the host's, the innermost last."""
    inside = ">".join(map(str, entry.numbers[1:] or entry.numbers))
    parent = entry.parent.tgid if entry.parent else None
    return [str(entry.numbers[0]), inside, *(UNKNOWN if nr is None else str(nr) for nr in (parent, entry.ns_ppid))]


def place(entry: Entry) -> str:
    """The column CONTAINER, as follow shows it."""
    if entry.container:
        return safe_text(entry.container.label)
    if entry.level == 0:
        return "-"
    return f"pidns:{entry.pidns.inum}" if entry.pidns else UNKNOWN


def chain(entry: Entry) -> str:
    """All its PIDs, the host's first."""
    return ">".join(map(str, entry.numbers))


def state(entry: Entry) -> str:
    """The state in a word; "" where it is not known."""
    return _STATES.get(entry.state) or safe_text(entry.state)


def command_of(entry: Entry) -> str:
    """The column COMMAND."""
    return entry.command


def user_of(entry: Entry, name_of: NameOf) -> str:
    """Its user; with a ? after it where the next event reports another, so that it may have been that one already."""
    if entry.uid is None:
        return UNKNOWN
    is_other = entry.as_of and entry.as_of.later and entry.as_of.later.uid is not None
    return f"{name_of(entry.uid)}{UNKNOWN if is_other else ''}"


def reaper(census: Census, entry: Entry) -> str:
    """For a zombie, the process that does not reap it."""
    parent = census.parent(entry)
    return f"not reaped by {chain(parent)} {safe(parent.comm)}" if parent else "not reaped by its parent"
