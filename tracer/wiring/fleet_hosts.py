"""What nstrace fleet hosts and sql print."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from tracer.errors import NstraceError
from tracer.system import imports
from tracer.text.escape import safe_json, safe_text
from tracer.text.times import elapsed, rfc3339
from tracer.views.columns import TextColumn, columns
from tracer.wiring.printing import write_table
from tracer.wiring.spill import spill_folder

if TYPE_CHECKING:
    from tracer.ask.database import Room
    from tracer.fleet.access import Access
    from tracer.system.privileges import GiveUp
    from tracer.wiring.result_options import Result


def heard_table(access: Access, cluster: str | None, as_json: bool, no_header: bool) -> None:
    """Print the hosts that a server knows, those of a cluster or all. Raises NstraceError."""
    from tracer.fleet.hosts import heard_hosts
    from tracer.fleet.nats_client import Connection
    from tracer.fleet.running import run

    connection = Connection(access, "nstrace hosts")
    found = [one for one in run(heard_hosts(connection), connection) if cluster in (None, one.cluster)]
    now_ns = time.time_ns()
    objects = [
        {
            **{"host": one.host, "cluster": one.cluster, "silent": one.is_silent(now_ns)},
            "heard": rfc3339(one.heard_ns) if one.heard_ns else None,
            "until": rfc3339(one.until_ns) if one.until_ns else None,
            **{"batches": one.batches, "gaps": one.gaps, "files_behind": one.behind},
        }
        for one in found
    ]
    rows = [
        [
            one.host, one.cluster, "silent" if one.is_silent(now_ns) else "ok", _ago(one.heard_ns, now_ns),
            _ago(one.until_ns or None, now_ns), str(one.batches), str(one.gaps), str(one.behind),
        ]
        for one in found
    ]  # fmt: skip
    titles = ("HOST", "CLUSTER", "STATE", "HEARD", "UNTIL", "BATCHES", "GAPS", "BEHIND")
    _print(titles, rows, objects, as_json, no_header)


def _ago(wall_ns: int | None, now_ns: int) -> str:
    return "never" if wall_ns is None else f"{elapsed(max(0, now_ns - wall_ns) / 1e9)} ago"


def archived_table(where: str, cluster: str | None, as_json: bool, no_header: bool) -> None:
    """Print the hosts of an archive, those of a cluster or all. Raises NstraceError."""
    from tracer.fleet.archive_store import store_of
    from tracer.fleet.archiving import become_reader
    from tracer.fleet.hosts import archived_hosts

    become_reader(where)
    with errors_of(where):
        found = [one for one in archived_hosts(store_of(where)) if cluster in (None, one.cluster)]
    objects = [one._asdict() | {"last": rfc3339(one.last_ns) if one.last_ns else None} for one in found]
    for item in objects:
        del item["last_ns"]
    rows = [
        [one.host, one.cluster, rfc3339(one.last_ns)[:19] if one.last_ns else "-", *map(str, one[3:])] for one in found
    ]
    titles = ("HOST", "CLUSTER", "LAST", "BATCHES", "EVENTS", "GAPS", "LOST", "MISSING")
    _print(titles, rows, objects, as_json, no_header)


LAZY = ("duckdb", "pyarrow.dataset", "pyarrow.parquet", "pyarrow.acero", *imports.OF_READERS)
"""Modules that an answer from an archive uses for the first time when root was given up."""


def answer(where: str, query: str, result: Result) -> None:
    """Answer a query about an archive, as who owns that: a file that is written belongs to who asks. Raises
    NstraceError."""
    from tracer.fleet.archive_query import ArchiveQuery
    from tracer.fleet.archive_store import store_of
    from tracer.text.counted import counted

    imports.load(*LAZY)
    form = result.form()

    with archive_room(where, result) as (room, give_up):

        def write(file: IO[bytes]) -> str:
            with errors_of(where):
                rows = form(*ArchiveQuery(query, store_of(where), room).answer(), file)
                file.flush()
            return counted(rows, "row")

        result.give(write, lambda: None, None, False, give_up)


@contextmanager
def archive_room(where: str, result: Result) -> Iterator[tuple[Room, GiveUp]]:
    """How much memory a query about an archive takes, and what has to be called ahead of it: it gives up root for who
    owns the archive, and with it the folder for what has no room in memory."""
    from tracer.fleet.archiving import become_reader

    with spill_folder() as spill:
        room = result.room(spill._replace(path=spill.outside) if spill else None)
        yield room, partial(become_reader, where, spill.fd if spill else None)


@contextmanager
def errors_of(where: str) -> Iterator[None]:
    """Convert an OSError of an archive meanwhile into an NstraceError."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error).partition("\n")[0]
        raise NstraceError(f"{where} cannot be read: {why}", "run it as a user who may read the archive") from error


def _print(
    titles: Sequence[str], rows: Sequence[Sequence[str]], objects: Sequence[dict[str, Any]], as_json: bool, bare: bool
) -> None:
    if as_json:
        sys.stdout.write("".join(f"{safe_json(json.dumps(item, ensure_ascii=False))}\n" for item in objects))
        return
    table = columns(
        [TextColumn(title, right=at > 4) for at, title in enumerate(titles)],
        [list(map(safe_text, row)) for row in rows],
    )
    write_table(table, bare)
