"""Times of a recording as users type them."""

import contextlib
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import ExitCode, NstraceError
from tracer.moments import Span, parse_moment, parse_range

SECOND = 1_000_000_000
BEGIN = 1_764_000_000 * SECOND  # 2025-11-24T16:00:00Z
SPAN = Span(BEGIN, BEGIN + 3600 * SECOND)


@pytest.fixture(autouse=True)
def berlin(in_zone: Callable[[str], None]) -> None:
    """This host's zone: UTC+1 in November."""
    in_zone("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2025-11-24T16:00:05Z", 5), ("2025-11-24t16:00:05z", 5), ("2025-11-24 16:00:05Z", 5),
        ("2025-11-24T17:00:05+01:00", 5), ("2025-11-24T17:00:05", 5), ("2025-11-24T17:00", 0),
        ("2025-11-24T16:00:05.25Z", 5.25), ("2025-11-24T16:00:05.000000001Z", 5 + 1e-9),
        ("17:00:05", 5), ("17:00:05.5", 5.5), ("17:01", 60), ("16:00:05Z", 5), ("18:00:00", 3600),
        ("@1764000005", 5), ("@1764000005.5", 5.5),
        ("+0", 0), ("+5", 5), ("+5s", 5), ("+1m30s", 90), ("+1h", 3600), ("+250ms", 0.25), ("+1.5m", 90),
        ("-10s", 3590), ("-1h", 0), (" +5s ", 5),
    ],
)  # fmt: skip
def test_forms(text: str, seconds: float) -> None:
    assert parse_moment(text, SPAN) == BEGIN + round(seconds * SECOND)


def test_a_time_of_day_in_a_recording_over_midnight() -> None:
    begin = 1_764_026_400 * SECOND  # 2025-11-25T00:20+01:00
    span = Span(begin - 3600 * SECOND, begin)
    assert parse_moment("23:50:00", span) == begin - 1800 * SECOND
    assert parse_moment("00:10:00", span) == begin - 600 * SECOND


@pytest.mark.parametrize(
    "text",
    ["", " ", "now", "8", "25:00", "17:61", "2025-13-01T00:00", "2025-02-30T00:00:00Z", "+", "-", "+5x", "+1s5", "@",
     "@x",     "17:00:05+99:99", "+s", "٠٨:٠٠", "+٥s", "9999-12-31T23:59:59.9999999999Z", "1" * 100, "\x1b[31m"],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(NstraceError) as caught:
        parse_moment(text, SPAN)
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.message.isprintable()


@given(st.text(max_size=30))
def test_whatever_is_typed_is_a_time_or_refused(text: str) -> None:
    for parse in (parse_moment, parse_range):
        with contextlib.suppress(NstraceError):
            parse(text, SPAN)


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [("+10s..+20s", 10, 20), ("..+20", 0, 20), ("-10s..", 3590, 3600), ("17:00:05..17:01", 5, 60), ("..", 0, 3600)],
)
def test_ranges(text: str, begin: int, end: int) -> None:
    assert parse_range(text, SPAN) == (BEGIN + begin * SECOND, BEGIN + end * SECOND)


@pytest.mark.parametrize("text", ["", "+5s", "+20..+10", "+5...+6", "x.."])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(NstraceError):
        parse_range(text, SPAN)


def test_before_now() -> None:
    before = time.time_ns()
    moment = parse_moment("1h30m ago", SPAN)
    assert before - 5400 * 10**9 <= moment <= time.time_ns() - 5400 * 10**9
    with pytest.raises(NstraceError):
        parse_moment("long ago", SPAN)
