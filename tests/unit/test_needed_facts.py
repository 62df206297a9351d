"""Which facts go into a recording: those that its rows need, and with them every answer is as it was live."""

from __future__ import annotations

import random
from typing import Any

import builders
import msgspec
import numpy as np
import pytest
from builders import PIDNS, WEB

from tracer.stream.attribution import Attribution, reduce
from tracer.stream.batch import Batch
from tracer.stream.metadata import CgroupFact, Container, Inner
from tracer.stream.needed_facts import NeededFacts
from tracer.stream.pidns import chain_of
from tracer.stream.schema import Kind

DB = Container("b" * 64, "docker", "db")
INNER = Container("c" * 64, "docker", "inner")
NAMELESS = Container(WEB.id, "docker")


def own(cgroup_id: int, container: Container) -> builders.Row:
    return builders.cgroup(cgroup_id, fact=CgroupFact("/", container, root=cgroup_id))


def given(shown: set[int], *parts: Batch) -> list[Batch]:
    """What is passed on of parts of which the processes with these PIDs are shown."""
    attribution = Attribution()
    needed, found = NeededFacts(attribution), []
    for part in parts:
        for known in attribution.split_and_learn(part):
            mask = np.isin(known.rows["tgid"], list(shown)) | (known.rows["kind"] == Kind.CGROUP)
            found.append(needed.take(reduce(known, mask)))
    return found


def containers(batches: list[Batch]) -> dict[int, str | None]:
    """By cgroup id what the facts say."""
    found: dict[int, str | None] = {}
    for batch in batches:
        for at in np.flatnonzero(batch.rows["kind"] == Kind.CGROUP).tolist():
            fact = msgspec.json.decode(batch.payload(at).args, type=CgroupFact)
            found[int(batch.rows["cgroup_id"][at])] = fact.container.label if fact.container else None
    return found


def test_only_what_a_shown_row_is_about() -> None:
    first = builders.batch(builders.cgroup(1), own(10, WEB), own(11, DB), builders.cgroup(12),
                           builders.fork(100, [(PIDNS, 1)], cgroup_id=10),
                           builders.fork(200, [(PIDNS + 1, 1)], cgroup_id=11))  # fmt: skip
    passed = given({100}, first, builders.batch(builders.fork(201, [(PIDNS + 1, 2)], cgroup_id=11)))
    assert containers(passed) == {10: "web"}
    kinds = np.concatenate([batch.rows["kind"] for batch in passed]).tolist()
    assert kinds == [Kind.CGROUP, Kind.FORK]


def test_a_visitor_needs_the_namespace_and_its_container() -> None:
    first = builders.batch(builders.cgroup(1), own(10, WEB), builders.fork(100, [(PIDNS, 1)], cgroup_id=10))
    visit = builders.batch(builders.fork(101, [(PIDNS, 2)], cgroup_id=1))
    passed = given({101}, first, visit)
    assert [kind for batch in passed for kind in batch.rows["kind"].tolist()] == [
        Kind.CGROUP, Kind.CGROUP, Kind.PIDNS, Kind.FORK
    ]  # fmt: skip
    assert containers(passed) == {1: None, 10: "web"}


def test_a_name_that_comes_late_follows_where_the_id_was_passed_on() -> None:
    first = builders.batch(own(10, NAMELESS), own(11, DB), builders.fork(100, [(PIDNS, 1)], cgroup_id=10))
    late = builders.batch(own(10, WEB), own(11, DB))
    assert containers(given({100}, first)) == {10: WEB.id[:12]}
    assert containers(given({100}, first, late)) == {10: "web"}


def test_a_gap_says_whose_events_were_lost() -> None:
    first = builders.batch(own(10, WEB), own(11, DB))
    gap = builders.batch(builders.gap(3, pair=(PIDNS, 1, 11)))
    assert containers(given({0}, first, gap)) == {11: "db"}


def test_rows_that_have_what_they_need_pass_as_they_are() -> None:
    attribution = Attribution()
    needed = NeededFacts(attribution)
    rows = [builders.fork(100 + nr, [(PIDNS, 1 + nr)], cgroup_id=10) for nr in range(3)]
    for part in attribution.split_and_learn(builders.batch(own(10, WEB), *rows[:2])):
        needed.take(part)
    (again,) = attribution.split_and_learn(builders.batch(rows[2]))
    assert needed.take(again) is again


@pytest.mark.parametrize("seed", range(200))
def test_every_answer_is_as_it_was_live(seed: int) -> None:
    """Any processes, cgroups and namespaces, in any order, but each cgroup ahead of who is in it; some are shown."""
    chance = random.Random(seed)
    claim = CgroupFact("/", WEB, root=10, inner=(Inner(30, INNER, 10),))
    facts = [builders.cgroup(1), own(10, NAMELESS), own(11, DB), builders.cgroup(30, fact=claim)]
    firsts = [[(PIDNS, 1)], [(PIDNS + 1, 1)], [(PIDNS, 4), (PIDNS + 2, 1)]]
    execs: dict[int, int] = {}
    attribution, rows = Attribution(), facts
    for at in range(60):
        if chance.random() < 0.1:
            rows.append(own(10, WEB))
        more: dict[str, Any] = {"cgroup_id": chance.choice([1, 10, 11, 30]), "ts_ns": 10**9 + at}
        begun, space = len(execs), chance.randrange(3)
        if begun < 3 and chance.random() < 0.3:
            execs[begun] = 0
            rows.append(builders.fork(100 + begun, firsts[begun], **more))
        elif space < begun and chance.random() < 0.3:
            execs[space] += chance.randrange(2)
            rows.append(builders.row(Kind.MOVE, 100 + space, firsts[space], exec_id=execs[space], **more))
        elif space < begun:
            *around, (inum, _one) = firsts[space]
            rows.append(builders.fork(200 + at, [*around, (inum, 2 + at)], **more))
        else:
            rows.append(builders.fork(200 + at, **more))
    shown = {tgid for tgid in range(100, 300) if chance.random() < 0.3}
    needed, replayed, live, later = NeededFacts(attribution), Attribution(), [], []
    for part in attribution.split_and_learn(builders.batch(*rows)):
        mask = np.isin(part.rows["tgid"], list(shown)) | (part.rows["kind"] == Kind.CGROUP)
        passed = needed.take(reduce(part, mask))
        live += answers(attribution, passed)
        for again in replayed.split_and_learn(passed):
            later += answers(replayed, again)
    assert later == live


def answers(attribution: Attribution, batch: Batch) -> list[tuple[int, list[str]]]:
    found = []
    for at in np.flatnonzero(~np.isin(batch.rows["kind"], [Kind.CGROUP, Kind.PIDNS])).tolist():
        around = attribution.enclosing(chain_of(batch, at), int(batch.rows["cgroup_id"][at]))
        found.append((int(batch.rows["tgid"][at]), [container.label for container in around]))
    return found
