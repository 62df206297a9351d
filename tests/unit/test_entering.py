"""A fork by which a runtime enters a container waits until it is moved to where it belongs."""

from __future__ import annotations

import time
from typing import Any

import pytest
from builders import PIDNS, Row, batch, fork, row

from tracer.stream.decoding import Decoded
from tracer.stream.schema import Kind
from tracer.wiring import entering
from tracer.wiring.entering import Entering

SHIM, SIDE = 5, 6
INSIDE = [(PIDNS, 40)]


def decoded(*rows: Row) -> Decoded:
    return Decoded(batch(*rows), [])


def enters(comm: bytes = b"runc:[1:CHILD]", inside: Any = INSIDE, **fields: int) -> Row:
    return fork(100, inside, comm=comm, cgroup_id=SHIM, **({"parent_vtgid": 0} | fields))


def moved() -> Row:
    return row(Kind.MOVE, 100, INSIDE, cgroup_id=SIDE)


def cgroups_of(read: list[Decoded]) -> list[int]:
    return [cgroup_id for one in read for cgroup_id in one.batch.rows["cgroup_id"].tolist()]


def test_it_is_where_its_runtime_moves_it() -> None:
    gate = Entering()
    assert gate.take(decoded(enters())) == []
    assert 0 < gate.due_in() <= entering.GRACE_S
    assert gate.take(decoded(fork(200, [(PIDNS, 41)], cgroup_id=9))) == []  # others keep their order
    assert cgroups_of(gate.take(decoded(moved()))) == [SIDE, 9, SIDE]
    assert cgroups_of(gate.take(decoded(enters(), moved()))) == [SIDE, SIDE]
    assert gate.release() == []


@pytest.mark.parametrize(
    "other",
    [enters(b"sh"), enters(parent_vtgid=1), enters(inside=[(PIDNS, 1)]), enters(inside=[])],
    ids=["no runtime", "from inside", "a first process", "on the host"],
)
def test_nothing_waits_for_others(other: Row) -> None:
    (through,) = Entering().take(decoded(other))
    assert cgroups_of([through]) == [SHIM]


def test_who_runs_a_program_where_it_is_stays_there() -> None:
    gate = Entering()
    assert gate.take(decoded(enters())) == []
    assert cgroups_of(gate.take(decoded(row(Kind.EXEC, 100, INSIDE, cgroup_id=SHIM)))) == [SHIM, SHIM]


def test_it_does_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Entering()
    gate.take(decoded(enters()))
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1)
    assert cgroups_of(gate.take(decoded())) == [SHIM]
