"""What some kernel tests stand on beside what tests/conftest.py gives."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """A cgroup with room for 8 processes, lest a fork bomb have the machine; all in it are killed in the end."""
    base = next(
        (path for path in map(Path, ("/sys/fs/cgroup/pids", "/sys/fs/cgroup")) if (path / "cgroup.procs").exists()),
        None,
    )
    assert base, "no cgroups"
    own = base / f"nstrace-test-{os.getpid()}"
    own.mkdir()
    try:
        (own / "pids.max").write_text("8")
        yield own
    finally:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for tgid in (own / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(tgid), 9)
            with suppress(OSError):
                own.rmdir()
                break
            time.sleep(0.01)
