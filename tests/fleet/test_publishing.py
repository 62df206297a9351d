"""nstrace fleet publish and a real server: kills, outages, privileges, secrets."""

# ruff: noqa: F811 - fixtures
from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, wait_for
from engine_processes import children, name_of
from publishing import Recorder
from recordings import facts, storm
from servers import Nats, Process, nats, needs_server  # noqa: F401 - a fixture
from test_publisher import rows_of

from tracer.errors import NstraceError
from tracer.fleet.envelope import opened
from tracer.fleet.place import PlaceFile
from tracer.fleet.publishing import _state

pytestmark = needs_server


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "spool").mkdir()
    return tmp_path / "spool"


@pytest.fixture
def publisher(tmp_path: Path, spool: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def make(urls: str, *words: str) -> Process:
        line = ("fleet", "publish", "--nats", urls, "--from", str(spool), "--host", "web.1", *words)
        started.append(Process(tmp_path / f"publish{len(started)}.log", *line))
        started[-1].start()
        return started[-1]

    yield make
    for process in started:
        process.close()


def stored(server: Nats) -> list[tuple[int, int]]:
    """Part and number of each row that is stored, in the server's order."""
    found = []
    for message in server.messages():
        assert message.subject == "nstrace.v1.default.web%2E1.events"
        origin = opened(message.data, "message").origin
        assert message.headers["Nats-Msg-Id"] == origin.id
        found += [(origin.part, number) for number in range(origin.first_row, origin.end_row)]
    return found


def test_kills_and_an_outage(spool: Path, nats: Nats, publisher: Callable[..., Process]) -> None:
    recorder = Recorder(spool, max_bytes=60_000)
    recorder.take(facts())
    process = publisher(nats.urls)
    for first in range(1, 100, 10):
        recorder.take(storm(first, 10))
        if first == 31:
            wait_for(lambda: len(nats.messages()) > 0)
            process.end(signal.SIGKILL)
            process.start()
        if first == 51:
            nats.kill(0)
    wait_for(lambda: "waiting: no server answers" in process.said() or "does not answer" in process.said())
    sender = next(pid for pid in children(process.pid) if name_of(pid) == "nstrace-sender")
    process.end(signal.SIGKILL)
    wait_for(lambda: name_of(sender) != "nstrace-sender")  # though it waits for the server
    recorder.close()
    nats.start(0)
    process.start()
    wait_for(lambda: stored(nats) == rows_of(spool), 60)
    assert process.end() == 0
    assert "Traceback" not in process.said()


def test_nobody_has_what_it_does_not_need(spool: Path, nats: Nats, publisher: Callable[..., Process]) -> None:
    """As the kernel says it of each of the three processes."""
    recorder = Recorder(spool)
    recorder.take(storm(1, 10))
    process = publisher(nats.urls)
    wait_for(lambda: len(nats.messages()) > 0)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    names = {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in [*children, str(process.pid)]}
    assert {"nstrace-sender", "nstrace-broker"} < set(names)
    for name, pid in names.items():
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
        )
        descriptors = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
        assert int(status["CapEff"], 16) & ~(4 if name == "nstrace-broker" else 0) == 0, name
        assert status["NoNewPrivs"].strip() == "1"
        if name != "nstrace-broker":
            assert status["Seccomp"].strip() == "2"
            assert "0" not in status["Uid"].split() or not Path("/proc/self/uid_map").read_text().startswith("0 0")
        assert any(text.endswith(".arrows") for text in descriptors) == (
            name not in ("nstrace-broker", "nstrace-sender")
        )
    assert process.end() == 0


def test_a_second_publisher_waits_and_is_refused(spool: Path, nats: Nats, publisher: Callable[..., Process]) -> None:
    recorder = Recorder(spool)
    recorder.take(storm(1, 1))
    first = publisher(nats.urls)
    wait_for(lambda: len(nats.messages()) > 0)
    second = publisher(nats.urls)
    wait_for(lambda: "waiting: another publisher uses" in second.said())
    with pytest.raises(NstraceError, match="another publisher uses"):
        _state(spool / "publisher.state", lambda _line: None, patience_s=0.0)
    assert first.end() == 0
    recorder.take(storm(2, 1))
    wait_for(lambda: len(nats.messages()) > 1)
    assert second.end() == 0, second.said()


def test_a_sender_that_outlives_its_publisher(spool: Path, nats: Nats, publisher: Callable[..., Process]) -> None:
    """Its message counts, and is not sent again."""
    recorder = Recorder(spool)
    recorder.take(storm(1, 1))
    process = publisher(nats.urls)
    wait_for(lambda: len(nats.messages()) > 0)
    sender = next(pid for pid in children(process.pid) if name_of(pid) == "nstrace-sender")
    os.kill(sender, signal.SIGSTOP)
    try:
        recorder.take(storm(2, 1))
        wait_for(lambda: planned(spool))
        process.end(signal.SIGKILL)
        process.start()
        wait_for(lambda: "has not ended yet" in process.said())
        assert len(nats.messages()) == 1
    finally:
        os.kill(sender, signal.SIGCONT)
    recorder.close()
    wait_for(lambda: stored(nats) == rows_of(spool), 60)
    assert process.end() == 0, process.said()


def planned(spool: Path) -> bool:
    """Whether a message is on its way."""
    with (spool / "publisher.state").open("rb") as file:
        place = PlaceFile(file.fileno(), "state").place
    return place is not None and place.planned is not None


def test_a_token(spool: Path, tmp_path: Path, publisher: Callable[..., Process]) -> None:
    (tmp_path / "js").mkdir()
    server = Nats(tmp_path / "js", options=("--auth", "open-sesame"))
    try:
        Recorder(spool).take(storm(1, 1))
        (tmp_path / "wrong").write_text("no\n")
        (tmp_path / "right").write_text("open-sesame\n")
        wait_for(lambda: publisher_says(server, tmp_path / "right") == 0)
        wrong = publisher(server.urls, "--token-file", str(tmp_path / "wrong"))
        assert wrong.wait() == 1
        assert "does not let us in" in wrong.said() and "Traceback" not in wrong.said()
        right = publisher(server.urls, "--token-file", str(tmp_path / "right"))
        wait_for(lambda: (tmp_path / "spool/publisher.state").stat().st_size > 0)
        assert right.end() == 0
    finally:
        server.close()


def publisher_says(server: Nats, token: Path) -> int:
    line = [sys.executable, "-m", "tracer", "fleet", "init", "--nats", server.urls, "--token-file", str(token)]
    return subprocess.run(line, capture_output=True, cwd=ROOT).returncode


def test_a_secret_on_the_command_line_is_refused(publisher: Callable[..., Process]) -> None:
    process = publisher("nats://me:secret@127.0.0.1:4222")
    assert process.wait() == 2
    assert "does not belong on a command line" in process.said() and "secret@" not in process.said()
