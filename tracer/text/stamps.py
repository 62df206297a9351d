"""When a line of a log was written: the time that it begins with, in the forms that logs have. Pure, but for the zone.

2026-11-24T08:15:19.5Z     docker logs -t, journalctl -o short-iso-precise, most libraries; a blank or a T, any zone
[12345.678901]             dmesg: seconds since boot
[Tue Nov 24 08:15:19 2026] dmesg -T, ctime
Nov 24 08:15:19.123456     syslog, journalctl: without a year
1732435200.5               seconds since 1970; of 13, 16 or 19 digits: milliseconds, microseconds, nanoseconds
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from tracer.text.zone import aware

_SECOND_NS = 1_000_000_000
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = rb"(?:%s)" % "|".join(_MONTHS).encode()
_WEEKDAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = rb"(\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?"
# syslog's priority, the prefix of docker compose logs, a bracket
_AHEAD = rb"(?:<\d{1,3}>)?(?:[\w.-]+ +\| )?[\[(\"]?"
_ISO = re.compile(
    _AHEAD + rb"(?:%s )?(\d{4}-\d\d-\d\d)[T ]%s ?(Z|UTC|GMT|[+-]\d\d:?\d\d)?(?![\w:])" % (_WEEKDAY, _CLOCK)
)
_BOOT = re.compile(rb"(?:<\d{1,3}>)?\[ *(\d{1,10})\.(\d{1,9})\]")
_CTIME = re.compile(_AHEAD + rb"%s (%s) +(\d{1,2}) %s (\d{4})\b" % (_WEEKDAY, _MONTH, _CLOCK))
_SYSLOG = re.compile(_AHEAD + rb"(%s) +(\d{1,2}) %s\b" % (_MONTH, _CLOCK))
_EPOCH = re.compile(_AHEAD + rb"(\d{9,10}|\d{13}|\d{16}|\d{19})(?:\.(\d{1,9}))?(?![\w.])")
_EPOCH_DIGITS = {9: 0, 10: 0, 13: 3, 16: 6, 19: 9}  # of the digits, those of a fraction of a second
_PER_MILLION = 100  # how much the kernel's log runs ahead of the clock of events, or behind it: NTP does not correct it


class Stamp(NamedTuple):
    """The time of a line. begin_ns, end_ns: the moments that it can mean, in ns, the last one included: a time in whole
    seconds means any moment of its second. since_boot: they are since boot, else by the wall clock. at, to: where it
    stands in the line: the bytes from at up to to."""

    begin_ns: int
    end_ns: int
    since_boot: bool
    at: int
    to: int


def stamps_of(line: bytes, years: range) -> list[Stamp]:
    """What the time at the beginning of a line can mean: nothing where there is none; several moments where the year is
    missing, or the clock was put back and showed the hour twice. years: that come into question then."""
    for pattern, read in _FORMS:
        if match := pattern.match(line):
            try:
                return [
                    Stamp(begin_ns, begin_ns + length_ns - 1, since_boot=False, at=match.start(), to=match.end())
                    for begin_ns, length_ns in read(match, years)
                ]
            except (ValueError, OverflowError):  # the 31st of a month with 30 days
                return []
    if match := _BOOT.match(line):
        return [_of_boot(match)]
    return []


def moments_of(text: str | float, years: range) -> list[Stamp]:
    """As `stamps_of`, of a value that is nothing but a time: of a member of a JSON object."""
    found = stamps_of(str(text).encode(errors="replace"), years)
    return [stamp for stamp in found if not stamp.since_boot]


def _of_boot(match: re.Match[bytes]) -> Stamp:
    begin_ns, length_ns = int(match[1]) * _SECOND_NS + _fraction_ns(match[2]), _length_ns(match[2])
    off_ns = begin_ns * _PER_MILLION // 1_000_000 + 10_000_000
    return Stamp(begin_ns - off_ns, begin_ns + length_ns + off_ns, since_boot=True, at=match.start(), to=match.end())


_Moments = list[tuple[int, int]]


def _iso(match: re.Match[bytes], _years: range) -> _Moments:
    day, clock, fraction, zone = match.groups()
    zone = b"Z" if zone in (b"UTC", b"GMT") else zone
    return _moments(f"{day.decode()}T{clock.decode()}", fraction, zone)


def _ctime(match: re.Match[bytes], _years: range) -> _Moments:
    month, day, clock, fraction, year = match.groups()
    return _moments(_day(int(year), month, day, clock), fraction, None)


def _syslog(match: re.Match[bytes], years: range) -> _Moments:
    month, day, clock, fraction = match.groups()
    found: _Moments = []
    for year in years:
        if (month, int(day)) != (b"Feb", 29) or (year % 4 == 0 and (year % 100 or year % 400 == 0)):
            found += _moments(_day(year, month, day, clock), fraction, None)
    return found


def _epoch(match: re.Match[bytes], _years: range) -> _Moments:
    digits, fraction = match.groups()
    decimals = _EPOCH_DIGITS[len(digits)]
    whole, rest = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
    rest += fraction or b""
    return [(int(whole) * _SECOND_NS + _fraction_ns(rest[:9]), _length_ns(rest))]


_FORMS = ((_ISO, _iso), (_CTIME, _ctime), (_SYSLOG, _syslog), (_EPOCH, _epoch))


def _day(year: int, month: bytes, day: bytes, clock: bytes) -> str:
    return f"{year:04}-{_MONTHS.index(month.decode()) + 1:02}-{int(day):02}T{clock.decode()}"


def _moments(text: str, fraction: bytes | None, zone: bytes | None) -> _Moments:
    """Each as (begin, length) in ns."""
    moment = datetime.fromisoformat(text + (zone or b"").decode())
    both = [moment] if moment.tzinfo else [aware(moment.replace(fold=fold)) for fold in (0, 1)]
    seconds = dict.fromkeys(int(one.timestamp()) for one in both)
    return [(second * _SECOND_NS + _fraction_ns(fraction), _length_ns(fraction)) for second in seconds]


def _fraction_ns(digits: bytes | None) -> int:
    return int((digits or b"0")[:9].ljust(9, b"0"))


def _length_ns(digits: bytes | None) -> int:
    """How long the moments are that are written alike: 1 s without a fraction, 1 ms with three digits of it."""
    return int(10 ** max(0, 9 - len(digits or b"")))
