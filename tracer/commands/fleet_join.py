"""nstrace fleet join: a log of many hosts that is a table, joined with the processes of an archive."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, TYPE_CHECKING

import click

from tracer.commands.fleet_ask import archive_option, cluster_option
from tracer.wiring.completing import complete_file
from tracer.wiring.joining import check_columns, lag_option, summary, time_option, write_pieces
from tracer.wiring.result_options import Result, result_options

if TYPE_CHECKING:
    from tracer.ask.answer import Form
    from tracer.ask.database import Room
    from tracer.fleet.log_rows import Columns


@click.command("join")
@click.argument("log", metavar="LOG", shell_complete=complete_file)
@archive_option
@cluster_option
@click.option(
    "--on", "on", required=True, metavar="COLUMNS",
    help="The columns with the host and a PID of it (HOST,PID); or the host, a container's name or ID, and a PID in it"
    " (HOST,CONTAINER,NS_PID).",
)  # fmt: skip
@time_option
@lag_option
@result_options
@click.option("-q", "--quiet", is_flag=True, help="No notes on stderr.")
def join(
    log: str, where: str, cluster: str | None, on: str, time_column: str, lag_s: float, result: Result, quiet: bool
) -> None:
    """Add to each line of LOG, a CSV or Parquet file about many hosts, the process that it is about: who had the number
    on that host when the line was written.

    Columns are added with names that begin with process_, as nstrace join does; name and command line are the last that
    the process had. Where no process had the number then, several had, or events are missing, they are empty, and
    process_unknown says why. Times are those of nstrace join. "-" as LOG reads CSV from stdin.

    \b
    nstrace fleet join access.csv --from /srv/nstrace --on host,pid --time-column time
    nstrace fleet join app.parquet --from s3://traces/nstrace --on host,container,ns_pid --time-column ts -w out.parquet
    """
    from tracer.commands.fleet import check_library

    check_library("nats", "fleet")
    from tracer.ask import log_file
    from tracer.fleet.log_rows import Columns
    from tracer.system import imports
    from tracer.wiring.fleet_hosts import LAZY, archive_room
    from tracer.wiring.open_recordings import check_kept, sayer

    names = [name.strip() for name in on.split(",")]
    if not all(names) or len(names) not in (2, 3) or not time_column:
        raise click.UsageError("--on is the names of two columns, or of three: HOST,PID or HOST,CONTAINER,NS_PID")
    columns = Columns(names[0], names[1] if len(names) == 3 else "", names[-1], time_column)
    check_kept(result.out, [log])
    imports.load(*LAZY)
    form, say, fd = result.form(), sayer(quiet), log_file.open_log(log)
    with archive_room(where, result) as (room, give_up):
        result.give(
            lambda file: _write((where, cluster), fd, log, columns, round(lag_s * 1e9), form, file, say, room),
            lambda: None, None, quiet, give_up,
        )  # fmt: skip


def _write(
    archive: tuple[str, str | None], fd: int, name: str, columns: Columns, lag_ns: int, form: Form, file: IO[bytes],
    say: Callable[[str], None], room: Room,
) -> str:  # fmt: skip
    """Write the joined lines. archive: its place, and whose hosts. Gives how many there are, in words."""
    where, cluster = archive
    from tracer.ask.database import connect, use_all_cpus
    from tracer.ask.log_file import read_log
    from tracer.fleet.archive_store import store_of
    from tracer.fleet.log_join import PREFIX
    from tracer.fleet.log_rows import LogRows
    from tracer.text.counted import counted
    from tracer.wiring.fleet_hosts import errors_of

    table = read_log(fd, name)
    check_columns(table.schema.names, filter(None, columns), PREFIX)
    database = connect(room)
    use_all_cpus(database)
    with errors_of(where):
        join = LogRows(database, store_of(where), columns, lag_ns, cluster)
        pieces = map(join.joined, table.pieces)
        first = next(pieces, None)
        first = join.joined(table.schema.empty_table()) if first is None else first
        rows = write_pieces(first, pieces, form, file)
    say(summary(dict(join.counts)))
    return counted(rows, "row")
