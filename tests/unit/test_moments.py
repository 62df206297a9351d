"""Times of a recording as users type them."""

import contextlib
import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import ExitCode, NstraceError
from tracer.typed.moments import UNKNOWN_NS, Span, parse_moment, parse_range, parse_windows

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
        ("@1764000005", 5), ("@1764000005.5", 5.5), ("1764000005", 5), ("1764000005.5", 5.5),
        ("2025-11-25", 25200), ("2025-11-24 7:00:05", -35995), ("+1 hour 30 min", 5400), ("+1d", 86400),
        ("+0", 0), ("+5", 5), ("+5s", 5), ("+1m30s", 90), ("+1h", 3600), ("+250ms", 0.25), ("+1.5m", 90),
        ("-10s", 3590), ("-1h", 0), (" +5s ", 5),
    ],
)  # fmt: skip
def test_forms(text: str, seconds: float) -> None:
    assert parse_moment(text, SPAN) == BEGIN + round(seconds * SECOND)


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59Z", "0001-01-02T00:00:00Z"])
def test_a_time_beyond_all_recordings_is_a_number_of_64_bits(text: str) -> None:
    """As 9999-12-31 for the end of time: what computes with it has room for an offset."""
    assert abs(parse_moment(text, Span(0, 1))) == 1 << 62
    window = parse_windows("0001-01-02T00:00:00Z", "9999-12-31T23:59:59Z", [Span(5, 7)])
    assert window == [Span(-(1 << 62), 1 << 62)]


def test_a_time_of_day_in_a_recording_over_midnight() -> None:
    begin = 1_764_026_400 * SECOND  # 2025-11-25T00:20+01:00
    span = Span(begin - 3600 * SECOND, begin)
    assert parse_moment("23:50:00", span) == begin - 1800 * SECOND
    assert parse_moment("00:10:00", span) == begin - 600 * SECOND


@pytest.mark.parametrize(
    "text",
    ["", " ", "ago", "8", "90", "90.5", "123456", "25:00", "17:61", "2025-13-01T00:00", "2025-02-30T00:00:00Z", "+",
     "-", "+5x", "+1s5", "@", "@x", "17:00:05+99:99", "+s", "٠٨:٠٠", "+٥s",
     "9999-12-31T23:59:59.9999999999Z", "1" * 100, "\x1b[31m"],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(NstraceError) as caught:
        parse_moment(text, SPAN)
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.message.isprintable()


@given(st.text(max_size=30))
def test_whatever_is_typed_is_a_time_or_refused(text: str) -> None:
    for parse in (parse_moment, one):
        with contextlib.suppress(NstraceError):
            parse(text, SPAN)


def one(text: str, span: Span = SPAN) -> Span | None:
    """The window of one recording."""
    (window,) = parse_range(text, [span])
    return window


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("+10s..+20s", 10, 30), ("17:00:10..+5m", 10, 310), ("-10s..+5s", 3590, 3595), ("..+20", 0, 20),
        ("-10s..", 3590, 3600), ("+10s..-10s", 10, 3590), ("17:00:05..17:01", 5, 60), ("..", 0, 3600),
        # what lies partly outside is meant as far as it goes
        ("16:59..17:00:10", -60, 10), ("16:59:30..+1m", -30, 30), ("17:59..18:30", 3540, 5400), ("-0s..", 3600, 3600),
    ],
)  # fmt: skip
def test_ranges(text: str, begin: int, end: int) -> None:
    assert one(text) == Span(BEGIN + begin * SECOND, BEGIN + end * SECOND)


def test_a_time_of_day_ends_a_window_on_the_day_on_which_it_begins() -> None:
    days = Span(BEGIN, BEGIN + 3 * 86400 * SECOND)
    window = one("2025-11-26T17:00..17:10", days)
    assert window == Span(BEGIN + 2 * 86400 * SECOND, BEGIN + (2 * 86400 + 600) * SECOND)
    assert one("2025-11-26T23:50..00:10", days) == Span(BEGIN + 197400 * SECOND, BEGIN + 198600 * SECOND)


@pytest.mark.parametrize("text", ["", "+5s", "+5...+6", "x.."])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(NstraceError):
        one(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("+2h..", "'+2h' is outside the recording (2025-11-24 17:00:00.000 to 18:00:00.000)"),
        ("..16:59", "'16:59' is outside the recording (2025-11-24 17:00:00.000 to 18:00:00.000)"),
        ("18:01..+5m", "'18:01' to '+5m' is outside the recording"),
        ("16:00..16:30", "'16:00' to '16:30' is outside the recording"),
        ("17:30..17:20", "'17:30' to '17:20' is empty: its end is not after its beginning"),
        ("17:30..17:30", "'17:30' to '17:30' is empty: its end is not after its beginning"),
        ("+5..+0", "'+5' to '+0' is empty: its end is not after its beginning"),
    ],
)
def test_a_window_that_holds_nothing_is_refused(text: str, said: str) -> None:
    with pytest.raises(NstraceError, match=re.escape(said)) as caught:
        one(text)
    assert caught.value.exit_code == ExitCode.USAGE


def test_of_several_recordings_those_are_meant_that_the_window_meets() -> None:
    spans = [Span(BEGIN + begin * SECOND, BEGIN + end * SECOND) for begin, end in ((0, 10), (100, 110), (200, 300))]
    assert parse_windows("17:01", "17:03:30", spans) == [None, *[Span(BEGIN + 60 * SECOND, BEGIN + 210 * SECOND)] * 2]
    assert parse_windows("+20s", None, spans) == [None, None, Span(BEGIN + 220 * SECOND, BEGIN + 300 * SECOND)]
    with pytest.raises(NstraceError, match=r"outside all recordings \(2025-11-24 17:00:00.000 to 17:00:10.000, 20"):
        parse_windows("+5m", None, spans)


def test_when_a_stream_ends_is_not_known() -> None:
    stream = Span(BEGIN, UNKNOWN_NS)
    assert one("+5s..+5s", stream) == Span(BEGIN + 5 * SECOND, BEGIN + 10 * SECOND)
    assert one("16:59..", stream) == Span(BEGIN - 60 * SECOND, UNKNOWN_NS)
    assert one("17:00:05..", stream) == Span(BEGIN + 5 * SECOND, UNKNOWN_NS)
    for text, said in (("-5s..", "when a stream ends is not known in advance"), ("..16:00", "17:00:00.000 on")):
        with pytest.raises(NstraceError, match=said):
            one(text, stream)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("now", 0), ("NOW", 0), ("5m", 300), ("5m ago", 300), ("5 minutes ago", 300), ("5 minutes", 300)),
        *(("1h30m ago", 5400), ("1 hour 30 minutes ago", 5400), ("90 ago", 90), ("1.5h", 5400), ("1 day ago", 86400)),
    ],
)
def test_before_now(text: str, seconds: int) -> None:
    before = time.time_ns()
    moment = parse_moment(text, SPAN)
    assert before - seconds * 10**9 <= moment <= time.time_ns() - seconds * 10**9
    with pytest.raises(NstraceError):
        parse_moment("long ago", SPAN)


@pytest.mark.parametrize(("at", "expected"), [("02:50", "2026-10-25T00:50:00Z"), ("02:10", "2026-10-25T01:10:00Z")])
def test_an_hour_that_the_clock_shows_twice(at: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Berlin from 02:00 to 03:00: the pass that the recording has is meant."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        begin, end = (parse_moment(text, Span(0, UNKNOWN_NS)) for text in ("2026-10-25T00:30Z", "2026-10-25T01:45Z"))
        for typed in (at, f"2026-10-25 {at}"):
            assert parse_moment(typed, Span(begin, end)) == parse_moment(expected, Span(begin, end))
    finally:
        monkeypatch.undo()
        time.tzset()
