"""NATS servers of the tests' own, on loopback: started here, and stopped by their PIDs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from conftest import ROOT, wait_for

from tracer.fleet.access import Files, access_of
from tracer.fleet.nats_client import Connection
from tracer.fleet.nats_streams import make_streams
from tracer.fleet.sink import Unavailable

T = TypeVar("T")
NO_FILES = Files()
SERVER = shutil.which("nats-server") or "/usr/sbin/nats-server"
needs_server = pytest.mark.skipif(not Path(SERVER).exists(), reason="needs nats-server (scripts/packages nats-server)")


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    sockets = [socket.socket() for _number in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Nats:
    """Some servers that are one cluster; each can be killed and started again. files: how `ask` gets in."""

    def __init__(self, folder: Path, count: int = 1, options: tuple[str, ...] = (), files: Files = NO_FILES) -> None:
        ports = free_ports(2 * count)
        self.ports, routes = ports[:count], ports[count:]
        self._folder, self._files = folder, files
        self._lines = [
            [SERVER, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder / f"js{number}"), *options]
            for number, port in enumerate(self.ports)
        ]
        if count > 1:
            peers = ",".join(f"nats://127.0.0.1:{route}" for route in routes)
            for number, line in enumerate(self._lines):
                line += ["-n", f"n{number}", "--cluster_name", "fleet"]
                line += ["--cluster", f"nats://127.0.0.1:{routes[number]}", "--routes", peers]
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        for number in range(count):
            self.start(number)

    @property
    def urls(self) -> str:
        return ",".join(f"nats://127.0.0.1:{port}" for port in self.ports)

    def start(self, number: int) -> None:
        with (self._folder / f"nats{number}.log").open("ab") as log:
            self._running[number] = subprocess.Popen(
                self._lines[number], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def kill(self, number: int) -> None:
        """kill -9."""
        server = self._running.pop(number, None)
        if server is not None:
            server.kill()
            server.wait()

    def close(self) -> None:
        for number in list(self._running):
            self.kill(number)

    def ask(self, work: Callable[[Connection], Any]) -> Any:
        """What a coroutine about a connection returns, as soon as the servers are there."""

        async def whole() -> Any:
            connection = Connection(access_of(self.urls, self._files), "tests")
            try:
                return await work(connection)
            finally:
                await connection.drop()

        found: list[Any] = []

        def asked() -> bool:
            with suppress(Unavailable):
                found.append(asyncio.run(whole()))
            return bool(found)

        wait_for(asked, 60)
        return found[0]

    def make_streams(self, replicas: int = 1) -> None:
        """Make the streams."""
        self.ask(lambda connection: make_streams(connection, replicas, 3600, None))

    def messages(self) -> list[Any]:
        """All batches that are stored, in order."""

        async def work(connection: Connection) -> list[Any]:
            async with connection.jetstream() as stream:
                state = (await stream.stream_info("nstrace-events")).state
                numbers = range(state.first_seq, state.last_seq + 1)
                return [await stream.get_msg("nstrace-events", number) for number in numbers if state.messages]

        found: list[Any] = self.ask(work)
        return found

    def leader(self) -> int:
        """Which server leads the stream of batches."""

        async def work(connection: Connection) -> str:
            async with connection.jetstream() as stream:
                info = await stream.stream_info("nstrace-events")
                return (info.cluster and info.cluster.leader) or "n0"

        return int(self.ask(work).removeprefix("n"))


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    """One server, with its streams."""
    server = Nats(tmp_path)
    try:
        server.make_streams()
        yield server
    finally:
        server.close()


@pytest.fixture
def archive() -> Iterator[Path]:
    """An empty folder that belongs to nobody, if root makes it. Not below pytest's own, which lets root alone in."""
    with tempfile.TemporaryDirectory(prefix="nstrace-archive-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(folder, 65534, 65534)
        yield folder


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """The empty bucket "traces" of an S3 server: where an archive in it is, and a client of boto3's."""
    import boto3
    from moto.server import ThreadedMotoServer

    secret = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in secret.items():
        monkeypatch.setenv(name, value)
    (port,) = free_ports(1)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port)
    server.start()
    try:
        reset = f"http://127.0.0.1:{port}/moto-api/reset"  # what it holds is this process's, and of all its servers
        urllib.request.urlopen(urllib.request.Request(reset, method="POST")).close()
        client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
        client.create_bucket(Bucket="traces")
        yield f"s3://traces/nstrace?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1", client
    finally:
        server.stop()


class Process:
    """A command of nstrace that runs until it is stopped. Its stderr is in a file."""

    def __init__(self, log: Path, *words: str) -> None:
        self._line, self.log = words, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tracer", *self._line],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and wait for its end. Gives the exit code, as subprocess has it."""
        assert self._process
        self._process.send_signal(number)
        code = self._process.wait(30)
        self._process = None
        return code

    def wait(self, timeout_s: float = 60) -> int:
        assert self._process
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def said(self) -> str:
        return self.log.read_text()

    def events(self) -> list[dict[str, Any]]:
        """The JSON lines among it that are whole: the last may be in the making."""
        return [json.loads(line) for line in self.said().split("\n")[:-1] if line.startswith("{")]
