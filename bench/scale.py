"""How cost grows: with living processes, PID namespaces, targets, and the length of a recording."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.measure import CannotRun, Result, Workload, first_event, under_storm
from bench.process import run_to_end
from bench.synthetic import LIFE_NS, PIDNS, batch
from bench.tools import OURS
from tracer.recording.files import create
from tracer.recording.metadata import of_this_host
from tracer.recording.writer import FileSink, Writer

FOLLOW = OURS[0]
SPAWNS = 3_000
_PID_MAX = Path("/proc/sys/kernel/pid_max")
_NSTRACE = [sys.executable, "-m", "tracer"]
_LIVES = 20_000  # in a batch of a made recording

SIZES: dict[str, tuple[int, ...]] = {
    "table": (1_000, 10_000, 100_000),
    "processes": (100, 1_000, 10_000, 100_000),
    "namespaces": (1, 10, 100, 1_000, 2_000),
    "targets": (1, 10, 100, 1_000),
    "events": (10_000, 100_000, 1_000_000, 10_000_000),
}
"""The last size of each is for --full."""
HEADERS = {
    "table": ["processes in table", "MiB", "update us", "lookup us"],
    "processes": ["living processes", "first event s", "reader us/event", "peak MiB"],
    "namespaces": ["PID namespaces", "first event s", "reader us/event", "peak MiB"],
    "targets": ["targets", "first event s", "reader us/event", "peak MiB"],
    "events": ["events recorded", "write us/event", "bytes/event", "replay us/event", "replay MiB", "translate --at s",
               "translate MiB", "1 M lookups s"],
}  # fmt: skip
COLUMNS = {
    "table": ("mib", "update_us", "lookup_us"),
    "processes": ("first_s", "us", "mib"),
    "namespaces": ("first_s", "us", "mib"),
    "targets": ("first_s", "us", "mib"),
    "events": ("write_us", "bytes", "replay_us", "replay_mib", "at_s", "at_mib", "lookups_s"),
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
        middle = events // 6
        moment = f"+{(middle * LIFE_NS + 50_000) / 1e9:.6f}s"  # after its exec, before its exit
        question = f"pidns:{PIDNS}/{10 + middle % 20_000}"
        begin = time.monotonic()
        _ns, at_bytes = run_to_end([*_NSTRACE, "translate", "--from", str(path), "--at", moment, question], nowhere)
        at_s = time.monotonic() - begin
    lookups_s = float(subprocess.check_output([sys.executable, "-m", "bench.lookups", path]))
    written = path.stat().st_size
    path.unlink()
    return {
        "write_us": write_ns / events / 1e3, "bytes": written / events, "replay_us": replay_ns / events / 1e3,
        "replay_mib": replay_bytes / 2**20, "at_s": at_s, "at_mib": at_bytes / 2**20,
        "lookups_s": lookups_s,
    }  # fmt: skip


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
        found.append([f"{result['size']:,}".replace(",", " "), *cells])
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
