"""The log of a container that starts again and again: each line is given to the process of its life that wrote it.

One number is given away for each line, in each life, and the kernel gives the lives' PID namespaces the same inode
number. The truth is the kernel's, as in tests/kernel/test_logs.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from capturing import live, stop
from logs import NR, Log
from oracle import SOCKET, WORKLOAD, Pair, Receiver

pytestmark = pytest.mark.e2e
LIVES, MOST_LIVES, LINES = 5, 20, 2000
# the container's own /proc/sys cannot be written
SCRIPT = (
    "mkdir -p /mnt && busybox mount -t proc proc /mnt && busybox mount --bind /mnt/sys /proc/sys &&"
    f" {WORKLOAD} pair {SOCKET} 0 0 && exec {WORKLOAD} reuse {SOCKET} {LINES} {NR}"
)


def test_each_line_is_given_to_its_life(
    tmp_path: Path, start_container: Callable[..., Any], receiver: Receiver
) -> None:
    recording = live(tmp_path / "x.arrows", "all")
    container = start_container(["sh", "-c", SCRIPT], receiver, cap_add=["SYS_ADMIN"])
    inums: list[int | None] = []
    lines: list[Pair] = []
    while len(inums) < LIVES or (len(set(inums)) == len(inums) < MOST_LIVES):
        if inums:
            container.start()
        assert container.wait()["StatusCode"] == 0, container.logs()
        first, *others = receiver.wait(len(inums) * (LINES + 1) + LINES + 1)[-LINES - 1 :]
        inums.append(first.pidns)
        lines += others
    stop(recording)
    assert len(set(inums)) < len(inums), "no inode number was reused"
    log = Log(tmp_path / "x.arrows", lines, container.name)
    assert log.lost() == 0 and len(lines) >= 10_000
    assert log.translated(log.lines(), "--lag", "0") == log.truth
    rows = log.joined("--on", "space,nr")
    assert [(row["process_pids"], row["process_unknown"]) for row in rows] == [([host, NR], None) for host in log.truth]
    assert len({row["process_incarnation"] for row in rows}) == len(inums)
