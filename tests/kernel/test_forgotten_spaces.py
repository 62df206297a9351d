"""What is known of PID namespaces goes with them, also of those that no target means."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import wait_for
from oracle import pids_hierarchy
from stack import Space, Stack

from tracer.stream.pidns import PidnsId
from tracer.wiring import choosing

pytestmark = pytest.mark.kernel


@pytest.fixture
def spaces() -> Iterator[list[Space]]:
    """Three namespaces, whose first processes are in the cgroups of containers."""
    top = pids_hierarchy() / f"nstrace-test-{secrets.token_hex(4)}"
    groups = [top / "docker" / secrets.token_hex(32) for _ in range(3)]
    made: list[Space] = []
    try:
        for group in groups:
            group.mkdir(parents=True)
            made.append(Space("sleep", "600", go=False))
            (group / "cgroup.procs").write_text(str(made[-1].init))
            made[-1].go()
        yield made
    finally:
        for space in made:
            space.kill()
        for folder in (*groups, top / "docker", top):
            wait_for(partial(_is_removed, folder))


def _is_removed(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        os.rmdir(folder)  # noqa: PTH106 - what is in a cgroup goes with it
    return not folder.exists()


def test_it_is_known_until_a_namespace_is_over(spaces: list[Space], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "_KEEP_ENDED", 0)
    monkeypatch.setattr("tracer.stream.ended_spaces.LATER_NS", 0)
    mine, *others = spaces
    with Stack("all") as every:
        ids = [every.pidns(space.inum) for space in spaces]
    with Stack(f"pidns:{mine.inum}") as stack:

        def known() -> list[PidnsId]:
            return [pidns for pidns in ids if stack.source.attribution.owner(pidns)]

        assert known() == ids
        others[0].kill()
        stack.read(lambda: ids[1] not in known())
        assert known() == [ids[0], ids[2]]
        mine.kill()
        stack.read(lambda: ids[0] not in known())
        assert known() == [ids[2]]
    assert stack.account.differences() == []
    assert set(stack.batch.rows["chain"]["inum"][stack.batch.rows["level"] > 0, 0].tolist()) == {mine.inum}
