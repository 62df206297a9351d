"""The time of a line of a log: what each form means, to the last moment that it can mean."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.text.stamps import moments_of, stamps_of

YEARS = range(2026, 2027)
SECOND = 1_795_916_031  # 2026-11-29 01:33:51 UTC
S, MS, US = 10**9, 10**6, 10**3


@pytest.fixture(autouse=True)
def utc(in_zone: Callable[[str], None]) -> None:
    in_zone("UTC")


@pytest.mark.parametrize(
    ("line", "rest_ns", "length_ns"),
    [
        (b"2026-11-29T01:33:51.461000001Z out pid 15", 461_000_001, 1),  # docker logs -t
        (b"web-1  | 2026-11-29T01:33:51.461000001Z pid 15", 461_000_001, 1),  # docker compose logs -t
        (b"2026-11-29T01:33:51.461234+00:00 h sh[15]: x", 461_234_000, US),  # journalctl -o short-iso-precise
        (b"2026-11-29T02:33:51+0100 h sh[15]: x", 0, S),  # journalctl -o short-iso
        (b"Sun 2026-11-29 01:33:51 UTC h sh[15]: x", 0, S),  # journalctl -o short-full
        (b"2026-11-29 01:33:51,461 INFO 15", 461 * MS, MS),  # Python
        (b"[2026-11-29 01:33:51.461] 15", 461 * MS, MS),
        (b"Nov 29 01:33:51 h sh[15]: x", 0, S),  # syslog
        (b"<30>Nov 29 01:33:51.461234 h sh[15]: x", 461_234_000, US),  # journalctl -o short-precise
        (b"[Sun Nov 29 01:33:51 2026] Killed process 15", 0, S),  # dmesg -T
        (b"1795916031 15", 0, S),
        (b"1795916031.5 15", 500 * MS, 100 * MS),
        (b"1795916031461 15", 461 * MS, MS),
        (b"1795916031461234 15", 461_234_000, US),
        (b"1795916031461234567 15", 461_234_567, 1),
    ],
)
def test_forms(line: bytes, rest_ns: int, length_ns: int) -> None:
    (stamp,) = stamps_of(line, YEARS)
    assert (stamp.begin_ns, stamp.end_ns) == (SECOND * S + rest_ns, SECOND * S + rest_ns + length_ns - 1)
    assert not stamp.since_boot
    assert b"15" in line[stamp.to :]
    assert b":51" not in line[stamp.to :]


def test_seconds_since_boot_are_as_exact_as_the_kernels_log_is() -> None:
    (stamp,) = stamps_of(b"[12345.678901] Killed process 15 (sh)", YEARS)
    assert stamp.since_boot
    assert stamp.begin_ns < 12345_678_901_000 - S < 12345_678_902_000 + S < stamp.end_ns
    assert stamp.end_ns - stamp.begin_ns < 3 * S


@pytest.mark.parametrize(
    "line",
    [b"", b"pid 15", b"15 2026", b"at 2026-11-29T01:33:51Z", b"2026-13-29T01:33:51Z 15", b"2026-11-31 01:33:51 x",
     b"12345 x", b"123456789012 x", b"Nov 31 01:33:51 x", b"[12345] x", b"\xff\xfe", b"1795916031a"],
)  # fmt: skip
def test_no_time(line: bytes) -> None:
    assert stamps_of(line, YEARS) == []


def test_what_is_not_said_can_mean_several_moments(in_zone: Callable[[str], None]) -> None:
    first, second = stamps_of(b"Nov 29 01:33:51 x", range(2025, 2027))
    assert second.begin_ns - first.begin_ns == 365 * 86400 * S
    (leap,) = stamps_of(b"Feb 29 01:33:51 x", range(2023, 2027))
    assert datetime.fromtimestamp(leap.begin_ns / S, UTC).year == 2024
    in_zone("Europe/Berlin")
    twice = stamps_of(b"2026-10-25 02:30:00 x", YEARS)
    assert [stamp.begin_ns // S for stamp in twice] == [1792888200, 1792891800]


def test_a_member_of_an_object_is_a_time_alone() -> None:
    assert [stamp.begin_ns for stamp in moments_of(1795916031, YEARS)] == [SECOND * S]
    assert [stamp.begin_ns for stamp in moments_of(1795916031.5, YEARS)] == [SECOND * S + 500 * MS]
    assert [stamp.begin_ns for stamp in moments_of("2026-11-29T01:33:51Z", YEARS)] == [SECOND * S]
    assert moments_of("[12.5]", YEARS) == moments_of("soon", YEARS) == []


@given(st.binary(max_size=60))
def test_any_bytes(line: bytes) -> None:
    for stamp in stamps_of(line, YEARS):
        assert 0 == stamp.at < stamp.to <= len(line)
        assert stamp.begin_ns <= stamp.end_ns
