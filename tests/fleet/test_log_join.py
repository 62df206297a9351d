"""Rows of logs and the processes that they mean: right, or said to be unknown."""

from __future__ import annotations

import random
from collections import Counter
from operator import itemgetter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from archives import archive_of, of_duck, rows_of
from made_logs import Fleet, S, made
from publishing import Bench, Memory, Recorder
from recordings import facts, storm

from tracer.fleet.archive_names import BATCHES, EVENTS, PROCESSES
from tracer.fleet.archive_tables import BATCHES as BATCH_SCHEMA
from tracer.fleet.archive_tables import EVENTS as EVENT_SCHEMA
from tracer.fleet.archive_tables import PROCESSES as PROCESS_SCHEMA
from tracer.fleet.archive_tables import combined
from tracer.fleet.duck import open_tables, translate
from tracer.fleet.log_join import PREFIX, On
from tracer.past.log_lines import Unanswered

COLUMNS = ("line", "host", "container", "number", "time")
UNKNOWN, NOBODY = f"{PREFIX}unknown", Unanswered.NOBODY.value
ON = {"host": On("number"), "container": On("number", container="container")}


def asked(fleet: Fleet, on: On) -> list[dict[str, Any]]:
    """The rows of the log with their answers, in order."""
    tables = fleet.tables()
    logs = tables.pop("logs")
    is_of = pc.is_valid if on.container else pc.is_null
    with duckdb.connect() as database:
        for name, table in tables.items():
            database.register(name, table)
        rows = translate(database, logs.filter(is_of(logs["container"])), COLUMNS, on).sort_by("line").to_pylist()
    return list(rows)


@pytest.mark.parametrize("on", ON.values(), ids=ON)
@pytest.mark.parametrize("seed", range(6))
def test_every_answer_is_right_and_there_are_as_many_as_can_be(on: On, seed: int) -> None:
    losses = seed % 3 * 5
    fleet = made(random.Random(seed), hosts=2, processes=300, rows=1_000, losses=losses)
    rows = asked(fleet, on)
    assert len(rows) == sum((row["container"] is not None) == bool(on.container) for row in fleet.log)
    unknown: Counter[str | None] = Counter()
    spans = [(run["host"], run["began"] + on.lag_ns, run["ended"]) for run in fleet.runs]
    for row in rows:
        meant = [life.proc_id for life in fleet.meant(row, on.lag_ns)]
        unknown[row[UNKNOWN]] += 1
        if row[UNKNOWN] is None:
            assert meant == [row[f"{PREFIX}id"]], row
        else:
            assert row[f"{PREFIX}id"] is None
        if row[UNKNOWN] == NOBODY:
            assert not meant, row
        if not losses and any(row["host"] == host and since <= row["time"] < end for host, since, end in spans):
            expected = {0: NOBODY, 1: None}.get(len(meant), Unanswered.AMBIGUOUS.value)
            assert row[UNKNOWN] == expected, row
    assert unknown[None] > len(rows) / 8
    assert losses or not unknown[Unanswered.LOST.value]


@pytest.mark.parametrize("on", ON.values(), ids=ON)
def test_in_pieces_as_all_at_once(on: On) -> None:
    """A piece is joined with the lives of its hosts and times alone."""
    fleet = made(random.Random(7), hosts=3, processes=300, rows=600, losses=5)
    whole, log = asked(fleet, on), list(fleet.log)
    for key in ("time", "host", "line"):
        log.sort(key=itemgetter(key))
        in_pieces = []
        for at in range(0, len(log), 37):
            fleet.log[:] = log[at : at + 37]
            in_pieces += asked(fleet, on)
        assert sorted(in_pieces, key=itemgetter("line")) == whole


def test_a_process_is_made_of_all_its_rows() -> None:
    """Most have one row, which is taken as it is."""
    rng, rows = random.Random(11), list[dict[str, Any]]()
    for number in range(300):
        for at in range(rng.choice((1, 1, 1, 2, 3))):
            began, word = number * S + at, rng.choice((None, f"{number}.{at}"))
            rows.append({
                **dict.fromkeys(PROCESS_SCHEMA.names), "host": "web", "boot": "b", "proc_id": f"7-{number}", "run": "a",
                "pid": 7, "comm": word, "args": word and [word], "container": word, "exit_code": word and at,
                "began": began, "ended": rng.choice((None, began + 1)), "first_seen": began, "last_seen": began,
                "began_sure": at % 2 == 0, "ended_sure": False,
            })  # fmt: skip
    table = pa.Table.from_pylist(rows, PROCESS_SCHEMA)
    rng.shuffle(rows)
    given = {
        PROCESSES: pa.Table.from_pylist(rows, PROCESS_SCHEMA),
        EVENTS: EVENT_SCHEMA.empty_table(),
        BATCHES: BATCH_SCHEMA.empty_table(),
    }
    with duckdb.connect() as database:
        open_tables(database, given)
        found = database.sql("select * from processes order by began").to_arrow_table()
    expected = combined(table).select(found.column_names)
    assert found.to_pylist() == expected.cast(found.schema).to_pylist()


@pytest.mark.parametrize("missing", [{2}, {3}, {5, 6}])
def test_a_message_that_was_not_archived_is_a_gap(tmp_path: Path, missing: set[int]) -> None:
    bench = Bench(tmp_path, Memory())
    recorder = Recorder(bench.spool, max_bytes=60_000)
    recorder.take(facts())
    for first in range(1, 101, 10):
        recorder.take(storm(first, 10))
        bench.publish()
    recorder.close()
    answers = []
    for number, without in enumerate((set(), missing)):
        store = archive_of(bench, tmp_path / str(number), without)
        if not number:
            whole = rows_of(store, EVENTS).filter(pc.field("event") == "exec")
            logs = whole.select(["host", "pid", "row"]).rename_columns(["host", "pid", "line"])
            logs = logs.append_column("time", whole["time"].cast(pa.int64()))
        answers.append(of_duck(store, logs, On(lag_ns=0)))
    named = [row[f"{PREFIX}id"] for row in answers[0]]
    assert named == whole.sort_by("row")["proc_id"].to_pylist()
    some = [(row[f"{PREFIX}id"], row[UNKNOWN]) for row in answers[1]]
    assert all(found in (one, None) for (found, _why), one in zip(some, named, strict=True))
    assert all(why != NOBODY for found, why in some if found is None)
    assert any(found is None for found, _why in some)
