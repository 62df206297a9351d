"""Samples: every process that lives longer than a moment is named when it comes and when it ends, the others are
counted; and what is shown of a moment depends on that alone."""

from __future__ import annotations

import random
from typing import Any

import pytest
from builders import PIDNS, SECOND_NS, WEB, Row, batch, cgroup, exits, fork, gap, life, repair, row
from crowd import crowd

from tracer.screen.model import Model
from tracer.stream import sampling
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.metadata import CgroupFact, Container
from tracer.stream.pidns import INITIAL_PIDNS
from tracer.stream.samples import (
    BRIEF_NS,
    MAX_OVER,
    WINDOW_NS,
    Brief,
    Ended,
    LaneCounts,
    LaneFacts,
    Loss,
    Moved,
    Ran,
    Sample,
    merged,
)  # fmt: skip
from tracer.stream.sampling import Sampler
from tracer.stream.schema import Flag, Kind

INSIDE = [(PIDNS, 15)]


class Fed:
    """A sampler that is fed as a source does it."""

    def __init__(self) -> None:
        self.sampler, self._attribution = Sampler(), Attribution()

    def take(self, *rows: Row) -> Sample:
        self.feed(batch(*rows))
        return self.sampler.sample()

    def feed(self, whole: Batch) -> None:
        for part in self._attribution.split_and_learn(whole):
            self.sampler.take(part, self._attribution)


def born(sample: Sample) -> list[int]:
    return [one.pids[0] for one in sample.born]


def test_whoever_lives_is_named() -> None:
    sample = Fed().take(
        cgroup(7, WEB),
        fork(60, INSIDE, cgroup_id=7, uid=1000),
        row(Kind.EXEC, 60, INSIDE, cgroup_id=7, exe=b"/bin/ls", args=[b"ls", b"a b"], comm=b"ls", uid=1000),
    )
    (one,) = sample.born
    assert (one.pids, one.uid, one.comm, one.was_there) == ([60, 15], 1000, b"sh", False)
    assert sample.ran == [Ran((60, SECOND_NS), 2 * SECOND_NS, 1000, b"ls", b"/bin/ls", b"ls\0a b\0", False, 0)]
    assert sample.lanes == [
        LaneFacts(0, "web", "web", WEB, [(INITIAL_PIDNS.inum, INITIAL_PIDNS.gen), (PIDNS, 1)], None)
    ]
    assert (sample.living, sample.events, sample.by_lane) == (1, 2, [LaneCounts(0, 2, 0, 0)])
    assert sample.is_new


def test_who_lived_briefly_is_counted() -> None:
    fed = Fed()
    fed.take(fork(50))
    soon = SECOND_NS + BRIEF_NS - 1
    sample = fed.take(
        fork(60), exits(60, ts_ns=soon), fork(61), exits(61, status=256, ts_ns=soon), fork(62, comm=b"ls"),
        exits(62, comm=b"ls", ts_ns=soon),
    )  # fmt: skip
    assert sample.born == []
    assert sample.brief == [Brief(0, b"sh", 2, 1), Brief(0, b"ls", 1, 0)]
    assert [(one.born.key[0], one.born.comm, one.ended.status) for one in sample.over] == [
        (60, b"sh", 0), (61, b"sh", 256), (62, b"ls", 0)
    ]  # fmt: skip
    assert sample.by_lane == [LaneCounts(0, 7, 1, 3)]
    assert (sample.living, sample.is_new) == (1, False)


def test_who_lived_longer_is_named_until_some_time_after_the_end() -> None:
    end_ns = SECOND_NS + BRIEF_NS
    fed = Fed()
    fed.feed(batch(fork(60), exits(60, ts_ns=end_ns)))
    sample = fed.sampler.sample(end_ns + WINDOW_NS - 1)
    assert (born(sample), [one.key[0] for one in sample.ended], sample.brief, sample.living) == ([60], [60], [], 0)
    fed = Fed()
    fed.feed(batch(fork(60), exits(60, ts_ns=end_ns)))
    sample = fed.sampler.sample(end_ns + WINDOW_NS)
    assert (sample.born, sample.ended, len(sample.over), sample.living) == ([], [], 1, 0)


def test_rates_are_of_the_time_before_the_moment() -> None:
    fed = Fed()
    fed.feed(batch(fork(60, parent_tgid=50, parent_start_ns=5), fork(50, start_ns=5, ts_ns=2 * SECOND_NS)))
    sample = fed.sampler.sample(SECOND_NS + WINDOW_NS - 1)
    assert (sample.by_lane, sample.acts) == ([LaneCounts(0, 2, 0, 0)], [(50, 5, 1)])
    sample = fed.sampler.sample(SECOND_NS + WINDOW_NS)
    assert (sample.by_lane, sample.acts) == ([LaneCounts(0, 1, 0, 0)], [])


def test_who_moves_into_another_lane_is_told() -> None:
    fed = Fed()
    fed.take(fork(60))
    sample = fed.take(cgroup(7, WEB), row(Kind.EXEC, 60, cgroup_id=7))
    assert (sample.moved, sample.born) == ([Moved((60, SECOND_NS), 1)], [])


def test_another_name_of_a_container_is_told_at_once() -> None:
    fed = Fed()
    fed.take(cgroup(7, fact=CgroupFact("/web", WEB, root=7)), fork(60, INSIDE, cgroup_id=7))
    other = Container(WEB.id, WEB.runtime, "api", WEB.image, incarnation=3, earlier=["web"])
    sample = fed.take(cgroup(7, fact=CgroupFact("/web", other, root=7)), life("renamed", other, 7, old_name="web"))
    assert [(one.number, one.label) for one in sample.lanes] == [(0, "api#3")]
    assert [(one.label, one.text) for one in sample.told] == [("api#3", "container renamed")]
    assert fed.take(fork(61, INSIDE, cgroup_id=7)).born[0].lane == 0


def test_a_zombie_of_the_beginning_is_named() -> None:
    sample = Fed().take(row(Kind.SNAPSHOT, 60), exits(60, flags=Flag.INFERRED))
    assert (born(sample), [one.key[0] for one in sample.ended], sample.brief, sample.living) == ([60], [60], [], 0)


def test_changes_and_ends_of_those_who_were_named() -> None:
    fed = Fed()
    fed.take(fork(60))
    sample = fed.take(row(Kind.EXEC, 60, exe=b"/x", args=[b"x"], comm=b"x", ts_ns=5), exits(60, status=9, ts_ns=6))
    key = (60, SECOND_NS)
    assert (sample.ran, sample.ended) == ([Ran(key, 5, 0, b"x", b"/x", b"x\0", False, 0)], [Ended(key, 6, 9)])
    assert sample.living == 0


def test_an_inferred_end_says_not_how() -> None:
    fed = Fed()
    fed.take(fork(60))
    assert fed.take(exits(60, flags=Flag.INFERRED, status=9)).ended[0].status is None


def test_a_failed_exec_has_its_error() -> None:
    fed = Fed()
    fed.take(fork(60))
    (ran,) = fed.take(row(Kind.EXEC_FAILED, 60, exe=b"/none", status=2)).ran
    assert (ran.exe, ran.args, ran.errno) == (b"/none", b"", 2)


def test_forks_are_their_parents_acts() -> None:
    fed = Fed()
    fed.take(fork(50, start_ns=5))
    shared: dict[str, Any] = {"parent_tgid": 50, "parent_start_ns": 5}
    sample = fed.take(fork(60, **shared), exits(60), fork(61, **shared), row(Kind.EXEC, 50, start_ns=5))
    assert sample.acts == [(50, 5, 3)]


def test_losses_are_told_until_they_are_made_up_for() -> None:
    fed = Fed()
    sample = fed.take(gap(12, 5, 9))
    assert (sample.losses, sample.is_sure) == ([Loss(12, 5, 9, "")], False)
    assert fed.take(repair()).is_sure


def test_too_many_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MAX_LIVING", 2)
    sample = Fed().take(*(fork(60 + n) for n in range(3)))
    assert [one.key[0] for one in sample.ended] == [60]


def shown(model: Model) -> tuple[Any, ...]:
    """All that a screen shows of a moment, but for what /proc says."""
    rows = [
        (row.group.facts.number, row.depth, row.brief, row.proc and (
            row.proc.key, row.proc.pids, row.proc.title, row.proc.comm, row.proc.uid, row.proc.how, row.proc.rate,
            row.proc.is_fresh(model.now_ns), row.proc.ran))
        for row in model.rows(None, "start", is_tree=True)
    ]  # fmt: skip
    groups = [(one.facts.title, one.rate, one.failed, one.briefs, one.living) for one in model.groups.values()]
    return rows, groups, model.now_ns, model.living, model.rate, model.failed, model.lost


def at_moment(samples: list[Sample]) -> tuple[Any, ...]:
    model = Model()
    for sample in samples:
        model.apply(sample)
        model.forget(lambda _proc: False)
    return shown(model)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_shown_of_a_moment_depends_on_the_moment_alone(seed: int) -> None:
    """However it was reached: in one jump, or by many samples of any length, of which some were merged."""
    chance = random.Random(seed)
    facts, *parts = crowd(400, containers=3, span_s=6, longest_s=chance.choice((0.2, 1, 4)))
    whole = Batch.concat(parts)
    upto = chance.randrange(100, len(whole))
    now_ns = int(whole.rows["ts_ns"][upto - 1]) + chance.choice((0, 300_000_000, 3 * SECOND_NS))
    once = Fed()
    once.feed(facts)
    once.feed(whole.part(0, upto))
    expected = at_moment([once.sampler.sample(now_ns)])
    assert expected[4] > 0 or now_ns > int(whole.rows["ts_ns"][upto - 1])
    for _route in range(3):
        fed, samples, at = Fed(), list[Sample](), 0
        fed.feed(facts)
        while at < upto:
            end = min(upto, at + chance.randrange(1, 120))
            fed.feed(whole.part(at, end))
            samples.append(fed.sampler.sample(now_ns if end == upto else 0))
            at = end
        joined = samples[:1]
        for sample in samples[1:]:
            joined[-1:] = [merged(joined[-1], sample)] if chance.random() < 0.4 else [joined[-1], sample]
        assert at_moment(samples) == expected
        assert at_moment(joined) == expected


def test_merged_samples_are_as_large_as_what_lives() -> None:
    fed = Fed()
    all_of_it = fed.take()
    for _round in range(50):
        all_of_it = merged(all_of_it, fed.take(*(fork(60 + n, start_ns=_round * 100 + n) for n in range(20))))
        ends = fed.take(*(exits(60 + n, start_ns=_round * 100 + n, ts_ns=_round * 100 + n) for n in range(20)))
        all_of_it = merged(all_of_it, ends)
    assert (all_of_it.born, all_of_it.ended) == ([], [])
    assert len(all_of_it.over) == MAX_OVER
    assert sum(one.brief for one in all_of_it.by_lane) == 1000
