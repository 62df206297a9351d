"""One measurement: a tool, a workload, and the results of both."""

from __future__ import annotations

import collections
import contextlib
import json
import math
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.process import Running, run_to_end
from bench.tools import STORM, Tool

Result = dict[str, Any]
LOG_ENTRY = np.dtype([("boottime_ns", "<u8"), ("vtid", "<u8")])  # struct entry, storm.c
KINDS = ("forks", "execs", "exits", "threads", "thread_exits")
_READY_S = 20.0
_LATE_S = 3.0
_FLUSH_S = 6.0
"""What a recorder still holds of a storm is written, and paid for, within this time."""


class CannotRun(Exception):
    """The reason why a tool could not be measured here."""


@dataclass(frozen=True)
class Workload:
    """The work of a storm: mode, how often, at which rate (0: full speed), and how many copies at the same time."""

    mode: str
    count: int
    rate: float = 0
    copies: int = 1

    def argv(self, storm: Path, log: Path | None = None) -> list[str]:
        """The command that runs it."""
        return [str(storm), self.mode, str(self.count), str(self.rate), *([str(log)] if log else [])]

    def run(self, storm: Path) -> dict[str, Any]:
        """Run it to its end; the ledger of all copies together, with the time and the operations of the slowest."""
        copies = [subprocess.Popen(self.argv(storm), stdout=subprocess.PIPE) for _copy in range(self.copies)]
        ledgers: list[dict[str, Any]] = [json.loads(copy.communicate()[0]) for copy in copies]
        whole = max(ledgers, key=lambda ledger: float(ledger["seconds"]))
        return whole | {kind: sum(ledger[kind] for ledger in ledgers) for kind in KINDS}


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A new folder, in memory where possible: no tool should wait for the disk."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="nstrace-bench-", dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _cannot(tracer: Running, folder: Path) -> CannotRun:
    """The last line of the tool's stderr, or how it ended."""
    lines = (folder / "err").read_text(errors="backslashreplace").strip().splitlines()
    return CannotRun(lines[-1].strip()[:100] if lines else tracer.ending)


def under_storm(tool: Tool, workload: Workload, storm: Path, quiet_pid: int) -> Result:
    """Measure a tool under a storm. Raises CannotRun."""
    if reason := tool.why_not():
        raise CannotRun(reason)
    with _folder() as folder:
        argv = tool.command(folder, quiet_pid)
        with (folder / "stdout").open("wb") as stdout, Running(argv, stdout, folder / "err") as tracer:
            if tool.streams:
                _await_first(folder / "stdout", tracer, storm)
            elif tool.group == "nstrace":
                await_bytes([folder / "stdout", folder / "out"], tracer)
            tracer.settle(_READY_S)
            if tracer.has_ended:
                raise _cannot(tracer, folder)
            before_ns, before_bytes = tracer.cpu_ns(), (folder / "stdout").stat().st_size
            ledger = workload.run(storm)
            tracer.settle(idle_s=_FLUSH_S if tool.after else 0)
            if tracer.has_ended:
                raise _cannot(tracer, folder)
            cpu_ns = tracer.cpu_ns() - before_ns
        result = {"seconds": ledger["seconds"], "op_ns": ledger["op_ns"], "cpu_ns": cpu_ns, "rss": tracer.peak_bytes}
        return result | _reported(tool, ledger, folder, before_bytes)


def _await_first(stdout: Path, tracer: Running, storm: Path) -> None:
    """Wait until an event of the workload has been reported."""
    deadline = time.monotonic() + _READY_S
    with _running_storm(storm):
        while time.monotonic() < deadline and not tracer.has_ended:
            if STORM.encode() in stdout.read_bytes():
                return
            time.sleep(0.05)


def await_bytes(files: Sequence[Path], tracer: Running) -> None:
    """Wait until one of these files has content: nstrace has attached its probes and listed the processes."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and not tracer.has_ended:
        if any(path.exists() and path.stat().st_size for path in files):
            return
        time.sleep(0.05)


def _reported(tool: Tool, ledger: dict[str, Any], folder: Path, before_bytes: int) -> Result:
    """How many of the ledger's events the tool reported, and what decoding costs after the run. before_bytes: length of
    stdout before the workload."""
    text, data = folder / "stdout", folder / ("out" if tool.after else "stdout")
    after_ns = 0
    if tool.after:
        text = folder / "text"
        try:
            with text.open("wb") as out:
                after_ns, _bytes = run_to_end(tool.decoder(folder), out)
        except subprocess.CalledProcessError as error:
            raise CannotRun(f"{tool.after[0]} {tool.after[1]} failed") from error
    with text.open("rb") as lines:
        lines.seek(0 if tool.after else before_bytes)
        counts = tool.count(lines)
    expected = sum(ledger[kind] for kind in tool.reported)
    reported = sum(min(counts[kind], ledger[kind]) for kind in tool.reported)
    written = data.stat().st_size - (0 if tool.after else before_bytes) if data.exists() else 0
    events = max(1, sum(counts.values()))
    return {
        "expected": expected, "told": reported, "after_ns": after_ns,
        "bytes_per_event": written / events,
    }  # fmt: skip


def first_event(tool: Tool, storm: Path) -> Result:
    """The time from the tool's start to the first line of an event in its pipe, while the workload makes some all the
    time. Raises CannotRun."""
    if reason := tool.why_not():
        raise CannotRun(reason)
    with _folder() as folder, _running_storm(storm):
        begin = time.monotonic()
        argv = tool.command(folder)
        if tool.group == "nstrace":
            argv += ["--events", "fork,exec,exit"]  # not for the processes that exist already
        with Running(argv, subprocess.PIPE, folder / "err") as tracer:
            for at_s, data in _chunks(tracer, _within(_READY_S)):
                if STORM.encode() in data:
                    return {"seconds": at_s - begin}
            raise _cannot(tracer, folder)


@contextlib.contextmanager
def quiet_namespace(storm: Path) -> Iterator[int]:
    """The host PID of a process in a PID namespace where nothing happens."""
    process = subprocess.Popen([storm, "crowd", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        process.stdout.readline()
        yield int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    finally:
        process.communicate()


@contextlib.contextmanager
def _running_storm(storm: Path) -> Iterator[None]:
    argv = Workload("spawn", 1_000_000, 500).argv(storm)
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _within(seconds: float) -> Callable[[], float]:
    end = time.monotonic() + seconds
    return lambda: end


def _chunks(tracer: Running, deadline: Callable[[], float]) -> Iterator[tuple[float, bytes]]:
    """The data from its pipe, with time.monotonic() of the arrival, until it ends or the time is over."""
    assert tracer.process.stdout
    pipe = tracer.process.stdout.fileno()
    while time.monotonic() < deadline():
        if not select.select([pipe], [], [], 0.2)[0]:
            continue
        data = os.read(pipe, 1 << 20)
        if not data:
            return
        yield time.monotonic(), data


def latency(tool: Tool, workload: Workload, storm: Path) -> Result:
    """The time from the workload's clock before each fork to the arrival of its line in the pipe. Raises CannotRun.

    Lines and forks are paired by their order: the workload makes one process after the other.
    """
    if reason := tool.why_not():
        raise CannotRun(reason)
    if "forks" not in tool.reported:
        raise CannotRun("it tells no forks")
    with _folder() as folder, Running(tool.command(folder), subprocess.PIPE, folder / "err") as tracer:
        with _running_storm(storm):
            any(STORM.encode() in data for _at_s, data in _chunks(tracer, _within(_READY_S)))
        if tracer.has_ended:
            raise _cannot(tracer, folder)
        collections.deque(_chunks(tracer, _within(1)), 0)  # what was reported of that
        offset_s = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        work = subprocess.Popen(workload.argv(storm, folder / "log"), stdout=subprocess.DEVNULL)
        ended_s: list[float] = []

        def deadline() -> float:
            if work.poll() is not None and not ended_s:
                ended_s.append(time.monotonic())
            return ended_s[0] + _LATE_S if ended_s else math.inf

        arrivals: list[float] = []
        rest = b""
        for at_s, data in _chunks(tracer, deadline):
            *lines, rest = (rest + data).split(b"\n")
            arrivals += [at_s] * tool.count(lines).get("forks", 0)
        work.wait()
        forked_ns = np.fromfile(folder / "log", LOG_ENTRY)["boottime_ns"]
        if len(arrivals) < len(forked_ns):
            raise CannotRun(f"reported {len(arrivals)} of {len(forked_ns)} forks")
        arrived_s = np.array(arrivals[-len(forked_ns) :]) + offset_s
        return {"ms": ((arrived_s - forked_ns / 1e9) * 1e3).tolist()}
