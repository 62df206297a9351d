"""nstrace fleet join: a log of many hosts has the processes that nstrace join finds in each host's recordings."""

# ruff: noqa: F811 - fixtures
from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import PIDNS, SECOND_NS, batch, fork
from publishing import Bench, Memory, Recorder
from recordings import WALL_NS, facts, storm
from servers import archive  # noqa: F401 - a fixture
from test_fleet_ask import HOSTS, archived, nstrace

from tracer.past.log_lines import Unanswered
from tracer.text.times import rfc3339

MS = 1_000_000
BEGIN_NS = WALL_NS + SECOND_NS
COMMON = ("id", "pid", "ns_pid", "pids", "container", "incarnation", "began", "ended", "exit_code", "unknown")
"""Columns that both have, and which are no matter of when."""


@pytest.fixture
def homes(tmp_path: Path, archive: Path) -> dict[str, Bench]:
    """Three hosts, each with a storm in a container whose first process lives on."""
    found = {}
    for host in HOSTS:
        (tmp_path / host).mkdir()
        found[host] = Bench(tmp_path / host, Memory(), host)
        recorder = Recorder(found[host].spool, max_bytes=60_000)
        recorder.take(facts())
        recorder.take(batch(fork(1001, [(PIDNS, 1)], ts_ns=SECOND_NS, start_ns=SECOND_NS, cgroup_id=7)))
        for first in range(2, 82, 10):
            recorder.take(storm(first, 10))
            found[host].publish()
        recorder.close()
        archived(found[host], archive)
    return found


def log(path: Path, digits: int) -> list[dict[str, Any]]:
    """A log of all hosts, each line by a process of a storm when it lives, or just after; times with so many digits."""
    rows = []
    for number in range(1, 81, 3):
        for host in HOSTS:
            at_ns = BEGIN_NS + number * MS + (1_500 if number % 2 else MS // 2)
            time = rfc3339(at_ns)
            time = f"{time[:19]}{time[19 : 20 + digits] if digits else ''}Z"
            rows.append({"host": host, "name": "web", "pid": 1000 + number, "nr": number, "when": time})
    rows.append({"host": "mail", "name": "web", "pid": 1001, "nr": 1, "when": rfc3339(BEGIN_NS + MS)})
    rows.append({"host": "web1", "name": "nobody", "pid": 99, "nr": 1, "when": "never"})
    rows.append({"host": "web1", "name": "", "pid": "x", "nr": "-", "when": rfc3339(BEGIN_NS + MS)})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows


def found(text: str) -> list[dict[str, Any]]:
    return [{name: row[f"process_{name}"] for name in COMMON} for row in map(json.loads, text.splitlines())]


@pytest.mark.parametrize(("on", "digits"), [("pid", 9), ("pid", 0), ("name,nr", 6), ("name,nr", 3)])
def test_it_is_what_each_host_says(
    on: str, digits: int, homes: dict[str, Bench], archive: Path, tmp_path: Path
) -> None:
    rows = log(tmp_path / "log.csv", digits)
    options = ("--time-column", "when", "--json", "--lag", "10us")
    joined, notes = nstrace("fleet", "join", tmp_path / "log.csv", "--from", archive, "--on", f"host,{on}", *options)
    assert [json.loads(line)["when"] for line in joined.splitlines()] == [row["when"] for row in rows]
    assert f"{len(rows)} lines" in notes
    answers = found(joined)
    for host, bench in homes.items():
        alone, _notes = nstrace("join", tmp_path / "log.csv", "--from", bench.spool, "--on", on, *options)
        for row, mine, theirs in zip(rows, answers, found(alone), strict=True):
            if row["host"] == host:
                assert mine == theirs, row
    (of_nobody,) = [mine for row, mine in zip(rows, answers, strict=True) if row["host"] == "mail"]
    assert of_nobody["unknown"] == Unanswered.NOT_RECORDED.value
    assert sum(one["id"] is not None for one in answers) > 20


def test_a_parquet_file_to_another(homes: dict[str, Bench], archive: Path, tmp_path: Path) -> None:
    times = pa.array([BEGIN_NS + 5 * MS + 1_500], pa.timestamp("ns", "UTC"))
    table = pa.table({"at": times, "pid": pa.array([1005], pa.int32()), "node": ["db1"]})
    pq.write_table(table, tmp_path / "log.parquet")
    words = ("--from", archive, "--on", "node,pid", "--time-column", "at", "-w", tmp_path / "out.parquet", "-q")
    nstrace("fleet", "join", tmp_path / "log.parquet", *words)
    (row,) = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert (row["pid"], row["process_pids"], row["process_container"]) == (1005, [1005, 5], "web")
    nstrace("fleet", "join", tmp_path / "log.parquet", *words, code=1)
    nstrace("fleet", "join", tmp_path / "log.parquet", *words, "--force")


def test_what_is_wrong_is_said(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("host,pid,time\nweb1,15,2026-11-29T12:00:00Z\n")
    words = ("fleet", "join", tmp_path / "log.csv", "--from", archive, "--time-column", "time")
    _found, notes = nstrace(*words, "--on", "pid", code=2)
    assert "HOST,PID" in notes
    _found, notes = nstrace(*words, "--on", "host,container,pid", code=2)
    assert "no column container" in notes
    joined, _notes = nstrace(*words, "--on", "host,pid", "--json")
    assert json.loads(joined)["process_unknown"] == Unanswered.NOT_RECORDED.value
