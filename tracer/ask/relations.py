"""The tables of nstrace sql, derived from the declaration of the event: which columns they have, and how DuckDB makes
those that are not events from rows of events.

What a query does not name is not computed, and columns of events that only that needs are not decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from tracer.stream.schema import (
    CONTAINER_KINDS,
    KINDS,
    PROCESS_KINDS,
    SHOWN_KINDS,
    Column,
    Kind,
    Output,
    Subject,
    columns_in,
)

ORDER, BEGAN, START = "_order", "_began", "_start"
"""Columns that rows of events have here beside those of exports: their place in the files, and when their process
began: by the wall clock, and in ns since boot."""
_FIRST = ("ppid", "ns_ppid", "parent_id")
"""Of these the first value counts: who forked the process, not who adopted it later."""


class Fact(NamedTuple):
    """A column. sql: how DuckDB makes it from rows of events; "" where it is one of theirs. needs: the columns of
    events that it is made from. doc: what it says."""

    doc: str
    sql: str = ""
    needs: tuple[str, ...] = ()


class Relation(NamedTuple):
    """A table. facts: its columns, in order. kinds: of the events that it is made from. query: takes the names of the
    columns that are wanted; returns how it is made from the table `rows`. by_process: it has a row for each process,
    and can be made of the rows of some processes at a time; `loss` is a table then (`_processes`). of_lives: its rows
    are worked out from all events of a process or a container."""

    doc: str
    facts: Mapping[str, Fact]
    kinds: frozenset[Kind]
    query: Callable[[Collection[str]], str]
    by_process: bool = False
    of_lives: bool = False

    def needs(self, wanted: Collection[str]) -> set[str]:
        """The columns of events that are needed to make these of the table."""
        return {need for name in wanted for need in self.facts[name].needs}


def _plain(columns: Collection[Column]) -> dict[str, Fact]:
    return {column.name: Fact(column.doc, needs=(column.name,)) for column in columns}


def _rows(wanted: Collection[str]) -> str:
    return f"select {', '.join(wanted) or 'event'} from rows"


def _is_of_process(column: Column) -> bool:
    """Whether a column tells of a process, not of what just happened to it."""
    rule = column.rule
    if rule is None or column.outputs & Output.THREADS or column.name == "proc_id":
        return False
    return rule.reported >= PROCESS_KINDS or rule.reported - set(CONTAINER_KINDS) == {Kind.EXIT}


def _process_facts() -> dict[str, Fact]:
    exports = {column.name: column for column in columns_in(Output.EXPORT)}
    facts = {name: Fact(exports[name].doc, f"any_value({name})", (name,)) for name in ("proc_id", "host")}
    for name, column in exports.items():
        if _is_of_process(column):
            how = "arg_min" if name in _FIRST else "arg_max"
            facts[name] = Fact(column.doc, f"{how}({name}, {ORDER})", (name, ORDER))
    line, ran = "coalesce(array_to_string(args, ' '), exe)", "event <> 'exec_failed'"
    own = {
        "exe": Fact(
            "The file that it ran last.", f"arg_max(exe, {ORDER}) filter ({ran})", ("exe", "event", ORDER)
        ),
        "args": Fact(
            "The arguments that it ran it with.", f"arg_max(args, {ORDER}) filter ({ran})", ("args", "event", ORDER)
        ),
        "commands": Fact(
            "The command lines that it ran, in order.",
            f"list({line} order by {ORDER}) filter (event in ('snapshot', 'exec') and {line} is not null)",
            ("args", "exe", "event", ORDER),
        ),
        "failed_execs": Fact(
            "How many failed execs were reported.", "count(*) filter (event = 'exec_failed')", ("event",)
        ),
        "began": Fact("When it began.", f"min({BEGAN})", (BEGAN,)),
        "began_sure": Fact(
            "Whether its fork was reported. Else what it did before its first event is not known.",
            "coalesce(bool_or(event = 'fork' and not inferred), false)", ("event", "inferred"),
        ),
        "ended": Fact(
            "When it ended, or was found to have ended; null: no end is known.",
            "min(time) filter (event = 'exit')", ("time", "event"),
        ),
        "ended_sure": Fact(
            "Whether that is certain: its exit was reported, or it still lived when the recording ended. False where it"
            " ended some time before `ended`, or may have ended among events that were lost.",
            "bool_or(not inferred) filter (event = 'exit')", ("time", "event", "inferred"),
        ),
    }  # fmt: skip
    return facts | own


def _processes(wanted: Collection[str]) -> str:
    """A row for each process. The table `loss` has one row: until when events were lost, with no repair that has looked
    since, else null. The end of who was seen last before then may have been among them."""
    made = [f'{PROCESSES[name].sql} as "{name}"' for name in wanted if name != "ended_sure"]
    if "ended_sure" in wanted:
        lived = "max(time) > (select until from loss)"
        made.append(f"coalesce({PROCESSES['ended_sure'].sql}, {lived}, true) as ended_sure")
    return f"select {', '.join(made)} from rows where pid is not null group by pid, {START}"


def _container_facts() -> dict[str, Fact]:
    exports = {column.name: column for column in columns_in(Output.EXPORT)}
    keys = ("host", "container", "container_id", "image", "runtime", "incarnation")
    facts = {name: Fact(exports[name].doc, f"arg_max({name}, {ORDER})", (name, ORDER)) for name in keys}
    end = "event = 'exit'"
    return facts | {
        "first_seen": Fact("When its first event was.", "min(time)", ("time",)),
        "last_seen": Fact("When its last event was.", "max(time)", ("time",)),
        "processes": Fact("How many processes it had.", "count(distinct proc_id)", ("proc_id",)),
        "execs": Fact("How many execs there were.", "count(*) filter (event = 'exec')", ("event",)),
        "exits": Fact("How many processes ended.", f"count(*) filter ({end})", ("event",)),
        "failed": Fact("How many with a code that is not 0.", "count(*) filter (exit_code <> 0)", ("exit_code",)),
        "killed": Fact("How many by a signal.", "count(*) filter (signal is not null)", ("signal",)),
    }


def _containers(wanted: Collection[str]) -> str:
    """A row for each life of a container."""
    made = ", ".join(f'{CONTAINERS[name].sql} as "{name}"' for name in wanted)
    groups = "from rows where container_id is not null and event not in ('gap', 'repair')"
    return f"select {made} {groups} group by host, container_id, incarnation"


def _with_needs(facts: dict[str, Fact], *more: str) -> dict[str, Fact]:
    """The facts, each with what the table's query needs in any case."""
    return {name: fact._replace(needs=(*fact.needs, *more)) for name, fact in facts.items()}


def _is_of_gap(column: Column) -> bool:
    return column.name in ("time", "host") or bool(column.rule and Kind.GAP in column.rule.reported)


_OF_THREADS = frozenset(kind for kind in Kind if KINDS[kind].subject is Subject.THREAD)
PROCESSES = _with_needs(_process_facts(), "pid", START)
CONTAINERS = _with_needs(_container_facts(), "host", "container_id", "incarnation", "event")
RELATIONS = {
    "events": Relation(
        "All events, as they came.", _plain(columns_in(Output.EXPORT)), frozenset(SHOWN_KINDS), _rows
    ),
    "processes": Relation(
        "One row for each process.", PROCESSES,
        (PROCESS_KINDS & SHOWN_KINDS) - _OF_THREADS, _processes, by_process=True, of_lives=True,
    ),
    "containers": Relation(
        "One row for each life of a container.", CONTAINERS, (PROCESS_KINDS & SHOWN_KINDS) - _OF_THREADS, _containers,
        of_lives=True,
    ),
    "gaps": Relation(
        "Where events were lost.",
        _plain(list(filter(_is_of_gap, columns_in(Output.EXPORT)))), frozenset({Kind.GAP}), _rows,
    ),
}  # fmt: skip
"""The tables that a query can name."""
LISTS = frozenset(
    {"commands", *(column.name for column in columns_in(Output.EXPORT) if column.type.startswith("list"))}
)
"""Their columns that are lists."""
