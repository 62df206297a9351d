"""nstrace agent with [publish]: what it records is on the server, after the publisher was killed too."""

# ruff: noqa: F811 - fixtures
from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import wait_for
from servers import Nats, nats, needs_server  # noqa: F401 - a fixture
from service import Agent

from tracer.fleet.envelope import content, opened
from tracer.stream.batch import Batch
from tracer.stream.schema import Kind

pytestmark = [needs_server, pytest.mark.kernel]


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
    more = f'[publish]\ncluster = "eu"\nhost = "node7"\nsink = "nats"\nurl = "{nats.urls}"\nrate = "10 MB"'
    with Agent(tmp_path, more=more) as agent:
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


def open_files(pid: int) -> str:
    """The names of the files that a process has open."""
    try:
        return " ".join(str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return ""
