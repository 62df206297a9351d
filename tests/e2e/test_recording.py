"""Replay is what live was, byte for byte: on real containers, and elsewhere too, without root, bcc or an engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from capturing import DEADLINE_S, live, stop
from conftest import ROOT
from oracle import SOCKET, WORKLOAD, Ledger, Receiver

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
Run = Callable[..., Ledger]

# A Python where bcc cannot be imported, run by someone who may nothing.
NO_BCC = "import sys; sys.modules['bcc'] = None; from tracer.cli import main; main()"
NOBODY = ["unshare", "--user", "--map-user=65534", "--map-group=65534", sys.executable, "-c", NO_BCC]


def replay(arrows: Path, *args: str, by: list[str] | None = None) -> bytes:
    env = {"PATH": os.environ["PATH"], "DOCKER_HOST": "unix:///nowhere", "PYTHONPATH": str(ROOT)}
    argv = [*(by or [sys.executable, "-m", "tracer"]), "replay", str(arrows), *args]
    return subprocess.run(argv, check=True, capture_output=True, env=env, timeout=DEADLINE_S).stdout


def act(container: Any, run_ledger: Run, receiver: Receiver) -> None:
    run_ledger(container, "pairs", SOCKET, 60, "exec", 0)
    receiver.wait(60)
    container.exec_run([WORKLOAD, "noop", "a b", "", "new\nline", "\x1b[31mred", "é"])
    container.exec_run([WORKLOAD, "threads-exit", "3"])
    container.exec_run([WORKLOAD, "signal", "9"])


@pytest.mark.parametrize(
    "options",
    [
        *(["--json"], ["--color=never"], ["--json", "--threads"], ["--threads"], ["--events", "exec,exit,snapshot"]),
        *(["--time", form] for form in ("epoch", "boot", "relative", "delta")),
        *(["--tree"], ["--tree", "--fields", "pid,args", "--events", "exec,exit,snapshot"]),
    ],
    ids="".join,
)
def test_replay_is_live_byte_for_byte(
    options: list[str], tmp_path: Path, start_container: Start, run_ledger: Run, receiver: Receiver
) -> None:
    container = start_container(receiver=receiver)
    arrows = tmp_path / "run.arrows"
    following = live(arrows, *options, container.name)
    act(container, run_ledger, receiver)
    stop(following)
    seen = arrows.with_suffix(".live").read_bytes()
    assert seen.count(b"\n") >= 120
    assert replay(arrows, *options) == seen
    assert replay(arrows, *options, container.name, by=NOBODY) == seen


def named(lines: list[bytes]) -> list[bytes]:
    """Lines of JSON, as printed live, with the name of a life in those too that came before the engine had told it:
    so a replay has them where its TARGET needs names."""
    names = {}
    for line in lines:
        event = json.loads(line)
        if (container := event.get("container")) and container["name"]:
            key = container["id"], event["incarnation"]
            names[key] = _json(container)
    return [_with_name(line, names) for line in lines]


def _with_name(line: bytes, names: dict[tuple[str, int], bytes]) -> bytes:
    event = json.loads(line)
    container = event.get("container")
    if not container or container["name"]:
        return line
    return line.replace(_json(container), names.get((container["id"], event["incarnation"]), _json(container)))


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def test_a_target_of_all_that_was_recorded(tmp_path: Path, start_container: Start) -> None:
    first = start_container()
    arrows = tmp_path / "run.arrows"
    following = live(arrows, "--json", "all")
    second = start_container()  # its name comes in the middle of the stream
    first.exec_run([WORKLOAD, "noop", "one"])
    second.exec_run([WORKLOAD, "noop", "two"])
    second.restart(timeout=0)
    stop(following)
    live_lines = arrows.with_suffix(".live").read_bytes()
    assert replay(arrows, "--json") == live_lines
    lines = named(live_lines.splitlines(keepends=True))
    for container in (first, second):
        mine = b"".join(line for line in lines if f'"name":"{container.name}"'.encode() in line)
        assert mine
        assert replay(arrows, "--json", container.name, by=NOBODY) == mine
    both = replay(arrows, "--json", "nstrace-*")
    assert both == b"".join(line for line in lines if b'"name":"nstrace-' in line)
    assert b'"incarnation":2' in both


def test_count_cuts_both_alike(tmp_path: Path, start_container: Start) -> None:
    container = start_container(["sh", "-c", "while true; do true | true; done"])
    arrows = tmp_path / "run.arrows"
    following = live(arrows, "--json", "--count", "25", container.name)
    following.communicate(timeout=DEADLINE_S)
    assert replay(arrows, "--json") == replay(arrows, "--json", "--count", "25")
    assert replay(arrows, "--json") == arrows.with_suffix(".live").read_bytes()


def test_rotated_files_together_are_live(
    tmp_path: Path, start_container: Start, run_ledger: Run, receiver: Receiver
) -> None:
    container = start_container(receiver=receiver)
    arrows = tmp_path / "run.arrows"
    following = live(arrows, "--json", "--rotate-interval", "1s", "all")
    act(container, run_ledger, receiver)
    while not (tmp_path / "run.000004.arrows").exists():  # the time limit of the test is the deadline
        container.exec_run([WORKLOAD, "noop"])
    stop(following)
    assert replay(arrows, "--json") == arrows.with_suffix(".live").read_bytes()
    last = replay(tmp_path / "run.000003.arrows", "--json", container.name, by=NOBODY).splitlines()
    first = next(line for line in last if b'"ns_pid"' in line)
    assert b'"event":"snapshot"' in first  # it knows who lived, and where
    assert b'"ns_pid":1,' in first


def test_a_recording_of_one_container_says_nothing_of_another(tmp_path: Path, start_container: Start) -> None:
    web, other = start_container(), start_container(labels={"secret": "of-another"})
    arrows = tmp_path / "run.arrows"
    following = live(arrows, "--json", web.name)
    web.exec_run([WORKLOAD, "noop", "one"])
    later = start_container(labels={"secret": "of-another"})
    later.exec_run([WORKLOAD, "noop", "two"])
    stop(following)
    facts = [row["args"] for row in pa.ipc.open_stream(arrows).read_all().to_pylist() if row["event"] == "cgroup"]
    told = b"\n".join(fact if isinstance(fact, bytes) else str(fact).encode() for fact in facts)
    assert web.name.encode() in told
    assert all(container.id.encode() not in told for container in (other, later))
    assert b"of-another" not in told
    assert replay(arrows, "--json") == replay(arrows, "--json", web.name)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "tracer", "replay", str(arrows), other.name]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=DEADLINE_S)
    assert (done.returncode, done.stdout) == (3, "")
    assert other.name not in done.stderr.partition("containers in it")[2]
