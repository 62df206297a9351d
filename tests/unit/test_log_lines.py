"""Numbers in lines of logs, by recordings made by hand: one process, or a reason why not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import SECOND_NS, gap
from click.testing import CliRunner
from recordings import WALL_NS
from test_hindsight import ROWS, at, hindsight, write

from tracer.answers.translation import Translation
from tracer.cli import nstrace
from tracer.past.log_lines import LogLines, Run, Unanswered
from tracer.text.stamps import Stamp
from tracer.typed.moments import Span
from tracer.typed.processes import parse_proc

LAG_NS = 100_000_000


@pytest.fixture(autouse=True)
def utc(in_zone: Callable[[str], None]) -> None:
    in_zone("UTC")


def stamp(second: float, length_ns: int = 1, since_boot: bool = False) -> Stamp:
    begin_ns = at(second) + (0 if since_boot else WALL_NS)
    return Stamp(begin_ns, begin_ns + length_ns - 1, since_boot, 0, 10)


def run(path: Path) -> Run:
    made = hindsight(path)
    past = made._past
    return Run(made, past.span, past.wall_offset_ns, "host boot")


def asked(runs: list[Run], proc: str, *stamps: Stamp, lag_ns: int = LAG_NS) -> int | Unanswered:
    found = LogLines(runs, lag_ns).ask(parse_proc(proc), stamps)
    return found.entry.numbers[0] if isinstance(found, Translation) else found


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return [run(write(tmp_path / "x.arrows", ROWS))]


@pytest.mark.parametrize(
    ("proc", "second", "found"),
    [
        ("web/15", 3, 101), ("web/15", 5.5, 102), ("web/15", 12.5, 111), ("101", 14.5, 101),
        ("web/15", 4.05, 101),  # the line got its time when the process had ended
        ("web/15", 4.5, Unanswered.NOBODY), ("web/15", 30, Unanswered.NOT_RECORDED),
        ("web/15", 0.2, Unanswered.NOT_RECORDED), ("nowhere/15", 3, Unanswered.NOBODY),
    ],
)  # fmt: skip
def test_the_process_of_the_moment(proc: str, second: float, found: int | Unanswered, runs: list[Run]) -> None:
    assert asked(runs, proc, stamp(second)) == found
    assert asked(runs, proc, stamp(second, since_boot=True)) == found


def test_two_processes_in_the_window_are_no_answer(runs: list[Run]) -> None:
    assert asked(runs, "web/15", stamp(3, 3 * SECOND_NS)) is Unanswered.AMBIGUOUS  # 3 s to 6 s
    assert asked(runs, "web/15", stamp(5.5), lag_ns=2 * SECOND_NS) is Unanswered.AMBIGUOUS
    assert asked(runs, "web/15", stamp(5.5), lag_ns=0) == 102


def test_a_time_with_two_meanings_is_an_answer_where_both_are_one_process(runs: list[Run]) -> None:
    assert asked(runs, "web/15", stamp(2.5), stamp(3.5)) == 101
    assert asked(runs, "web/15", stamp(3.5), stamp(5.5)) is Unanswered.AMBIGUOUS
    assert asked(runs, "web/15", stamp(3.5), stamp(4.5)) == 101  # at the other nobody wrote
    assert asked(runs, "web/15", stamp(3.5), stamp(30)) == 101


def test_nothing_is_said_where_something_is_missing(tmp_path: Path) -> None:
    lossy = [run(write(tmp_path / "x.arrows", [*ROWS, gap(3, at(4.2), at(4.4))]))]
    assert asked(lossy, "web/15", stamp(4.5)) is Unanswered.LOST
    assert asked(lossy, "web/15", stamp(3)) == 101  # which lived from before until after


def test_runs_that_know_different_things(tmp_path: Path, runs: list[Run]) -> None:
    other = runs[0]._replace(span=Span(WALL_NS + at(40), WALL_NS + at(50)))
    assert asked([other, runs[0]], "web/15", stamp(3)) == 101
    assert asked([runs[0], runs[0]], "web/15", stamp(3)) == 101


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--pid-key", "a"], "need --time-key"),
        (["--time-key", "t"], "need either --pid-key or --ns-pid-key"),
        (["--pid-key", "a", "--ns-pid-key", "b", "--time-key", "t"], "need either --pid-key or --ns-pid-key"),
        (["--pid-key", "a", "--in", "web", "--time-key", "t"], "--pid-key is a PID of the host"),
        (["--ns-pid-key", "a", "--time-key", "t"], "needs either --container-key or --in"),
        (["--to-host", "--in", "web", "--at", "3s"], "- has a time in each line"),
        (["--to-host"], "--to-host needs --in CONTAINER"),
    ],
)
def test_options_that_do_not_go_together(args: list[str], said: str) -> None:
    done = CliRunner().invoke(nstrace, ["translate", "--from", "x.arrows", *args, "-"])
    assert done.exit_code == 2
    assert said in str(done.exception or "") + done.output


LINE = f'{{"at": {WALL_NS + at(3)}, "web": {{"nspid": 15, "name": "web"}}}}\n'


@pytest.mark.parametrize(
    ("pid", "container", "time", "missing", "near"),
    [
        ("web.nspid", "web.name", "at", "", ""),
        ("web.ns_pid", "web.name", "at", "web.ns_pid", "did you mean web.nspid? their keys: at, web, "),
        ("nspid", "web.name", "at", "nspid", "did you mean web.nspid? "),
        ("web.nspid", "web.nam", "at", "web.nam", "did you mean web.name? "),
        ("web.nspid", "web.name", "when", "when", "their keys: "),
    ],
)
@pytest.mark.parametrize("quiet", [True, False])
def test_a_key_that_no_line_has_is_said(
    pid: str, container: str, time: str, missing: str, near: str, quiet: bool, tmp_path: Path
) -> None:
    keys = ["--ns-pid-key", pid, "--container-key", container, "--time-key", time, *(["-q"] * quiet)]
    done = translated(write(tmp_path / "x.arrows", ROWS), LINE + "{}\nno JSON\n", *keys)
    assert done.returncode == (2 if missing else 0)
    assert done.stdout.startswith(LINE[:-2]) and len(done.stdout.splitlines()) == 3
    assert ('"pid":101' in done.stdout) == (not missing)
    assert (f"no line of the log has the key {missing}\n  {near}" in done.stderr) == bool(missing)
    assert ("3 lines" in done.stderr) == (not quiet)


def test_lines_without_a_number_are_counted(tmp_path: Path) -> None:
    keys = ["--ns-pid-key", "web.nspid", "--container-key", "web.name", "--time-key", "at"]
    none = LINE.replace("15", "null")
    done = translated(write(tmp_path / "x.arrows", ROWS), LINE + LINE.replace("15", '" 15.0"') + none, *keys)
    assert done.stderr == "nstrace: 3 lines, 2 numbers translated; 1 not: there is no PID\n"
    assert translated(tmp_path / "x.arrows", none, *keys).returncode == 0  # it has the key


def test_a_log_that_is_not_json_is_said(tmp_path: Path) -> None:
    done = translated(write(tmp_path / "x.arrows", ROWS), "a[15]\n\n", "--pid-key", "pid", "--time-key", "at")
    assert (done.returncode, done.stdout) == (2, "a[15]\n\n")
    assert "no line of the log is a JSON object" in done.stderr
    assert translated(tmp_path / "x.arrows", "", "--pid-key", "pid", "--time-key", "at").returncode == 0


def translated(path: Path, log: str, *keys: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tracer", "translate", "--from", str(path), *keys, "-"]
    return subprocess.run(argv, input=log, capture_output=True, text=True, timeout=60, check=False)
