"""A flood in one container does not hide another: who is quiet is told whole while the ring overflows."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from oracle import Ledger
from stack import Stack, in_pidns, init_of

from tracer.events import Flag, Kind
from tracer.kernel.load import LoadOptions

pytestmark = pytest.mark.kernel
RING = LoadOptions(ring_pages=256)  # 6241 records


def storm(workload: Path, *args: object) -> tuple[subprocess.Popen[bytes], int, Ledger]:
    """Run one to its end in a PID namespace that stays, so that the next gets another inode number. The namespace's
    shell, that number, and what the storm did."""
    shell = in_pidns("sh", "-c", f"{workload} storm {' '.join(map(str, args))}; read line")
    assert shell.stdout
    ledger = Ledger.parse(shell.stdout.readline())
    return shell, Path(f"/proc/{init_of(shell)}/ns/pid").stat().st_ino, ledger


def told(rows: np.ndarray, inum: int, kind: Kind) -> int:
    own = (rows["chain"]["inum"][:, 0] == inum) & (rows["kind"] == kind) & (rows["flags"] & Flag.INFERRED == 0)
    return int(own.sum())


def test_the_quiet_one_is_complete_beside_a_flood(workload: Path) -> None:
    """Nobody reads until both have ended: the flood alone has more events than the ring has room for."""
    with Stack(options=RING) as stack:
        flood, flood_inum, flooded = storm(workload, 3400, 2)
        quiet, quiet_inum, made = storm(workload, 100, 1)
        for shell in (flood, quiet):
            shell.communicate(b"\n")
        stack.read(lambda: stack.table.unsure)
        stack.read(lambda: not stack.table.unsure)
        rows = stack.stop().rows
        account = stack.source.account()
    assert account.differences() == []
    assert account.total("failed") == account.total("throttled") == account.total("throttled", Kind.FORK) > 500
    assert told(rows, quiet_inum, Kind.FORK) == told(rows, quiet_inum, Kind.EXIT) == made.forks + 2  # shell and storm
    assert told(rows, flood_inum, Kind.EXIT) == flooded.forks + 2
    gaps = rows[rows["kind"] == Kind.GAP]
    assert set(gaps["flags"].tolist()) == {Flag.THROTTLED}
    assert set(gaps["chain"]["inum"][:, 0].tolist()) == {flood_inum}
