"""--where on real containers: what passes live is what a loop finds in all that was recorded; and its recording."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from capturing import DEADLINE_S, live, stop
from oracle import SOCKET, WORKLOAD, Ledger, Receiver

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
Run = Callable[..., Ledger]
Line = dict[str, Any]
HAPPENS = ("fork", "exec", "exit")
WHERE: dict[str, Callable[[Line], Any]] = {
    "event = 'exit' and (exit_code <> 0 or signal is not null)": lambda e: (
        e["event"] == "exit" and (e["exit_code"] or e["signal"])
    ),
    "event = 'exec' and args like '%noop a b%'": lambda e: (
        e["event"] == "exec" and "noop a b" in " ".join(e["args"] or [])
    ),
    "ns_ppid > 0 and comm <> 'sh'": lambda e: (e["ns_ppid"] or 0) > 0 and e["comm"] != "sh",
}


def replay(arrows: Path, *args: str) -> bytes:
    env = {"PATH": os.environ["PATH"], "DOCKER_HOST": "unix:///nowhere"}
    argv = [sys.executable, "-m", "tracer", "replay", "-q", str(arrows), *args]
    return subprocess.run(argv, check=True, capture_output=True, env=env, timeout=DEADLINE_S).stdout


def happened(lines: bytes) -> list[Line]:
    return [line for line in map(json.loads, lines.splitlines()) if line["event"] in HAPPENS]


def act(container: Any, run_ledger: Run, receiver: Receiver) -> None:
    run_ledger(container, "pairs", SOCKET, 20, "exec", 0)
    receiver.wait(20)
    container.exec_run([WORKLOAD, "noop", "a b", "x"])
    container.exec_run([WORKLOAD, "signal", "9"])
    container.exec_run(["sh", "-c", "exit 3"])


@pytest.mark.parametrize("where", WHERE)
def test_live_is_as_a_loop_and_as_its_recording(
    where: str, tmp_path: Path, start_container: Start, run_ledger: Run, receiver: Receiver
) -> None:
    container = start_container(receiver=receiver)
    everything, filtered = tmp_path / "all.arrows", tmp_path / "some.arrows"
    shown = f"event = 'snapshot' or ({where})"  # so that a line says that it has begun
    runs = [live(everything, "--json", container.name), live(filtered, "--json", "--where", shown, container.name)]
    act(container, run_ledger, receiver)
    for run in runs:
        stop(run)
    seen = filtered.with_suffix(".live").read_bytes()
    loop = [line for line in happened(replay(everything, "--json")) if WHERE[where](line)]
    key = lambda e: (e["proc_id"], e["event"])  # noqa: E731 - each run has times of its own
    assert loop and list(map(key, happened(seen))) == list(map(key, loop))
    assert replay(filtered, "--json", "--where", shown) == seen
    kept = [line for line in replay(filtered, "--json").splitlines() if b'"event":"session"' not in line]
    assert kept == seen.splitlines()  # and without the condition, but for what names the sessions
    assert list(map(key, happened(replay(everything, "--json", "--where", where)))) == list(map(key, loop))
