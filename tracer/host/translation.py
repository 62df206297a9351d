"""Translate, live: from what was typed to the answer. Combines the look-up with the containers of each number."""

from __future__ import annotations

from tracer.answers.translation import Translation
from tracer.host.census import entry_of
from tracer.host.lookup import Lookup
from tracer.typed.processes import Proc, Space


def translate(lookup: Lookup, proc: Proc) -> Translation:
    """The living process that a PROC means. Raises NstraceError where there is none, or it cannot be read."""
    found, is_thread = lookup.find(proc)
    return Translation(
        asked=proc.text,
        is_of_host=proc.space == Space.HOST,
        is_thread=is_thread,
        entry=entry_of(lookup.host, found),
        owners=lookup.host.owners(found),
    )
