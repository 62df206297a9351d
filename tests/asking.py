"""A condition asked of a recording by replay, by export and in SQL, in this process: the rows that each gives."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from expressions import Line, read

from tracer.ask.query import Query
from tracer.ask.tables import readings
from tracer.commands.export import Table
from tracer.recording.source import RecordedSource
from tracer.stream.schema import EVENT_NAMES, Kind
from tracer.views.jsonl import JsonLines
from tracer.wiring.conditions import filter_of, let_pass
from tracer.wiring.open_recordings import open_later

KINDS = frozenset(kind for kind in Kind if kind.name.lower() in EVENT_NAMES or "THREAD" in kind.name)
Key = tuple[Any, ...]


def key(line: Line) -> Key:
    """What tells a row from the others."""
    return line["ts_ns"], line["event"], line.get("pid"), line.get("tid")


def sources(file: Path) -> list[RecordedSource]:
    """The runs of a recording, from its beginning."""
    return open_later([str(file)], (), (), lambda _line: None)()


def replayed(file: Path, where: str | None = None) -> list[Line]:
    """The lines of JSON that replay shows."""
    chosen = sources(file)
    let_pass(filter_of(() if where is None else (where,)), chosen)
    text = b""
    for source in chosen:
        view = JsonLines(KINDS, threads=True, wall_offset_ns=source.wall_offset_ns)
        text += b"".join(view.render(batch, source.attribution) for batch in source.batches(lambda: 0.0))
    return read(text)


def exported(file: Path, where: str) -> Counter[Key]:
    """The rows that export writes, as Parquet, each with how often: they are in order of time."""
    table, out, chosen = Table("parquet", "events", (where,), ()), io.BytesIO(), sources(file)
    let_pass(table.where, chosen)
    table.write(chosen, out)
    return Counter(map(key, pq.read_table(out, columns=["ts_ns", "event", "pid", "tid"]).to_pylist()))


def asked(file: Path, where: str) -> list[Key]:
    """The rows that SQL finds, but for gaps and repairs."""
    query = Query(f"select ts_ns, event, pid, tid from events where ({where}\n) and event not in ('gap', 'repair')")
    _schema, batches = query.answer(readings(sources(file), lambda found: found))
    return [key(row) for batch in batches for row in batch.to_pylist()]
