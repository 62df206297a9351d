"""Which hosts there are, who is silent, what an archive lacks, and an archive asked in SQL."""

# ruff: noqa: F811 - fixtures
from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, wait_for
from publishing import Bench, Recorder
from recordings import storm
from servers import Nats, Process, archive, nats, needs_server  # noqa: F401 - fixtures
from test_archive import bench, publish, store, write  # noqa: F401 - fixtures

from tracer.ask.query import Query
from tracer.ask.tables import readings
from tracer.errors import NstraceError
from tracer.fleet.archive_query import ArchiveQuery
from tracer.fleet.archive_store import Store, store_of
from tracer.fleet.hosts import archived_hosts, heard_hosts
from tracer.fleet.nats_client import Connection


def rows(text: str, store: Store) -> list[tuple[object, ...]]:
    _schema, batches = ArchiveQuery(text, store).answer()
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def test_an_archive_answers_as_a_recording_does(bench: Bench, store: Store) -> None:
    from test_archive import sources

    for delivery in publish(bench, 5):  # a file each: processes have rows in several
        write(store, [delivery])
    columns = "proc_id, pid, ns_pid, container, comm, args, began, ended, exit_code, began_sure"
    query = f"select {columns} from processes order by proc_id"
    _schema, batches = Query(query).answer(readings(sources(bench), lambda found: found))
    assert rows(query, store) == [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
    ((count,),) = rows("select count(*) from events where event = 'exec' and args like 'ls %'", store)
    assert count == 50
    assert rows("select count(*) from gaps", store) == [(0,)]


@pytest.mark.parametrize("query", ["select hst from events", "from nothing", "drop table events", "select", ""])
def test_a_wrong_query(query: str, store: Store) -> None:
    with pytest.raises(NstraceError) as caught:
        ArchiveQuery(query, store).answer()
    assert caught.value.exit_code == 2 and "Error:" not in caught.value.message


def test_a_query_reaches_no_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(NstraceError):
        list(ArchiveQuery(f"select * from '{tmp_path}/secret.csv'", store).answer()[1])


def test_what_an_archive_lacks(bench: Bench, store: Store) -> None:
    deliveries = publish(bench, 5)
    write(store, [*deliveries[:1], *deliveries[3:]])
    (host,) = archived_hosts(store)
    assert (host.cluster, host.host, host.missing) == ("test", "web1", 2)
    assert host.batches == len(deliveries) - 2 and host.gaps == host.lost == 0 and host.last_ns > 0


@needs_server
def test_a_silent_host(tmp_path: Path, nats: Nats) -> None:
    (tmp_path / "spool").mkdir()
    Recorder(tmp_path / "spool").take(storm(1, 10))
    line = ("fleet", "publish", "--nats", nats.urls, "--from", str(tmp_path / "spool"), "--host", "web1")
    process = Process(tmp_path / "log", *line)
    process.start()
    try:
        wait_for(lambda: len(nats.messages()) > 0)
        (host,) = nats.ask(heard)
        assert (host.cluster, host.host, host.batches, host.gaps) == ("default", "web1", 1, 0)
        now_ns = time.time_ns()
        assert not host.is_silent(now_ns) and host.is_silent(now_ns + 100 * 10**9)
        asked = [sys.executable, "-m", "tracer", "fleet", "hosts", "--nats", nats.urls]
        done = subprocess.run([*asked, "--json"], capture_output=True, text=True, cwd=ROOT, check=True)
        assert json.loads(done.stdout)["silent"] is False
        done = subprocess.run(asked, capture_output=True, text=True, cwd=ROOT, check=True)
        assert done.stdout.splitlines()[1].split()[:3] == ["web1", "default", "ok"]
    finally:
        process.close()


async def heard(connection: Connection) -> object:
    return await heard_hosts(connection)


def test_from_the_command_line(archive: Path, bench: Bench) -> None:
    store = store_of(str(archive))
    write(store, publish(bench, 2))
    for words in (["hosts", "--json"], ["sql", "--json", "select count(*) as batches from batches"]):
        line = [sys.executable, "-m", "tracer", "fleet", *words, "--from", str(archive)]
        done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["batches"] == len(bench.server.messages)
    line = [sys.executable, "-m", "tracer", "fleet", "hosts", "--no-header", "--from", str(archive)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split()[:2] == ["web1", "test"]


def test_the_file_of_a_result_is_replaced(archive: Path, bench: Bench, tmp_path: Path) -> None:
    """Whoever owns the archive need not be able to write where the result goes."""
    write(store_of(str(archive)), publish(bench, 2))
    out = tmp_path / "mine" / "hosts.csv"
    out.parent.mkdir(0o700)
    line = [sys.executable, "-m", "tracer", "fleet", "sql", "--from", str(archive), "-w", str(out)]
    for words, expected in (([], "web1"), (["--force"], "host")):
        query = "select distinct host as x from batches" if not words else "select 'host' as x"
        done = subprocess.run([*line, *words, query], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0 and "1 row" in done.stderr, done.stderr
        assert out.read_text().split() == ["x", expected]
        assert [path.name for path in out.parent.iterdir()] == [out.name]
        assert out.stat().st_mode & 0o777 == 0o600
