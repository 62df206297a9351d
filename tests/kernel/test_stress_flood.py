"""A flood in one container does not hide another: who is quiet is told whole while the ring overflows."""

from __future__ import annotations

from pathlib import Path

import figures
import pytest
from oracle import Ledger
from stack import Space, Stack, eventually

from tracer.kernel.options import LoadOptions
from tracer.stream.schema import Flag, Kind

pytestmark = pytest.mark.kernel
RING = LoadOptions(ring_bytes=2 << 20)  # 12 483 records


def beside_a_flood(workload: Path) -> tuple[Stack, Space, Space]:
    """Nobody reads until both have ended: the flood alone has more events than the ring has room for."""
    flood, quiet = Space(workload, "storm", 6500, 2, go=False), Space(workload, "storm", 100, 1, go=False)
    with Stack(f"pidns:{flood.inum}", f"pidns:{quiet.inum}", options=RING) as stack:
        for space in (flood, quiet):
            space.go()
            eventually(space.has_ended)
        stack.read(lambda: stack.table.unsure)
        stack.read(lambda: not stack.table.unsure)
        stack.stop()
        return stack, flood, quiet


def of_others(stack: Stack, *spaces: Space) -> int:
    """Events that the programs had to deliver of namespaces that others have made meanwhile."""
    return stack.account.total("submitted") - sum(
        len(stack.rows(space, Kind.FORK, Kind.EXEC, Kind.EXIT)) for space in spaces
    )


def test_the_quiet_one_is_complete_beside_a_flood(workload: Path) -> None:
    for _ in range(5):
        stack, flood, quiet = beside_a_flood(workload)
        if of_others(stack, flood, quiet) < 500:
            break
    account = stack.account
    flooded, calm = (Ledger.parse(space.line()) for space in (flood, quiet))
    of_quiet = len(stack.rows(quiet, Kind.FORK, Kind.EXIT))
    throttled = figures.count(account.total("throttled"))
    figures.note(
        "flood beside a quiet one, nobody reads, ring of 2 MiB",
        f"{figures.count(flooded.forks)} processes beside {calm.forks}",
        told=of_quiet + len(stack.rows(flood, Kind.FORK, Kind.EXIT)),
        lost=account.total("failed"),
        wrong=abs(of_quiet - 2 * calm.forks - 1),
        more=f"the quiet one is complete; {throttled} throttled, no exit among them",
    )
    assert account.differences() == []
    assert account.total("throttled", Kind.FORK) > 500
    assert account.total("throttled", Kind.EXIT) == 0
    assert len(stack.rows(quiet, Kind.FORK)) == calm.forks
    assert len(stack.rows(quiet, Kind.EXIT)) == calm.forks + 1  # the storm itself, which was there
    assert len(stack.rows(flood, Kind.EXIT)) == flooded.forks + 1
    rows = stack.batch.rows
    gaps = rows[rows["kind"] == Kind.GAP]
    assert Flag.THROTTLED in gaps["flags"]
    assert set(gaps["chain"]["inum"][gaps["flags"] == Flag.THROTTLED, 0].tolist()) == {flood.inum}
