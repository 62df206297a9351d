"""nstrace follow -w as a user runs it: a process that records, ready when this returns."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from conftest import wait_for

DEADLINE_S = 30


def live(arrows: Path, *args: str) -> subprocess.Popen[bytes]:
    """nstrace follow -w, its lines in a file beside; ready when the processes that are there have been shown."""
    out = arrows.with_suffix(".live")
    argv = [sys.executable, "-m", "tracer", "follow", "-w", str(arrows), *args]
    process = subprocess.Popen(argv, stdout=out.open("wb"), stderr=subprocess.PIPE)
    header = 0 if "--json" in args else 1
    try:
        wait_for(lambda: out.read_bytes().count(b"\n") > header or process.poll() is not None)
    except AssertionError:
        process.kill()
        raise
    assert process.poll() is None, process.communicate()[1].decode()
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C, and its normal end."""
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=DEADLINE_S)[1] is not None
    assert process.returncode == 0
