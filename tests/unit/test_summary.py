"""What summary counts is what a plain loop over the JSON counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import PIDNS, SECOND_NS, WEB, Row, batch, cgroup, exits, fork, gap, row
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import record, storm

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.metadata import Container
from tracer.stream.schema import EVENT_NAMES, Flag, Kind
from tracer.stream.tally import Rate, Tallies, Tally
from tracer.views.jsonl import JsonLines
from tracer.views.summary import summary_object, summary_text

ROOT = Path(__file__).parents[2]
DB = Container("b" * 64, "docker", "db")
PLACES: dict[int, str | None] = {7: "web", 8: "db", 0: None}
COUNTS = ("before", "begun", "execs", "failed_execs", "ended", "failed", "killed", "gaps", "lost")


def tallied(*batches: Batch) -> Tallies:
    tallies, containers = Tallies(), Attribution()
    for whole in batches:
        for part in containers.split_and_learn(whole):
            tallies.take(part, containers)
    return tallies


def lines_of(whole: Batch) -> list[dict[str, Any]]:
    containers, view = Attribution(), JsonLines(frozenset(Kind[name.upper()] for name in EVENT_NAMES), False, 0)
    texts = [view.render(part, containers) for part in containers.split_and_learn(whole)]
    return [json.loads(line) for line in b"".join(texts).splitlines()]


def counted(lines: list[dict[str, Any]]) -> dict[str | None, Counter[str]]:
    """By the name of the container, and under "all"; each line by itself."""
    found: dict[str | None, Counter[str]] = defaultdict(Counter)
    alive: Counter[str | None] = Counter()
    names = {"snapshot": "before", "fork": "begun", "exec": "execs", "exec_failed": "failed_execs", "exit": "ended"}
    for line in lines:
        for place in (line["container"] and line["container"]["name"], "all"):
            counts = found[place]
            counts[names.get(line["event"], "gaps")] += 1
            counts["lost"] += line.get("lost", 0)
            counts["failed"] += bool(line.get("exit_code"))
            counts["killed"] += line.get("signal") is not None
            alive[place] += {"fork": 1, "snapshot": 1, "exit": -1}.get(line["event"], 0)
            counts["most_alive"] = max(counts["most_alive"], alive[place])
    return found


def events(kind: Kind, nr: int, cgroup_id: int, status: int, comm: bytes) -> Row:
    if kind == Kind.GAP:
        return gap(nr, pair=(PIDNS, 1, cgroup_id) if cgroup_id else (0, 0, 0))
    inside = [(PIDNS + cgroup_id, nr)] if cgroup_id else []
    how: dict[str, Any] = {"status": status} if kind in (Kind.EXIT, Kind.EXEC_FAILED) else {}
    return row(kind, 100 + nr, inside, cgroup_id=cgroup_id, comm=comm, **how)


ROWS = st.builds(
    events,
    st.sampled_from([Kind.FORK, Kind.EXEC, Kind.EXIT, Kind.EXIT, Kind.SNAPSHOT, Kind.EXEC_FAILED, Kind.GAP]),
    st.integers(2, 40),
    st.sampled_from(list(PLACES)),
    st.sampled_from([0, 3 << 8, 9, 11 | 128]),
    st.sampled_from([b"sh", b"exactly15bytes!", b"\xff\x1b"]),
)


@settings(max_examples=60)
@given(st.lists(ROWS, min_size=1, max_size=60), st.integers(1, 60))
def test_counts_are_those_of_a_loop_over_the_json(rows: list[Row], cut: int) -> None:
    known = [cgroup(7, WEB), cgroup(8, DB)]
    wanted = counted(lines_of(batch(*known, *rows)))
    tallies = tallied(batch(*known, *rows[:cut]), batch(*rows[cut:]))
    found: dict[str | None, Tally] = {name or None: tally for name, tally in tallies.of.items()} | {"all": tallies.all}
    assert set(found) == set(wanted)
    for place, tally in found.items():
        assert {name: getattr(tally, name) for name in (*COUNTS, "most_alive")} == {
            name: wanted[place][name] for name in (*COUNTS, "most_alive")
        }


def test_commands_and_lives() -> None:
    start: dict[str, Any] = {"start_ns": SECOND_NS}
    tallies = tallied(
        batch(
            *(row(Kind.EXEC, nr, comm=b"sh") for nr in range(3)),
            row(Kind.EXEC, 9, comm=b"ls"),
            *(exits(nr, ts_ns=SECOND_NS + nr, comm=b"sh", status=256, **start) for nr in range(1, 9)),
            exits(20, ts_ns=9 * SECOND_NS, flags=Flag.INFERRED, **start),
        )
    )
    assert tallies.all.ran == {b"sh": 3, b"ls": 1} and tallies.all.failures == {b"sh": 8}
    assert [life.duration_ns for life in sorted(tallies.all.longest, reverse=True)] == [8, 7, 6, 5, 4]
    assert tallies.all.shortest and tallies.all.shortest.pid == 1
    assert tallies.all.inferred == 1


def test_who_moves_is_alive_in_one_place() -> None:
    known = [cgroup(7, WEB), cgroup(8, DB)]
    tallies = tallied(
        batch(*known, fork(50, [(PIDNS, 2)], cgroup_id=7), row(Kind.MOVE, 50, [(PIDNS, 2)], cgroup_id=8, seq=7))
    )
    assert (tallies.of["web"].alive, tallies.of["db"].alive, tallies.all.alive) == (0, 1, 1)


def test_the_busiest_second_is_exact_however_long_the_stream_is() -> None:
    rate, random = Rate(), np.random.default_rng(5)
    seconds = np.sort(random.integers(0, 20_000, 60_000)) * SECOND_NS + random.integers(0, SECOND_NS, 60_000)
    seconds[0] = 0
    for part in np.array_split(seconds, 37):
        rate.add(part)
    assert rate.step_ns > SECOND_NS
    assert rate.most == np.bincount(seconds // SECOND_NS).max()
    rate.add(np.array([1 << 62]))  # a clock that is wrong takes no memory
    assert len(rate._last) <= 65


def test_rates_are_bounded_and_lose_nothing() -> None:
    rate = Rate()
    for at in range(0, 40_000, 1000):
        rate.add(np.arange(at, at + 1000) * SECOND_NS + 5)
    assert rate.counts.sum() == 40_000 and len(rate.counts) <= 4096
    assert rate.step_ns == 16 * SECOND_NS and set(rate.counts[:-1].tolist()) == {16}


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.stream.tally._MAX_PLACES", 2)
    monkeypatch.setattr("tracer.stream.tally._MAX_COMMANDS", 4)
    rows = [row(Kind.EXEC, 9, [(PIDNS + nr, 5)], comm=b"c%d" % nr) for nr in range(20)]
    tallies = tallied(batch(*rows, *rows[:1] * 5))
    assert len(tallies.of) == 2 and len(tallies.left_out) == 18 and tallies.all.execs == 25
    assert len(tallies.all.ran) <= 4


def test_a_page_of_it() -> None:
    tallies = tallied(batch(cgroup(7, WEB)), storm(1, 3))
    text = summary_text(tallies, 0, 80, is_unicode=False)
    assert "9 events" in text and "\nin all     3     3          1      0      0   0    0\n" in text
    assert max(map(len, text.splitlines())) <= 80 and text.isascii()
    assert summary_text(Tallies(), 0, 80, True) == "no events\n"
    assert summary_object(Tallies(), 0, None)["since"] is None


def test_of_files(tmp_path: Path) -> None:
    record(tmp_path / "a.arrows", [batch(cgroup(7, WEB)), storm(1, 10)])

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-W", "error::ImportWarning", "-m", "tracer", "summary", *words]
        return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=60)

    for file in (f"{tmp_path}/a.arrows", str(tmp_path)):
        done = run("--json", file, "web")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["places"][0]["begun"] == 10
    assert run(f"{tmp_path}/a.arrows", "db").returncode == 3
    assert "in all" in run(f"{tmp_path}/a.arrows").stdout
    assert run("--duration", "5", f"{tmp_path}/a.arrows").returncode == 2
    assert run("--since", "5m", "web").returncode == 2


def test_what_is_missing_is_not_none() -> None:
    assert "0 events" not in (text := summary_text(tallied(batch(fork(1), gap(0))), 0, 80, True))
    assert "events are missing in 1 gap" in text
