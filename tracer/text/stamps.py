"""When a line of a log was written: the time that it begins with, in the forms that logs have. Pure, but for the zone.

2026-11-24T08:15:19.5Z     docker logs -t, journalctl -o short-iso-precise, most libraries; a blank or a T
2026/11/24 08:15:19        Go's log, nginx's errors
[12345.678901]             dmesg: seconds since boot
[Tue Nov 24 08:15:19 2026] dmesg -T, ctime, date
Nov 24 08:15:19.123456     syslog, journalctl: without a year
24/Nov/2026:08:15:19 +0000 access logs of nginx and Apache, behind the address; also 24 Nov 2026, 24-Nov-2026
I1124 08:15:19.123456      klog; with a year glog
1732435200.5               seconds since 1970; of 13, 16 or 19 digits: milliseconds, microseconds, nanoseconds; .0 is
                           no tenth: so whole numbers look where all are floating-point ones
level=info ts=...          logfmt: one of these as the value of time, ts, t, timestamp; also in audit(...)

What stands behind the time of day (AM, PM, a zone) is read by `tracer.text.log_zones`, or the line has no time.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from tracer.text.log_zones import behind, moments

_SECOND_NS = 1_000_000_000
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NAME = rb"(?P<name>%s)" % "|".join(_MONTHS).encode()
_WEEKDAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_DAY = rb"(?P<day>\d{1,2})"
_CLOCK = rb"(?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?"
# syslog's priority, the prefix of docker compose logs, Redis' PID and role, a bracket
_AHEAD = rb"(?:<\d{1,3}>(?:1 )?)?(?:[\w.-]+ +\| )?(?:\d{1,7}:[A-Z] (?P<at>))?[\[(\"]?"
_ACCESS = rb"[^\s\[]+ [^\s\[]+ [^\[]{1,100} (?P<at>)\["  # address, who, and who else
_FORMS = tuple(
    map(
        re.compile,
        (
            _AHEAD
            + rb"(?:%s,? )?(?P<year>\d{4})(?P<sep>[-/])(?P<month>\d\d)(?P=sep)(?P<day>\d\d)[Tt ]%s"
            % (_WEEKDAY, _CLOCK),
            _AHEAD + rb"(?:%s )?%s +%s %s" % (_WEEKDAY, _NAME, _DAY, _CLOCK),
            _AHEAD + rb"(?:%s,? )?%s(?P<sep>[ /-])%s(?P=sep)(?P<year>\d{4})[ :]%s" % (_WEEKDAY, _DAY, _NAME, _CLOCK),
            _ACCESS + rb"%s/%s/(?P<year>\d{4}):%s" % (_DAY, _NAME, _CLOCK),
            _AHEAD + rb"[IWEF](?P<year>\d{4})?(?P<month>\d\d)(?P<day>\d\d) %s" % _CLOCK,
        ),
    )
)
_YEAR = re.compile(rb" ((?:19|20)\d\d)(?![\w.:])")  # behind the time of day, of ctime
_BOOT = re.compile(rb"(?:<\d{1,3}>)?\[ *(\d{1,10})\.(\d{1,9})\]")
_EPOCH = re.compile(_AHEAD + rb"(?P<digits>\d{9,10}|\d{13}|\d{16}|\d{19})(?:\.(?P<fraction>\d+))?(?![\w.])")
_EPOCH_DIGITS = {9: 0, 10: 0, 13: 3, 16: 6, 19: 9}  # of the digits, those of a fraction of a second
_WHOLE = b"0"  # the fraction of a floating-point number that has none
_PAIR = rb"[\w.@-]+=(?:\"(?:[^\"\\]|\\.)*\"|[^\s\"]\S*|) +"
_KEY = re.compile(
    rb"(?:[\w.-]+ +\| )?(?:%s){0,16}?(?:(?:time|ts|t|@?timestamp)=|msg=audit(?=\())" % _PAIR
)  # of logfmt, of the kernel's audit
_DMESG_T = re.compile(rb"\[%s " % _WEEKDAY)
_CLOSING = re.compile(rb"[\])\"]?")
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
    """What the time of a line can mean: nothing where there is none, or it cannot be read; several moments where the
    year is missing, or the clock was put back and showed the hour twice. years: that come into question then."""
    key = _KEY.match(line)
    return _stamps(line, key.end() if key else 0, years)


def moments_of(text: str | float, years: range) -> list[Stamp]:
    """As `stamps_of`, of a value that is nothing but a time: of a member of a JSON object."""
    value = str(text).encode(errors="replace")
    found = _stamps(value, 0, years)
    return [stamp for stamp in found if not stamp.since_boot and _CLOSING.fullmatch(value, stamp.to)]


def _stamps(line: bytes, at: int, years: range) -> list[Stamp]:
    for form in _FORMS:
        if match := form.match(line, at):
            try:
                return _of_day(match, years)
            except (ValueError, OverflowError):  # the 31st of a month with 30 days, or a zone that is not known
                return []
    if match := _EPOCH.match(line, at):
        return [_of_epoch(match)]
    if match := _BOOT.match(line):
        return [_of_boot(match)]
    return []


def _of_day(match: re.Match[bytes], years: range) -> list[Stamp]:
    """The moments of a date and a time of day. Raises ValueError where there is no such time."""
    found, to = match.groupdict(), match.end()
    half, zone, to = behind(match.string, to)
    year = found.get("year")
    if year is None and (behind_it := _YEAR.match(match.string, to)):
        year, to = behind_it[1], behind_it.end()
    month = int(found["month"]) if found.get("month") else _MONTHS.index(found["name"].decode()) + 1
    day, hour = int(found["day"]), int(found["hour"])
    if half is not None:
        if not 1 <= hour <= 12:
            raise ValueError("no such hour")
        hour = hour % 12 + half
    clock = hour, int(found["minute"]), int(found["second"])
    fraction_ns, length_ns = _fraction_ns(found["fraction"]), _length_ns(found["fraction"])
    if length_ns == _SECOND_NS and _DMESG_T.match(match.string):
        length_ns += _SECOND_NS  # dmesg adds whole seconds since boot to a second of boot: both are cut off
    at = match.start("at") if found["at"] is not None else match.start()
    return [
        Stamp(second * _SECOND_NS + fraction_ns, second * _SECOND_NS + fraction_ns + length_ns - 1, False, at, to)
        for one in ([int(year)] if year else years)
        if year or (month, day) != (2, 29) or (one % 4 == 0 and (one % 100 or one % 400 == 0))
        for second in moments(datetime(one, month, day, *clock), zone)
    ]


def _of_epoch(match: re.Match[bytes]) -> Stamp:
    digits, fraction = match["digits"], match["fraction"]
    decimals = _EPOCH_DIGITS[len(digits)]
    whole, rest = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
    rest += b"" if fraction in (None, _WHOLE) else fraction
    begin_ns = int(whole) * _SECOND_NS + _fraction_ns(rest)
    return Stamp(begin_ns, begin_ns + _length_ns(rest) - 1, since_boot=False, at=match.start(), to=match.end())


def _of_boot(match: re.Match[bytes]) -> Stamp:
    begin_ns, length_ns = int(match[1]) * _SECOND_NS + _fraction_ns(match[2]), _length_ns(match[2])
    off_ns = begin_ns * _PER_MILLION // 1_000_000 + 10_000_000
    return Stamp(begin_ns - off_ns, begin_ns + length_ns + off_ns, since_boot=True, at=match.start(), to=match.end())


def _fraction_ns(digits: bytes | None) -> int:
    return int((digits or b"0")[:9].ljust(9, b"0"))


def _length_ns(digits: bytes | None) -> int:
    """How long the moments are that are written alike: 1 s without a fraction, 1 ms with three digits of it."""
    return int(10 ** max(0, 9 - len(digits or b"")))
