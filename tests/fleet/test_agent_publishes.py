"""nstrace agent with [publish]: what it records is on the server, after the publisher was killed too, and is shown by
fleet follow."""

# ruff: noqa: F811 - fixtures
from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.request
from functools import partial
from pathlib import Path

import pytest
from conftest import wait_for
from servers import Nats, Process, free_ports, nats, needs_server  # noqa: F401 - a fixture
from service import Agent
from soak_agent import MOST_KB, Sample

from tracer.fleet.envelope import content, opened
from tracer.stream.batch import Batch
from tracer.stream.schema import Kind

pytestmark = [needs_server, pytest.mark.kernel]


FOLLOW = ("fleet", "follow", "--json")


def publish(server: Nats, host: str) -> str:
    """The table of the configuration."""
    return f'[publish]\ncluster = "eu"\nhost = "{host}"\nsink = "nats"\nurl = "{server.urls}"\nrate = "10 MB"'


def codes(server: Nats) -> list[int]:
    """The exit codes of the processes that are on the server, in its order."""
    found = []
    for message in server.messages():
        assert message.subject == "nstrace.v1.eu.node7.events"
        _facts, batches = content(opened(message.data, "message"))
        rows = Batch.concat(batches).rows
        found += [int(status) >> 8 for status in rows["status"][rows["kind"] == Kind.EXIT]]
    return found


def test_what_is_recorded_is_published_once(nats: Nats, tmp_path: Path) -> None:
    nats.make_streams()
    with Agent(tmp_path, more=publish(nats, "node7")) as agent:
        subprocess.run(["sh", "-c", "exit 71"])
        agent.write_now()
        wait_for(lambda: 71 in codes(nats))
        publisher = next(pid for pid in agent.children() if "publisher.state" in open_files(pid))
        os.kill(publisher, signal.SIGKILL)
        wait_for(lambda: "the publisher has ended (signal 9): it is started again" in agent.said)
        subprocess.run(["sh", "-c", "exit 72"])
        agent.write_now()
        wait_for(lambda: 72 in codes(nats))
        assert [code for code in codes(nats) if code in (71, 72)] == [71, 72]


def test_all_its_processes_take_little_memory(nats: Nats, tmp_path: Path) -> None:
    nats.make_streams()
    (port,) = free_ports(1)
    metrics = f'[metrics]\nlisten = "127.0.0.1:{port}"'
    with Agent(tmp_path, more=f"{publish(nats, 'node7')}\n{metrics}", targets="all") as agent:
        for _ in range(20):
            subprocess.run(["unshare", "--pid", "--fork", "sh", "-c", "/bin/true; exit 71"])
        ended_s = time.time()
        agent.write_now()
        wait_for(lambda: 71 in codes(nats))
        assert Sample.of(agent).kb < MOST_KB
        wait_for(lambda: metric(port, "nstrace_published_messages_total") == len(nats.messages()))
        assert abs(metric(port, "nstrace_published_timestamp_seconds") - ended_s) < 60
        assert metric(port, "nstrace_published_events_total") >= 3 * 20
        assert metric(port, "nstrace_publish_losses_total") == 0


def metric(port: int, name: str) -> float:
    """A metric without labels; -1: there is none."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = [line.split() for line in answer.read().decode().splitlines()]
    return next((float(words[1]) for words in lines if words[0] == name), -1.0)


def test_fleet_follow_shows_what_agents_record(nats: Nats, tmp_path: Path) -> None:
    hosts, follow = ("node1", "node2"), Process(tmp_path / "follow.log", *FOLLOW, "--nats", nats.urls, "node*")

    def shown(host: str) -> list[int]:
        """The codes from 71 on with which processes ended, in order of the lines."""
        lines = follow.events()
        return [line["exit_code"] for line in lines if line["host"] == host and line.get("exit_code") in range(71, 75)]

    def has_more(than: int) -> bool:
        return len(nats.messages()) > than

    with contextlib.ExitStack() as stack:
        follow.start()
        stack.callback(follow.close)
        for host in hosts:
            (tmp_path / host).mkdir()
            stack.enter_context(Agent(tmp_path / host, more=publish(nats, host)))
        while not all(map(shown, hosts)):  # until it follows both
            before = len(nats.messages())
            subprocess.run(["sh", "-c", "exit 71"])
            wait_for(partial(has_more, before))
        for code in (72, 73, 74):
            subprocess.run(["sh", "-c", f"exit {code}"])
        wait_for(lambda: all(shown(host)[-1] == 74 for host in hosts))
        for host in hosts:
            assert [code for code in shown(host) if code != 71] == [72, 73, 74]
        assert follow.end() == 0, follow.said()


def open_files(pid: int) -> str:
    """The names of the files that a process has open."""
    try:
        return " ".join(str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return ""
