"""python -m bench.archives [--write]: what a message costs `nstrace fleet archive`, by its size and by how many of its
host's come together.

The events are those of a storm, recorded now; the hosts and the messages are made of these. It needs root and
nats-server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from bench import page
from bench.__main__ import build
from bench.fleet import Server
from bench.measure import Workload, await_bytes
from bench.process import Running
from bench.report import grouped, table
from tracer.fleet.access import Files, access_of
from tracer.fleet.envelope import Origin, passed_on, sealed
from tracer.fleet.facts import EarlierFacts
from tracer.fleet.names import subject
from tracer.fleet.nats_client import Connection
from tracer.recording.inputs import open_regular
from tracer.recording.reader import Recording
from tracer.stream.batch import Batch, of_kind
from tracer.stream.schema import METADATA_KINDS

MARKS = "<!-- figures of the archive -->", "<!-- end of figures of the archive -->"
HEADER = [
    *("events in a message", "of a host together", "messages", "ms of CPU a message", "us of CPU an event"),
    *("files a message", "bytes a message", "bytes of the archive an event"),
]
_FLUSH_S, _LOOK_S = 6.0, 0.2
_NSTRACE = [sys.executable, "-m", "tracer"]
_STORM = Workload("spawn", 4_000, 500)
_NOBODY, _RUN, _BOOT = 65_534, f"{'b' * 32}-{'0' * 8}", "c" * 32


class Load(NamedTuple):
    """events: of a message; together: how many messages each host has; hosts: how many."""

    events: int
    together: int
    hosts: int


LOADS = (
    *(Load(100, 1, 512), Load(100, 8, 64), Load(100, 64, 8)),
    *(Load(1_000, 1, 256), Load(1_000, 8, 32), Load(4_000, 8, 16)),
)


class Recorded:
    """What a storm was: its metadata, what its events need to be understood, and its events."""

    def __init__(self, folder: Path, storm: Path) -> None:
        path = folder / "storm.arrows"
        line = [*_NSTRACE, "record", "host", "all", "-w", str(path)]
        with Running(line, subprocess.DEVNULL, folder / "record.log") as recorder:
            await_bytes([path], recorder)
            recorder.settle()
            _STORM.run(storm)
            recorder.settle(idle_s=_FLUSH_S)
        recording = Recording(str(path), open_regular(str(path)), lambda _line: None)
        whole = Batch.concat(part.batch for part in recording.parts() if part.batch is not None)
        is_fact = of_kind(whole.rows, *METADATA_KINDS)
        self.metadata = passed_on(recording.metadata)
        self._events = whole.select(~is_fact)
        self._facts = EarlierFacts()
        self._facts.learn(whole.select(is_fact))

    def events(self, count: int, number: int) -> tuple[Batch, Batch]:
        """So many events, others for each number as far as there are some, and what they need ahead of them."""
        first = number * count % (len(self._events) - count)
        found = self._events.part(first, first + count)
        return self._facts.needed_by(found), found


def messages(recorded: Recorded, load: Load) -> Iterator[tuple[str, dict[str, str], bytes]]:
    """Subject, headers and payload of each, in the order in which hosts that send at the same time send them."""
    for number in range(load.together):
        for host in range(load.hosts):
            facts, rows = recorded.events(load.events, number * load.hosts + host)
            place = (number + load.together) * load.events  # from a multiple of `together` on: a block
            origin = Origin("bench", f"web{host}", _BOOT, _RUN, number + load.together, 1, place, place + load.events)
            headers = {**origin.headers(), "Nats-Msg-Id": origin.id}
            yield subject("bench", origin.host), headers, sealed(origin, recorded.metadata, facts, rows)


def publish(url: str, found: Sequence[tuple[str, dict[str, str], bytes]]) -> None:
    """Store them in the server."""

    async def whole() -> None:
        connection = Connection(access_of(url, Files()), "bench")
        async with connection.jetstream() as stream:
            for where, headers, payload in found:
                await stream.publish(where, payload, headers=headers)
        await connection.drop()

    asyncio.run(whole())


def archive(folder: Path, url: str, where: Path) -> int:
    """Archive what the server has; the CPU time that this takes, in ns."""
    where.mkdir()
    os.chown(where, _NOBODY, _NOBODY)
    line = [*_NSTRACE, "fleet", "archive", "--nats", url, "--to", str(where), "--until-done", "--every", "60s"]
    spent_ns = 0
    with Running([*line, "--compact-every", "0s"], subprocess.DEVNULL, folder / "archive.log") as running:
        while not running.has_ended:
            spent_ns = max(spent_ns, running.cpu_ns())
            time.sleep(_LOOK_S)
        if running.process.returncode:
            raise RuntimeError(f"nstrace fleet archive: {running.ending}: {(folder / 'archive.log').read_text()}")
    return spent_ns


def measured(recorded: Recorded, load: Load) -> list[str]:
    """A row of the table. Raises ValueError where the archive has not all events."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nstrace-bench-", dir="/var/tmp")))
        folder.chmod(0o755)
        server = Server(folder, stack)
        start_ns = archive(folder, server.url, folder / "empty")
        found = list(messages(recorded, load))
        publish(server.url, found)
        where = folder / "archive"
        spent_ns = archive(folder, server.url, where) - start_ns
        files = list(where.rglob("*.parquet"))
        events = [path for path in files if path.relative_to(where).parts[0] == "events"]
        count = sum(pq.read_metadata(path).num_rows for path in events)
        if count != len(found) * load.events:
            raise ValueError(f"the archive has {count} of {len(found) * load.events} events")
        size = sum(path.stat().st_size for path in files)
    return [
        grouped(load.events), str(load.together), grouped(len(found)), f"{spent_ns / len(found) / 1e6:.1f}",
        f"{spent_ns / count / 1e3:.1f}", f"{len(files) / len(found):.2f}",
        grouped(round(sum(len(payload) for _subject, _headers, payload in found) / len(found))), f"{size / count:.0f}",
    ]  # fmt: skip


def main() -> None:
    """Print the table; with --write it is the one of docs/fleet.md."""
    parser = argparse.ArgumentParser(prog="scripts/bench --archive")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/fleet.md")
    options = parser.parse_args()
    if os.geteuid() or not shutil.which("nats-server"):
        sys.exit("bench: this needs root, and nats-server: scripts/packages nats-server")
    Path("build/bench").mkdir(parents=True, exist_ok=True)
    command, rows = page.origin("scripts/bench --archive"), []
    with tempfile.TemporaryDirectory(prefix="nstrace-bench-") as name:
        recorded = Recorded(Path(name), build()[0])
    for load in LOADS:
        rows.append(measured(recorded, load))
        print(*rows[-1], sep=", ", file=sys.stderr, flush=True)
    page.give(command, table(HEADER, rows), MARKS, is_written=options.write)


if __name__ == "__main__":
    main()
