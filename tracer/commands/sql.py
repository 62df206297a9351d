"""nstrace sql: recordings asked in SQL."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

import click

from tracer.errors import ExitCode, NstraceError
from tracer.text.counted import counted
from tracer.wiring.completing import complete_file
from tracer.wiring.result_options import Result, result_options
from tracer.wiring.spill import spill_folder
from tracer.wiring.windows import in_window, window_options

if TYPE_CHECKING:
    from tracer.ask.answer import Form
    from tracer.ask.query import Query
    from tracer.recording.source import RecordedSource


@click.command("sql")
@click.argument("arguments", nargs=-1, required=True, metavar="[FILE]... QUERY", shell_complete=complete_file)
@result_options
@window_options()
@click.option("-q", "--quiet", is_flag=True, help="No notes on stderr.")
def command(arguments: tuple[str, ...], result: Result, since: str | None, until: str | None, quiet: bool) -> int:
    """Answer a QUERY in SQL, DuckDB's, about recordings. FILEs and TIMEs are those of nstrace replay; without a FILE
    it is about what nstrace agent has recorded.

    \b
    Tables:
      events      one row for each event, with the names of the JSON
      processes   one row for each process: its PIDs, container, parent, the
                  commands that it ran, its begin and end, and how it ended
      containers  one row for each life of a container
      gaps        where events were lost
    "describe processes" as QUERY lists the columns of a table. Times are in UTC.

    A query reads the recordings and nothing else: no file, no network.

    \b
    nstrace sql web.arrows "select comm, count(*) from events group by comm"
    nstrace sql web.arrows "select pid, ns_pid, commands from processes
                            where exit_code <> 0 order by began"
    nstrace sql --json web.arrows db.arrows "select * from gaps"
    nstrace sql --since 1h "select * from processes where signal = 'SIGKILL'"
    nstrace sql -w failed.parquet web.arrows "from processes where signal is not null"
    """
    from tracer.wiring.open_recordings import SUFFIX, check_kept, is_path, open_later, sayer

    *files, text = arguments

    def is_query(text: str) -> bool:
        return any(letter.isspace() for letter in text) and not is_path(text)

    if (not files and not is_query(text)) or text.endswith(SUFFIX):
        queries = [one for one in files if is_query(one)]
        if queries:
            words = [*(one for one in arguments if one not in queries), *queries]
            raise NstraceError("the query comes last", f"nstrace sql {shlex.join(words)}", ExitCode.USAGE)
        hint = f"for example nstrace sql {shlex.quote(arguments[0])} {_EXAMPLE}"
        raise NstraceError("the query is missing", hint, ExitCode.USAGE)
    from tracer.ask.query import USES, Query
    from tracer.wiring.kept import given_or_kept

    say, missing = sayer(quiet), "the recording is missing, which comes before the query"
    found = given_or_kept(files, since, until, say, ahead=0, missing=missing, less="--since TIME")
    check_kept(result.out, found.files)
    form = result.form()
    with spill_folder() as spill:
        query = Query(text, result.room(spill))
        parse = open_later(found.files, (*USES, "tracer.recording.filtered"), (), say, found)

        def write(file: IO[bytes]) -> str:
            from tracer.recording.filtered import say_incomplete

            sources = parse()
            wrote = _write(query, sources, (found.begin, found.end), form, file)
            say_incomplete(sources, say)
            return wrote

        result.give(write, query.begin_threads, spill, quiet)
    return 0


_EXAMPLE = "'select comm, count(*) from events group by comm'"


def _write(
    query: Query,
    recordings: Sequence[RecordedSource],
    window: tuple[str | None, str | None],
    form: Form,
    file: IO[bytes],
) -> str:
    """Write the result. Gives how much that is, in words."""
    from tracer.ask.tables import readings

    for recording in recordings:
        recording.decode_ahead(query.ahead.pool)
    sources = readings(recordings, lambda found: in_window(found, *window))
    rows = form(*query.answer(sources), file)
    file.flush()
    return counted(rows, "row")
