"""The storms: what each is, which tools are measured under it, and how often."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Workload, under_storm
from bench.report import is_wide, slow_downs
from bench.results import Results
from bench.tools import FLOODED, NONE, SHORT, Tool, of_threads

RATE = 1_000
SAID = {
    "busy": "vfork, exec, wait at full speed, as many workers as there are CPUs: tracer and traced share all of them.",
    "spawn": "The same from one worker: the tracer works on a CPU that is left free, where there are several.",
    "fork": "fork, exit, wait at full speed: the same without exec.",
    "thread": "Threads that are made and joined at full speed.",
    "rate": f"vfork, exec, wait {RATE} times a second: what an operation takes (its median), with and without.",
    "flood": "fork, exit, wait on all CPUs at once, with a small ring: the reader lets the others go first.",
}
HEADLINE = ("busy", "spawn")
"""Storms that every tool is measured under, repeated until its figure is narrow."""


@dataclass(frozen=True)
class Size:
    """How much is measured. storm: processes or threads of a storm; lone: events for the latency of lone ones.

    rounds: of the headline storms; up to most_rounds for tools whose figure is wide, as long as the storm has taken
    less than patience_s.
    """

    storm: int
    rounds: int
    most_rounds: int
    patience_s: float
    lone: int

    def workloads(self) -> dict[str, Workload]:
        """The workloads by mode. flood: more than a reader can process."""
        cpus = os.cpu_count() or 1
        return {
            "busy": Workload("spawn", self.storm // min(2, cpus), copies=cpus),
            "spawn": Workload("spawn", self.storm),
            "fork": Workload("fork", self.storm),
            "thread": Workload("thread", 3 * self.storm),
            "rate": Workload("spawn", min(self.storm // 2, 3 * RATE), RATE),
            "flood": Workload("fork", self.storm, copies=cpus),
        }


SIZES = {
    "quick": Size(3_000, 1, 1, 0, 50),
    "default": Size(10_000, 3, 5, 180, 200),
    "full": Size(15_000, 2, 9, 300, 200),
}


def run(results: Results, mode: str, tools: Sequence[Tool], size: Size, storm: Path, quiet_pid: int) -> None:
    """Measure every tool in turn, and no tool before and after each."""
    workload, began = size.workloads()[mode], time.monotonic()
    for turn in itertools.count():
        due = _due(results, mode, tools, size, turn, time.monotonic() - began)
        if not due:
            return
        for place, tool in enumerate([NONE, *itertools.chain.from_iterable((one, NONE) for one in due)]):
            key = {"what": "storm", "mode": mode, "tool": tool.name, "round": turn, "place": place}
            results.once(key, under_storm, tool, workload, storm, quiet_pid)


def _due(results: Results, mode: str, tools: Sequence[Tool], size: Size, turn: int, elapsed_s: float) -> Sequence[Tool]:
    """The tools that are measured in this round."""
    if turn < (size.rounds if mode in HEADLINE else 1):
        return tools
    if mode not in HEADLINE or turn >= size.most_rounds or elapsed_s >= size.patience_s:
        return []
    before = slow_downs([result for result in results.of_storm(mode) if result["round"] < turn])
    return [tool for tool in tools if is_wide(before.get(tool.name, []))]


def tools_for(mode: str, everyone: Sequence[Tool]) -> list[Tool]:
    """All tools for the headline storms; ours, the floors and a few peers for the others."""
    some = [tool for tool in everyone if tool.group != "peer" or tool.name in SHORT]
    if mode == "thread":
        return of_threads(some)
    if mode == "flood":
        return list(FLOODED)
    return list(everyone) if mode in HEADLINE else some
