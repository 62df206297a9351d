"""How cost grows: with living processes, PID namespaces, targets, and the length of a recording."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench import questions
from bench.measure import CannotRun, Result, Workload, first_event, under_storm
from bench.process import run_to_end
from bench.report import grouped
from bench.synthetic import LIFE_NS, PIDNS, batch
from bench.tools import OURS
from tracer.recording.files import create
from tracer.recording.metadata import of_this_host
from tracer.recording.rotate import RotatingWriter, Rotation
from tracer.recording.writer import FileSink, Writer

FOLLOW = OURS[0]
SPAWNS = 3_000
_PID_MAX = Path("/proc/sys/kernel/pid_max")
_NSTRACE = [sys.executable, "-m", "tracer"]
_LIVES = 20_000  # in a batch of a made recording
_FILE_EVENTS = 100_000

SIZES: dict[str, tuple[int, ...]] = {
    "table": (1_000, 10_000, 100_000),
    "processes": (100, 1_000, 10_000, 100_000),
    "namespaces": (1, 10, 100, 1_000, 2_000),
    "targets": (1, 10, 100, 1_000),
    "events": (10_000, 100_000, 1_000_000, 10_000_000),
    "questions": (100_000, 1_000_000, 10_000_000),
    "files": (10, 100, 1_000),
}
"""The last size of each is for --full."""
HEADERS = {
    "table": ["processes in table", "MiB", "update us", "lookup us"],
    "processes": ["living processes", "first event s", "reader us/event", "peak MiB"],
    "namespaces": ["PID namespaces", "first event s", "reader us/event", "peak MiB"],
    "targets": ["targets", "first event s", "reader us/event", "peak MiB"],
    "events": ["events recorded", "write us/event", "bytes/event", "replay us/event", "replay MiB", "translate --at s",
               "translate MiB", "1 M lookups s"],
    "questions": ["events, lines of the log", "summary s", "MiB", "sql, grouped s", "MiB", "sql, processes s", "MiB",
                  "join s", "MiB", "perfetto s", "MiB"],
    "files": ["files of 100 000 events", "translate --at s", "MiB"],
}  # fmt: skip
COLUMNS = {
    "table": ("mib", "update_us", "lookup_us"),
    "processes": ("first_s", "us", "mib"),
    "namespaces": ("first_s", "us", "mib"),
    "targets": ("first_s", "us", "mib"),
    "events": ("write_us", "bytes", "replay_us", "replay_mib", "at_s", "at_mib", "lookups_s"),
    "questions": tuple(
        f"{name}_{what}" for name in ("summary", "grouped", "processes", "join", "perfetto") for what in ("s", "mib")
    ),
    "files": ("at_s", "at_mib"),
}


@contextlib.contextmanager
def _numbers_for(count: int) -> Iterator[None]:
    """Allow so many PIDs at the same time, where the host has fewer."""
    before = int(_PID_MAX.read_text())
    if before > 2 * count:
        yield
        return
    try:
        _PID_MAX.write_text(str(4 * count))
    except OSError as error:
        raise CannotRun(f"{_PID_MAX} is {before}, and not ours to raise: {error.strerror}") from error
    try:
        yield
    finally:
        _PID_MAX.write_text(str(before))


@contextlib.contextmanager
def _beside(storm: Path, mode: str, count: int) -> Iterator[list[int]]:
    """Run that many processes or namespaces; the host PIDs of theirs."""
    most = int(Path("/proc/sys/kernel/threads-max").read_text())
    if most < 1.5 * count:
        raise CannotRun(f"this machine has room for {most} threads")
    crowd = subprocess.Popen([storm, mode, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert crowd.stdout
        if not crowd.stdout.readline():
            raise CannotRun(f"{count} {mode} are not to be had here")
        (init,) = _children(crowd.pid)
        yield _children(init)
    finally:
        crowd.communicate()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def measure(what: str, size: int, storm: Path, folder: Path) -> Result:
    """One size of one of SIZES. Raises CannotRun."""
    if what == "events":
        return _recording(size, folder)
    if what == "questions":
        return _questions(size, folder)
    if what == "files":
        return _files(size, folder)
    if what == "table":
        said = subprocess.check_output([sys.executable, "-m", "bench.living", str(size)], text=True)
        return dict(zip(COLUMNS[what], map(float, said.split()), strict=True))
    mode = "crowd" if what == "processes" else "spaces"
    with _numbers_for(size), _beside(storm, mode, size) as pids:
        chosen = [f"pid:{pid}" for pid in pids] if what == "targets" else []
        tool = replace(FOLLOW, argv=(*FOLLOW.argv, *chosen, "all"))
        first = first_event(tool, storm)["seconds"]
        result = under_storm(tool, Workload("spawn", SPAWNS), storm, os.getpid())
    return {"first_s": first, "us": result["cpu_ns"] / max(1, result["told"]) / 1e3, "mib": result["rss"] / 2**20}


def _recording(events: int, folder: Path) -> Result:
    path = folder / "scale.arrows"
    write_ns = _write(path, events)
    with Path(os.devnull).open("wb") as nowhere:
        replay_ns, replay_bytes = run_to_end([*_NSTRACE, "replay", str(path)], nowhere)
    lookups_s = float(subprocess.check_output([sys.executable, "-m", "bench.lookups", path]))
    written = path.stat().st_size
    asked = _ask_in_the_middle(path, events)
    path.unlink()
    return {
        "write_us": write_ns / events / 1e3, "bytes": written / events, "replay_us": replay_ns / events / 1e3,
        "replay_mib": replay_bytes / 2**20, **asked, "lookups_s": lookups_s,
    }  # fmt: skip


def _ask_in_the_middle(path: Path, events: int) -> Result:
    """Who had a number in the middle of what was recorded: CPU time, start-up included, and memory; the median of
    three."""
    middle = events // 6
    moment = f"+{(middle * LIFE_NS + 50_000) / 1e9:.6f}s"  # after its exec, before its exit
    question = f"pidns:{PIDNS}/{10 + middle % 20_000}"
    argv = [*_NSTRACE, "translate", "--from", str(path), "--at", moment, question]
    with Path(os.devnull).open("wb") as nowhere:
        cpu_ns, peak_bytes = sorted(run_to_end(argv, nowhere) for _turn in range(3))[1]
    return {"at_s": cpu_ns / 1e9, "at_mib": peak_bytes / 2**20}


def _questions(events: int, folder: Path) -> Result:
    path = folder / "scale.arrows"
    _write(path, events)
    asked = questions.ask(path, events)
    path.unlink()
    return asked


def _files(count: int, folder: Path) -> Result:
    """A recording that was rotated: so many files."""
    inside = folder / "files"
    shutil.rmtree(inside, ignore_errors=True)
    inside.mkdir()
    seconds = itertools.count(step=1.0)
    rotation = Rotation(interval_s=0.5)  # so that every batch begins a file
    writer = RotatingWriter(
        inside / "scale.arrows", of_this_host(0, ["scripts/bench"]), rotation, clock=lambda: next(seconds)
    )
    for number in range(count):
        writer.take(batch(_FILE_EVENTS // 3, number * _FILE_EVENTS // 3))
    writer.close()
    asked = _ask_in_the_middle(inside, count * _FILE_EVENTS)
    shutil.rmtree(inside)
    return asked


def _write(path: Path, events: int) -> int:
    """Make a recording of so many events; the CPU time that writing them took, in ns."""
    path.unlink(missing_ok=True)
    writer = Writer(FileSink(create(path, False), str(path)), of_this_host(0, ["scripts/bench"]))
    spent_ns = 0
    for first in range(0, events // 3, _LIVES):
        made = batch(min(_LIVES, events // 3 - first), first)
        begin = time.thread_time_ns()
        writer.take(made)
        spent_ns += time.thread_time_ns() - begin
    begin = time.thread_time_ns()
    writer.close()
    return spent_ns + time.thread_time_ns() - begin


def rows(what: str, results: list[Result]) -> list[list[str]]:
    """The table of one of SIZES."""
    found = []
    for result in results:
        cells = [f"{result[name]:.3g}" if result[name] < 100 else f"{result[name]:.0f}" for name in COLUMNS[what]] \
            if "why_not" not in result else [result["why_not"], *[""] * (len(COLUMNS[what]) - 1)]  # fmt: skip
        found.append([grouped(result["size"]), *cells])
    return found


def plot(results: dict[str, list[Result]], path: Path) -> None:
    """Plot all of it as one picture: cost of an event against size."""
    from matplotlib import pyplot  # only here: pip install '.[bench]'

    figure, axes = pyplot.subplots(1, len(results), figsize=(14, 3.2), constrained_layout=True)
    for axis, (what, measured) in zip(axes, results.items(), strict=True):
        good = [result for result in measured if "why_not" not in result]
        for name, header in zip(COLUMNS[what], HEADERS[what][1:], strict=True):
            if "MiB" not in header and "bytes" not in header:
                axis.plot([r["size"] for r in good], [r[name] for r in good], marker="o", label=header)
        axis.set(xscale="log", xlabel=HEADERS[what][0], ylim=(0, None))
        axis.legend(fontsize=8)
    figure.savefig(path)
