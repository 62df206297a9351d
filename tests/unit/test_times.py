"""Times as they are shown."""

from collections.abc import Callable

import pytest

from tracer.text.times import full, rfc3339, short

SECOND_NS = 1_000_000_000
NOW_NS = 1_699_999_200 * SECOND_NS  # 2023-11-14 22:00:00 UTC


@pytest.fixture(autouse=True)
def utc(in_zone: Callable[[str], None]) -> None:
    in_zone("UTC")


@pytest.mark.parametrize(("days_ago", "shown"), [(0, "22:00:00"), (1, "Nov 13"), (400, "2022-10-10")])
def test_short(days_ago: int, shown: str) -> None:
    assert short(NOW_NS - days_ago * 86400 * SECOND_NS, NOW_NS) == shown


def test_full_and_rfc3339() -> None:
    assert full(NOW_NS + 999) == "2023-11-14 22:00:00 +0000"
    assert rfc3339(NOW_NS + 999) == "2023-11-14T22:00:00.000000999Z"
