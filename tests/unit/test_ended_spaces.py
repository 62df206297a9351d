"""What is known of a PID namespace is kept for as long as it lives, and not longer."""

from __future__ import annotations

import builders
import pytest
from builders import PIDNS, SECOND_NS, WEB

from tracer.recording import carry_over
from tracer.recording.carry_over import CarryOver
from tracer.stream import attribution as attribution_module
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.ended_spaces import LATER_NS, EndedSpace, EndedSpaces
from tracer.stream.first_processes import FirstProcesses
from tracer.stream.metadata import CgroupFact
from tracer.stream.needed_facts import NeededFacts
from tracer.stream.pidns import PidnsId
from tracer.stream.schema import Kind

SPACE = PidnsId(PIDNS, 1)
OWN = builders.cgroup(7, fact=CgroupFact("/web", WEB, root=7))
BEGUN = builders.batch(OWN, builders.fork(100, [(PIDNS, 1)], cgroup_id=7))


def ended(at_ns: int, inum: int = PIDNS) -> Batch:
    return builders.batch(builders.exits(100, [(inum, 1)], cgroup_id=7, ts_ns=at_ns))


def learn(attribution: Attribution, *batches: Batch) -> list[Batch]:
    return [part for batch in batches for part in attribution.split_and_learn(batch)]


def test_it_is_due_once_and_not_at_once() -> None:
    spaces = EndedSpaces()
    spaces.take(BEGUN)
    spaces.take(builders.batch(builders.exits(300), builders.exits(101, [(PIDNS, 2)])))
    spaces.take(ended(SECOND_NS))
    assert spaces.due(0) == spaces.due(SECOND_NS + LATER_NS - 1) == []
    assert spaces.due(SECOND_NS + LATER_NS) == [EndedSpace(SPACE, 7, SECOND_NS)]
    assert spaces.due(SECOND_NS + LATER_NS) == []


def test_one_with_processes_waits() -> None:
    spaces = EndedSpaces()
    spaces.take(ended(SECOND_NS))
    assert spaces.due(9 * SECOND_NS, lambda pidns: pidns == SPACE) == []
    assert spaces.due(9 * SECOND_NS) == [EndedSpace(SPACE, 7, SECOND_NS)]


def test_the_last_ones_are_kept() -> None:
    spaces = EndedSpaces(keep=2)
    for number in range(5):
        spaces.take(ended(SECOND_NS + number, PIDNS + number))
    assert [one.pidns.inum - PIDNS for one in spaces.due(9 * SECOND_NS)] == [0, 1, 2]


def test_what_is_forgotten_is_not_known_and_does_no_harm() -> None:
    attribution = Attribution()
    needed = NeededFacts(attribution)
    for part in learn(attribution, BEGUN):
        needed.take(part)
    assert attribution.owner(SPACE) == WEB
    attribution.forget(SPACE)
    needed.forget(SPACE)
    assert attribution.owner(SPACE) is None
    changes = attribution.changes
    again = PidnsId(PIDNS, 2)
    learn(attribution, builders.batch(builders.fork(200, [(PIDNS, 1, 2)], cgroup_id=7)))
    assert (attribution.owner(again), attribution.changes) == (WEB, changes)


def test_a_quiet_one_that_lives_outlives_any_number_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution_module, "MAX_FACTS", 8)
    kept, lost = Attribution(), Attribution()
    for attribution in (kept, lost):
        learn(attribution, BEGUN)
    for number in range(1, 20):
        others = builders.batch(builders.fork(200 + number, [(PIDNS + number, 1)]))
        for attribution in (kept, lost):
            learn(attribution, builders.batch(OWN), others)
        kept.keep([SPACE])
    assert (kept.owner(SPACE), lost.owner(SPACE)) == (WEB, None)
    assert kept.begun == 20


def test_first_processes_that_have_ended_are_not_kept() -> None:
    lives = {100, 200}
    firsts = FirstProcesses(lives.__contains__)
    firsts.note(BEGUN)
    firsts.note(builders.batch(builders.fork(200, [(PIDNS + 1, 1)], cgroup_id=8)))
    firsts.note(builders.batch(builders.fork(300, [(PIDNS + 2, 1)], cgroup_id=9)))
    firsts.note(ended(2 * SECOND_NS))
    assert [tgid for _cgroup, _start, tgid in firsts.living()] == [200]
    lives.add(300)  # the number has another owner by now
    assert [tgid for _cgroup, _start, tgid in firsts.living()] == [200]


def test_a_file_repeats_the_facts_about_who_lives_however_many_others_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(carry_over, "_MAX_FACTS", 4)
    living = CarryOver()
    living.apply(BEGUN)
    for number in range(20, 40):
        living.apply(builders.batch(builders.cgroup(number)))
    rows = living.snapshot(SECOND_NS).rows
    assert rows["cgroup_id"][rows["kind"] == Kind.CGROUP].tolist() == [7, 36, 37, 38, 39]
    assert Kind.PIDNS in rows["kind"]


@pytest.mark.parametrize("after_ns", [SECOND_NS // 100, 5 * SECOND_NS])
def test_a_container_is_in_the_next_file_what_it_is_in_this_one_wherever_its_first_process_is_moved(
    after_ns: int,
) -> None:
    """A runtime moves it into the container's cgroup, before it runs anything; whoever moves it later changes
    nothing."""
    stream = [
        builders.batch(builders.cgroup(6), OWN, builders.cgroup(8)),
        builders.batch(builders.fork(100, [(PIDNS, 1)], cgroup_id=6, ts_ns=SECOND_NS)),
        builders.batch(builders.row(Kind.MOVE, 100, [(PIDNS, 1)], cgroup_id=7, ts_ns=SECOND_NS + SECOND_NS // 200)),
        builders.batch(builders.row(Kind.MOVE, 100, [(PIDNS, 1)], cgroup_id=8, ts_ns=SECOND_NS + after_ns)),
        builders.batch(builders.fork(101, [(PIDNS, 2)], cgroup_id=8, ts_ns=9 * SECOND_NS)),
    ]
    this, living = Attribution(), CarryOver()
    learn(this, *stream)
    for batch in stream:
        living.apply(batch)
    following = Attribution()
    learn(following, living.snapshot(10 * SECOND_NS))
    assert following.owner(SPACE) == this.owner(SPACE) == WEB
