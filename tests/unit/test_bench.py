"""scripts/bench: which storms, how often, and what becomes of the results."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench import budgets, page, report, storms
from bench.measure import CannotRun, Workload
from bench.results import Results
from bench.tools import NONE, OURS, PEERS, Tool

ROOT = Path(__file__).parents[2]
TEXT, JSON = OURS[0], OURS[1]
PEER, BROKEN = PEERS[0], PEERS[1]
SIZE = storms.Size(storm=100, rounds=2, most_rounds=6, patience_s=3600, lone=1)
SECONDS = {NONE.name: [1.0], TEXT.name: [1.1, 1.1], JSON.name: [1.0, 1.5, 1.2, 1.2, 1.2], PEER.name: [2.0, 2.02]}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    """Of both headline storms, JSON's time being wide at first and BROKEN without any."""
    runs: Counter[tuple[str, int]] = Counter()

    def under_storm(tool: Tool, workload: Workload, _storm: Path, _quiet_pid: int) -> dict[str, Any]:
        if tool is BROKEN:
            raise CannotRun("it ended by SIGSEGV")
        turn = runs[tool.name, workload.copies]
        runs[tool.name, workload.copies] += 1
        times = SECONDS[tool.name]
        expected = 0 if tool is NONE else 300
        return {
            "seconds": times[min(turn, len(times) - 1)] * (1.5 if workload.copies > 1 and tool is not NONE else 1),
            "op_ns": {"p50": 1}, "cpu_ns": 300_000, "rss": 50 << 20, "expected": expected, "told": expected,
            "after_ns": 0, "bytes_per_event": 100,
        }  # fmt: skip

    monkeypatch.setattr(storms, "under_storm", under_storm)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    found = Results(tmp_path / "results.jsonl", resume=False)
    for mode in storms.HEADLINE:
        storms.run(found, mode, [TEXT, JSON, PEER, BROKEN], SIZE, Path("storm"), 1)
    return found


def rounds(results: Results, tool: Tool, mode: str = "spawn") -> int:
    return sum(result["tool"] == tool.name for result in results.of_storm(mode))


def test_the_headline_storm_has_a_worker_on_every_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for cpus in (1, 2, 64):
        monkeypatch.setattr(os, "cpu_count", lambda cpus=cpus: cpus)
        workloads = SIZE.workloads()
        assert (workloads["busy"].copies, workloads["spawn"].copies) == (cpus, 1)
        assert workloads["busy"].mode == workloads["spawn"].mode == "spawn"
    assert next(iter(storms.SAID)) == "busy"


def test_every_peer_is_measured_under_the_headline_storms() -> None:
    everyone = [*OURS, *PEERS]
    for mode in storms.HEADLINE:
        assert storms.tools_for(mode, everyone) == everyone
    assert len(storms.tools_for("fork", everyone)) < len(everyone)


def test_what_is_wide_is_measured_again_and_what_is_narrow_is_not(results: Results) -> None:
    assert rounds(results, TEXT) == rounds(results, PEER) == rounds(results, BROKEN) == SIZE.rounds
    assert SIZE.rounds < rounds(results, JSON) <= SIZE.most_rounds
    assert not report.is_wide([1.0])
    assert not report.is_wide([1.0, 1.01, 1.02, 1.02, 1.3])
    assert report.is_wide([1.0, 1.02, 1.08, 1.1])


def test_without_patience_no_round_is_added(results: Results, tmp_path: Path) -> None:
    hasty = storms.Size(storm=100, rounds=2, most_rounds=6, patience_s=0, lone=1)
    found = Results(tmp_path / "hasty.jsonl", resume=False)
    storms.run(found, "spawn", [JSON], hasty, Path("storm"), 1)
    assert rounds(found, JSON) == 2


def test_a_run_that_was_broken_off_goes_on(results: Results, tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-5]) + "\n")
    again = Results(file, resume=True)
    for mode in storms.HEADLINE:
        storms.run(again, mode, [TEXT, JSON, PEER, BROKEN], SIZE, Path("storm"), 1)
    keys = ("mode", "tool", "round", "place")
    assert {tuple(r[key] for key in keys) for r in again.all} == {tuple(r[key] for key in keys) for r in results.all}


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_busy_cpus_and_one_to_spare_stand_side_by_side(results: Results) -> None:
    busy, spawn = (results.of_storm(mode) for mode in storms.HEADLINE)
    header, _line, *rows = cells(report.summary(busy, spawn))
    assert header[:3] == ["tool", "all CPUs busy", "a CPU to spare"]
    named = {row[0]: row for row in rows}
    assert named[TEXT.name][1:4] == ["1.65 (1.65-1.65)", "1.10 (1.10-1.10)", "all"]
    assert named[PEER.name][1:3] == ["3.02 (3.00-3.03)", "2.01 (2.00-2.02)"]
    assert named[BROKEN.name][1:3] == ["it ended by SIGSEGV", ""]


def test_budgets_say_what_is_over_them(results: Results) -> None:
    rows = {row[0]: row[2] for row in budgets.rows(results)}
    assert rows["storm on all CPUs, time with / without"].startswith("**1.65** (text), ")
    assert rows["events lost in the first"] == "0"
    assert rows["reader CPU an event in it, us: text / JSON / record"] == "1.0 (text), 1.0 (JSON)"
    assert "start to first event, s" not in rows  # it was not measured


def test_figures_replace_those_that_were_there(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"# Above\n\n{page.BEGIN}\nold | table\n{page.END}\n\nbelow\n")
    for _ in range(2):
        page.put(path, "| new |\n|-----|")
        assert path.read_text() == f"# Above\n\n{page.BEGIN}\n| new |\n|-----|\n{page.END}\n\nbelow\n"


@pytest.mark.parametrize("name", ["docs/costs.md", "docs/benchmarks.md", "docs/scale.md", "docs/stress.md"])
def test_each_page_has_one_place_for_figures(name: str) -> None:
    text = (ROOT / name).read_text()
    assert text.count(page.BEGIN) == text.count(page.END) == 1
    assert text.index(page.BEGIN) < text.index(page.END)
    assert "|" in text[text.index(page.BEGIN) : text.index(page.END)]
