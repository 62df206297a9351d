"""Samples: every process that outlives one is named when it comes and when it ends; the others are counted."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest
from builders import PIDNS, SECOND_NS, WEB, Row, batch, cgroup, exits, fork, gap, repair, row
from crowd import crowd

from tracer.stream import sampling
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.pidns import INITIAL_PIDNS
from tracer.stream.sampling import Brief, Ended, LaneFacts, Loss, Ran, Sample, Sampler, merged
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
    assert (one.pids, one.uid, one.comm, one.exe, one.was_there) == ([60, 15], 1000, b"ls", b"/bin/ls", False)
    assert (one.args, one.is_cut) == (b"ls\0a b\0", False)
    assert sample.lanes == [LaneFacts(0, "web", WEB, [(INITIAL_PIDNS.inum, INITIAL_PIDNS.gen), (PIDNS, 1)], None)]
    assert (sample.living, sample.events, sample.by_lane) == (1, 2, [(0, 2, 0)])
    assert sample.is_new


def test_who_began_and_ended_between_two_samples_is_counted() -> None:
    fed = Fed()
    fed.take(fork(50))
    sample = fed.take(fork(60), exits(60), fork(61), exits(61, status=256), fork(62, comm=b"ls"), exits(62, comm=b"ls"))
    assert sample.born == []
    assert sample.brief == [Brief(0, b"sh", 2, 1), Brief(0, b"ls", 1, 0)]
    assert [(one.born.key[0], one.born.comm, one.ended.status) for one in sample.over] == [
        (60, b"sh", 0), (61, b"sh", 256), (62, b"ls", 0)
    ]  # fmt: skip
    assert (sample.living, sample.is_new) == (1, False)


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


def told(samples: list[Sample]) -> tuple[set[int], int, int, int]:
    """Who lives in the end, how many were named and counted, events, and failures."""
    living: set[int] = set()
    total = 0
    for sample in samples:
        living = set() if sample.is_new else living
        living |= {one.key[0] for one in sample.born}
        total += len(sample.born) + sum(one.count for one in sample.brief)
        living -= {one.key[0] for one in sample.ended}
        assert len(living) == sample.living
    return living, total, sum(one.events for one in samples), sum(lane[2] for one in samples for lane in one.by_lane)


@pytest.mark.parametrize("seed", range(5))
def test_wherever_samples_are_taken_and_merged_the_facts_are_the_same(seed: int) -> None:
    chance = random.Random(seed)
    whole = Batch.concat(itertools.islice(crowd(300, containers=3), 1, None))
    facts = next(crowd(300, containers=3))
    fed, samples, at = Fed(), list[Sample](), 0
    fed.feed(facts)
    while at < len(whole):
        upto = min(len(whole), at + chance.randrange(1, 200))
        fed.feed(whole.part(at, upto))
        samples.append(fed.sampler.sample())
        at = upto
    once = Fed()
    once.feed(facts)
    once.feed(whole)
    expected = told([once.sampler.sample()])
    assert told(samples) == expected
    assert expected[1] == 300
    joined = samples[:1]
    for sample in samples[1:]:
        joined[-1:] = [merged(joined[-1], sample)] if chance.random() < 0.7 else [joined[-1], sample]
    living, total, events, failed = told(joined)
    assert (living, events, failed) == (expected[0], *expected[2:])
    assert total == 300


def test_merged_samples_are_as_large_as_what_lives() -> None:
    fed = Fed()
    all_of_it = fed.take()
    for _round in range(50):
        all_of_it = merged(all_of_it, fed.take(*(fork(60 + n, start_ns=_round * 100 + n) for n in range(20))))
        ends = fed.take(*(exits(60 + n, start_ns=_round * 100 + n, ts_ns=_round * 100 + n) for n in range(20)))
        all_of_it = merged(all_of_it, ends)
    assert (all_of_it.born, all_of_it.ended) == ([], [])
    assert len(all_of_it.over) == sampling.MAX_OVER
    assert Counter({one.comm: one.count for one in all_of_it.brief}) == {b"sh": 1000}
