"""Text of a storm that overflows the ring: a burst of gaps is one line, live and replayed alike."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stack import Space

pytestmark = pytest.mark.kernel
NSTRACE = [sys.executable, "-m", "tracer"]
DEADLINE_S = 60


@pytest.fixture
def storm(workload: Path) -> Iterator[None]:
    """Processes that come and go for as long as this lasts."""
    space = Space(workload, "storm", 10_000_000, 4)
    yield
    space.kill()


def output_of(*args: str | Path) -> bytes:
    return subprocess.run([*NSTRACE, *args], capture_output=True, check=True, timeout=DEADLINE_S).stdout


def test_bursts_are_lines_that_have_all_losses(storm: None, tmp_path: Path) -> None:
    arrows = tmp_path / "storm.arrows"
    small = ("--buffer-size", "0.0625", "--duration", "3", "--color", "always")
    live = output_of("follow", *small, "-w", arrows, "host", "all")
    assert output_of("replay", "--color", "always", arrows) == live
    gaps = [json.loads(line) for line in output_of("replay", "--json", arrows).splitlines() if b'"gap"' in line]
    shown = [line for line in live.decode().splitlines() if "gap\x1b" in line]
    assert sum(gap["lost"] for gap in gaps) == sum(int(re.findall(r"lost (\d+) event", line)[0]) for line in shown)
    assert len(gaps) > 100
    assert len(shown) < len(gaps) / 3
