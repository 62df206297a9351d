"""What stands behind the time of day in a log: AM or PM, and a zone. Pure, but for the zone of this host.

It is read, or the line has no time: as a time of this host it would mean another moment, and so another process.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from tracer.text.zone import aware

Zone = timezone | str | None
"""An offset; what a zone is called where it is this host's; None: there is none, the time is local."""
_HALF = re.compile(rb" ?([AaPp])\.?[Mm]\b\.?")
_UTC = re.compile(rb" ?\(?(?:UTC|GMT|Z|z)\)?(?![\w/+-])")
_OFFSET = re.compile(rb" ?(?:UTC|GMT)?([+-])(\d\d)(?::?(\d\d))?(?![\d:])")
_WORD = re.compile(rb" ?\(?([A-Z]{2,5})\)?(?![\w/])")
_AREA = rb"(?:Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Etc|Europe|Indian|Pacific|US|Canada|Brazil)/"
_UNREADABLE = re.compile(rb" ?(?:[+-]\d|\(?(?:UTC|GMT)[+-]|\(?%s)|[\w:]" % _AREA)
# The tz database's, and those that libraries print besides. Most mean several zones: CST is that of Chicago, Havana and
# Shanghai. Other words in capitals are a log's own: INFO, GET (which is a zone of the Pacific, too).
_ZONES = frozenset(
    b"ACDT ACST ACT ADT AEDT AEST AKDT AKST ALMT AMST AMT ART AST AWDT AWST AZT BDT BNT BOT BRST BRT BST CAT CCT CDT"
    b" CEST CET CHST CLST CLT COT CST CVT EAT ECT EDT EEST EET EST FJT GST GYT HDT HKT HST ICT IDT IRDT IRST IST"
    b" JST KGT KST LMT MDT MMT MSD MSK MST MVT MYT NDT NFT NPT NST NZDT NZST PDT PET PGT PHT PKT PST PYT SAST SGT SRT"
    b" SST TJT TMT UYT UZT VET WAST WAT WEST WET WIB WIT WITA".split()
)
_MOST_HOURS = 14


def behind(line: bytes, at: int) -> tuple[int | None, Zone, int]:
    """What stands behind a time of day that ends at this byte: the hours to add to one of twelve (None: it is one of
    24), the zone, and where all of it ends. Raises ValueError where it cannot be read."""
    half = None
    if match := _HALF.match(line, at):
        half, at = 0 if match[1] in b"Aa" else 12, match.end()
    if match := _UTC.match(line, at):
        return half, UTC, match.end()
    if match := _OFFSET.match(line, at):
        return half, _offset(match), match.end()
    if (match := _WORD.match(line, at)) and match[1] in _ZONES:
        return half, match[1].decode(), match.end()
    if _UNREADABLE.match(line, at):
        raise ValueError("a zone that is not known")
    return half, None, at


def _offset(match: re.Match[bytes]) -> timezone:
    hours, minutes = int(match[2]), int(match[3] or 0)
    if hours > _MOST_HOURS or minutes > 59:
        raise ValueError("no such offset")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(offset if match[1] == b"+" else -offset)


def moments(naive: datetime, zone: Zone) -> list[int]:
    """The moments (s since 1970) that a date and time can mean: two where the clock was put back and showed the hour
    twice. Raises ValueError for the name of a zone that is not this host's then."""
    if isinstance(zone, timezone):
        return [int(naive.replace(tzinfo=zone).timestamp())]
    if zone is None:
        both = [aware(naive.replace(fold=fold)) for fold in (0, 1)]
    else:
        both = [naive.replace(fold=fold).astimezone() for fold in (0, 1)]
        both = [one for one in both if one.tzname() == zone]
        if not both:
            raise ValueError("the zone is not this host's")
    return list(dict.fromkeys(int(one.timestamp()) for one in both))
