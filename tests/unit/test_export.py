"""Exports hold what the JSON holds, for readers that know nothing of nstrace: DuckDB, Polars, csv, nanoarrow."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import nanoarrow
import polars
import pyarrow as pa
import pytest
from builders import PIDNS, SECOND_NS, WEB, batch, cgroup, exits, fork, gap, row
from recordings import record, storm

from tracer.recording import export
from tracer.recording.export import tables
from tracer.recording.export_rows import split
from tracer.recording.inputs import open_input
from tracer.recording.reader import Recording
from tracer.recording.source import RecordedSource
from tracer.stream.batch import Batch
from tracer.stream.schema import Kind

DEEP = [(PIDNS + n, 10 + n) for n in range(5)]
EVERYTHING = batch(
    cgroup(7, WEB),
    row(Kind.SNAPSHOT, 50, [(PIDNS, 1)], cgroup_id=7, exe=b"/bin/init", args=[b"init"], state=ord("S"), parent_tgid=0),
    fork(60, DEEP, comm=b"\xff\x1b[31m"),
    row(Kind.EXEC, 60, DEEP, exe=b"/bin/\xe9", args=[b"a b", b"", b"\xff\n", "é".encode()], flags=1, old_tid=61),
    row(Kind.EXEC, 61, args=[], exe=b"/bin/none", old_tid=61),
    exits(60, DEEP, status=3 << 8, ts_ns=5 * SECOND_NS),
    exits(61, status=9 | 0x80, uid=0xFFFFFFFE),
    gap(12, since_ns=SECOND_NS),
)


@pytest.fixture(scope="module")
def arrows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "web.arrows"
    record(path, [EVERYTHING, storm(1, 100)])
    return path


def nstrace(*args: object) -> str:
    argv = [sys.executable, "-m", "tracer", *map(str, args)]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_pipe_that_is_closed_is_a_normal_end(form: str, arrows: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = [sys.executable, "-m", "tracer", "export", "--to", form, "-w", "-", str(arrows)]
    done = subprocess.run(argv, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def plain(event: dict[str, Any]) -> dict[str, Any]:
    """A JSON line as a row of the table; what is not in it is null."""
    container = event.pop("container", None) or {}
    event |= {"container": container.get("name"), "container_id": container.get("id")}
    event |= {"image": container.get("image"), "runtime": container.get("runtime")}
    del event["time"]  # of ns, which Python's datetime has not
    event.pop("until", None)
    return event


def test_parquet_holds_what_the_json_holds(arrows: Path) -> None:
    nstrace("export", arrows, "--to", "parquet")
    with duckdb.connect() as database:
        database.execute("set timezone = 'UTC'")
        path = arrows.with_suffix(".parquet")
        found = database.execute(f"select * exclude (time, since, host) from '{path}' order by ts_ns").fetchall()
        names = [column[0] for column in database.description or ()]
        total = database.execute(f"select sum(epoch_ns(time) - ts_ns), count(*) from '{path}'").fetchone()
    rows = [dict(zip(names, values, strict=True)) for values in found]
    events = [json.loads(line) for line in nstrace("replay", "--json", "--threads", arrows).splitlines()]
    assert len(rows) == len(events) == 307
    key = "ts_ns", "event", "pid"
    for event, made in zip(
        sorted(map(plain, events), key=lambda e: [str(e.get(name)) for name in key]),
        sorted(rows, key=lambda e: [str(e.get(name)) for name in key]),
        strict=True,
    ):
        for name in event.keys() - {"since", "args"}:
            assert made[name] == event[name], (name, made, event)
        assert (made["args"] or []) == (event.get("args") or [])
    assert total is not None
    offset_ns = Recording("web", open_input(str(arrows)), pytest.fail).facts.wall_offset_ns
    assert total == (offset_ns * 307, 307)


def test_jsonl_is_what_replay_prints(arrows: Path, tmp_path: Path) -> None:
    nstrace("export", "--to", "jsonl", "-w", tmp_path / "x", arrows)
    assert (
        (tmp_path / "x").read_text()
        == nstrace("replay", "--json", arrows)
        == nstrace("export", "--to", "jsonl", "-w", "-", arrows)
    )
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600


def test_csv(arrows: Path) -> None:
    rows = list(csv.DictReader(nstrace("export", "--to", "csv", "-w", "-", arrows, "web").splitlines()))
    assert [row["args"] for row in rows if row["event"] == "snapshot"] == ["init"]
    assert {row["container"] for row in rows} == {"web", ""}  # a gap is nobody's
    whole = list(csv.DictReader(nstrace("export", "--to", "csv", "-w", "-", arrows).splitlines()))
    deep = [row for row in whole if row["event"] == "exec" and row["pid"] == "60"]
    assert deep[0]["pids"] == "60>10>11>12>13>14"
    assert deep[0]["args"] == "'a b' '' '\\x5cxff\\x0a' 'é'"  # of the text that the JSON has: \\xff


def test_partitions(arrows: Path, tmp_path: Path) -> None:
    nstrace("export", "--to", "parquet", "--partition", "-w", tmp_path / "out", arrows)
    (path,) = (tmp_path / "out").rglob("*.parquet")
    assert path.relative_to(tmp_path / "out").parts[0] == "date=2023-11-14"
    assert len(polars.read_parquet(path)) == 307


def test_in_order_of_time_whatever_the_size_of_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = [Batch.concat([storm(n + 3, 3), storm(n, 3)]) for n in range(1, 120, 6)]
    record(tmp_path / "x.arrows", mixed)
    monkeypatch.setattr(export, "GROUP_ROWS", 30)
    source = RecordedSource([Recording("x", open_input(str(tmp_path / "x.arrows")), pytest.fail)])
    parts = list(tables([source]))
    times = pa.concat_tables(parts)["ts_ns"].to_pylist()
    assert (len(parts) > 5, times) == (True, sorted(times))


@pytest.mark.parametrize(
    "cells", [[], [b""], [b"a\0"], [b"a\0b\0\0", b"", None, b"c", b"\0"], [b"\xff\0x", b"no end"]], ids=str
)
def test_arguments_are_split_as_the_json_splits_them(cells: list[bytes | None]) -> None:
    from tracer.stream.batch import split_args
    from tracer.text.escape import decode

    expected = [None if cell is None else [decode(arg) for arg in split_args(cell)] for cell in cells]
    assert split(pa.array(cells, pa.binary())).to_pylist() == expected


def test_the_recording_itself_is_read_by_others(arrows: Path) -> None:
    wanted = [event.lower() for event in ["CGROUP", "SNAPSHOT", "FORK", "EXEC", "EXEC", "EXIT", "EXIT", "GAP"]]
    by_polars = polars.read_ipc_stream(arrows)
    by_pyarrow = pa.ipc.open_stream(arrows).read_all()
    by_nanoarrow = nanoarrow.ArrayStream.from_path(arrows).read_all()
    assert by_polars["event"].to_list()[:8] == wanted
    assert by_pyarrow["event"].to_pylist()[:8] == wanted
    assert len(by_polars) == by_pyarrow.num_rows == len(by_nanoarrow) == 308
    assert by_nanoarrow.child(by_polars.columns.index("pid")).to_pylist()[1:3] == [50, 60]
    assert by_polars["pids"].to_list()[2] == by_pyarrow["pids"].to_pylist()[2] == [60, 10, 11, 12, 13, 14]
    assert by_polars["args"].to_list()[3] == b"a b\0\0\xff\n\0\xc3\xa9\0"


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_window_of_time(form: str, arrows: Path) -> None:
    whole = nstrace("export", arrows, "--to", form, "-w", "-").splitlines()
    part = nstrace("export", arrows, "--to", form, "-w", "-", "--since", "+20ms", "--until", "+4.5ms").splitlines()
    heads = int(form == "csv")
    gaps = [line for line in part if '"gap"' in line]
    events = [line for line in part[heads:] if line not in gaps]
    assert len(events) == 15  # three of a process a millisecond
    assert "\n".join(events) in "\n".join(whole)
    assert len(gaps) == 1 and gaps[0] not in whole  # which went on: it ends with the window
    argv = [sys.executable, "-m", "tracer", "export", str(arrows), "--to", form, "-w", "-", "--since", "+2h"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'+2h' is outside the recording" in done.stderr


@pytest.mark.parametrize(
    ("form", "word", "name"),
    [("csv", "rows", "web.csv"), ("parquet", "rows", "web.parquet"), ("jsonl", "lines", "web.jsonl"),
     ("perfetto", "processes", "web.pftrace")],
)  # fmt: skip
def test_what_was_written_is_said(form: str, word: str, name: str, arrows: Path, tmp_path: Path) -> None:
    out = tmp_path / name
    argv = [sys.executable, "-m", "tracer", "export", str(arrows), "--to", form, "-w", str(out), "--force"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
    said = re.fullmatch(rf"nstrace: wrote (.*): (\d+) {word}, ([\d.]+) (bytes|kB)\n", done.stderr)
    assert (done.stdout, said and said[1]) == ("", str(out))
    assert said
    assert float(said[3]) * (1000 if said[4] == "kB" else 1) == pytest.approx(out.stat().st_size, rel=0.01)
    events = [json.loads(line) for line in nstrace("replay", arrows, "--json").splitlines()]
    processes = {event["proc_id"] for event in events if event.get("proc_id")}
    assert int(said[2]) == len(processes if form == "perfetto" else events)
    done = subprocess.run([*argv, "-q"], check=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "")
