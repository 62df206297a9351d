"""nstrace follow beside an engine that is slow, hangs or lies: the stream goes on, and names come when they come.

Containers are cgroups with names as docker gives them, so that no real engine is needed.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for
from engine_processes import children, engine_process_of, name_of, peak_bytes
from fake_engine import FakeEngine, container, serving
from following import Event, Following
from oracle import pids_hierarchy

pytestmark = pytest.mark.kernel

COUNT = 12
ALL = ("--events", "exec", "all")  # of whatever else runs here only so much is shown


class Hosted:
    """Containers, as cgroups: made when they start. ids: known before."""

    def __init__(self, top: Path) -> None:
        self.ids = [secrets.token_hex(32) for _ in range(COUNT)]
        self._top = top
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, container_id: str) -> subprocess.Popen[bytes]:
        """A shell in its cgroup, which runs `true` for each line on its stdin."""
        own = self._top / "docker" / container_id
        own.mkdir(parents=True)
        script = f"echo $$ >{own}/cgroup.procs; /bin/true; while read line; do /bin/true; done"
        shell = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE)
        self._running.append(shell)
        return shell

    def close(self) -> None:
        for shell in self._running:
            shell.kill()
            shell.communicate()
        if self._top.exists():
            for folder in sorted(self._top.rglob("*/"), reverse=True):
                wait_for(lambda folder=folder: removed(folder))  # type: ignore[misc]
            wait_for(lambda: removed(self._top))


def removed(folder: Path) -> bool:
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()


@pytest.fixture
def hosted() -> Iterator[Hosted]:
    hosted = Hosted(pids_hierarchy() / f"nstrace-test-{secrets.token_hex(4)}")
    yield hosted
    hosted.close()


@pytest.fixture
def fake(hosted: Hosted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    """The engine of this host, which knows the last of them; the others are created later."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/sock")
    with serving(tmp_path / "sock") as engine:
        engine.containers = everyone(hosted)[-1:]
        yield engine


def everyone(hosted: Hosted) -> list[dict[str, Any]]:
    return [container(one, f"c{number}") for number, one in enumerate(hosted.ids)]


class Bystander:
    """A container that is known before the trouble begins: c11."""

    def __init__(self, hosted: Hosted) -> None:
        self._shell = hosted.start(hosted.ids[-1])

    def is_seen(self, follow: Following) -> None:
        """It does something, and that is shown."""
        before = self._count(follow.events())
        follow.until(lambda events: poke(self._shell) and self._count(events) > before)

    def _count(self, events: list[Event]) -> int:
        return sum(event["event"] == "exec" and (event["container"] or {}).get("name") == "c11" for event in events)


def poke(shell: subprocess.Popen[bytes]) -> bool:
    assert shell.stdin
    shell.stdin.write(b"\n")
    shell.stdin.flush()
    return True


@pytest.fixture
def bystander(hosted: Hosted, fake: FakeEngine) -> Bystander:
    return Bystander(hosted)


def names_of(events: list[Event], container_id: str) -> set[str | None]:
    found = (event.get("container") for event in events)  # a gap and a repair have none
    return {one["name"] for one in found if one and one["id"] == container_id}


def test_one_that_takes_its_time_names_all_that_begin_at_once(
    hosted: Hosted, fake: FakeEngine, bystander: Bystander
) -> None:
    with Following(*ALL) as follow:
        bystander.is_seen(follow)
        asked = len(fake.asked)
        fake.containers, fake.pause_s = everyone(hosted), 0.3
        ids = hosted.ids[:-1]
        shells = [hosted.start(one) for one in ids]

        def are_named(events: list[Event]) -> bool:
            for shell in shells:
                poke(shell)
            return all(f"c{number}" in names_of(events, one) for number, one in enumerate(ids))

        follow.until(are_named)
        assert len(fake.asked) - asked <= 4  # not one for each of them
        follow.stop()


def test_under_a_pattern_all_of_it_is_shown(hosted: Hosted, fake: FakeEngine) -> None:
    with Following("c*") as follow:
        wait_for(lambda: "/containers/json" in fake.asked)
        follow.until(lambda _events: engine_process_of(follow.process.pid) != 0)
        wait_for(lambda: has_ring(follow.process.pid))
        fake.containers, fake.pause_s = everyone(hosted), 0.3
        shells = [hosted.start(one) for one in hosted.ids]
        for shell in shells:
            shell.communicate(b"\n\n")

        def are_whole(events: list[Event]) -> bool:
            seen = [event["pid"] for event in events if event["event"] == "exit" and event["comm"] == "sh"]
            return set(seen) >= {shell.pid for shell in shells}

        events = follow.until(are_whole)
        follow.stop()
    assert ", 0 lost" in follow.stderr
    for number, (one, shell) in enumerate(zip(hosted.ids, shells, strict=True)):
        mine = [event for event in events if (event["container"] or {}).get("id") == one]
        assert {event["container"]["name"] for event in mine} == {f"c{number}"}
        assert sum(event["event"] == "exec" for event in mine) == 3, shell.pid
        assert [event["time"] for event in mine] == sorted(event["time"] for event in mine)


def test_what_has_just_begun_at_the_end_is_shown_too(hosted: Hosted, fake: FakeEngine, bystander: Bystander) -> None:
    """The answer is on its way when the trace ends."""
    with Following("--require-complete", "c*") as follow:
        bystander.is_seen(follow)
        fake.containers, fake.pause_s = everyone(hosted), 0.3
        asked = len(fake.asked)
        hosted.start(hosted.ids[0]).communicate(b"\n")
        wait_for(lambda: len(fake.asked) > asked)
        events = follow.stop()
    assert ", 0 lost" in follow.stderr
    assert names_of(events, hosted.ids[0]) == {"c0"}


def has_ring(pid: int) -> bool:
    with suppress(OSError):
        return "bpf-map" in Path(f"/proc/{pid}/maps").read_text()
    return False


def hang(fake: FakeEngine) -> None:
    fake.hangs = True


def byte_by_byte(fake: FakeEngine) -> None:
    fake.trickles = True


def talk_nonsense(fake: FakeEngine) -> None:
    fake.containers = [{"Id": ["x"]}]


def list_without_end(fake: FakeEngine) -> None:
    fake.raw = itertools.chain([b"HTTP/1.1 200 OK\r\n\r\n["], itertools.repeat(b" " * 65536))


@pytest.mark.parametrize("trouble", [hang, byte_by_byte, talk_nonsense, list_without_end])
def test_the_stream_goes_on(
    trouble: Callable[[FakeEngine], None],
    hosted: Hosted,
    fake: FakeEngine,
    bystander: Bystander,
) -> None:
    with Following(*ALL) as follow:
        bystander.is_seen(follow)
        trouble(fake)
        shell = hosted.start(hosted.ids[0])
        for _ in range(3):
            bystander.is_seen(follow)
        follow.until(lambda events: names_of(events, hosted.ids[0]) == {None})
        assert peak_bytes(follow.process.pid) < 200 << 20
        fake.hangs, fake.trickles, fake.containers, fake.raw = False, False, everyone(hosted), None
        fake.released.set()
        follow.until(lambda events: "c0" in names_of(events, hosted.ids[0]) or not poke(shell))
        follow.stop()


def test_one_whose_queue_is_full_and_that_comes_back(
    hosted: Hosted, fake: FakeEngine, bystander: Bystander, tmp_path: Path
) -> None:
    with Following(*ALL) as follow, ExitStack() as stack:
        bystander.is_seen(follow)
        (tmp_path / "sock").rename(tmp_path / "elsewhere")
        full = stack.enter_context(socket.socket(socket.AF_UNIX))
        full.bind(f"{tmp_path}/sock")
        full.listen(0)
        first = stack.enter_context(socket.socket(socket.AF_UNIX))
        first.connect(f"{tmp_path}/sock")
        shell = hosted.start(hosted.ids[0])
        bystander.is_seen(follow)
        follow.until(lambda events: names_of(events, hosted.ids[0]) == {None})
        fake.containers = everyone(hosted)
        (tmp_path / "elsewhere").rename(tmp_path / "sock")
        follow.until(lambda events: "c0" in names_of(events, hosted.ids[0]) or not poke(shell))
        follow.stop()


def test_the_process_that_asks_is_killed(hosted: Hosted, fake: FakeEngine, bystander: Bystander) -> None:
    with Following(*ALL) as follow:
        bystander.is_seen(follow)
        os.kill(engine_process_of(follow.process.pid), signal.SIGKILL)
        fake.containers = everyone(hosted)
        shell = hosted.start(hosted.ids[0])
        follow.until(lambda events: "c0" in names_of(events, hosted.ids[0]) or not poke(shell))
        follow.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nobody_is_left_behind(number: signal.Signals, bystander: Bystander) -> None:
    with Following(*ALL) as follow:
        bystander.is_seen(follow)
        asking = engine_process_of(follow.process.pid)
        assert asking
        follow.process.send_signal(number)
        follow.ended()
    wait_for(lambda: not Path(f"/proc/{asking}").exists())


@pytest.fixture
def stranger() -> Iterator[int]:
    """The first process of a PID namespace that is no container's."""
    with subprocess.Popen(["unshare", "--fork", "--pid", "--kill-child", "sleep", "600"]) as outside:
        wait_for(lambda: children(outside.pid) != [] and name_of(children(outside.pid)[0]) == "sleep")
        yield children(outside.pid)[0]
        outside.kill()


def test_a_first_process_that_the_kernel_contradicts_is_not_believed(
    hosted: Hosted, fake: FakeEngine, bystander: Bystander, stranger: int
) -> None:
    """The engine says that c11 is in the stranger's PID namespace; the cgroup of c11 has a process, which is not."""
    fake.pids = {hosted.ids[-1]: stranger}
    done = nstrace("translate", "--json", str(stranger))
    assert json.loads(done.stdout)["container"] is None
    with Following(*ALL) as follow:
        bystander.is_seen(follow)
        follow.stop()
    assert f"the first process of c11 is {stranger}, which is in none of the PID namespaces" in follow.stderr
    assert "cgroup: ignored" in follow.stderr


def test_verify_names_the_difference(hosted: Hosted, fake: FakeEngine, bystander: Bystander, stranger: int) -> None:
    for pid, whose in ((stranger, "a process in no container"), (4194303, "which no process has")):
        fake.pids = {hosted.ids[-1]: pid}
        done = nstrace("verify", "c11")
        assert done.returncode == 1
        assert f"the engine has {pid} for it, {whose}" in done.stdout


def nstrace(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tracer", *words], capture_output=True, text=True, timeout=60)
