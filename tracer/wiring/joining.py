"""What nstrace join and fleet join share: options, columns of a log, its joined pieces, what became of its lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING

import click

from tracer.errors import ExitCode, NstraceError
from tracer.wiring.amounts import Duration

if TYPE_CHECKING:
    import pyarrow as pa

    from tracer.ask.answer import Form

_BATCH_ROWS = 1 << 14

_LAG_S, _MOST_LAG_S = 0.1, 3600
time_option = click.option("--time-column", required=True, metavar="NAME", help="The column with the time of the line.")
lag_option = click.option(
    "--lag", "lag_s", type=Duration(0, _MOST_LAG_S), default=_LAG_S, metavar="TIME",
    help="How long after it was written a line gets its time, at the most (default: 100ms).",
)  # fmt: skip


def check_columns(names: Sequence[str], wanted: Iterable[str], prefix: str) -> None:
    """Raises NstraceError (usage) where a log has not the columns that were typed, or those that are added. names: its
    columns."""
    from tracer.text.hints import near, shown

    for name in wanted:
        if name not in names:
            hint = f"{near(name, names)}its columns: {shown(list(names))}"
            raise NstraceError(f"the log has no column {name}", hint, ExitCode.USAGE)
    if taken := [name for name in names if name.startswith(prefix)]:
        hint = f"rename {shown(taken)}"
        raise NstraceError(
            f"the log has columns that begin with {prefix}, as those that are added", hint, ExitCode.USAGE
        )


def write_pieces(first: pa.Table, pieces: Iterator[pa.Table], form: Form, file: IO[bytes]) -> int:
    """Write the joined pieces of a log. Gives how many rows they have."""
    rows = form(first.schema, _batches(first, pieces), file)
    file.flush()
    return rows


def _batches(first: pa.Table, pieces: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
    yield from first.to_batches(_BATCH_ROWS)
    del first
    for piece in pieces:
        yield from piece.to_batches(_BATCH_ROWS)


def summary(counts: dict[str, int]) -> str:
    """How many lines have a process, and why others have none: a line for people. counts: by why; "": joined."""
    from tracer.text.counted import counted

    lines, joined = sum(counts.values()), counts.get("", 0)
    others = sorted(((count, why) for why, count in counts.items() if why), reverse=True)
    return "; ".join([f"{counted(lines, 'line')}, {joined} joined", *(f"{count} not: {why}" for count, why in others)])
