"""An archive asked by Spark, on two workers of its own: what DuckDB answers, and what the kernel said."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from archives import archive_of, of_duck, rows_of
from logs import NR, Log, recorded, written_through_restarts
from made_logs import made
from oracle import Receiver
from publishing import Bench, Memory, Recorder
from recordings import facts, storm

from tracer.errors import NstraceError
from tracer.fleet.archive_names import EVENTS, PROCESSES
from tracer.fleet.archive_store import Store
from tracer.fleet.archive_tables import combined
from tracer.fleet.compaction import files_of
from tracer.fleet.duck import translate
from tracer.fleet.log_join import PREFIX, On
from tracer.past.log_lines import Unanswered

sql = pytest.importorskip("pyspark.sql")
fleet = pytest.importorskip("tracer.fleet.spark")
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which("java"), reason="needs Java (scripts/packages default-jre-headless)"),
]
SMALL = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.codegen.wholeStage": "false",  # to compile costs more than such small tables
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
UNKNOWN, ROOT = f"{PREFIX}unknown", Path(__file__).parents[2]


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    import pyspark

    home = os.environ.get("SPARK_HOME")
    os.environ["SPARK_HOME"] = str(Path(pyspark.__file__).parent)
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    session = (
        sql.SparkSession.builder.master("local-cluster[2,1,1024]")
        .config(map=SMALL)
        .config("spark.sql.adaptive.enabled", "false")
        .getOrCreate()
    )
    yield session
    session.stop()
    os.environ.pop("SPARK_HOME") if home is None else os.environ.update(SPARK_HOME=home)


def of_spark(spark: Any, store: Store, logs: pa.Table, **options: Any) -> list[dict[str, Any]]:
    path = store.name
    answered = fleet.translate(
        spark.createDataFrame(logs), fleet.processes(spark, path),
        gaps=fleet.gaps(spark, path), runs=fleet.runs(spark, path), **options,
    )  # fmt: skip
    return list(answered.orderBy("line").toArrow().to_pylist())


def test_it_answers_as_duckdb(spark: Any, tmp_path: Path) -> None:
    tables = made(random.Random(7), hosts=3, processes=1_200, rows=10_000, losses=4).tables()
    on, logs = On("number", container="container"), tables["logs"]
    with duckdb.connect() as database:
        for name, table in tables.items():
            database.register(name, table)
        wanted = translate(database, logs, logs.column_names, on).sort_by("line").to_pylist()
    frames = {}
    for name, table in tables.items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
        frames[name] = spark.read.parquet(str(tmp_path / f"{name}.parquet"))
    shown = fleet.translate(frames.pop("logs"), **frames, pid="number", container="container").orderBy("line")
    found = shown.toArrow().to_pylist()
    assert found == wanted
    assert {row[UNKNOWN] for row in found} >= {None, Unanswered.NOBODY.value, Unanswered.LOST.value}


@pytest.mark.e2e
def test_lines_of_a_container_that_was_restarted(
    spark: Any, tmp_path: Path, start_container: Callable[..., Any], receiver: Receiver
) -> None:
    bench = Bench(tmp_path, Memory(1 << 14))  # many messages, however few batches the recording has
    arrows = bench.spool / "x.arrows"
    with recorded(arrows):
        container, lines = written_through_restarts(start_container, receiver)
    log = Log(arrows, lines, container.name)
    store = archive_of(bench, tmp_path / "archive")
    assert len(files_of(store, EVENTS)) > 2
    processes = fleet.processes(spark, store.name).toArrow().sort_by([("began", "ascending"), ("proc_id", "ascending")])
    assert processes["proc_id"].to_pylist() == combined(rows_of(store, PROCESSES))["proc_id"].to_pylist()
    logs = pa.table({
        "line": range(len(lines)), "host": ["web1"] * len(lines), "pid": [line.host_tgid for line in lines],
        "name": [container.name] * len(lines), "nr": [NR] * len(lines), "at": list(map(log.written_ns, lines)),
    })  # fmt: skip
    for options, on in (
        ({"pid": "nr", "container": "name"}, On("nr", "at", container="name", lag_ns=0)),
        ({"pid": "pid"}, On("pid", "at", lag_ns=0)),
    ):
        found = of_duck(store, logs, on)
        assert [(row[f"{PREFIX}pids"], row[UNKNOWN]) for row in found] == [([host, NR], None) for host in log.truth]
        shown = of_spark(spark, store, logs, time="at", lag_s=0, **options)
        ids = [f"{PREFIX}id", f"{PREFIX}pids", f"{PREFIX}container", UNKNOWN]
        assert [[row[name] for name in ids] for row in shown] == [[row[name] for name in ids] for row in found]


def test_what_is_wrong_is_said(spark: Any, tmp_path: Path) -> None:
    logs = spark.createDataFrame(pa.table({"host": ["a"], "pid": [1], "time": ["noon"]}))
    with pytest.raises(NstraceError, match="the column time is no time"):
        fleet.translate(logs, logs, gaps=logs, runs=logs)
    with pytest.raises(NstraceError, match="the log has no column container"):
        fleet.translate(logs, logs, gaps=logs, runs=logs, container="container")
    (tmp_path / "processes").mkdir()
    with pytest.raises(NstraceError, match="has no processes"):
        fleet.processes(spark, str(tmp_path))


def test_the_job(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Memory())
    recorder = Recorder(bench.spool)
    recorder.take(facts())
    recorder.take(storm(1, 20))
    recorder.close()
    store = archive_of(bench, tmp_path / "archive")
    events = rows_of(store, EVENTS).filter(pc.field("event") == "exec")
    log = events.select(["host", "pid"]).append_column("time", events["time"])  # with nanoseconds
    pq.write_table(log, tmp_path / "log.parquet")
    small = [word for name, value in SMALL.items() for word in ("--conf", f"{name}={value}")]
    submit = [str(Path(sys.executable).with_name("spark-submit")), "--master", "local[1]", *small]
    paths = ["--archive", store.name, "--log", tmp_path / "log.parquet", "--to", tmp_path / "joined"]
    env = os.environ | {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1"}
    env.pop("SPARK_HOME", None)
    job = ROOT / "tracer/fleet/spark_job.py"
    done = subprocess.run([*submit, str(job), *map(str, paths), "--on", "pid"], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    joined = pq.read_table(tmp_path / "joined")
    assert sorted(joined[f"{PREFIX}id"].to_pylist()) == sorted(events["proc_id"].to_pylist())
