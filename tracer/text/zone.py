"""The time zone in which text shows times and reads those that are typed: this host's, or UTC. JSON is always UTC."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

ZONES = ("local", "utc")
_is_utc = False


def use(zone: str) -> None:
    """From now on times are in this one of ZONES, everywhere in this process."""
    global _is_utc
    _is_utc = zone == "utc"


def fields(second: float) -> time.struct_time:
    """A time (s since the epoch) as its parts."""
    return time.gmtime(second) if _is_utc else time.localtime(second)


def aware(moment: datetime) -> datetime:
    """A moment that was typed without a zone, with it."""
    from datetime import UTC

    return moment.replace(tzinfo=UTC) if _is_utc else moment.astimezone()


def is_utc() -> bool:
    """Whether it is UTC."""
    return _is_utc
