"""What questions to a recording cost, against its length: real commands, each to its end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.measure import Result
from bench.process import run_to_end
from bench.synthetic import LIFE_NS, PIDNS

_NSTRACE = [sys.executable, "-m", "tracer"]
_GROUPED = "select comm, count(*) from events group by comm"
_PIECE_ROWS = 1 << 20


def ask(path: Path, events: int) -> Result:
    """Seconds, and the peak of memory, of questions to a recording that `bench.scale` has made: of all of its
    processes, and of a log that has a line for each event."""
    log, out = path.with_suffix(".log.parquet"), path.with_suffix(".out.parquet")
    _write_log(log, events)
    words: dict[str, list[object]] = {
        "summary": ["summary", path],
        "grouped": ["sql", "--csv", path, _GROUPED],
        "processes": ["sql", "--force", "-w", out, path, "from processes"],
        "join": ["join", log, "--from", path, "--on", "nr", "--in", f"pidns:{PIDNS}", "--time-column", "time",
                 "--lag", "0", "--force", "-w", out],
        "perfetto": ["export", "--to", "perfetto", "--force", "-w", out, path],
    }  # fmt: skip
    result: Result = {}
    for name, arguments in words.items():
        result |= {f"{name}_{what}": value for what, value in _run(arguments).items()}
        out.unlink(missing_ok=True)
    log.unlink()
    return result


def _run(arguments: Sequence[object]) -> Result:
    begin = time.monotonic()
    with Path(os.devnull).open("wb") as nowhere:
        cpu_ns, peak_bytes = run_to_end([*_NSTRACE, *map(str, arguments)], nowhere)
    return {"s": time.monotonic() - begin, "cpu_s": cpu_ns / 1e9, "mib": peak_bytes / 2**20}


def _write_log(path: Path, lines: int) -> None:
    """A log of so many lines, each in the life of one of the processes, in order of time."""
    schema = pa.schema([("time", pa.timestamp("ns", "UTC")), ("nr", pa.int32()), ("line", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, lines, _PIECE_ROWS):
            number = np.arange(first, min(lines, first + _PIECE_ROWS))
            life = number // 3
            time_ns = life * LIFE_NS + 150_000 + number % 3
            columns = (pa.array(time_ns, pa.timestamp("ns", "UTC")), (10 + life % 20_000).astype(np.int32), number)
            writer.write_table(pa.table(dict(zip(schema.names, map(pa.array, columns), strict=True)), schema))
