"""The moment in which a new container gets its name: what is held back, how long, and when nothing is."""

from __future__ import annotations

import math
import os
from collections.abc import Collection

import pytest
from builders import batch, row

from tracer.stream.batch import Batch
from tracer.stream.decoding import Decoded
from tracer.stream.metadata import CgroupName, EngineEvent
from tracer.stream.schema import Kind
from tracer.wiring import naming as naming_module
from tracer.wiring.naming import GRACE_S, Naming

A, B = "a" * 64, "b" * 64


class Engine:
    """What is known, and what has just become so."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.fresh: set[str] = set()
        self.number = -1

    def expect(self, container_ids: Collection[str]) -> set[str]:
        return set(container_ids) - self.known

    def fileno(self) -> int:
        return self.number

    def events(self) -> list[EngineEvent]:
        return []

    def lines(self) -> list[str]:
        return []

    def exec(self, exec_id: str) -> None:
        return None

    def state(self, container_id: str) -> None:
        return None

    def forget(self, keys: Collection[str]) -> None:
        self.known.difference_update(keys)

    def news(self) -> set[str]:
        fresh, self.fresh = self.fresh, set()
        self.known |= fresh
        return fresh


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(naming_module, "time", clock)
    return clock


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def naming(engine: Engine, clock: Clock) -> Naming:
    return Naming(engine)


def read(container_id: str = "", rows: int = 1) -> Decoded:
    names = [CgroupName(7, 1, container_id)] if container_id else []
    return Decoded(batch(*(row(Kind.FORK, 100 + number, []) for number in range(rows))), names)


NOTHING = Decoded(Batch.concat([]), [])


def test_what_begins_no_container_goes_on_at_once(naming: Naming) -> None:
    one = read("system.slice")
    assert (naming.take(one), naming.due_in()) == ([one], math.inf)


def test_what_begins_one_is_held_until_it_has_a_name(naming: Naming, engine: Engine, clock: Clock) -> None:
    first, second = read(A), read()
    assert (naming.take(first), naming.take(second)) == ([], [])
    assert naming.due_in() == pytest.approx(GRACE_S)
    clock.now_s += GRACE_S / 2
    assert (naming.news(), naming.take(NOTHING)) == (set(), [])
    engine.fresh = {A}
    assert naming.news() == {A}
    assert naming.take(NOTHING) == [first, second, NOTHING, NOTHING]
    assert naming.due_in() == math.inf


def test_one_that_is_known_already_is_not_waited_for(naming: Naming, engine: Engine) -> None:
    engine.known = {A}
    one = read(A)
    assert naming.take(one) == [one]


def test_a_slow_engine_holds_up_nobody_a_second_time(naming: Naming, engine: Engine, clock: Clock) -> None:
    one, other = read(A), read(B)
    assert naming.take(one) == []
    clock.now_s += GRACE_S
    assert naming.due_in() == 0
    assert naming.take(NOTHING) == [one, NOTHING]
    assert naming.take(other) == [other]
    clock.now_s += 1
    engine.fresh = {A, B}
    naming.news()
    third = read("c" * 64)
    assert naming.take(third) == [third]
    engine.fresh = {"c" * 64}
    naming.news()  # this one came in time
    assert naming.take(read("d" * 64)) == []


def test_what_begins_meanwhile_does_not_prolong_it(naming: Naming, clock: Clock) -> None:
    naming.take(read(A))
    clock.now_s += GRACE_S * 0.9
    naming.take(read(B))
    assert naming.due_in() == pytest.approx(GRACE_S * 0.1)


def test_a_flood_is_not_held(naming: Naming, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming_module, "_MAX_ROWS", 10)
    one, flood = read(A), read(rows=10)
    assert naming.take(one) == []
    assert naming.take(flood) == [one, flood]


def test_a_repair_and_the_end_do_not_wait(naming: Naming, engine: Engine) -> None:
    one = read(A)
    naming.take(one)
    assert naming.release() == [one]
    assert naming.take(read(B)) == []  # nor was the engine late


def test_without_an_engine_nothing_is_held() -> None:
    naming, one = Naming(None), read(A)
    assert (naming.take(one), naming.news()) == ([one], set())


def test_at_the_end_there_is_time_to_wait(naming: Naming, engine: Engine) -> None:
    assert naming.wait(60) is None  # for whom no answer can come
    reader, writer = os.pipe()
    try:
        engine.number, engine.fresh = reader, {A}
        os.write(writer, b".")
        assert naming.wait(60) == {A}
    finally:
        os.close(reader)
        os.close(writer)
