"""The log of a container that starts again and again: each line is given to the process of its life that wrote it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from capturing import live, stop
from logs import LINES, NR, Log, written_through_restarts
from oracle import Receiver

pytestmark = pytest.mark.e2e


def test_each_line_is_given_to_its_life(
    tmp_path: Path, start_container: Callable[..., Any], receiver: Receiver
) -> None:
    start_container()  # somebody is there to be shown
    recording = live(tmp_path / "x.arrows", "all")
    container, lines = written_through_restarts(start_container, receiver)
    stop(recording)
    log = Log(tmp_path / "x.arrows", lines, container.name)
    assert log.lost() == 0 and len(lines) >= 10_000
    assert log.translated(log.lines(), "--lag", "0") == log.truth
    rows = log.joined("--on", "space,nr")
    assert [(row["process_pids"], row["process_unknown"]) for row in rows] == [([host, NR], None) for host in log.truth]
    assert len({row["process_incarnation"] for row in rows}) == len(lines) / LINES
