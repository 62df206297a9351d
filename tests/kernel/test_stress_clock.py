"""Somebody sets the clock while nstrace follows and records: no order, no duration, no answer changes.

The clock is stepped by an hour for nstrace alone (stepped_clock.c). NSTRACE_STEP_CLOCK=1 steps the machine's as well,
by two seconds for as long as ten processes take: that is everyone's on it, so nobody gets it unasked.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import figures
import pytest
from following import Event
from oracle import Pair, Receiver
from stack import Space, eventually

pytestmark = pytest.mark.kernel
NSTRACE = [sys.executable, "-m", "tracer"]
SOURCE = Path(__file__).parents[1] / "stepped_clock.c"
COUNT = 10
HOUR_S = 3600
MACHINES = os.environ.get("NSTRACE_STEP_CLOCK") == "1"
WAYS = ["back an hour", "ahead an hour", *(["back, the machine's", "ahead, the machine's"] if MACHINES else [])]


class Clock(NamedTuple):
    """way: how it is set. environment: of the one whose clock it is. stepped: while the clock is another."""

    way: str
    environment: dict[str, str]
    stepped: Callable[[], AbstractContextManager[None]]


@pytest.fixture(params=WAYS)
def clock(request: pytest.FixtureRequest, tmp_path: Path) -> Clock:
    sign = -1 if request.param.startswith("back") else 1
    if request.param.endswith("machine's"):
        return Clock(request.param, {}, lambda: machine_stepped(2 * sign))
    library, step = tmp_path / "stepped_clock.so", tmp_path / "step"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", SOURCE, "-o", library], check=True)
    step.write_bytes(bytes(8))
    environment = {"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(step)}
    return Clock(request.param, environment, lambda: stepped(step, sign * HOUR_S))


@contextmanager
def stepped(file: Path, seconds: int) -> Iterator[None]:
    with file.open("r+b") as out:
        out.write((seconds * 1_000_000_000).to_bytes(8, sys.byteorder, signed=True))
    yield


@contextmanager
def machine_stepped(seconds: int) -> Iterator[None]:
    """What has passed meanwhile is told by a clock that nobody sets."""
    before_ns, since_ns = time.time_ns(), time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    try:
        time.clock_settime_ns(time.CLOCK_REALTIME, before_ns + seconds * 1_000_000_000)
    except PermissionError as error:
        pytest.skip(f"this machine's clock may not be set: {error}")
    try:
        yield
    finally:
        passed_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - since_ns
        time.clock_settime_ns(time.CLOCK_REALTIME, before_ns + passed_ns)


def events_of(out: Path) -> list[Event]:
    return [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]]


def test_a_step_changes_no_order_no_duration_and_no_answer(
    clock: Clock, workload: Path, receiver: Receiver, tmp_path: Path
) -> None:
    arrows, out = tmp_path / "run.arrows", tmp_path / "live.jsonl"
    environment = {**os.environ, **clock.environment}
    begun_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    offset_ns = time.time_ns() - begun_ns
    with out.open("wb") as stdout:
        follow = subprocess.Popen([*NSTRACE, "follow", "--json", "-w", arrows, "all"], stdout=stdout, env=environment)
    there = Space(workload, "crowd", 1)
    eventually(lambda: any(event["pid"] == there.init for event in events_of(out) if "pid" in event))
    before = some_pairs(workload, receiver, out)
    with clock.stepped():
        assert abs(clock_of(environment) - time.clock_gettime_ns(time.CLOCK_BOOTTIME) - offset_ns) > 1_000_000_000
        after = some_pairs(workload, receiver, out)
    there.kill()
    eventually(lambda: there.init in ended(out))
    follow.send_signal(signal.SIGINT)
    assert follow.wait(30) == 0
    passed_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - begun_ns

    events = events_of(out)
    pairs = [*before, *after]
    wrong = sum(not is_in_its_time(events, pair) for pair in pairs)
    wrong += sum(translated(arrows, pair, offset_ns) != pair.host_tgid for pair in (before[-1], after[0], after[-1]))
    exits = [event for event in events if event["event"] == "exit"]
    wrong += sum(not 0 <= event["duration_ns"] <= passed_ns for event in exits if event["pid"] == there.init)
    figures.note(
        f"the clock is set {clock.way}",
        f"{len(pairs)} processes",
        told=sum(event["event"] in ("fork", "exec", "exit") for event in events),
        lost=sum(event["lost"] for event in events if event["event"] == "gap"),
        wrong=wrong,
        more="order, durations, times, replay, translate --at",
    )
    assert wrong == 0
    order = [event["pid"] for event in events if event["event"] == "fork"]
    assert [pid for pid in order if pid in {pair.host_tgid for pair in pairs}] == [pair.host_tgid for pair in pairs]
    for event in events:  # wall clock is what it was when nstrace began, plus what has passed
        assert abs(wall_ns(event["time"]) - event["ts_ns"] - offset_ns) < 1_000_000_000
    for env in (os.environ, environment):
        done = subprocess.run([*NSTRACE, "replay", "--json", arrows], capture_output=True, check=True, env=env)
        assert done.stdout == out.read_bytes()


def clock_of(environment: dict[str, str]) -> int:
    """What a process with this environment takes for the time, ns."""
    argv = [sys.executable, "-c", "import time; print(time.time_ns())"]
    return int(subprocess.check_output(argv, env=environment))


def some_pairs(workload: Path, receiver: Receiver, out: Path) -> list[Pair]:
    """Processes one after the other, whose ends have been told."""
    known = len(receiver.pairs)
    eventually(Space(workload, "pairs", receiver.path, COUNT, "seq").has_ended)
    pairs = receiver.wait(known + COUNT)[known:]
    eventually(lambda: {pair.host_tgid for pair in pairs} <= ended(out))
    return pairs


def ended(out: Path) -> set[int]:
    return {event["pid"] for event in events_of(out) if event["event"] == "exit"}


def is_in_its_time(events: list[Event], pair: Pair) -> bool:
    """By the process's own look at the clock that nobody sets, between its fork and its exit."""
    mine = {event["event"]: event for event in events if event.get("pid") == pair.host_tgid}
    return bool(
        mine["fork"]["ts_ns"] <= pair.boottime_ns <= mine["exit"]["ts_ns"]
        and mine["exit"]["duration_ns"] <= mine["exit"]["ts_ns"] - mine["fork"]["ts_ns"] + 1_000_000_000
    )


def translated(arrows: Path, pair: Pair, offset_ns: int) -> int | None:
    """Whose host PID its number inside was, when it looked at the clock."""
    moment = "@%d.%09d" % divmod(pair.boottime_ns + offset_ns, 1_000_000_000)  # noqa: UP031
    argv = [*NSTRACE, "translate", "-q", "--from", str(arrows), "--at", moment, f"pidns:{pair.pidns}/{pair.ns_pid}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else None


def wall_ns(text: str) -> int:
    seconds, _, ns = text.rstrip("Z").partition(".")
    return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 1_000_000_000 + int(ns)
