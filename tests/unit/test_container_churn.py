"""What is known of a container goes with it, in all tables that there are; what lives stays known, and is right."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from churn import Churn, FakeContainer, sizes

from tracer.containers import cgroups as cgroups_module
from tracer.containers import engine_enquiry
from tracer.recording.inputs import open_input
from tracer.recording.reader import Recording
from tracer.recording.source import RecordedSource
from tracer.stream import attribution, ended_spaces, lives, removed_cgroups, visitors
from tracer.stream.attribution import fact_of
from tracer.stream.batch import Batch
from tracer.stream.metadata import LifeFact
from tracer.stream.schema import Kind
from tracer.wiring import choosing

COUNT = 20_000 if os.environ.get("NSTRACE_STRESS") == "long" else 1_000
FEW, SOME = 64, 128
SMALL = {
    (choosing, "_KEEP_ENDED"): FEW,
    (removed_cgroups, "AT_ONCE"): FEW // 4,
    (cgroups_module, "_KEEP_PAST"): SOME,
    (cgroups_module, "_TRIM_EVERY"): FEW // 4,
    (engine_enquiry, "_KEEP_REMOVED"): FEW,
    (engine_enquiry, "_MAX_ABSENT"): SOME,
    (engine_enquiry, "_MAX_STATES"): FEW,
    (attribution, "_MAX_OWNERLESS"): FEW,
    (lives, "MAX_PAST"): SOME,
    (visitors, "_MAX_DOORS"): FEW,
}


@pytest.fixture(autouse=True)
def nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended_spaces, "LATER_NS", 0)
    monkeypatch.setattr(removed_cgroups, "LATER_NS", 0)


@pytest.fixture
def churn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Churn]:
    """With tables that keep few."""
    for (module, name), value in SMALL.items():
        monkeypatch.setattr(module, name, value)
    with Churn(tmp_path) as made:
        yield made


def test_nothing_grows(churn: Churn) -> None:
    """No table, whoever has made it, and whatever for."""
    churn.come_and_go(range(1, COUNT // 2), at_once=50)
    before = sizes(churn)
    churn.come_and_go(range(COUNT // 2, COUNT), at_once=50)
    after = sizes(churn)
    assert before["Attribution.cgroups"] > FEW, "the tables are not seen"
    for table in ("Counts._candidates", "EngineEnquiry._state_asked", "LifeHints._waiting"):
        del before[table], after[table]  # at most 1024; those of the last two seconds
    grown = {name: (before[name], size) for name, size in after.items() if size > 1.1 * before[name] + FEW}
    assert not grown
    assert max(after.values()) < 8 * FEW


def test_who_lives_is_known_however_many_come_and_go(churn: Churn) -> None:
    web, shared = FakeContainer(1, "web"), FakeContainer(2, "shared", is_host=True)
    begun = churn.begin(web, shared)
    assert churn.container_of(begun, web.tgid + 1) == {"web"}
    churn.come_and_go(range(10, 300), at_once=50)
    ran = churn.run(web, shared)
    assert churn.container_of(ran, web.tgid + 2) == {"web"}
    assert churn.container_of(ran, shared.tgid + 2) == {"shared"}
    ended = churn.end(web, shared)
    assert [action for action in actions(ended) if action[0] == "stopped"] == [
        ("stopped", "web"),
        ("stopped", "shared"),
    ]


def test_lives_go_on_counting_by_the_name(churn: Churn) -> None:
    lives, stops = FakeContainer(1, "web"), FakeContainer(2, "db")
    churn.begin(lives, stops)
    churn.end(stops, is_removed=False)
    churn.come_and_go(range(10, 100), at_once=50)
    churn.begin(again := FakeContainer(3, "db", life_of=2))
    churn.come_and_go(range(100, 300), at_once=50)
    assert churn.container_of(churn.run(again), again.tgid + 2) == {"db#2"}
    churn.end(lives, again, is_removed=False)
    begun = churn.begin(second := FakeContainer(4, "web", life_of=1), third := FakeContainer(5, "db", life_of=2))
    assert churn.container_of(begun, second.tgid + 1) == {"web#2"}
    assert churn.container_of(begun, third.tgid + 1) == {"db#3"}


def test_a_namespace_is_its_containers_where_its_cgroup_is_removed(churn: Churn) -> None:
    """Whoever may do that has moved the processes somewhere else."""
    web = FakeContainer(1, "web")
    churn.begin(web)
    churn.move_away(web)
    churn.come_and_go(range(10, 300), at_once=50)
    web.cgroup_id = churn.elsewhere
    assert churn.container_of(churn.run(web), web.tgid + 2) == {"web"}
    churn.end(web)
    churn.come_and_go(range(300, 500), at_once=50)
    assert len(churn.source.attribution.cgroups) < 3 * FEW


def test_the_latest_file_stands_alone_and_says_nothing_of_who_is_gone(churn: Churn, tmp_path: Path) -> None:
    web = FakeContainer(1, "web")
    begun = churn.begin(web)
    lives = churn.source.attribution.of_row(begun, int(np.flatnonzero(begun.rows["tgid"] == web.tgid + 1)[0]))
    churn.come_and_go(range(10, 400), at_once=50)
    churn.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    recorded = RecordedSource([Recording("latest", open_input(str(files[-1])), pytest.fail)])
    rows = Batch.concat(list(recorded.batches(lambda: 0.0)))
    carried = rows.select(rows.rows["ts_ns"] == rows.rows["ts_ns"][0])
    facts = carried.rows["cgroup_id"][carried.rows["kind"] == Kind.CGROUP].tolist()
    assert web.cgroup_id in facts
    assert len(facts) < 3 * FEW
    listed = np.flatnonzero((carried.rows["tgid"] == web.tgid + 1) & (carried.rows["kind"] == Kind.SNAPSHOT))
    assert [recorded.attribution.of_row(carried, at) for at in listed.tolist()] == [lives]


def actions(batch: Batch) -> list[tuple[str, str]]:
    """What happened to which containers, by their labels."""
    facts = [fact_of(batch, at) for at in np.flatnonzero(batch.rows["kind"] == Kind.CONTAINER).tolist()]
    return [(fact.action, fact.container.label) for fact in facts if isinstance(fact, LifeFact)]
