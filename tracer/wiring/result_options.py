"""The options of commands whose result is a table: how it is printed, or the file that it is written to."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from tracer.errors import ExitCode, NstraceError
from tracer.wiring.amounts import Size
from tracer.wiring.completing import complete_file
from tracer.wiring.gathering import gathered
from tracer.wiring.printing import note
from tracer.wiring.signals import interrupt_at_signals
from tracer.wiring.whole_file import default_signals, into_file

if TYPE_CHECKING:
    from tracer.ask.answer import Form
    from tracer.ask.database import Room
    from tracer.system.privileges import GiveUp
    from tracer.wiring.spill import Spill

_LEAST_MEMORY = 1 << 26
_FORMS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".json": "jsonl"}


@dataclass(frozen=True)
class Result:
    """What was typed of them."""

    as_json: bool
    as_csv: bool
    out: str | None
    force: bool
    no_header: bool
    no_trunc: bool
    memory: int | None

    def room(self, spill: Spill | None) -> Room:
        """How much memory the database takes, and where the rest goes."""
        from tracer.ask.database import Room

        room = Room(spill=spill.path if spill else "")
        return room if self.memory is None else room._replace(memory=self.memory)

    def form(self) -> Form:
        """How the result is written. Raises UsageError where they exclude each other, and NstraceError (usage) where
        the name of the file does not say it."""
        from tracer.ask.answer import FORMS, text_writer
        from tracer.wiring.printing import line_width

        if self.as_json + self.as_csv + (self.out is not None) > 1:
            raise click.UsageError("--json, --csv and -w OUT exclude each other")
        if self.force and self.out is None:
            raise click.UsageError("--force goes with -w OUT")
        if self.as_json or self.as_csv:
            return FORMS["jsonl" if self.as_json else "csv"]
        if self.out is None:
            return text_writer(line_width(self.no_trunc), not self.no_header)
        form = _FORMS.get(Path(self.out).suffix)
        if form is None:
            raise NstraceError(
                f"{self.out}: its name does not say in which format",
                f"names end in {', '.join(_FORMS)}",
                ExitCode.USAGE,
            )
        return FORMS[form]

    def give(
        self,
        write: Callable[[IO[bytes]], str],
        begin_threads: Callable[[], None],
        spill: Spill | None,
        quiet: bool,
        give_up: GiveUp | None = None,
    ) -> None:
        """Have the result written where it goes, by a child without privileges; of a file say so. write: gives what it
        has written, in words. begin_threads, give_up: as for `tracer.system.privileges.in_child`. Raises what writing
        raises."""
        folder = spill.fd if spill else None

        def in_order(file: IO[bytes]) -> str:
            default_signals()
            return write(file)

        interrupt_at_signals()
        if self.out is not None:
            note(f"nstrace: {into_file(in_order, Path(self.out), self.force, begin_threads, folder, give_up)}", quiet)
            return
        from tracer.system.privileges import in_child

        def to_stdout() -> None:
            with contextlib.suppress(BrokenPipeError):  # whoever reads has seen enough
                in_order(sys.stdout.buffer)

        in_child(to_stdout, folder, begin_threads, give_up)


_OPTIONS = (
    click.option("--json", "as_json", is_flag=True, help="Print JSON lines instead of columns."),
    click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of columns."),
    click.option(
        "-w",
        "--write",
        "out",
        metavar="OUT",
        shell_complete=complete_file,
        help="Write the result to a file: OUT.parquet, OUT.csv or OUT.jsonl.",
    ),
    click.option("--force", is_flag=True, help="Replace OUT if it is there."),
    click.option("--no-header", is_flag=True, help="Leave out the header line of columns."),
    click.option("--no-trunc", is_flag=True, help="Do not cut lines at the width of the terminal."),
    click.option(
        "--memory",
        type=Size(_LEAST_MEMORY),
        metavar="SIZE",
        help="Memory for the query; what has no room goes to files in $TMPDIR or /var/tmp. Default: a quarter of all.",
    ),
)


result_options = gathered(_OPTIONS, Result, "result")
"""Adds them to a command, which receives them as one argument, `result`."""
