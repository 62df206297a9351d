"""How text shows times, and the zone in which it reads those that are typed: this host's or UTC. JSON has UTC."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

ZONES = ("local", "utc")
FORMS = (*ZONES, "epoch", "boot", "relative", "delta")
"""What the column TIME of a stream can show; where the form is no zone, times that are typed are local."""
_form = "local"


def use(form: str) -> None:
    """From now on times are in this one of FORMS, everywhere in this process."""
    global _form
    _form = form


def form() -> str:
    """The one of FORMS that is in use."""
    return _form


def fields(second: float) -> time.struct_time:
    """A time (s since the epoch) as its parts."""
    return time.gmtime(second) if is_utc() else time.localtime(second)


def aware(moment: datetime) -> datetime:
    """A moment that was typed without a zone, with it."""
    from datetime import UTC

    return moment.replace(tzinfo=UTC) if is_utc() else moment.astimezone()


def is_utc() -> bool:
    """Whether it is UTC."""
    return _form == "utc"
