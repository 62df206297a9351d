"""A running tool: started in a session of its own, the cost of it and its children, and its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

_END_S = 20.0
_STARTER = """
import os, sys
_pid, status, usage = os.wait4(os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ), 0)
cpu_ns = int((usage.ru_utime + usage.ru_stime) * 1e9)
os.write(int(sys.argv[1]), b"%d %d %d" % (status, cpu_ns, usage.ru_maxrss * 1024))
"""
_SETTLE_S, _SETTLED_SHARE = 0.3, 0.03


class Running:
    """A tool and the processes that it has started. stdout: a file or PIPE."""

    def __init__(self, argv: list[str], stdout: IO[bytes] | int, stderr: Path) -> None:
        with stderr.open("wb") as errors:
            self.process: subprocess.Popen[Any] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=errors, start_new_session=True
            )
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self.process.poll() is not None

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        code = self.process.poll()
        if code is None:
            return "it reported nothing in time"
        return f"it ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with {code}"

    def cpu_ns(self) -> int:
        """CPU time of all its living threads (/proc/PID/schedstat), in ns."""
        return sum(int(text.split()[0]) for pid in self._tree() for text in _read_all(pid, "task/*/schedstat"))

    def resident_bytes(self) -> int:
        """The memory that all its processes have now; what several share counts for each."""
        return sum(_bytes_of(pid, "VmRSS") for pid in self._tree())

    def settle(self, deadline_s: float = 15.0, idle_s: float = _SETTLE_S) -> None:
        """Wait until it has been idle for idle_s."""
        began = since = time.monotonic()
        before = self.cpu_ns()
        while time.monotonic() < began + deadline_s and not self.has_ended:
            time.sleep(_SETTLE_S)
            now = self.cpu_ns()
            if not 0 <= now - before < _SETTLE_S * 1e9 * _SETTLED_SHARE:
                since = time.monotonic()
            elif time.monotonic() >= since + idle_s:
                return
            before = now

    def stop(self) -> None:
        """Note its memory, then end it: Ctrl-C for its whole session; SIGKILL for what does not end."""
        if not self.has_ended:
            self.peak_bytes = sum(_bytes_of(pid, "VmHWM") for pid in self._tree())
            self._signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_END_S)
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _tree(self) -> Iterator[int]:
        left = [self.process.pid]
        while left:
            pid = left.pop()
            yield pid
            left += [int(child) for text in _read_all(pid, "task/*/children") for child in text.split()]


def _read_all(pid: int, pattern: str) -> Iterator[str]:
    for path in Path(f"/proc/{pid}").glob(pattern):
        try:
            yield path.read_text()
        except OSError:
            continue  # exited meanwhile


def _bytes_of(pid: int, name: str) -> int:
    for text in _read_all(pid, "status"):
        for line in text.splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def run_to_end(argv: list[str], stdout: IO[bytes]) -> tuple[int, int]:
    """Run a command to its end: its CPU time in ns, its peak memory in bytes. Raises CalledProcessError.

    A small process starts it: the peak of one that is started here is ours at the least (exec_mmap(), fs/exec.c)."""
    reader, writer = os.pipe()
    with open(reader, "rb") as said:  # noqa: PTH123 - a descriptor
        line = [sys.executable, "-S", "-c", _STARTER, str(writer), *argv]
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": subprocess.DEVNULL}
        child = subprocess.Popen(line, pass_fds=[writer], **streams)
        os.close(writer)
        status, cpu_ns, peak_bytes = map(int, said.read().split())
        child.wait()
    if code := os.waitstatus_to_exitcode(status):
        raise subprocess.CalledProcessError(code, argv)
    return cpu_ns, peak_bytes
