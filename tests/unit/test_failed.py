"""--failed: what went wrong, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builders import PIDNS, SECOND_NS, WEB, batch, cgroup, exits, fork, gap, row
from recordings import record

from tracer.stream.batch import Batch
from tracer.stream.failures import is_failure
from tracer.stream.schema import EVENT_NAMES, Flag, Kind
from tracer.views.lines import Lines
from tracer.wiring.stdout_queue import PatientView
from tracer.wiring.streaming import missing_failures, missing_here

SH = [b"sh", b"-c", b"exit 3"]
KILLED, CRASHED = 9, 11 | 128


def story() -> Batch:
    """Processes 20 to 23 end as they should, by themselves, by a signal, by a crash; of 24 nobody has seen the end."""
    lives: Iterator[tuple[int, int]] = zip(range(20, 24), (0, 3 << 8, KILLED, CRASHED), strict=True)
    rows = [cgroup(7, WEB)]
    for tgid, status in lives:
        inside = [(PIDNS, tgid - 10)]
        rows += [fork(tgid, inside, cgroup_id=7), row(Kind.EXEC, tgid, inside, args=SH, cgroup_id=7)]
        rows += [exits(tgid, inside, args=SH, cgroup_id=7, status=status)]
    return batch(*rows, gap(2), exits(24, flags=Flag.INFERRED, status=256))


def replay(path: Path, *args: str, exit_code: int = 0) -> tuple[list[str], str]:
    argv = [sys.executable, "-m", "tracer", "replay", *args, str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == exit_code, done.stderr
    return done.stdout.splitlines(), done.stderr


@pytest.fixture
def arrows(tmp_path: Path) -> Path:
    record(tmp_path / "x.arrows", [story()])
    return tmp_path / "x.arrows"


def test_text(arrows: Path) -> None:
    lines, err = replay(arrows, "--failed")
    assert [line.split(maxsplit=8)[-1] for line in lines if " exit " in line] == [
        "exit 3 after 1.0 s: sh -c 'exit 3'",
        "SIGKILL after 1.0 s: sh -c 'exit 3'",
        "SIGSEGV (core dumped) after 1.0 s: sh -c 'exit 3'",
    ]
    assert len(lines) == 5
    assert "TIME" in lines[0]
    assert "lost 2 events" in lines[-1]
    assert "3 exits" in err


def test_json(arrows: Path) -> None:
    told = [json.loads(line) for line in replay(arrows, "--failed", "--json")[0]]
    assert [(each["event"], each.get("exit_code"), each.get("signal"), each.get("args")) for each in told] == [
        ("exit", 3, None, ["sh", "-c", "exit 3"]),
        ("exit", None, "SIGKILL", ["sh", "-c", "exit 3"]),
        ("exit", None, "SIGSEGV", ["sh", "-c", "exit 3"]),
        ("gap", None, None, None),
    ]


def test_count_and_targets_go_with_it(arrows: Path) -> None:
    assert len(replay(arrows, "--failed", "--no-header", "--count", "2")[0]) == 2
    assert len(replay(arrows, "--failed", "--no-header", "--events", "exec,exit")[0]) == 4


def test_what_count_leaves_out_is_not_reported_as_lost(arrows: Path) -> None:
    """The loss comes after the second event."""
    _lines, err = replay(arrows, "--count", "2", "--require-complete")
    assert "0 lost" in err
    _lines, err = replay(arrows, "--count", "1000", "--require-complete", exit_code=5)
    assert "2 lost" in err


def test_what_is_inferred_counts_where_it_is_shown(arrows: Path) -> None:
    assert "1 inferred" in replay(arrows)[1]
    assert "inferred" not in replay(arrows, "--failed")[1] + replay(arrows, "--events", "exec")[1]


def test_events_that_leave_failures_out_are_a_usage_error(arrows: Path) -> None:
    _lines, err = replay(arrows, "--failed", "--events", "fork,exec", exit_code=2)
    assert "--failed shows exit" in err


def test_execs_that_failed_are_failures(tmp_path: Path) -> None:
    miss = row(Kind.EXEC_FAILED, 30, status=2, exe=b"/none")
    record(tmp_path / "y.arrows", [batch(fork(30), miss, exits(30, status=127 << 8, args=SH))])
    lines, _err = replay(tmp_path / "y.arrows", "--failed")
    assert [line.split(maxsplit=8)[-1][:13] for line in lines[1:]] == ["/none: ENOENT", "exit 127 afte"]
    (told, _exit) = (json.loads(line) for line in replay(tmp_path / "y.arrows", "--failed", "--json")[0])
    assert [told[name] for name in ("event", "exe", "args", "errno", "error")] == [
        "exec_failed", "/none", None, 2, "ENOENT"
    ]  # fmt: skip
    assert len(replay(tmp_path / "y.arrows", "--events", "exec_failed")[0][1:]) == 1


@pytest.mark.parametrize(
    ("asked", "is_said"),
    [
        ({}, False),
        ({"failed": True}, True),
        ({"events": ("exec_failed",)}, True),
        ({"events": ("exit",)}, False),
        ({"where": ("event = 'exec_failed'",)}, True),
        ({"where": ("pid = 1",)}, False),
    ],
)
def test_who_asks_for_failed_execs_hears_that_the_kernel_cannot_report_them(
    asked: dict[str, Any], is_said: bool
) -> None:
    options = SimpleNamespace(**{"failed": False, "events": EVENT_NAMES, "where": ()} | asked)
    assert bool(missing_failures(options)) == is_said  # type: ignore[arg-type]


def test_who_sees_exits_hears_that_the_kernel_does_not_show_killers() -> None:
    here = SimpleNamespace(sees_failed_execs=True, sees_killers=False)
    for events, count in ((EVENT_NAMES, 1), (("exit",), 1), (("fork", "exec"), 0)):
        options = SimpleNamespace(failed=False, events=events)
        lines = missing_here(here, options)  # type: ignore[arg-type]
        assert len(lines) == count
        assert all("killed_by" in line for line in lines)
    assert missing_here(SimpleNamespace(sees_failed_execs=True, sees_killers=True), options) == []  # type: ignore[arg-type]


def test_what_a_slow_reader_has_missed_counts_failures_alone() -> None:
    class Full:
        has_room = is_gone = False

    lines = Lines(frozenset({Kind.EXIT}), color=False, threads=False, wall_offset_ns=0)
    view = PatientView(lines, Full(), frozenset({Kind.EXIT}), only_failed=True)  # type: ignore[arg-type]
    view.render(story(), None)  # type: ignore[arg-type]
    assert view.left_out == 3


def test_only_what_is_known_to_have_failed_is_a_failure() -> None:
    assert story().rows["tgid"][np.flatnonzero(is_failure(story().rows))].tolist() == [21, 22, 23]
    started = row(Kind.EXEC, 5, status=256, ts_ns=SECOND_NS)
    assert not is_failure(batch(started).rows).any()
