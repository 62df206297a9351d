"""python -m bench.joins [--most N] [--write]: a log of a hundred hosts joined with as many processes as it has rows, by
DuckDB (nstrace fleet join) and by Spark (the job, two threads).

The archive and the log are made up: each host uses its PIDs again and again for a day, and each row of the log is of a
process that had its number then. Every answer is compared. It needs Java, and root or an archive's owner.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench import page
from bench.process import Running
from bench.report import grouped, table
from tracer.fleet import spark_job
from tracer.fleet.archive_names import BATCHES, EVENTS, PROCESSES, Block, folder_of
from tracer.fleet.archive_tables import BATCHES as BATCH_SCHEMA
from tracer.fleet.archive_tables import EVENTS as EVENT_SCHEMA
from tracer.fleet.archive_tables import PROCESSES as PROCESS_SCHEMA

SIZES = (100_000, 1_000_000, 10_000_000)
HOSTS = 100
MARKS = "<!-- figures of the join -->", "<!-- end of figures of the join -->"
HEADER = ["rows and processes", "DuckDB s", "DuckDB GB", "Spark s", "Spark GB"]
_BEGIN_NS, _DAY_NS, _DATE = 1_795_910_400 * 10**9, 86_400 * 10**9, "2026-11-29"
_FIRST_PID, _PIDS = 300, 32_468
_BLOCK = Block(f"{'a' * 32}-{'0' * 8}", 1, 1)
_NOBODY = 65_534
_HEAP = "8g"

Join = Callable[[Path, Path, Path], tuple[float, int]]
"""An archive, a log, and where the joined rows go -> how many seconds it takes, and the most memory, in bytes."""


def make(archive: Path, log: Path, count: int) -> None:
    """An archive of so many processes, and a log of as many rows, with the `proc_id` that each of them means."""
    rng = np.random.default_rng(7)
    rows = [_host(archive, rng, f"web{number:02}", count // HOSTS) for number in range(HOSTS)]
    pq.write_table(pa.concat_tables(rows).sort_by("time"), log)


def _host(archive: Path, rng: np.random.Generator, host: str, count: int) -> pa.Table:
    step_ns = _DAY_NS // count
    numbers = np.arange(count)
    began = _BEGIN_NS + numbers * step_ns + rng.integers(0, step_ns, count)
    longest_ns = min(_PIDS * step_ns // 2, _DAY_NS // 4)  # before the number has another owner
    ended = began + np.minimum(rng.lognormal(19, 3, count), longest_ns).astype(np.int64)  # a fifth of a second, often
    pid = pa.array((_FIRST_PID + numbers % _PIDS).astype(np.int32))
    ids = pc.binary_join_element_wise(pc.cast(pid, pa.string()), pc.cast(pa.array(began), pa.string()), "-")
    comm = pa.array([f"worker-{number}" for number in range(50)]).take(pa.array(rng.integers(0, 50, count)))
    twice = comm.take(pa.array(np.repeat(numbers, 2)))
    ones, zeros = np.ones(count, bool), np.zeros(count, np.int32)
    offsets = pa.array(np.arange(count + 1, dtype=np.int32))
    times = {"began": began, "ended": ended, "first_seen": began, "last_seen": ended}
    _write(archive, PROCESSES, host, PROCESS_SCHEMA, count, {
        "proc_id": ids, "pid": pid, "ns_pid": pid, "comm": comm, "host": pa.array([host] * count),
        "run": pa.array([_BLOCK.run] * count), "boot": pa.array(["boot"] * count),
        "pids": pa.ListArray.from_arrays(offsets, pid),
        "pidns_chain": pa.ListArray.from_arrays(offsets, pa.array(np.full(count, 4026531836))),
        "args": pa.ListArray.from_arrays(pa.array(2 * np.arange(count + 1, dtype=np.int32)), twice),
        "uid": pa.array(zeros), "exit_code": pa.array(zeros), "ppid": pa.array(zeros + 1),
        "began_sure": pa.array(ones), "ended_sure": pa.array(ones), **times,
    })  # fmt: skip
    _write(archive, EVENTS, host, EVENT_SCHEMA, 0, {})
    _write(archive, BATCHES, host, BATCH_SCHEMA, 1, {
        "host": [host], "run": [_BLOCK.run], "boot": ["boot"], "message": [1], "rows": [2 * count],
        "first_time": [_BEGIN_NS], "last_time": [_BEGIN_NS + 2 * _DAY_NS],
    })  # fmt: skip
    meant = rng.integers(0, count, count)
    at = began[meant] + (rng.random(count) * (ended - began)[meant]).astype(np.int64)
    return pa.table({
        "time": pa.array(at, pa.timestamp("ns")), "host": pa.array([host] * count), "pid": pid.take(pa.array(meant)),
        "meant": ids.take(pa.array(meant)),
    })  # fmt: skip


def _write(archive: Path, name: str, host: str, schema: pa.Schema, count: int, known: dict[str, Any]) -> None:
    columns = [
        pa.array(known[field.name]).cast(field.type) if field.name in known else pa.nulls(count, field.type)
        for field in schema
    ]
    folder = archive / folder_of(name, host, "" if name == BATCHES else _DATE)
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), folder / _BLOCK.file)


def by_duckdb(archive: Path, log: Path, out: Path) -> tuple[float, int]:
    """By nstrace fleet join."""
    asked = ["--from", archive, "--on", "host,pid", "--time-column", "time", "-w", out]
    return _run([sys.executable, "-m", "tracer", "fleet", "join", log, *asked], out.with_suffix(".log"))


def by_spark(archive: Path, log: Path, out: Path) -> tuple[float, int]:
    """By the job for spark-submit."""
    home = _spark_home()
    of_spark = ["env", f"SPARK_HOME={home}", "SPARK_LOCAL_IP=127.0.0.1", f"PYSPARK_PYTHON={sys.executable}"]
    submit = [*of_spark, home / "bin/spark-submit", "--master", "local[2]", "--driver-memory", _HEAP]
    settings = ["spark.ui.enabled=false", "spark.driver.host=127.0.0.1", "spark.sql.shuffle.partitions=32"]
    more = [word for setting in (*settings, f"spark.local.dir={out.parent}") for word in ("--conf", setting)]
    job = [spark_job.__file__, "--archive", archive, "--log", log, "--on", "pid", "--to", out]
    return _run([*submit, *more, *job], out.with_suffix(".log"))


def _spark_home() -> Path:
    found = importlib.util.find_spec("pyspark")
    assert found and found.origin
    return Path(found.origin).parent


def _run(argv: list[Any], errors: Path) -> tuple[float, int]:
    began_s, most = time.monotonic(), 0
    with Running([*map(str, argv)], subprocess.DEVNULL, errors) as running:
        while not running.has_ended:
            most = max(most, running.resident_bytes())
            time.sleep(0.2)
        if running.process.returncode:
            raise RuntimeError(f"{argv[0]}: {running.ending}: {errors.read_text(errors='replace')[-2000:]}")
    return time.monotonic() - began_s, most


def check(out: Path, count: int) -> None:
    """Raises ValueError where not all rows have the process that they mean."""
    found = pq.read_table(out, columns=["meant", "process_id"])
    right = pc.sum(pc.equal(found["meant"], found["process_id"])).as_py() or 0
    if not len(found) == right == count:
        raise ValueError(f"{out.name}: {right} of {len(found)} rows are right, of {count}")


def measured(count: int, joins: Sequence[Join] = (by_duckdb, by_spark)) -> list[str]:
    """A row of the table."""
    cells = [grouped(count)]
    with tempfile.TemporaryDirectory(prefix="nstrace-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        archive, log = folder / "archive", folder / "log.parquet"
        archive.mkdir()
        make(archive, log, count)
        if not os.geteuid():
            for path in (archive, *archive.rglob("*")):
                os.chown(path, _NOBODY, _NOBODY)
        for join in joins:
            out = folder / f"{join.__name__}.parquet"  # Spark makes a folder of it
            seconds, most = join(archive, log, out)
            check(out, count)
            cells += [f"{seconds:.0f}", f"{most / 1e9:.1f}"]
            print(count, join.__name__, *cells[-2:], file=sys.stderr, flush=True)
            shutil.rmtree(out) if out.is_dir() else out.unlink()
    return cells


def main() -> None:
    """Print the table; with --write it is the one of docs/fleet.md."""
    parser = argparse.ArgumentParser(prog="scripts/bench --join")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="the most rows and processes")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/fleet.md")
    options = parser.parse_args()
    if not shutil.which("java"):
        sys.exit("bench: this needs Java: scripts/packages default-jre-headless")
    command = page.origin("scripts/bench --join")
    rows = [measured(count) for count in SIZES if count <= options.most]
    page.give(command, table(HEADER, rows), MARKS, is_written=options.write)


if __name__ == "__main__":
    main()
