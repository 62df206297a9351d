"""tracer.follow: events as they happen, from Python."""

import gc
import subprocess
from pathlib import Path

import pytest

import tracer

pytestmark = pytest.mark.kernel


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def test_events_as_they_happen() -> None:
    for _ in range(2):
        before = descriptors()
        events = tracer.follow("host", duration=60)
        assert next(events)["event"] == "snapshot"
        child = subprocess.Popen(["/bin/sh", "-c", "exit 7"])
        seen = []
        for event in events:
            if event["pid"] == child.pid:
                seen.append(event)
            if seen and seen[-1]["event"] == "exit":
                break
        events.close()
        assert child.wait() == 7
        assert [event["event"] for event in seen] == ["fork", "exec", "exit"]
        assert (seen[1]["args"], seen[2]["exit_code"]) == (["/bin/sh", "-c", "exit 7"], 7)
    assert descriptors() <= before
