"""python -m bench.fleet [--write]: how long it takes until `nstrace fleet follow` shows an event, of five hosts.

The hosts are agents on this machine, each with a name, a folder and a container of its own, in which storms run; they
publish to a NATS server of this machine. Each event is looked up in the storm's own ledger: none may be missing. Its
delay is from the clock before the process was made to the arrival of its line. It needs root and nats-server.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import page
from bench.__main__ import build
from bench.measure import LOG_ENTRY, Workload
from bench.process import Running
from bench.report import grouped, percentile, table
from tracer.system import cgroup_hierarchy

HOSTS = tuple(f"web{number}" for number in range(1, 6))
LOADS = {
    "a process every 3 s": Workload("spawn", 10, 1 / 3),
    "2 processes a second": Workload("spawn", 100, 2),
    "20 processes a second": Workload("spawn", 600, 20),
    "200 processes a second": Workload("spawn", 4_000, 200),
}
"""Of each host."""
MARKS = "<!-- figures of the delay -->", "<!-- end of figures of the delay -->"
HEADER = ["on each of five hosts", "events", "median s", "p99 s", "most s", "messages a second", "bytes an event"]
_KINDS = ("fork", "exec", "exit")
_NSTRACE = [sys.executable, "-m", "tracer"]
_READY_S, _QUIET_S = 60.0, 8.0
_WARM_UP = Workload("spawn", 1_000_000, 5)


class Arrival(NamedTuple):
    """A line: of which host and event, the number of its process inside, and when it came (boottime)."""

    host: str
    event: str
    ns_pid: int
    at_ns: int


class Server:
    """A NATS server with the streams of a fleet."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.port, self._monitor = _free_ports(2)
        line = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), "-m", str(self._monitor), "-js"]
        stack.enter_context(Running([*line, "-sd", str(folder / "js")], subprocess.DEVNULL, folder / "nats.log"))
        until = time.monotonic() + _READY_S
        init = [*_NSTRACE, "fleet", "init", "--nats", self.url]
        while subprocess.run(init, capture_output=True).returncode:
            if time.monotonic() > until:
                raise TimeoutError("the server does not answer")
            time.sleep(0.2)

    @property
    def url(self) -> str:
        """Its address."""
        return f"nats://127.0.0.1:{self.port}"

    def stored(self) -> tuple[int, int]:
        """How many batches it has, and bytes of them."""
        asked = f"http://127.0.0.1:{self._monitor}/jsz?streams=true"
        with urllib.request.urlopen(asked, timeout=10) as answer:
            streams = json.load(answer)["account_details"][0]["stream_detail"]
        state = next(one["state"] for one in streams if one["name"] == "nstrace-events")
        return state["messages"], state["bytes"]


class Host:
    """An agent that records a container, known by its cgroup, and publishes that under a name."""

    def __init__(self, folder: Path, name: str, url: str, storm: Path, stack: contextlib.ExitStack) -> None:
        self.name, self._storm = name, storm
        container = hashlib.sha256(f"{os.getpid()} {name}".encode()).hexdigest()
        hierarchy = cgroup_hierarchy.directory()
        assert hierarchy  # it is mounted: else nothing can be in a container
        self._cgroup = Path(hierarchy) / "docker" / container
        self._cgroup.mkdir(parents=True)
        stack.callback(self._remove)
        stack.callback(self._start("crowd", "1").communicate)  # so that it goes on between storms
        config = folder / f"{name}.toml"
        config.write_text(
            f'[record]\ntargets = "{container[:12]}"\nfolder = "{folder / name}"\nmin_free = "0B"\n'
            f'[publish]\ncluster = "bench"\nhost = "{name}"\nsink = "nats"\nurl = "{url}"\nrate = "100 MB"\n'
        )
        line = [*_NSTRACE, "agent", "--config", str(config)]
        self.agent = stack.enter_context(Running(line, subprocess.DEVNULL, folder / f"{name}.log"))

    def run(self, workload: Workload, log: Path | None = None) -> subprocess.Popen[bytes]:
        """Run a storm in its container."""
        return self._start(*workload.argv(self._storm, log)[1:])

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        line = ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self._cgroup / "cgroup.procs"), str(self._storm)]
        return subprocess.Popen([*line, *words], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def _remove(self) -> None:
        self._cgroup.rmdir()
        with contextlib.suppress(OSError):
            self._cgroup.parent.rmdir()


class Follow:
    """nstrace fleet follow, whose lines are stamped as they come."""

    def __init__(self, folder: Path, url: str, stack: contextlib.ExitStack) -> None:
        line = [*_NSTRACE, "fleet", "follow", "--json", "--nats", url]
        self._running = stack.enter_context(Running(line, subprocess.PIPE, folder / "follow.log"))
        assert self._running.process.stdout
        self._pipe, self._rest = self._running.process.stdout.fileno(), b""

    def lines(self, quiet_s: float) -> Iterator[Arrival]:
        """What comes, until nothing has come for so long."""
        while select.select([self._pipe], [], [], quiet_s)[0]:
            data = os.read(self._pipe, 1 << 20)
            if not data:
                raise TimeoutError("nstrace fleet follow has ended")
            at_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in map(json.loads, lines):
                if line["event"] in _KINDS and line["level"]:  # not what starts a storm
                    yield Arrival(line["host"], line["event"], line["ns_pid"], at_ns)


def measured(workload: Workload, hosts: list[Host], follow: Follow, server: Server) -> list[str]:
    """The cells of a row of the table. Raises ValueError where an event is missing, or shown twice."""
    before = server.stored()
    with tempfile.TemporaryDirectory() as name:
        logs = {host.name: Path(name) / host.name for host in hosts}
        storms = [host.run(workload, logs[host.name]) for host in hosts]
        arrivals = list(follow.lines(_QUIET_S))
        for process in storms:
            process.wait()
        began: dict[tuple[str, str, int], int] = {}
        for host, log in logs.items():
            for began_ns, number in np.fromfile(log, LOG_ENTRY).tolist():
                began |= {(host, kind, number): began_ns for kind in _KINDS}
    shown = Counter(arrival[:3] for arrival in arrivals if arrival[:3] in began)
    if wrong := {key: shown[key] for key in began if shown[key] != 1}:
        raise ValueError(f"{len(wrong)} of {len(began)} events were not shown once: {list(wrong.items())[:3]}")
    delays = [(arrival.at_ns - began[arrival[:3]]) / 1e9 for arrival in arrivals if arrival[:3] in began]
    messages, stored = (after - first for first, after in zip(before, server.stored(), strict=True))
    seconds = workload.count / workload.rate
    return [
        grouped(len(delays)),
        *(f"{percentile(delays, share):.2f}" for share in (0.5, 0.99, 1)),
        f"{messages / seconds / len(hosts):.2f}",
        f"{stored / len(delays):.0f}",
    ]


def measure_all() -> str:
    """The table."""
    storm, _floor = build()
    rows = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nstrace-bench-")))
        server = Server(folder, stack)
        follow = Follow(folder, server.url, stack)
        hosts = [Host(folder, name, server.url, storm, stack) for name in HOSTS]
        warm_up(hosts, follow)
        for name, workload in LOADS.items():
            rows.append([name, *measured(workload, hosts, follow, server)])
            print(*rows[-1], sep=", ", file=sys.stderr, flush=True)
    return table(HEADER, rows)


def warm_up(hosts: list[Host], follow: Follow) -> None:
    """Until all hosts are shown."""
    storms = [host.run(_WARM_UP) for host in hosts]
    try:
        left, until = {host.name for host in hosts}, time.monotonic() + _READY_S
        for arrival in follow.lines(_READY_S):
            left.discard(arrival.host)
            if not left or time.monotonic() > until:
                break
        if left:
            raise TimeoutError(f"nothing is shown of {', '.join(left)}")
    finally:
        for process in storms:
            process.send_signal(signal.SIGKILL)
            process.wait()
    for _arrival in follow.lines(_QUIET_S):
        pass


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _number in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def main() -> None:
    """Print the table; with --write it is the one of docs/fleet.md."""
    if os.geteuid() or not shutil.which("nats-server"):
        sys.exit("bench: this needs root, and nats-server: scripts/packages nats-server")
    Path("build/bench").mkdir(parents=True, exist_ok=True)
    command = page.origin("scripts/bench --fleet")
    page.give(command, measure_all(), MARKS, is_written=sys.argv[1:] == ["--write"])


if __name__ == "__main__":
    main()
