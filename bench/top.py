"""python -m bench.top: the CPU time of nstrace top, all its processes together, on a pseudo-terminal: idle and in a
storm of 10 000 events a second, with few and many processes, at two sizes of the screen. Prints a table.

python -m bench.top --filter EXPR: the same with a filter. It needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.__main__ import build
from bench.page import origin
from bench.process import Running

SIZES, PROCESSES = [(80, 24), (200, 50)], [1, 500, 20_000]
RATE = 10_000 // 2  # of operations: a fork and an exit each
WORKERS, NOBODY = 2, 65534
READY_S, REST_S, LOOK_S = 60.0, 3.0, 10.0
STORM_S = 24.0  # longer than all that is waited for
FIRST = ("chrt", "--rr", "1")
"""Others on the machine do not slow the storm and the screen down: both run ahead of them."""


class Terminal(Running):
    """nstrace top on a pseudo-terminal of this size. drawn: how many bytes it has written."""

    def __init__(self, args: Sequence[str], columns: int, rows: int) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        argv = [*FIRST, sys.executable, "-m", "tracer", "top", *args]
        env = os.environ | {"TERM": "xterm-256color"}
        self.process: subprocess.Popen[Any] = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=env
        )
        os.close(slave)
        self.peak_bytes, self.drawn = 0, 0
        self.shown = b""
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 1 << 16):
                self.drawn += len(data)
                self.shown = (self.shown + data)[-(1 << 16) :]

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._master, text.encode())

    def await_text(self, text: str) -> None:
        """Raises TimeoutError where it is not shown in time."""
        until = time.monotonic() + READY_S
        while text.encode() not in self.shown:
            if time.monotonic() > until or self.has_ended:
                raise TimeoutError(f"{text!r} is not shown: {self.shown[-2000:]!r}")
            time.sleep(0.1)

    def costs(self) -> tuple[int, int]:
        """The CPU time of all its processes, and of those among them that are no child's child and have no privilege:
        of the one that draws. In ns."""
        children = [int(child) for child in _children(self.process.pid)]
        draws = [pid for pid in children if Path(f"/proc/{pid}").stat().st_uid == NOBODY]
        return self.cpu_ns(), sum(_cpu_ns(pid) for pid in draws)


@contextlib.contextmanager
def crowd(program: Path, count: int) -> Iterator[int]:
    """So many sleeping processes in a PID namespace of their own. Gives the PID of its first process."""
    with subprocess.Popen([program, "crowd", str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield _child(process.pid)
        process.communicate()


@contextlib.contextmanager
def storm(program: Path, seconds: float) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
    """A storm of some workers, each in a PID namespace of its own. Gives the PIDs of their first processes, and where
    their ledgers will be."""
    rate = RATE // WORKERS
    argv = [*FIRST, str(program), "fork", str(int(rate * seconds)), str(rate)]
    ledgers: list[dict[str, Any]] = []
    workers = [subprocess.Popen(argv, stdout=subprocess.PIPE) for _worker in range(WORKERS)]
    yield [_child(worker.pid) for worker in workers], ledgers
    ledgers += [json.loads(worker.communicate()[0]) for worker in workers]


def _child(pid: int) -> int:
    while not _children(pid):
        time.sleep(0.01)
    return int(_children(pid)[0])


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _cpu_ns(pid: int) -> int:
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}").glob("task/*/schedstat"))


def measured(program: Path, count: int, size: tuple[int, int], is_storm: bool, where: str) -> str:
    """A line of the table."""
    with contextlib.ExitStack() as stack:
        init = stack.enter_context(crowd(program, count))
        targets, ledgers = [f"pid:{init}"], list[dict[str, Any]]()
        if is_storm:
            seconds = STORM_S
            storming, ledgers = stack.enter_context(storm(program, seconds))
            targets += [f"pid:{pid}" for pid in storming]
        top = stack.enter_context(Terminal(targets, *size))
        top.await_text("COMMAND")
        top.await_text(" processes," if count > 1 or is_storm else "2 processes,")
        if where:
            top.type("F")
            time.sleep(0.5)
            top.type(where + "\r")
            top.await_text("filter: ")
        time.sleep(REST_S)
        before, began, drawn = top.costs(), time.monotonic(), top.drawn
        time.sleep(LOOK_S)
        elapsed_ns = (time.monotonic() - began) * 1e9
        whole, draws = (100 * (after - first) / elapsed_ns for first, after in zip(before, top.costs(), strict=True))
        drawn = top.drawn - drawn
        top.process.send_signal(signal.SIGTERM)
        top.process.wait(20)
    rate = sum(2 * ledger["forks"] / ledger["seconds"] for ledger in ledgers)
    cells = (f"{size[0]}x{size[1]}", f"{count}", f"{rate:.0f}", f"{whole:.1f} %", f"{draws:.1f} %",
             f"{drawn / LOOK_S / 1000:.1f}")  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--filter", default="", metavar="EXPR")
    parser.add_argument("--processes", type=int, nargs="*", default=PROCESSES)
    chosen = parser.parse_args()
    Path("build/bench").mkdir(parents=True, exist_ok=True)
    program = build()[0]
    print(origin("python -m bench.top"), flush=True)
    print("\n| screen | processes | events/s | CPU of a core | of it, to draw | kB/s drawn |")
    print("|---|---|---|---|---|---|", flush=True)
    for is_storm in (False, True):
        for count in chosen.processes:
            for size in SIZES:
                print(measured(program, count, size, is_storm, chosen.filter), flush=True)


if __name__ == "__main__":
    main()
