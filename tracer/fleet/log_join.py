"""Rows of logs joined with the processes of their moments, in an archive: SQL for DuckDB and for Spark. Pure.

The rules are those of `tracer.past.log_lines`: a row means a window of time, from a little before its time on. There
is an answer where one process alone can have had the number in it, and nothing was lost that could tell of another. For
the sake of size they are coarser in one thing: a loss makes unsure all that is not known from before and after it.

Who had a number is found by the begin of the last life before a moment, never by comparing all rows with all lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tracer.past.log_lines import Unanswered

PREFIX = "process_"
_PLAIN = (
    *("boot", "pid", "ns_pid", "pids", "comm", "args", "container", "container_id", "incarnation", "ppid"),
    *("parent_id", "uid", "began", "began_sure", "ended", "ended_sure", "exit_code", "signal"),
)
_OF_PROCESS = ("id", *_PLAIN)
ADDED = tuple(PREFIX + name for name in (*_OF_PROCESS, "unknown"))
"""The columns that a row gets. process_id: `proc_id`; process_unknown: why there is no answer; then all others are
null."""
NEEDED = {
    "processes": ("host", "run", "proc_id", *_PLAIN, "pidns_chain"),
    "gaps": ("host", "boot", "run", "event", "since", "time"),
    "runs": ("host", "boot", "run", "began", "ended"),
}
"""The columns of each table that the query reads; all times in it are ns since 1970. gaps: rows of gaps and of repairs.
runs: from when to when each run of nstrace recorded."""
_SHORT_ID = 12
_FOREVER_NS = (1 << 63) - 1


@dataclass(frozen=True)
class On:
    """Which columns of the log say who and when. container: the column with a container's name or ID; "": the numbers
    are PIDs of the host. width_ns: how many ns the time of a row may mean, from its value on; lag_ns: how long after it
    was written a row gets its time, at the most."""

    number: str = "pid"
    time: str = "time"
    host: str = "host"
    container: str = ""
    width_ns: int = 1
    lag_ns: int = 100_000_000

    @property
    def slack_ns(self) -> int:
        """How long after its end a process may be what a row means."""
        return self.lag_ns + self.width_ns


class Dialect(Protocol):
    """Where DuckDB's SQL and Spark's differ."""

    def quoted(self, name: str) -> str:
        """The name of a column."""

    def places(self, values: str) -> str:
        """A row for each place of a list, 1 for the first: in the list of a select."""

    def element(self, values: str, place: str) -> str:
        """The value at a place of a list."""

    def rows_of(self, values: Sequence[str]) -> str:
        """A row for each of these values, of equal ones one: in the list of a select."""

    def last_known(self, value: str) -> str:
        """The last value of a window that is not null, without the window."""

    def as_of(self, rows: str, lives: str, keys: Sequence[str], wanted: Sequence[str]) -> str:
        """A query: each of the rows, with the wanted columns of that one of the lives that has its keys, and _from <=
        _moment < _until; null where there is none. Lives of the same keys are disjoint, none is empty."""


LIVES, RECORDED, LOST = "lives", "recorded", "lost"


def steps(on: On, dialect: Dialect) -> dict[str, str]:
    """Queries on the tables `processes`, `gaps` and `runs`: what makes the tables LIVES, RECORDED and LOST, which
    `answers` is asked of."""
    return {
        LIVES: f"""
with {_TOLD}, {_in_containers(dialect) if on.container else _ON_HOSTS}, {_lives(on)} select * from lives""",
        RECORDED: f"""
with recording as (select host as _host, began as _begin, ended as _end, cast(null as bigint) as _lost_ns from runs),
{_islands("recorded", "recording", on.slack_ns)} select * from recorded""",
        LOST: f"""
with {_LOSSES}, {_islands("lost", "losses", on.slack_ns)} select * from lost""",
    }


def answers(on: On, dialect: Dialect, columns: Sequence[str]) -> str:
    """The query on the table `logs` and those of `steps`. columns: those of the log, which are given back. Rows come in
    any order."""
    given = [dialect.quoted(name) for name in columns]
    answer = [f"case when _why is null then {PREFIX}{name} end as {PREFIX}{name}" for name in _OF_PROCESS]
    of_life = ("_began", "_over", "_seen", "_others_over", *(PREFIX + name for name in _OF_PROCESS))
    return f"""
with asked as ({_asked(on, dialect, given)}),
with_life as ({dialect.as_of("asked", LIVES, ("_host", "_place", "_number"), of_life)}),
with_run as ({dialect.as_of("with_life", RECORDED, ("_host",), ("_covered_from", "_covered_until"))}),
with_loss as ({dialect.as_of("with_run", LOST, ("_host",), ("_lost_ns", "_healed_ns"))}),
clipped as (
    select *, greatest(_moment - {on.slack_ns - 1}, _covered_from) as _first, least(_moment, _covered_until) as _last
    from with_loss
),
decided as (select *, {_WHY} as _why from clipped)
select {", ".join([*given, *answer])}, _why as {PREFIX}unknown from decided
"""


def _asked(on: On, dialect: Dialect, given: Sequence[str]) -> str:
    """The rows of the log: whom each means, and the end of its window."""
    number, place = dialect.quoted(on.number), "''"
    if on.container:
        place = f"nullif(regexp_replace({dialect.quoted(on.container)}, '^/', ''), '')"
    return f"""
    select {", ".join(given)}, {dialect.quoted(on.host)} as _host, {place} as _place,
           case when {number} > 0 then cast({number} as bigint) end as _number,
           {dialect.quoted(on.time)} + {on.width_ns - 1} as _moment
    from logs"""


_TOLD = """
told as (
    select processes.*, runs.ended as _run_ended from processes
    join runs on processes.host = runs.host and processes.boot = runs.boot and processes.run = runs.run
)"""
_ON_HOSTS = """
placed as (select host as _host, '' as _place, cast(pid as bigint) as _number, * from told where pid is not null)"""


def _in_containers(dialect: Dialect) -> str:
    """Every process has a number in each of its PID namespaces. The container of a namespace is that of its first
    process, number 1: of the last one that began in a namespace of this inode number before the process did."""
    window = "over (partition by host, boot, _space order by began, _number rows unbounded preceding)"
    of_first = {
        "_name": "container",
        "_full_id": "coalesce(container_id, '')",
        "_space_ended": "coalesce(ended, _run_ended)",
    }
    firsts = [
        f"{dialect.last_known(f'case when _number = 1 then {value} end')} {window} as {name}"
        for name, value in of_first.items()
    ]
    return f"""
at_levels as (select *, {dialect.places("pidns_chain")} as _level from told where ns_pid is not null),
numbered as (
    select *, {dialect.element("pidns_chain", "_level")} as _space,
           cast({dialect.element("pids", "_level")} as bigint) as _number
    from at_levels where _level > 1
),
owned as (select *, {", ".join(firsts)} from numbered),
placed as (
    select host as _host, {dialect.rows_of(("_name", "_full_id", f"substr(_full_id, 1, {_SHORT_ID})"))} as _place, *
    from owned where _full_id <> '' and began <= _space_ended
)"""


def _lives(on: On) -> str:
    """Who had which number, disjoint for each host, place and number. _over: when it ended, or the run that told of it
    last; _seen: until when it is certain that it lived; _others_over: the latest _over of those before it."""
    details = ", ".join([f"proc_id as {PREFIX}id", *(f"{name} as {PREFIX}{name}" for name in _PLAIN)])
    window = "over (partition by _host, _place, _number order by _began, _over"
    return f"""
spans as (
    select _host, _place, _number, began as _began, coalesce(ended, _run_ended) as _over,
           case when ended_sure then coalesce(ended, began) else began end as _seen, {details}
    from placed where _place is not null
),
in_order as (
    select *, coalesce(lead(_began) {window}), {_FOREVER_NS}) as _next,
           coalesce(max(_over) {window} rows between unbounded preceding and 1 preceding), 0) as _others_over
    from spans
),
lives as (
    select *, _began as _from, least(_next, greatest(_over, _others_over) + {on.slack_ns}) as _until
    from in_order where _began < _next
)"""


# A gap misleads until all processes have been listed after it, or its run ends.
_LOSSES = """
missing as (
    select gaps.*, runs.ended as _run_ended, case when event = 'repair' then since else time end as _at,
           case when event = 'repair' then time end as _repaired, case when event = 'repair' then 1 else 0 end as _nr
    from gaps join runs on gaps.host = runs.host and gaps.boot = runs.boot and gaps.run = runs.run
),
healing as (
    select *, min(_repaired) over (partition by host, boot, run order by _at, _nr
                                   rows between current row and unbounded following) as _healed
    from missing
),
losses as (
    select host as _host, coalesce(since, time) as _begin, coalesce(_healed, _run_ended) as _end, time as _lost_ns
    from healing where event = 'gap'
)"""


def _islands(name: str, source: str, slack_ns: int) -> str:
    """Spans of time of a host (_begin, _end, _lost_ns), those that meet made one, as lives: the columns are called as
    `answers` wants them."""
    order = "over (partition by _host order by _begin, _end"
    names = ("_lost_ns", "_healed_ns") if name == "lost" else ("_covered_from", "_covered_until")
    first = "_lost_ns" if name == "lost" else "_begin"
    return f"""
{name}_begun as (
    select *, case when _begin <= max(_end) {order} rows between unbounded preceding and 1 preceding)
              then 0 else 1 end as _new
    from {source}
),
{name}_counted as (select *, sum(_new) {order} rows unbounded preceding) as _island from {name}_begun),
{name}_whole as (
    select _host, min(_begin) as _begin, max(_end) as _end, max(_lost_ns) as _lost_ns
    from {name}_counted group by _host, _island
),
{name} as (
    select _host, _begin as _from, {first} as {names[0]}, _end as {names[1]},
           least(_end + {slack_ns}, coalesce(lead(_begin) over (partition by _host order by _begin), {_FOREVER_NS}))
           as _until
    from {name}_whole
)"""


def _why() -> str:
    """Why there is no answer; null: there is one."""
    word = {why: f"'{why.value}'" for why in Unanswered}
    is_lost = "_healed_ns > _first and _lost_ns >= {}"
    return f"""
case
    when _number is null then {word[Unanswered.NO_PID]}
    when _moment is null then {word[Unanswered.NO_TIME]}
    when _place is null then {word[Unanswered.NO_CONTAINER]}
    when _covered_until is null or _first > _last then {word[Unanswered.NOT_RECORDED]}
    when _others_over > _first then {word[Unanswered.AMBIGUOUS]}
    when _began is null or _over <= _first then
        case when {is_lost.format("0")} then {word[Unanswered.LOST]} else {word[Unanswered.NOBODY]} end
    when _began <= _first and _seen >= _last then null
    when {is_lost.format("case when _began <= _first then least(_seen, _first) else 0 end")}
        then {word[Unanswered.LOST]}
end"""


_WHY = _why()
