"""Logs joined with a recording: who wrote a line is asked by its number and its time, while numbers are reused.

The truth is the kernel's: each process sends its number inside and the time, and the kernel adds its PID on the host.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import wait_for
from oracle import Pair, Receiver
from stack import Space, size

from tracer.text.times import rfc3339

pytestmark = pytest.mark.kernel
NR = 777
NAME = re.compile(r"\[777\[host:(\d+)\]\]")


def nstrace(*args: str, stdin: str) -> str:
    argv = [sys.executable, "-m", "tracer", *args]
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Recorded:
    """Two namespaces one after the other, in which one number is given away again and again."""

    def __init__(self, folder: Path, workload: Path, receiver: Receiver, count: int) -> None:
        self.arrows = folder / "x.arrows"
        argv = [sys.executable, "-m", "tracer", "record", "-w", str(self.arrows), "all"]
        recording = subprocess.Popen(argv, stderr=subprocess.PIPE)
        try:
            wait_for(lambda: (self.arrows.exists() and self.arrows.stat().st_size > 0) or recording.poll() is not None)
            self.inums: list[int] = []
            for _life in range(2):
                space = self._next(workload, "reuse", receiver.path, count, NR)
                space.process.wait(60)
                space.kill()
            self.pairs: list[Pair] = receiver.wait(2 * count)
        finally:
            recording.send_signal(signal.SIGINT)
            recording.communicate(timeout=30)
        assert recording.returncode == 0
        metadata = pa.ipc.open_stream(self.arrows).schema.metadata
        self.offset_ns = int(metadata[b"wall_offset_ns"])  # that of another moment differs: the wall clock is slewed

    def _next(self, *argv: object) -> Space:
        """A namespace with the same inode number as the one before: the kernel gives the lowest away that is free."""
        others: list[Space] = []
        space = Space(*argv, go=False)
        while self.inums not in ([], [space.inum]) and len(others) < 20:
            others.append(space)  # it holds a lower number meanwhile
            space = Space(*argv, go=False)
        for other in others:
            other.kill()
        self.inums.append(space.inum)
        space.go()
        return space

    def written_ns(self, pair: Pair) -> int:
        return pair.boottime_ns + self.offset_ns


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, workload: Path) -> Recorded:
    with Receiver() as receiver:
        return Recorded(tmp_path_factory.mktemp("logs"), workload, receiver, size(5000, 20_000))


def asked(recorded: Recorded, lines: list[str], *args: str) -> list[int | None]:
    """For each line the PID on the host that it was given; None: none."""
    where = f"pidns:{recorded.inums[0]}"
    shown = nstrace(
        "translate", "-q", "--to-host", "--in", where, "--from", str(recorded.arrows), *args, "-", stdin="".join(lines)
    )
    found = [NAME.search(line) for line in shown.splitlines()]
    assert len(found) == len(lines)
    return [int(match[1]) if match else None for match in found]


def test_each_line_is_given_to_the_process_that_wrote_it(recorded: Recorded) -> None:
    assert recorded.inums[0] == recorded.inums[1], "the inode number was not reused"
    lines = [f"{rfc3339(recorded.written_ns(pair))} worker[{NR}]: line {pair.index}\n" for pair in recorded.pairs]
    truth = [pair.host_tgid for pair in recorded.pairs]
    assert asked(recorded, lines, "--lag", "0") == truth


@pytest.mark.parametrize("lag", ["1ms", "100ms"])
def test_a_time_that_several_processes_may_mean_is_no_answer(recorded: Recorded, lag: str) -> None:
    lines = [f"{rfc3339(recorded.written_ns(pair))} worker[{NR}]: line {pair.index}\n" for pair in recorded.pairs]
    for found, pair in zip(asked(recorded, lines, "--lag", lag), recorded.pairs, strict=True):
        assert found in (None, pair.host_tgid)


@pytest.mark.parametrize("digits", [0, 3, 6])
def test_a_time_with_fewer_digits_is_never_another_process(recorded: Recorded, digits: int) -> None:
    lines = []
    for pair in recorded.pairs:
        second, rest = divmod(recorded.written_ns(pair), 10**9)
        fraction = f".{rest:09}"[: digits + 1] if digits else ""
        lines.append(f"{second}{fraction} worker[{NR}]: line {pair.index}\n")
    found = asked(recorded, lines, "--lag", "0")
    assert all(one in (None, pair.host_tgid) for one, pair in zip(found, recorded.pairs, strict=True))
    assert digits < 6 or sum(one is not None for one in found) > len(found) * 0.9


def test_lines_of_json(recorded: Recorded) -> None:
    lines = [
        json.dumps({"at": recorded.written_ns(pair), "who": {"pid": NR}, "n": pair.index}) + "\n"
        for pair in recorded.pairs
    ]
    keys = ["--ns-pid-key", "who.pid", "--in", f"pidns:{recorded.inums[0]}", "--time-key", "at"]
    shown = nstrace("translate", "--from", str(recorded.arrows), *keys, "--lag", "0", "-", stdin="".join(lines))
    for line, before, pair in zip(shown.splitlines(), lines, recorded.pairs, strict=True):
        said = json.loads(line)
        assert line.startswith(before.rstrip("}\n"))
        assert said["process"]["pid"] == pair.host_tgid
        assert said["process"]["pids"] == [pair.host_tgid, NR]


def test_a_table_is_joined_with_the_processes_that_wrote_it(recorded: Recorded, tmp_path: Path) -> None:
    lines = [f"{rfc3339(recorded.written_ns(pair))},{NR},{pair.index}\n" for pair in recorded.pairs]
    (tmp_path / "log.csv").write_text("time,nr,n\n" + "".join(lines))
    args = ["--from", str(recorded.arrows), "--on", "nr", "--in", f"pidns:{recorded.inums[0]}", "--time-column", "time"]
    shown = nstrace("join", str(tmp_path / "log.csv"), *args, "--lag", "0", "--json", "-q", stdin="")
    rows = [json.loads(line) for line in shown.splitlines()]
    assert [(row["process_pids"], row["process_unknown"]) for row in rows] == [
        ([pair.host_tgid, NR], None) for pair in recorded.pairs
    ]
