"""tracer.follow: events as they happen, from Python."""

import contextlib
import gc
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import tracer
from tracer.kernel import selfcheck

pytestmark = pytest.mark.kernel


def held() -> list[str]:
    """Descriptors of this process, and what it has mapped of BPF maps."""
    descriptors = [
        str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()
    ]  # that of the listing has gone
    maps = re.findall(r"\S*bpf\S*", Path("/proc/self/maps").read_text())
    return sorted([re.sub(r"\d+", "N", name) for name in [*descriptors, *maps]])


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing is given back but by its owner."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_events_as_they_happen() -> None:
    with contextlib.closing(tracer.follow(["host"], duration=60)) as events:
        assert any(event["event"] == "snapshot" for event in events)  # whatever began ahead of the list stands ahead
        child = subprocess.Popen(["/bin/sh", "-c", "exit 7"])
        seen: list[dict[str, Any]] = []
        for event in events:
            if event.get("pid") == child.pid and (
                seen or event["ppid"] == os.getpid()
            ):  # not who had the number before
                seen.append(event)
            if seen and seen[-1]["event"] == "exit":
                break
    assert child.wait() == 7
    assert [event["event"] for event in seen] == ["fork", "exec", "exit"]
    assert (seen[1]["args"], seen[2]["exit_code"]) == (["/bin/sh", "-c", "exit 7"], 7)


def test_what_is_closed_holds_nothing(no_collector: None) -> None:
    with contextlib.closing(tracer.follow("host")) as events:  # what is imported opens something too
        next(events)
    before = held()
    events = tracer.follow("host")
    next(events)
    assert held() != before
    events.close()
    assert held() == before


WATCHING = """
import contextlib, gc, os, sys
from tracer.containers.names import Names
from tracer.wiring.watching import Watch
gc.disable()
before = len(os.listdir("/proc/self/fd"))
with contextlib.closing(Names()) as names, contextlib.closing(Watch(names, ())) as watch:
    watch.run(0.1)
print(len(os.listdir("/proc/self/fd")) - before)
"""


def test_what_is_watched_is_given_back() -> None:
    """In a process of its own: it gives privileges up."""
    done = subprocess.run([sys.executable, "-c", WATCHING], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout == "0\n", done.stderr


@pytest.mark.parametrize("fails", ["_trace_one", "_compare"])
def test_what_cannot_be_followed_holds_nothing(fails: str, no_collector: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise tracer.NstraceError("on purpose")

    before = held()
    monkeypatch.setattr(selfcheck, fails, fail)
    with pytest.raises(tracer.NstraceError, match="on purpose") as caught:
        next(tracer.follow("host"))
    del caught  # its traceback
    assert held() == before


def test_a_target_that_there_is_not_leaves_nothing(no_collector: None) -> None:
    before = held()
    with pytest.raises(tracer.NstraceError, match="no process 4194304"):
        next(tracer.follow("pid:4194304"))
    assert held() == before


def test_a_block_is_traced_from_its_beginning_to_its_end(no_collector: None) -> None:
    with tracer.follow_typed("host", events="fork,exec,exit", duration=30) as events:
        assert repr(events) == "<events of host: following>"
        child = subprocess.Popen(["/bin/true"])
        child.wait()
        seen = [next(event for event in events if getattr(event, "pid", None) == child.pid) for _ in range(3)]
    assert [event.event for event in seen] == ["fork", "exec", "exit"]
    assert seen[0].when <= seen[1].when <= seen[2].when
    assert repr(events) == "<events of host: closed>"
    assert list(events) == []


def test_a_block_that_ends_early_holds_nothing(no_collector: None) -> None:
    with tracer.follow("host") as events:
        next(events)
    before = held()
    with pytest.raises(ZeroDivisionError), tracer.follow("host") as events:
        assert held() != before
        raise ZeroDivisionError
    assert held() == before
