"""Lines of logs whose writers the kernel has named, and what nstrace says of them: what tests of logs share."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from conftest import wait_for
from oracle import SOCKET, WORKLOAD, Pair, Receiver

from tracer.text.times import rfc3339

NR = 777
"""The number that is given away again and again."""
_MARKED = re.compile(r"\[\d+\[host:(\d+)\]\]")


def nstrace(*args: object, stdin: str) -> str:
    """What it prints; it has to succeed."""
    argv = [sys.executable, "-m", "tracer", *map(str, args)]
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def recorded(arrows: Path, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    """nstrace record, ready; it has to end in order."""
    argv = [sys.executable, "-m", "tracer", "record", "-w", str(arrows), *args, "all"]
    recorder = subprocess.Popen(argv, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: (arrows.exists() and arrows.stat().st_size > 0) or recorder.poll() is not None)
        yield recorder
    finally:
        recorder.send_signal(signal.SIGCONT)
        recorder.send_signal(signal.SIGINT)
        recorder.communicate(timeout=30)
    assert recorder.returncode == 0


class Log:
    """A log of processes that have each written a line, and the recording of that time. pairs: who wrote them, in
    order, with the time, by the kernel. where: what their numbers are numbers in, as --in takes it."""

    def __init__(self, arrows: Path, pairs: Sequence[Pair], where: str) -> None:
        self.arrows, self.pairs, self.where = arrows, pairs, where
        self.truth = [pair.host_tgid for pair in pairs]
        metadata = pa.ipc.open_stream(arrows).schema.metadata
        self._offset_ns = int(metadata[b"wall_offset_ns"])  # that of another moment differs: the wall clock is slewed

    def written_ns(self, pair: Pair) -> int:
        """When a line was written, by the wall clock."""
        return pair.boottime_ns + self._offset_ns

    def lines(self) -> list[str]:
        """The log as text, with nanoseconds."""
        return [f"{rfc3339(self.written_ns(pair))} worker[{NR}]: line {pair.index}\n" for pair in self.pairs]

    def translated(self, lines: Sequence[str], *args: str) -> list[int | None]:
        """The PID on the host that each line is given; None: none."""
        options = ("-q", "--to-host", "--in", self.where, "--from", self.arrows, *args)
        shown = nstrace("translate", *options, "-", stdin="".join(lines)).splitlines()
        assert len(shown) == len(lines)
        return [int(match[1]) if (match := _MARKED.search(line)) else None for line in shown]

    def joined(self, *args: str) -> list[dict[str, Any]]:
        """The log as a CSV table, joined: a row for each line."""
        rows = [f"{rfc3339(self.written_ns(pair))},{self.where},{NR},{pair.index}\n" for pair in self.pairs]
        options = ("--from", self.arrows, "--time-column", "time", "--lag", "0", "--json", "-q", *args)
        shown = nstrace("join", "-", *options, stdin="time,space,nr,n\n" + "".join(rows))
        found: list[dict[str, Any]] = [json.loads(line) for line in shown.splitlines()]
        return found

    def lost(self) -> int:
        """How many events the recording says were lost."""
        rows = pa.ipc.open_stream(self.arrows).read_all()
        return sum(lost for event, lost in zip(*(rows[name].to_pylist() for name in ("event", "lost")), strict=True)
                   if event == "gap")  # fmt: skip


LIVES, MOST_LIVES, LINES = 5, 20, 2000
# the container's own /proc/sys cannot be written
_SCRIPT = (
    "mkdir -p /mnt && busybox mount -t proc proc /mnt && busybox mount --bind /mnt/sys /proc/sys &&"
    f" {WORKLOAD} pair {SOCKET} 0 0 && exec {WORKLOAD} reuse {SOCKET} {LINES} {NR}"
)


def written_through_restarts(start_container: Callable[..., Any], receiver: Receiver) -> tuple[Any, list[Pair]]:
    """A container that has ended, and who wrote a line in its lives, LINES in each: all of them with the number NR. The
    PID namespaces of at least two of the lives had the same inode number."""
    container = start_container(["sh", "-c", _SCRIPT], receiver, cap_add=["SYS_ADMIN"])
    inums: list[int | None] = []
    lines: list[Pair] = []
    while len(inums) < LIVES or (len(set(inums)) == len(inums) < MOST_LIVES):
        if inums:
            container.start()
        assert container.wait()["StatusCode"] == 0, container.logs()
        first, *others = receiver.wait(len(inums) * (LINES + 1) + LINES + 1)[-LINES - 1 :]
        inums.append(first.pidns)
        lines += others
    assert len(set(inums)) < len(inums), "no inode number was reused"
    return container, lines
