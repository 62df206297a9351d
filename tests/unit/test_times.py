"""Times as they are shown."""

from collections.abc import Callable

import pytest

from tracer.text.times import elapsed, full, rfc3339, short

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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (2.25, "2.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (312, "5 min 12 s"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_how_long_something_took(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text
