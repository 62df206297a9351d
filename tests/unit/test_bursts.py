"""Gaps that lie close together are one place where events were lost."""

from __future__ import annotations

import itertools
import random

from tracer.past.bursts import QUIET_NS, Place, places

LONG_NS = 1000 * QUIET_NS


def test_each_that_is_alone_is_a_place() -> None:
    found = places([(5 * QUIET_NS, 6 * QUIET_NS, 2), (0, QUIET_NS, 3)], QUIET_NS)
    assert found == [Place(QUIET_NS, QUIET_NS, 3, 1), Place(5 * QUIET_NS, 6 * QUIET_NS, 2, 1)]
    assert list(map(str, found)) == ["3 events lost", "2 events lost"]


def test_in_a_long_recording_a_place_is_wider() -> None:
    gaps = [(1, QUIET_NS, 1), (9 * QUIET_NS, 9 * QUIET_NS, 1)]
    assert [len(places(gaps, span_ns)) for span_ns in (QUIET_NS, LONG_NS)] == [2, 1]
    assert str(places(gaps, LONG_NS)[0]) == "2 events lost in 2 gaps"


def test_overlapping_ones_in_any_order_lose_nothing() -> None:
    chance = random.Random(3)
    for _turn in range(50):
        gaps = [(at, at + chance.randrange(1, 3 * QUIET_NS), chance.randrange(9))
                for at in chance.sample(range(1, 90 * QUIET_NS), 40)]  # fmt: skip
        found = places(chance.sample(gaps, len(gaps)), QUIET_NS)
        assert found == places(gaps, QUIET_NS)
        assert (sum(one.lost for one in found), sum(one.gaps for one in found)) == (sum(gap[2] for gap in gaps), 40)
        assert all(b.since_ns - a.until_ns >= QUIET_NS for a, b in itertools.pairwise(found))


def test_a_missing_file_is_a_place_of_which_nobody_knows_how_much() -> None:
    assert str(places([(5, 9, 0)], LONG_NS)[0]) == "events are missing"
