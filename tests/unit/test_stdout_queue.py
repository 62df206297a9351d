"""stdout beside a recording: who gives it text never waits, and what is left out is told."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest
from builders import batch, fork
from conftest import wait_for
from oracle import DEADLINE_S

from tracer.stream.attribution import Attribution
from tracer.stream.schema import Kind
from tracer.views.lines import Lines
from tracer.wiring.stdout_queue import Outlet, PatientView

KINDS = frozenset({Kind.FORK})


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_all_arrives_in_order(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    outlet = Outlet(writer, pytest.fail)
    outlet.begin()
    for number in range(100):
        outlet.write(f"{number}\n".encode())
    assert outlet.close(DEADLINE_S)
    assert os.read(reader, 1 << 16).decode() == "".join(f"{number}\n" for number in range(100))


def test_a_slow_reader_makes_nobody_wait_and_a_gap_tells_what_it_missed(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    said: list[str] = []
    outlet = Outlet(writer, said.append, max_bytes=1 << 20)
    outlet.begin()
    containers = Attribution()
    view = PatientView(Lines(KINDS, color=False, threads=False, wall_offset_ns=0), outlet, KINDS)
    rows = batch(*(fork(tgid) for tgid in range(1000)))
    while outlet.has_room:
        outlet.write(view.render(rows, containers))
    for _ in range(3):
        assert view.render(rows, containers) == b""
    assert view.left_out == 3000
    wait_for(lambda: bool(os.read(reader, 1 << 16)) and outlet.has_room)
    text = view.render(batch(fork(4711)), containers).decode()
    assert "lost 3000 events between" in text.splitlines()[0]
    assert "4711" in text.splitlines()[1]
    assert view.last(containers) == b""


def test_a_reader_that_goes_away_is_said_once(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    said: list[str] = []
    outlet = Outlet(writer, said.append)
    outlet.begin()
    view = PatientView(Lines(KINDS, color=False, threads=False, wall_offset_ns=0), outlet, KINDS)
    os.close(reader)
    outlet.write(b"x\n")
    wait_for(lambda: outlet.is_gone)
    assert view.render(batch(fork(1)), Attribution()) == b""
    outlet.write(b"y\n")
    assert outlet.close(DEADLINE_S)
    assert len(said) == 1
    assert view.left_out == 0
