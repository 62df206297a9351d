"""Gaps of one burst are one line of text, whatever the batches; JSON has every one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from builders import PIDNS, SECOND_NS, WEB, Row, batch, cgroup, exits, fork, gap, repair

from tracer.stream.attribution import Attribution
from tracer.stream.schema import NO_CPU, Flag, Kind
from tracer.views.jsonl import JsonLines
from tracer.views.lines import Lines
from tracer.views.view import View

KINDS = frozenset({Kind.FORK, Kind.EXIT})
MS = 1_000_000
AT = 100 * SECOND_NS


@pytest.fixture(autouse=True)
def utc(in_zone: Callable[[str], None]) -> None:
    in_zone("UTC")


def shown(rows: Sequence[Row], cuts: Sequence[int] = (), view: View | None = None) -> list[str]:
    """The lines for these rows. cuts: where one batch ends and the next begins."""
    view, containers = view or Lines(KINDS, False, False, 0), Attribution()
    text = b""
    for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        for part in containers.split_and_learn(batch(*rows[begin:end])):
            text += view.render(part, containers)
    return (text + view.rest()).decode().splitlines()


def storm(count: int) -> list[Row]:
    """Losses and events take turns, a millisecond apart, on two CPUs."""
    rows: list[Row] = [fork(1, ts_ns=AT - 1)]
    for number in range(count):
        now = AT + number * MS
        rows += [gap(1, now - MS, now, cpu=number % 2), fork(100 + number, ts_ns=now)]
    return rows


def infos(lines: Sequence[str]) -> list[str]:
    return [line.split(" -               ")[-1] for line in lines if " gap " in line]


def test_a_burst_is_one_line_behind_its_rows() -> None:
    lines = shown([*storm(147), fork(999, ts_ns=AT + 2 * SECOND_NS)])
    assert infos(lines) == ["lost 147 events on CPUs 0-1 between 00:01:39.999 and 00:01:40.146"]
    assert " gap " in lines[-2]
    assert len(lines) == 1 + 147 + 1 + 1


def test_json_has_every_gap() -> None:
    lines = [json.loads(line) for line in shown(storm(147), view=JsonLines(KINDS, False, 0))]
    assert [line["lost"] for line in lines if line["event"] == "gap"] == [1] * 147


@pytest.mark.parametrize("step", [1, 2, 3, 7, 50])
def test_batches_do_not_matter(step: int) -> None:
    rows = [
        *storm(40),
        repair(AT + 50 * MS),
        *storm(3),
        fork(9, ts_ns=AT + 5 * SECOND_NS),
        gap(2, AT, AT + 9 * SECOND_NS),
    ]
    assert shown(rows, range(step, len(rows), step)) == shown(rows)


def test_what_is_quiet_for_long_enough_ends_a_burst() -> None:
    rows = [gap(1, AT, AT, cpu=0), gap(2, AT, AT + 100 * MS, cpu=0), gap(4, AT, AT + 201 * MS, cpu=0)]
    assert [info.split(" on")[0] for info in infos(shown(rows))] == ["lost 3 events", "lost 4 events"]
    rows = [gap(1, AT, AT), fork(1, ts_ns=AT + 101 * MS), fork(2, ts_ns=AT + 102 * MS)]
    assert [" gap " in line for line in shown(rows)] == [True, False, False]


def test_a_long_burst_is_a_line_a_second() -> None:
    rows = [gap(1, AT, AT + number * 50 * MS) for number in range(60)]
    assert [info.split(" on")[0] for info in infos(shown(rows))] == [
        "lost 21 events",
        "lost 21 events",
        "lost 18 events",
    ]


def test_rows_that_come_late_end_a_burst() -> None:
    """As an event does that was held until its container had a name: live may have shown the gap long before."""
    lines = shown([gap(1, AT, AT), fork(1, ts_ns=AT - SECOND_NS), fork(2, ts_ns=AT)])
    assert [" gap " in line for line in lines] == [True, False, False]


def test_containers_have_a_line_each() -> None:
    pair = (PIDNS, 1, 7)
    rows = [
        cgroup(7, WEB),
        gap(1, AT, AT + MS, cpu=0),
        gap(2, AT, AT + MS, cpu=3, pair=pair, flags=Flag.THROTTLED),
        gap(3, AT, AT + MS, cpu=5, pair=pair),
        gap(4, AT, AT + MS, cpu=0),
    ]
    lines = shown(rows)
    assert [line.split()[2] for line in lines] == ["-", "web"]
    assert "lost 5 events on CPU 0 between" in lines[0]
    assert "lost 5 events on CPUs 3,5 between" in lines[1]
    assert lines[1].endswith("(2 throttled)")


@pytest.mark.parametrize(("lost", "what"), [(0, "events are missing between"), (3, "lost 3 events between")])
def test_a_gap_that_is_not_of_the_ring_is_shown_in_its_place(lost: int, what: str) -> None:
    lines = shown([gap(2, AT, AT), gap(lost, AT, AT + MS, cpu=NO_CPU), fork(1, ts_ns=AT + MS)])
    assert ["lost 2 events" in lines[0], what in lines[1], "fork" in lines[2]] == [True] * 3


def test_what_came_before_the_first_event_is_lost_from_the_start() -> None:
    (info,) = infos(shown([gap(1, AT, AT, cpu=0), gap(1, 0, AT, cpu=0)]))
    assert info == "lost 2 events on CPU 0 between the start and 00:01:40.000"


def test_a_repair_ends_a_burst() -> None:
    lines = shown([gap(1, AT, AT), repair(AT), exits(5, ts_ns=AT + MS)])
    assert [line.split()[1] for line in lines] == ["gap", "repair", "exit"]
