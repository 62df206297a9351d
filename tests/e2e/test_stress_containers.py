"""Real containers under stress: who they are by what the engine itself says, a flood beside a quiet one, repair."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import figures
import pytest
from following import Event, Following, alive, lost
from lives import Life, Stream, lives_of_one, missing_of, wrong_about
from oracle import SOCKET, WORKLOAD, Ledger, Receiver
from stack import Space, eventually, size

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
Run = Callable[..., Ledger]


def test_lives_of_containers_beside_a_storm(engine: Any, image: str, workload: Path) -> None:
    lives: list[Life] = []
    with Following("all") as follow:
        storm = Space(workload, "storm", 10_000_000, os.cpu_count() or 1)
        follow.until(lambda events: any(event["event"] == "fork" for event in events))
        for _ in range(size(2, 10)):
            lives += lives_of_one(engine, image, workload)
        storm.kill()
        last = lives[-1]
        follow.until(lambda events: not missing_of(last, Stream(events)))
        events = follow.stop()
    stream = Stream(events)
    wrong = [line for life in lives for line in wrong_about(life, stream)]
    missing = sum(missing_of(life, stream) for life in lives)
    mine = [event for life in lives for _pids, told in stream.of_life(life) for event in told]
    nameless = sum(event["container"] is not None and event["container"]["name"] is None for event in mine)
    figures.note(
        "containers started, killed, restarted and removed beside a storm",
        f"{len(lives)} lives, {sum(len(life.pairs) for life in lives)} processes put into them",
        told=len(mine),
        lost=lost(events),
        wrong=len(wrong) + missing,
        more=f"container, life, cgroup and PIDs as the engine and the kernel say; {nameless} before the name was known",
    )
    assert not wrong
    assert missing == 0
    assert nameless < len(mine)


@pytest.mark.parametrize(("buffer", "count"), [("1", 20), ("0.25", 200)], ids=["quiet", "not so quiet"])
def test_a_fork_bomb_under_a_limit_beside_another_container(
    buffer: str, count: int, start_container: Start, run_ledger: Run, receiver: Receiver
) -> None:
    """The consumer stops for a while: what the other one did is complete, or what is missing is said to be its."""
    seconds = size(1, 10)
    quiet = start_container(receiver=receiver)
    bomb = start_container([WORKLOAD, "bomb"], pids_limit=16)
    with Following("--stats", "--buffer-size", buffer, bomb.name, quiet.name) as follow:
        follow.until(lambda events: sum(event["event"] == "fork" for event in events) > 100)
        follow.process.send_signal(signal.SIGSTOP)
        until = time.monotonic() + seconds
        run_ledger(quiet, "pairs", SOCKET, count, "exec", 0)
        pairs = receiver.wait(count)
        eventually(lambda: time.monotonic() > until)
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        follow.process.send_signal(signal.SIGCONT)
        follow.until(lambda events: any(event["event"] == "exit" and event["ts_ns"] > now_ns for event in events))
        bomb.kill()
        bomb.wait()
        truth = {int(row[0]) for row in quiet.top(ps_args="-o pid")["Processes"]}
        follow.until(lambda events: living(events, bomb.id) == set() and living(events, quiet.id) == truth)
        memory = figures.peak_mib(follow.process.pid)
        events = follow.stop()
    stream = Stream(events)
    told = [(pair, event) for pair in pairs for event in stream.of(pair.host_tgid, pair.boottime_ns)]
    wrong = sum(
        (event["pids"], event["container"]["id"]) != ([pair.host_tgid, pair.ns_pid], quiet.id) for pair, event in told
    )
    gaps = [event for event in events if event["event"] == "gap"]
    of_quiet = next((int(nr) for who, nr in re.findall(r"lost of (\S+): (\d+)", follow.stderr) if who == quiet.name), 0)
    missing = 3 * count - len([event for _pair, event in told if not event.get("inferred")])
    said = re.search(r"(\d+) of those lost were throttled", follow.stderr)
    throttled = int(said[1]) if said else 0
    figures.note(
        f"fork bomb under --pids-limit, reader stopped for {seconds} s, ring of {buffer} MiB",
        f"{count} processes in another container",
        told=len(events),
        lost=lost(events),
        wrong=wrong + max(0, missing - of_quiet),
        more=f"of the other one {missing} of {3 * count} lost, {figures.count(throttled)} of all throttled; "
        f"then as docker top; {memory}",
    )
    assert wrong == 0
    assert 0 <= missing <= of_quiet <= missing + 50  # runc's way in, and the workload itself
    if count == 20:
        assert {gap["container"]["name"] for gap in gaps if gap["throttled"]} <= {bomb.name}
    else:
        assert throttled > 0
    assert f"{lost(events)} lost" in follow.stderr
    assert "does not add up" not in follow.stderr


def living(events: list[Event], container_id: str) -> set[int]:
    """Who lives in a container, as the stream tells it."""
    return {event["pid"] for event in alive(events) if (event["container"] or {}).get("id") == container_id}
