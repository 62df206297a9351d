"""Hints on real containers: what they propose works as it is printed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for
from following import Following

pytestmark = pytest.mark.e2e
Start = Callable[..., Any]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tracer", *words], capture_output=True, text=True, timeout=60)


def test_a_pid_as_target(start_container: Start) -> None:
    container = start_container()
    container.reload()
    tgid = container.attrs["State"]["Pid"]
    done = run("follow", str(tgid))
    first, second = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (3, "")
    assert first == f"nstrace: no container named '{tgid}'; process {tgid} is running"
    assert container.name in second
    meant = re.search(r"did you mean (\S+)\?", second)
    assert meant
    events = map(json.loads, run("follow", "--json", "--duration", "0.5s", meant[1]).stdout.splitlines())
    assert tgid in {event.get("pid") for event in events}


def test_a_pattern_that_nothing_matches_yet_waits(start_container: Start, tmp_path: Path) -> None:
    name = f"nstrace-hints-{uuid.uuid4().hex[:8]}"
    with Following(f"{name}*", stderr_to=tmp_path / "said") as follow:
        wait_for(lambda: f"no running container matches {name}*; waiting for one to start" in follow.said())
        container = start_container(name=f"{name}-1")
        follow.until(lambda seen: any((event["container"] or {}).get("name") == container.name for event in seen))
        follow.stop()
    done = run("follow", "--duration", "0.2s", f"{name}*")
    assert "waiting" not in done.stderr  # it is there now


def test_settings_on_a_real_host(start_container: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, other = start_container().name, start_container().name
    (tmp_path / "config.toml").write_text(f"target = ['{name}']\nredact = true")
    monkeypatch.setenv("NSTRACE_CONFIG", str(tmp_path / "config.toml"))
    for words in (["ps", "--json"], ["follow", "--json", "--duration", "0.3s"]):
        shown = run(*words).stdout
        assert name in shown and other not in shown, words
    assert other in run("ps", "--json", "all").stdout
    recording = str(tmp_path / "x.arrows")
    assert run("record", "-w", recording, "--duration", "0.3s").returncode == 0
    assert name in run("replay", "--json", recording).stdout
