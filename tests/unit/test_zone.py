"""Times of text: of this host's zone, or UTC; shown and typed alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from recordings import facts, record, storm

ROOT = Path(__file__).parents[2]
TOKYO = "Asia/Tokyo"  # 9 hours ahead


@pytest.fixture
def arrows(tmp_path: Path) -> Path:
    record(tmp_path / "x.arrows", [facts(), storm(1, 3)])  # from 2023-11-14 22:13:21 UTC on
    return tmp_path / "x.arrows"


def nstrace(*words: object, **variables: str) -> list[str]:
    env = os.environ | {"TZ": TOKYO, "NSTRACE_CONFIG": ""} | variables
    argv = [sys.executable, "-m", "tracer", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=env, timeout=60, check=True)
    return done.stdout.splitlines()


def test_a_stream(arrows: Path) -> None:
    assert nstrace("replay", "--no-header", arrows)[0].startswith("07:13:21")
    assert nstrace("replay", "--no-header", "--time", "utc", arrows)[0].startswith("22:13:21")
    assert nstrace("replay", "--no-header", arrows, NSTRACE_TIME="utc")[0].startswith("22:13:21")
    assert nstrace("replay", "--no-header", "--time", "local", arrows, NSTRACE_TIME="utc")[0].startswith("07:13:21")
    assert json.loads(nstrace("replay", "--json", arrows)[0])["time"].startswith("2023-11-14T22:13:21")


@pytest.mark.parametrize(("zone", "day", "clock"), [("local", "2023-11-15", "07"), ("utc", "2023-11-14", "22")])
def test_what_is_typed(zone: str, day: str, clock: str, arrows: Path) -> None:
    whole = nstrace("replay", "--time", zone, arrows)
    for since in (f"{clock}:13:21", f"{day} {clock}:13:21", "2023-11-14T22:13:21Z"):
        assert nstrace("replay", "--time", zone, "--since", since, arrows) == whole
    answer = nstrace("translate", "--time", zone, "--from", arrows, "--during", f"{clock}:13:21..+1s", "1001")
    assert f"{day} {clock}:13:21" in "\n".join(answer)
