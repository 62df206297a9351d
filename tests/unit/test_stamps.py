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
        (b"[Sun Nov 29 01:33:51 2026] Killed process 15", 0, 2 * S),  # dmesg -T
        (b"1795916031 15", 0, S),
        (b"1795916031.5 15", 500 * MS, 100 * MS),
        (b"1795916031.0 15", 0, S),
        (b"1795916031.00 15", 0, 10 * MS),
        (b"1795916031461.0 15", 461 * MS, MS),
        (b"1795916031461 15", 461 * MS, MS),
        (b"1795916031461234 15", 461_234_000, US),
        (b"1795916031461234567 15", 461_234_567, 1),
        (b"2026/11/29 01:33:51 [error] 15#0: x", 0, S),  # nginx
        (b"2026/11/29 01:33:51.461234 x.go:3: 15", 461_234_000, US),  # Go
        (b'10.0.0.1 - bob [29/Nov/2026:02:33:51 +0100] "GET / HTTP/1.1" 200 15', 0, S),  # nginx, Apache
        (b"[29-Nov-2026 01:33:51 UTC] 15", 0, S),  # PHP
        (b"Sun, 29 Nov 2026 01:33:51 GMT 15", 0, S),  # RFC 2822
        (b"15:M 29 Nov 2026 01:33:51.461 * Ready 15", 461 * MS, MS),  # Redis
        (b"I1129 01:33:51.461234   15 x.go:3] x", 461_234_000, US),  # klog
        (b"W20261129 01:33:51.461234 15 x.cc:3] x", 461_234_000, US),  # glog
        (b'time="2026-11-29T01:33:51Z" level=info msg="x 15"', 0, S),  # logrus
        (b"level=info ts=2026-11-29T01:33:51.461Z pid=15", 461 * MS, MS),  # go-kit
        (b'msg="a \\" ts=1 b" t=2026-11-29T02:33:51+0100 pid=15', 0, S),
        (b"ts=1795916031.461 pid=15", 461 * MS, MS),
        (b"type=SYSCALL msg=audit(1795916031.461:24287): pid=15", 461 * MS, MS),
        (b"Sun Nov 29 01:33:51 UTC 2026 15", 0, S),  # date
        (b"<165>1 2026-11-29T01:33:51.461Z h a 15", 461 * MS, MS),  # RFC 5424
        (b"2026-11-29 01:33:51.4612345678901 15", 461_234_567, 1),
        # what stands behind the time of day
        (b"2026-11-28 20:33:51-05 15", 0, S),  # PostgreSQL
        (b"2026-11-28 20:33:51 -05 15", 0, S),
        (b"2026-11-29 07:03:51 +0530 15", 0, S),
        (b"2026-11-29 07:03:51.461+05:30 15", 461 * MS, MS),
        (b"2026-11-29 07:03:51 GMT+0530 15", 0, S),
        (b"2026-11-29 01:33:51 AM 15", 0, S),
        (b"2026-11-28 08:33:51 p.m. -05:00 15", 0, S),
        (b"Nov 29 2:33:51AM +0100 15", 0, S),
        (b"2026-11-29 01:33:51 (UTC) 15", 0, S),
        (b"2026-11-29 01:33:51 INFO 15", 0, S),  # no zone
        (b"2026-11-29 01:33:51 GET /15", 0, S),
        (b"2026-11-29 01:33:51 amd64: 15", 0, S),
        (b"2026-11-29 01:33:51 - 15", 0, S),
    ],
)
def test_forms(line: bytes, rest_ns: int, length_ns: int) -> None:
    (stamp,) = stamps_of(line, YEARS)
    assert (stamp.begin_ns, stamp.end_ns) == (SECOND * S + rest_ns, SECOND * S + rest_ns + length_ns - 1)
    assert not stamp.since_boot
    assert b"15" in line[stamp.to :]
    assert b":51" not in line[: stamp.at] + line[stamp.to :]


def test_seconds_since_boot_are_as_exact_as_the_kernels_log_is() -> None:
    (stamp,) = stamps_of(b"[12345.678901] Killed process 15 (sh)", YEARS)
    assert stamp.since_boot
    assert stamp.begin_ns < 12345_678_901_000 - S < 12345_678_902_000 + S < stamp.end_ns
    assert stamp.end_ns - stamp.begin_ns < 3 * S


@pytest.mark.parametrize(
    "line",
    [b"", b"pid 15", b"15 2026", b"at 2026-11-29T01:33:51Z", b"2026-13-29T01:33:51Z 15", b"2026-11-31 01:33:51 x",
     b"12345 x", b"123456789012 x", b"Nov 31 01:33:51 x", b"[12345] x", b"\xff\xfe", b"1795916031a",
     b"level=info msg=x", b"time=soon 15", b"10.0.0.1 - - [15] x", b"I1329 01:33:51 x", b"2026-11/29 01:33:51 x"],
)  # fmt: skip
def test_no_time(line: bytes) -> None:
    assert stamps_of(line, YEARS) == []


@pytest.mark.parametrize("behind", [" EST", " PST", " (CST)", " IST]", "EST", " Europe/Berlin", " UTC+5", " -1", " +0",
                                    " +9900", "+05:60", ":123", "PM", " PM", "X"])  # fmt: skip
def test_a_zone_that_is_not_known_is_not_taken_for_this_hosts(behind: str) -> None:
    assert stamps_of(f"2026-11-29 16:33:51{behind} 15".encode(), YEARS) == []
    assert moments_of(f"2026-11-29 16:33:51{behind}", YEARS) == []


def test_the_name_of_this_hosts_zone_is_known(in_zone: Callable[[str], None]) -> None:
    in_zone("Europe/Berlin")
    for text in ("2026-11-29 02:33:51 CET", "2026-11-29 02:33:51", "2026-11-29 01:33:51 UTC"):
        assert [stamp.begin_ns for stamp in moments_of(text, YEARS)] == [SECOND * S]
    assert moments_of("2026-11-29 02:33:51 CEST", YEARS) == []  # it is winter
    first, second = (moments_of(f"2026-10-25 02:30:00 {zone}", YEARS) for zone in ("CEST", "CET"))
    assert [stamp.begin_ns // S for stamp in first + second] == [1792888200, 1792891800]


def test_a_year_behind_the_time_is_its_year() -> None:
    (stamp,) = stamps_of(b"Nov 29 01:33:51 2026 x", range(2025, 2026))
    assert stamp.begin_ns == SECOND * S


def test_what_is_ahead_of_the_time_is_not_of_it() -> None:
    for line in (b"pid=15 ts=2026-11-29T01:33:51Z", b"15:M 29 Nov 2026 01:33:51 x"):
        (stamp,) = stamps_of(line, YEARS)
        assert b"15" in line[: stamp.at]


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
        assert 0 <= stamp.at < stamp.to <= len(line)
        assert stamp.begin_ns <= stamp.end_ns
