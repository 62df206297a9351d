"""Five hosts, three servers, two archivers, and kill -9 of each: every event of every ledger is in the archive once, or
in a gap that says so."""

# ruff: noqa: F811 - fixtures
from __future__ import annotations

import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
import pytest
from conftest import ROOT, wait_for, why_no_kernel
from publishing import Recorder
from recordings import facts, storm
from servers import Nats, Process, archive, needs_server  # noqa: F401 - a fixture
from test_archive import read

from tracer.fleet.archive_names import BATCHES, EVENTS, PROCESSES
from tracer.fleet.archive_store import Store, store_of
from tracer.fleet.archive_tables import combined
from tracer.fleet.compaction import compact
from tracer.recording.inputs import open_input
from tracer.recording.reader import Recording
from tracer.stream.schema import METADATA_KINDS

pytestmark = [needs_server, pytest.mark.timeout(400)]
HOSTS = [f"web{number}" for number in range(4)]
SPAWNS = 150


class Ledger(NamedTuple):
    """An event of a recording: the file, the row in it, and when it was (boottime)."""

    part: int
    row: int
    ts_ns: int


def ledger_of(path: Path) -> list[Ledger]:
    """What a file of a recording has: events, which are not repeated from the file before."""
    recording = Recording(path.name, open_input(str(path)), lambda _line: None)
    found = []
    for part in recording.parts():
        if part.batch is not None and not part.index.carried:
            kinds, times = part.batch.rows["kind"].tolist(), part.batch.rows["ts_ns"].tolist()
            for at, (kind, ts_ns) in enumerate(zip(kinds, times, strict=True)):
                if kind not in METADATA_KINDS:
                    found.append(Ledger(recording.facts.part, part.index.first_row + at, ts_ns))
    return found


class Host:
    """A recorder and a publisher, under a name."""

    def __init__(self, folder: Path, name: str, urls: str) -> None:
        self.name, self.spool = name, folder / name
        self.spool.mkdir()
        self.recorder = Recorder(self.spool, max_bytes=50_000)
        self.recorder.take(facts())
        self._first = 1
        self.dropped: list[Ledger] = []
        self.publisher = publisher_of(folder, name, urls, self.spool)

    def storm(self, batches: int = 3) -> None:
        for _number in range(batches):
            self.recorder.take(storm(self._first, 20))
            self._first += 20

    def drop(self, count: int) -> None:
        """Remove the oldest files of the spool, as a recorder that keeps only some does."""
        for path in sorted(self.spool.glob("*.arrows"))[:count]:
            self.dropped += ledger_of(path)
            path.unlink()

    def ledger(self) -> list[Ledger]:
        return sorted(event for path in self.spool.glob("*.arrows") for event in ledger_of(path))


def publisher_of(folder: Path, name: str, urls: str, spool: Path) -> Process:
    return Process(
        folder / f"{name}.log", "fleet", "publish", "--nats", urls, "--from", str(spool), "--host", name,
        "--cluster", "test",
    )  # fmt: skip


class Fleet:
    """All of it."""

    def __init__(self, folder: Path, where: Path) -> None:
        self.folder = folder
        self.servers = Nats(folder, 3)
        self.servers.make_streams(replicas=3)
        self.hosts = [Host(folder, name, self.servers.urls) for name in HOSTS]
        (folder / "real").mkdir()
        self.real = publisher_of(folder, "real", self.servers.urls, folder / "real")
        self.where = where
        archive = ("fleet", "archive", "--nats", self.servers.urls, "--to", str(self.where), "--every", "1s")
        self.archivers = [
            Process(folder / f"archive{number}.log", *archive, "--compact-every", "5s", "--target-size", "1MB")
            for number in range(2)
        ]
        for process in self.processes:
            process.start()

    @property
    def processes(self) -> list[Process]:
        return [*(host.publisher for host in self.hosts), self.real, *self.archivers]

    def restart(self, process: Process) -> None:
        process.end(signal.SIGKILL)
        process.start()

    def close(self) -> None:
        for process in self.processes:
            process.close()
        self.servers.close()

    def archived(self, store: Store, host: str) -> list[Ledger]:
        """The events of a host that are in the archive, gaps of its publisher left out."""
        if not store.folders(EVENTS):
            return []
        table = read(store, EVENTS)
        table = table.filter(pc.and_(pc.equal(table["host"], host), pc.not_equal(table["event"], "gap")))
        return sorted(
            Ledger(*event)
            for event in zip(*(table[name].to_pylist() for name in ("part", "row", "ts_ns")), strict=True)
        )


@pytest.fixture
def fleet(tmp_path: Path, archive: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path, archive)
    try:
        yield made
    finally:
        made.close()


def real_storm(spool: Path) -> None:
    """Processes that the kernel reports, in a PID namespace of their own."""
    script = f"i=0; while [ $i -lt {SPAWNS} ]; do /bin/true; i=$((i + 1)); done"
    line = [sys.executable, "-m", "tracer", "run", "-q", "-w", str(spool / "real.arrows"), "--", "sh", "-c", script]
    subprocess.run(line, check=True, cwd=ROOT, capture_output=True)


def test_every_event_once_whatever_is_killed(fleet: Fleet) -> None:
    hosts, servers = fleet.hosts, fleet.servers
    has_kernel = not why_no_kernel()
    for host in hosts:
        host.storm()
    wait_for(lambda: len({message.subject for message in servers.messages()}) == len(hosts), 60)
    leader = servers.leader()
    servers.kill(leader)
    for host in hosts:
        host.storm()
    if has_kernel:
        real_storm(fleet.folder / "real")
    fleet.restart(hosts[0].publisher)
    fleet.restart(fleet.archivers[0])
    servers.start(leader)
    for host in hosts:
        host.storm()
    for number in range(3):
        servers.kill(number)
    for host in hosts:  # more than a file each, while no server is there
        host.storm(6)
    hosts[1].publisher.end(signal.SIGKILL)
    hosts[1].drop(3)
    hosts[1].storm(6)
    for process in fleet.processes:
        if process is not hosts[1].publisher:
            process.end(signal.SIGKILL)
    for number in range(3):
        servers.start(number)
    for process in fleet.processes:
        process.start()
    for host in hosts:
        host.storm()
        host.recorder.close()

    store = store_of(str(fleet.where))
    wanted = {host.name: host.ledger() for host in hosts}
    latest = {name: events[-1] for name, events in wanted.items()}
    wait_for(lambda: all(fleet.archived(store, name)[-1:] == [event] for name, event in latest.items()), 120)
    wait_for(lambda: not missing_numbers(store), 60)
    for process in fleet.processes:
        assert process.end() == 0, process.said()
        assert "Traceback" not in process.said(), process.said()

    for compacted in range(2):
        for host in hosts:
            check(fleet, store, host, wanted[host.name])
        if has_kernel:
            check_real(store)
        if not compacted:
            compact(store)
    for table in (EVENTS, PROCESSES, BATCHES):
        names = [f"{folder}/{name}" for folder in store.folders(table) for name in store.sizes(folder)]
        assert len(names) < len(servers.messages())


def missing_numbers(store: Store) -> list[tuple[str, int]]:
    """Numbers of messages that are not in the ledger of the archive, and a later one of their run is."""
    batches = read(store, BATCHES)
    pairs = sorted(set(zip(batches["run"].to_pylist(), batches["message"].to_pylist(), strict=True)))
    assert len(pairs) == batches.num_rows, "each message is there once"
    found: defaultdict[str, set[int]] = defaultdict(set)
    for run, number in pairs:
        found[run].add(number)
    return [(run, number) for run in found for number in range(1, max(found[run])) if number not in found[run]]


def check(fleet: Fleet, store: Store, host: Host, wanted: list[Ledger]) -> None:
    """The host's events are in the archive, each once; what is not there its spool has dropped, and is in a gap."""
    found = fleet.archived(store, host.name)
    assert len(found) == len(set(found)), "each once"
    carried = set(found) - set(wanted) - set(host.dropped)
    missing = set(wanted) - set(found)
    assert not missing and not (carried and host is not fleet.hosts[1])
    lost = set(host.dropped) - set(found)
    gaps = read(store, EVENTS)
    gaps = gaps.filter(pc.and_(pc.equal(gaps["host"], host.name), pc.equal(gaps["event"], "gap")))
    if host is not fleet.hosts[1]:
        assert not gaps.num_rows and not lost
        return
    assert lost and gaps.num_rows == 1
    until_ns, offset_ns = gaps["ts_ns"][0].as_py(), gaps["time"][0].value - gaps["ts_ns"][0].as_py()
    since_ns = gaps["since"][0].value - offset_ns
    assert all(since_ns <= event.ts_ns <= until_ns for event in lost)


def check_real(store: Store) -> None:
    """What the kernel has reported of a storm of a known size."""
    events = read(store, EVENTS)
    events = events.filter(pc.equal(events["host"], "real"))
    execs = events.filter(pc.and_(pc.equal(events["event"], "exec"), pc.equal(events["comm"], "true")))
    assert execs.num_rows == SPAWNS
    processes = combined(read(store, PROCESSES).sort_by("first_seen"))
    mine = processes.filter(pc.and_(pc.equal(processes["host"], "real"), pc.equal(processes["comm"], "true")))
    assert mine.num_rows == SPAWNS
    assert set(mine["exit_code"].to_pylist()) == {0} and set(mine["began_sure"].to_pylist()) == {True}
