"""What a command asks the engine, through the process that asks: in bounded time, whatever the engine does."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from conftest import ROOT, wait_for
from engine_processes import children, engine_process_of, parent_of, peak_bytes
from fake_engine import A, B, C, FakeEngine, container, serving

from tracer.containers import channel as channel_module
from tracer.containers import engine_names as names_module
from tracer.containers.answers import Description, Silence
from tracer.containers.messages import FoundContainer
from tracer.containers.names import Names
from tracer.errors import NstraceError

WEB = Description("web", "nginx:1.27")
LONG_S = 15.0  # that no command waits for


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """Started before the engine, whose threads a fork must not meet."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/sock")
    with closing(Names()) as names:
        names.start()
        yield names


@pytest.fixture
def fake(names: Names, tmp_path: Path) -> Iterator[FakeEngine]:
    with serving(tmp_path / "sock") as engine:
        engine.containers = [container(A, "web"), container(B, "db", "exited")]
        yield engine


@pytest.fixture
def hasty(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_module, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(names._patience, "_limit_s", 0.6)
    names._patience.left_s = 0.6


@pytest.fixture
def patient(names: Names, monkeypatch: pytest.MonkeyPatch) -> Names:
    """For a machine that is busy."""
    monkeypatch.setattr(names_module, "TIMEOUT_S", 60.0)
    monkeypatch.setattr(names._patience, "_limit_s", 60.0)
    names._patience.left_s = 60.0
    return names


def why_not(names: Names) -> str:
    assert not names.is_there and names.error
    return names.error.message


def test_what_it_lists(fake: FakeEngine, names: Names) -> None:
    assert [names.describe(asked) for asked in (A, B, C)] == [WEB, Description("db", "nginx:1.27"), None]
    assert names.listed() == [
        FoundContainer(A, "web", "nginx:1.27", True),
        FoundContainer(B, "db", "nginx:1.27", False),
    ]
    assert [found.name for found in names.running()] == ["web"]
    fake.state_of_a = {"Pid": 4711}
    assert (names.first_tgid(A), names.inits(()), names.inits((A,))) == (4711, {4711: A}, {})
    assert names.first_tgid("box") is None  # of LXC: no engine is asked for what can be no id


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("web", [A]),
        (A, [A]),
        ("eda3", [A]),
        ("eda", [A, B]),
        ("eda4", [C]),  # a name goes before the beginning of an id
        ("we", []),
        ("da3", []),
        (".*", []),
        (C, [C]),
        (B, [B]),  # a whole id goes before a name
    ],
)
def test_find_resolves_as_docker_does(fake: FakeEngine, names: Names, text: str, ids: list[str]) -> None:
    fake.containers = [container(A, "web"), container(B, "db"), container(C, "eda4"), container("f" * 64, B)]
    assert [found.id for found in names.find(text)] == ids


def test_no_engine_needs_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    names = Names()
    assert why_not(names) == f"no container engine answers on unix://{tmp_path}/none"
    assert names.describe(A) is Silence.NO_ENGINE
    assert names._channels() == []


def test_a_remote_engine_needs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    names = Names()
    assert names.start() == []
    assert "remote engine" in why_not(names)


def test_where_no_process_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_address: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/sock")
    (tmp_path / "sock").touch()
    monkeypatch.setattr(channel_module, "start", full)
    names = Names()
    names.prepare()
    assert why_not(names).endswith("to ask the container engine: Resource temporarily unavailable")


def test_a_byte_every_half_second(hasty: None, fake: FakeEngine, names: Names) -> None:
    fake.raw_version = slowly(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"{" * 1000)
    began = time.monotonic()
    assert why_not(names) == f"no container engine answers on {fake.address}"
    assert [names.describe(asked) for asked in (A, B, C)] == [Silence.NO_ANSWER] * 3
    assert time.monotonic() - began < LONG_S


def slowly(raw: bytes) -> Iterator[bytes]:
    for byte in raw:
        yield bytes([byte])
        time.sleep(0.5)


def test_the_time_for_all_answers_is_bounded(hasty: None, fake: FakeEngine, names: Names) -> None:
    assert names.is_there
    fake.pause_s, fake.state_of_a = 0.25, {"Pid": 4711}
    began = time.monotonic()
    answers = [names.init_tgid(A) for _ in range(100)]
    assert time.monotonic() - began < LONG_S
    assert 1 <= answers.count(4711) < 10 and "the container engine does not answer in time" in names.doubts


def test_one_that_takes_nobody_in(hasty: None, tmp_path: Path, names: Names) -> None:
    """Its queue is full: connect(2) would wait for ever."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/sock")
        listener.listen(0)
        waiting = []
        with pytest.raises(BlockingIOError):
            for _ in range(10):
                waiting.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
                waiting[-1].connect(f"{tmp_path}/sock")
        assert why_not(names) == f"no container engine answers on unix://{tmp_path}/sock"
        for one in waiting:
            one.close()


def listing_of(count: int) -> Iterator[bytes]:
    """As docker answers, with that many containers."""
    yield b"HTTP/1.1 200 OK\r\n\r\n["
    for at in range(0, count, 1000):
        entries = (
            b'{"Id":"%064x","Names":["/c%d"],"Image":"nginx:1.27","State":"running","Labels":{"a":"b"},"HostConfig":'
            b'{"NetworkMode":"bridge"},"Mounts":[],"Status":"Up 3 hours","Command":"/docker-entrypoint.sh nginx"}'
            % (number, number)
            for number in range(at, min(count, at + 1000))
        )
        yield (b"," if at else b"") + b",".join(entries)
    yield b"]"


def without_end() -> Iterator[bytes]:
    return itertools.chain(listing_of(1), itertools.repeat(b" " * (1 << 16), 2000))


def minimal_entries() -> Iterator[bytes]:
    return listing_by(b'"Id"')


def hidden_entries() -> Iterator[bytes]:
    return listing_by(rb'"\u0049d"')


def listing_by(key: bytes) -> Iterator[bytes]:
    entry = b'{%s:"%064x"}' % (key, 0)
    return itertools.chain([b"HTTP/1.1 200 OK\r\n\r\n[", entry], itertools.repeat(b"," + entry, 800_000), [b"]"])


def a_million_labels() -> Iterator[bytes]:
    yield b'HTTP/1.1 200 OK\r\n\r\n[{"Id":"%064x","Labels":{' % 0
    for at in range(0, 4_000_000, 10_000):
        yield b"".join(b'"%x":"",' % number for number in range(at, at + 10_000))
    yield b'"":""}}]'


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (partial(listing_of, 200_000), "65,536 containers"),
        (without_end, "64 MiB"),
        (minimal_entries, "65,536 containers"),
        (hidden_entries, "65,536 containers|there is memory for"),
        (a_million_labels, "there is memory for"),
    ],
)
def test_too_much_is_said_in_a_line(
    raw: Callable[[], Iterator[bytes]], why: str, fake: FakeEngine, patient: Names
) -> None:
    fake.raw = [b"".join(raw())]
    [channel] = patient.start()
    wait_for(lambda: channel.receive() or engine_process_of(os.getpid()) != 0)
    before_bytes = peak_bytes(engine_process_of(os.getpid()))  # with what it has of this process
    tracemalloc.start()
    try:
        said = why_not(patient)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert re.fullmatch(f"the container engine on {re.escape(fake.address)} sent more than ({why})", said)
    assert peak_bytes(engine_process_of(os.getpid())) - before_bytes < 200 << 20
    fake.raw = None  # the process has survived it
    again = channel.ask_list(None, 10.0)
    channel.wait(again)
    assert set(again.found) == {A, B}


@pytest.mark.parametrize("count", [0, 1, 40_000])
def test_a_host_with_many(count: int, fake: FakeEngine, patient: Names) -> None:
    fake.raw = [b"".join(listing_of(count))]
    assert len(patient.running()) == count and patient.is_there


def test_of_labels_without_end_the_first_are_kept(fake: FakeEngine, names: Names) -> None:
    long = {"tier": "front", "long": "x" * 100_000, "after": "y"}
    many = {str(number): "" for number in range(5000)}
    fake.containers = [container(A, "web", Labels=long), container(B, "db" * 5000, Labels=many)]
    assert names.is_there
    web, db = (found.description for found in names.listed())
    assert (web.name, web.labels) == ("web", {"tier": "front"})
    assert db.name == ("db" * 5000)[:1024] and list(db.labels) == [str(number) for number in range(1024)]


def test_what_can_be_no_process_is_said(fake: FakeEngine, names: Names) -> None:
    fake.state_of_a = {"Pid": -1}
    assert names.inits(()) == {}
    assert list(names.doubts) == [
        f"the container engine says that the first process of {A[:12]} is -1, which is no PID"
    ]


def test_what_nobody_knows_to_go_wrong_is_a_line_too(fake: FakeEngine, names: Names) -> None:
    fake.containers = [container(A, "web", Labels={"a": "\ud800"})]
    assert why_not(names).isprintable()


def test_the_process_that_asks_may_die(fake: FakeEngine, names: Names) -> None:
    assert names.is_there
    first = engine_process_of(os.getpid())
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: engine_process_of(os.getpid()) not in (0, first))
    fake.state_of_a = {"Pid": 4711}
    wait_for(lambda: names.init_tgid(A) == 4711)


def test_it_dies_with_a_question(fake: FakeEngine, names: Names) -> None:
    assert names.is_there
    fake.hangs = True
    threading.Timer(0.2, lambda: os.kill(engine_process_of(os.getpid()), signal.SIGKILL)).start()
    with pytest.raises(NstraceError, match="the process that asks the container engine does not answer: it has begun"):
        names.first_tgid(A)


def test_nobody_is_left_behind(fake: FakeEngine, names: Names) -> None:
    fake.hangs = True
    assert names.start()
    wait_for(lambda: engine_process_of(os.getpid()) != 0)
    asking = engine_process_of(os.getpid())
    connector = parent_of(asking)
    names.close()
    assert not [pid for pid in (connector, asking) if Path(f"/proc/{pid}").exists()]


def test_it_ends_with_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/sock")
    code = "from tracer.containers.names import Names; names = Names(); names.start(); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"\n"
        wait_for(lambda: engine_process_of(process.pid) != 0)
        asking = [*children(process.pid), engine_process_of(process.pid)]
        process.kill()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in asking))


def test_it_has_two_sockets_and_nothing_else(fake: FakeEngine, names: Names) -> None:
    """Whatever this process has open, to be inherited or not."""
    assert names.is_there
    folder = Path(f"/proc/{engine_process_of(os.getpid())}/fd")
    leads_to = sorted(str(link.readlink()) for link in folder.iterdir())
    assert leads_to[:3] == ["/dev/null"] * 3
    assert [one.partition(":")[0] for one in leads_to[3:]] == ["socket", "socket"]


def test_it_is_bare(fake: FakeEngine, names: Names) -> None:
    assert names.is_there
    pid = engine_process_of(os.getpid())
    status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0] * 4
    assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == ("1", "2", "1")
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"Max processes +0 +0", limits) and re.search(r"Max file size +0 +0", limits)
    if os.geteuid() == 0:
        assert set(map(int, status["Uid"].split())).isdisjoint({0, 65534}) and status["Groups"].strip() == ""
        assert int(status["CapBnd"], 16) == 0
        assert list(Path(f"/proc/{pid}/root").iterdir()) == []


def test_from_a_program_whose_libraries_clean_up_in_every_child(fake: FakeEngine) -> None:
    """Arrow closes descriptors of its own in each process that is forked, and aborts where it has none."""
    code = f"""
import io, pyarrow.csv
pyarrow.csv.read_csv(io.BytesIO(b"a,b" + bytes([10]) + b"1,2"))
from tracer.containers.names import Names
print(Names().describe({A!r}).name)
"""
    env = os.environ | {"DOCKER_HOST": fake.address}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=ROOT, timeout=60)
    assert done.stdout == "web\n", done.stderr
