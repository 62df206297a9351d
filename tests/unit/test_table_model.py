"""The translation table against a plain model of what it promises."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from builders import PIDNS, batch, exits, fork, row
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracer.stream import short_lived
from tracer.stream.batch import Batch
from tracer.stream.metadata import Killer
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId, ProcId
from tracer.stream.schema import Kind
from tracer.stream.table import Table


@dataclass
class Life:
    proc_id: ProcId
    numbers: set[tuple[int, int]]
    alive: bool = True


class Model:
    """What is promised, as plainly as can be: lives in their order, searched from the latest."""

    def __init__(self) -> None:
        self.lives: list[Life] = []

    def fork(self, tgid: int, start_ns: int, numbers: set[tuple[int, int]]) -> None:
        numbers = numbers | {(0, tgid)}
        self.lives = [life for life in self.lives if not numbers & life.numbers]
        self.lives.append(Life(ProcId(tgid, start_ns), numbers))

    def exit(self, tgid: int, start_ns: int) -> None:
        for life in self.lives:
            if life.proc_id == (tgid, start_ns):
                life.alive = False


LIVES = st.one_of(
    [
        st.lists(st.tuples(number, st.lists(number, max_size=depth), st.booleans(), st.booleans()), max_size=60)
        for number in (st.integers(1, 6), st.integers(1, 16), st.integers(1, 60))
        for depth in (1, 4)
    ]
)


@settings(max_examples=300)
@example(lives=[(2, [1], True, False), (1, [1, 1], True, False)], batch_size=4, few=1)  # given away between two levels
@given(
    lives=LIVES,
    batch_size=st.one_of(st.integers(2, 8), st.integers(1, 50)),
    few=st.sampled_from([1, 1, 4, 10**6]),
)
def test_as_the_model(lives: list[tuple[int, list[int], bool, bool]], batch_size: int, few: int) -> None:
    rows, model = [], Model()
    for start_ns, (tgid, inside, ends, is_told_again) in enumerate(lives, 1):
        numbers = [(PIDNS + level, nr) for level, nr in enumerate(inside)]
        rows.append(fork(tgid, numbers, start_ns=start_ns))
        model.fork(tgid, start_ns, set(numbers))
        if ends:
            rows.append(exits(tgid, numbers, start_ns=start_ns, ts_ns=start_ns))
            model.exit(tgid, start_ns)
        if is_told_again:
            rows.append(row(Kind.SNAPSHOT, tgid, numbers, start_ns=start_ns))
    known = Table()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(short_lived, "_FEW", few)
        for at in range(0, len(rows), batch_size):
            known.apply(batch(*rows[at : at + batch_size]))
    assert len(known) == len(model.lives)
    assert known.live == sum(life.alive for life in model.lives)
    for life in model.lives:
        for inum, nr in life.numbers:
            found = known.find(PidnsId(inum, 1) if inum else INITIAL_PIDNS, nr)
            assert found and found.proc_id == life.proc_id and (found.exited_ns is None) == life.alive
    assert len(known) == len(model.lives)


def test_who_is_set_aside_leaves_its_killer_behind() -> None:
    lives = ((fork(tgid), exits(tgid, status=9, killer=Killer(3))) for tgid in range(100, 300))
    _others, brief = short_lived.split(batch(*(each for life in lives for each in life)))
    assert brief
    assert Batch(brief.rows).lengths.tolist() == [0] * 400


def test_a_number_of_one_set_aside_given_away() -> None:
    lives = [(fork(nr, [(PIDNS, nr)]), exits(nr, [(PIDNS, nr)])) for nr in range(1, 1000)]
    known = Table()
    known.apply(batch(*(event for life in lives for event in life)))
    assert len(known) == 999 and known.live == 0
    known.apply(batch(fork(5000, [(PIDNS, 7)], start_ns=2 * 10**9)))
    assert known.to_host(PidnsId(PIDNS, 1), 7) == 5000
    assert known.find(INITIAL_PIDNS, 7) is None and known.find(INITIAL_PIDNS, 8) is not None
    assert len(known) == 999
