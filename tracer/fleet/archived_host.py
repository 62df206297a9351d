"""A host in an archive, asked as its own recordings are: of the messages that tell of some processes, and of no others,
a recording is made (`tracer.fleet.archived_recording`).

Which processes a question is about, and which messages tell of them, is looked up in the tables: who lived at a moment
is known by when each process began and ended, however long before that was. What is said of them is in the messages.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from tracer.ask.database import connect, errors_of
from tracer.errors import NstraceError
from tracer.fleet.archive_names import BATCHES, EVENTS, PROCESSES, host_in
from tracer.fleet.archive_store import Store
from tracer.fleet.archive_tables import BATCHES as BATCH_SCHEMA
from tracer.fleet.archive_tables import EVENTS as EVENT_SCHEMA
from tracer.fleet.archive_tables import PROCESSES as PROCESS_SCHEMA
from tracer.fleet.archived_recording import ArchivedRecording, Message
from tracer.fleet.compaction import files_of
from tracer.stream.schema import PROCESS_KINDS
from tracer.typed.moments import Span

_SCHEMAS = {EVENTS: EVENT_SCHEMA, PROCESSES: PROCESS_SCHEMA, BATCHES: BATCH_SCHEMA}
_ABOUT_PROCESSES = sorted(kind.name.lower() for kind in PROCESS_KINDS)
_FIRST_OF_CONTAINER = 16  # of them one shows which namespace its numbers count in; the runtime's are among them
_LATEST = 1024  # of a life, that ended last: more than why looks at
_PAYLOADS = 64  # that are asked for at once
_LIST_NS = 60_000_000_000  # in which a list of processes is told


def hosts_in(store: Store) -> list[str]:
    """The names of all hosts of an archive, in order. Raises OSError."""
    return sorted({host for folder in store.folders(BATCHES) if (host := host_in(folder))})


class Run(NamedTuple):
    """A run of nstrace on a host. span: of its events. messages: how many there are; missing: how many numbers before
    the latest have none; gaps, lost: as its recordings report them."""

    boot: str
    run: str
    span: Span
    messages: int
    missing: int
    gaps: int
    lost: int


@dataclass(frozen=True)
class About:
    """Which processes a question is about: those that lived at some time of the window (wall clock), or had one of the
    numbers, or were in a container; of containers with these ids the first ones of each life, and the last to end."""

    window: Span | None = None
    numbers: frozenset[int] = frozenset()
    in_containers: bool = False
    containers: frozenset[str] = frozenset()


class Container(NamedTuple):
    """A container as an archive tells of it. names: all that it has had."""

    id: str
    names: frozenset[str]


class ArchivedHost:
    """The host of this name, of any cluster. Raises OSError where the archive cannot be read, and so do the methods."""

    def __init__(self, store: Store, host: str) -> None:
        self.host, self.cluster, self._name = host, "*", f"{store.name} of {host}"
        self._database = connect()
        for table, schema in _SCHEMAS.items():
            self._database.register(f"_{table}", store.dataset(files_of(store, table, host), schema))

    def of_clusters(self) -> list[Self]:
        """The hosts of this name, of each cluster the one that it has, in order."""
        found = []
        for (cluster,) in self._rows("select distinct cluster from _batches order by 1"):
            one = copy.copy(self)
            one.cluster = cluster
            found.append(one)
        return found

    def runs(self) -> list[Run]:
        """Its runs that have events, in order of their beginning."""
        rows = self._rows(
            """
            select boot, run, epoch_ns(min(first_time)), epoch_ns(max(last_time)), count(distinct message),
                   max(message) - count(distinct message), sum(gaps), sum(lost)
            from _batches where ? in ('*', cluster)
            group by boot, run having min(first_time) is not null order by min(first_time), run""",
            [self.cluster],
        )
        return [Run(boot, run, Span(begin, end), *counts) for boot, run, begin, end, *counts in rows]

    def containers(self) -> list[Container]:
        """All containers, in order of their ids."""
        rows = self._rows("""
            select container_id, list(distinct name) from (
                select container_id, container as name from _processes
                union all select container_id, unnest([container, old_name]) from _events where event = 'container'
            ) where container_id is not null group by container_id order by 1""")
        return [Container(container_id, frozenset(filter(None, names))) for container_id, names in rows]

    def tells_of(self, run: Run, containers: Collection[str]) -> bool:
        """Whether a run has processes of these containers, or says what became of one."""
        rows = self._rows(
            """select 1 where exists (from _processes where run = ? and list_contains(?, container_id))
                or exists (from _events where run = ? and event = 'container' and list_contains(?, container_id))""",
            [run.run, list(containers), run.run, list(containers)],
        )
        return bool(rows)

    def ends_in(self, run: Run, name: str | None, until_ns: int) -> bool:
        """Whether a run says how a life of a container ended that was called so; None: of any."""
        rows = self._rows(
            """select 1 from _events where run = ? and event = 'container' and action = 'stopped'
                and said_by = 'kernel' and container = coalesce(?, container) and epoch_ns(time) <= ? limit 1""",
            [run.run, name, until_ns],
        )
        return bool(rows)

    def listed_ns(self, run: Run) -> int:
        """When the list of processes that a run began with was told at the latest (wall clock); 0: there was none."""
        until_ns = run.span.begin_ns + _LIST_NS
        rows = self._rows(
            "select epoch_ns(max(time)) from _events where run = ? and event = 'snapshot' and epoch_ns(time) <= ?",
            [run.run, until_ns],
        )
        return rows[0][0] or 0

    def recording(self, run: Run, about: About) -> ArchivedRecording:
        """A recording of a run that has all that was reported of these processes and of their parents, and all that is
        about no process. Raises NstraceError where a message is not in the archive as it came."""
        ids = self._processes(run, about)
        payloads = list(self._payloads(run, self._messages(run, ids, about)))
        return ArchivedRecording(self._name, ids, self._ledger(run), payloads)

    def _rows(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with errors_of(""):
            return self._database.execute(text, list(values)).fetchall()

    def _processes(self, run: Run, about: About) -> list[str]:
        """The identities of the processes, of their parents, and of those that show when one of them had ended."""
        wanted = ["false"]
        if about.numbers:
            wanted.append(f"list_has_any(pids, {sorted(about.numbers)}) or list_contains(pids[2:], 1)")
            wanted.append(f"nth <= {_FIRST_OF_CONTAINER} and container_id is not null")
        if about.in_containers:
            wanted.append("container_id is not null")
        if about.containers:
            wanted.append(f"list_contains(?, container_id) and (nth <= {_FIRST_OF_CONTAINER} or late <= {_LATEST})")
        if about.window:
            wanted.append(f"began <= {about.window.end_ns} and over >= {about.window.begin_ns}")
        values = [run.run, *([list(about.containers)] if about.containers else [])]
        rows = self._rows(_PROCESSES.format(wanted=" or ".join(wanted)), values)
        return sorted(name for (name,) in rows)

    def _messages(self, run: Run, ids: Collection[str], about: About) -> list[int]:
        """The numbers of the messages that tell of these processes, or of none, or that have rows which are no events:
        cgroups, and who moved to another; and the first, which says when the recording began. Of containers: what
        became of them, in place of all that is of no process, for each message has the cgroups of its own."""
        others = ", ".join(f"'{name}'" for name in _ABOUT_PROCESSES)
        if about.containers:
            others = f"event = 'container' and list_contains(?, container_id) or event not in ('container', {others})"
            values = [run.run, list(about.containers), list(ids), run.run]
            cgroups = ""
        else:
            others, values = f"event not in ({others})", [run.run, list(ids), run.run, run.run]
            cgroups = "union select message from _batches where run = ? and rows < end_row - first_row"
        rows = self._rows(
            f"""select message from _events where run = ? and
                ({others} or proc_id in (select unnest(?::varchar[])))
                {cgroups}
                union select min(message) from _batches where run = ? order by 1""",
            values,
        )
        return [number for (number,) in rows]

    def _ledger(self, run: Run) -> list[Message]:
        rows = self._rows(
            """select message, epoch_ns(min(first_time)) - min(wall_offset_ns),
                      epoch_ns(max(last_time)) - min(wall_offset_ns)
               from _batches where run = ? group by message order by message""",
            [run.run],
        )
        return [Message(*row) for row in rows]

    def _payloads(self, run: Run, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """These messages, in order. Raises NstraceError for one that is not there."""
        for at in range(0, len(numbers), _PAYLOADS):
            some = list(numbers[at : at + _PAYLOADS])
            found = self._rows(
                "select message, payload from _batches where run = ? and message between ? and ?"
                " and message in (select unnest(?::bigint[]))",
                [run.run, some[0], some[-1], some],
            )
            payloads = dict(found)
            for number in some:
                if payloads.get(number) is None:
                    hint = "archivers of an earlier version have not kept it; nstrace fleet sql asks what is there"
                    raise NstraceError(f"{self._name} has not message {number} as it came", hint)
                yield number, payloads[number]


# Of a process whose end was not reported it is known that it was over when an event tells of another one that had its
# number after it.
_PROCESSES = """
with told as (
    select proc_id, any_value(pid) as pid, any_value(pids) as pids, any_value(ns_pid) as ns_pid,
           any_value(pidns) as pidns, any_value(pidns_gen) as pidns_gen, max(parent_id) as parent_id,
           max(container_id) as container_id, max(incarnation) as incarnation,
           epoch_ns(min(began)) as began, epoch_ns(max(ended)) as ended, bool_or(ended_sure) as is_sure,
           epoch_ns(min(first_seen)) as seen
    from _processes where run = ? group by proc_id
),
lives as (
    select *, coalesce(ended, least(min(seen) over later_on_host, min(seen) over later_inside), 9223372036854775807)
               as over,
           [lead(proc_id) over on_host, lead(proc_id) over inside] as next,
           row_number() over (partition by container_id, incarnation order by began) as nth,
           row_number() over (partition by container_id, incarnation order by ended desc nulls last) as late
    from told
    window on_host as (partition by pid order by began),
           inside as (partition by pidns, pidns_gen, ns_pid order by began),
           later_on_host as (on_host rows between 1 following and unbounded following),
           later_inside as (inside rows between 1 following and unbounded following)
),
meant as (select * from lives where {wanted}),
named as (
    select proc_id, is_sure, next from meant
    union all
    select proc_id, is_sure, next from lives where proc_id in (select parent_id from meant)
)
select proc_id from named
union select parent_id from meant where parent_id is not null
union select next_id from (select unnest(next) as next_id from named where not is_sure) where next_id is not null"""
