"""What translate prints of one process: a block of text, or a JSON object."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from tracer.answers.census import NOBODY, AsOf, Entry
from tracer.answers.translation import Life, Place, Translation
from tracer.stream.metadata import Container
from tracer.stream.pidns import ProcId
from tracer.text.escape import safe, safe_text
from tracer.text.times import full, precise, rfc3339
from tracer.text.wait_status import ending
from tracer.text.width import cut
from tracer.views.columns import TextColumn, columns
from tracer.views.objects import container_object, process_object
from tracer.views.table import UNKNOWN, NameOf, command_of, state

_TITLES = (TextColumn("PID", right=True), TextColumn("PIDNS"), TextColumn("CONTAINER"))
_INDENT = "  "
_LEAST_WIDTH = 20  # columns


def block(translation: Translation, name_of: NameOf, line_width: int | None) -> str:
    """The process in a line, all its numbers with namespace and container, and what else distinguishes it.

    name_of: uid -> the user's name. line_width: the command is cut to it, and what is said of the process goes on in
    the next line; None: lines stay whole.
    """
    entry = translation.entry
    table = columns(_TITLES, [_cells(place) for place in translation.places])
    about = [*_times(translation), state(entry), *_reported(translation, name_of)]
    verb = "is" if translation.life is None else "was" if translation.life.is_certain else "may have been"
    first = f"{safe_text(translation.asked)} {verb} {_answer(translation)}: {command_of(entry)}"
    facts = [
        ", ".join(filter(None, about)),
        *(_as_of_lines(entry, entry.as_of, name_of) if entry.as_of else ()),
    ]
    lines = [
        first if line_width is None else cut(first, line_width),
        *(f"{_INDENT}{line}" for line in (table.header, *table.lines)),
        *(line for fact in facts for line in _wrapped(fact, line_width)),
    ]
    return "".join(f"{line}\n" for line in lines)


def _wrapped(text: str, line_width: int | None) -> list[str]:
    if line_width is None:
        return [_INDENT + text]
    width = max(_LEAST_WIDTH, line_width)
    return textwrap.wrap(text, width, initial_indent=_INDENT, subsequent_indent=_INDENT * 2, break_on_hyphens=False)


def json_object(translation: Translation, name_of: NameOf) -> dict[str, Any]:
    """The members of `ps --json`, with the number that was asked and the container of each number."""
    return {
        "asked": translation.asked,
        "result": translation.result,
        "is_thread": translation.is_thread,
        **process_object(translation.entry, name_of),
        "containers": [container_object(owner) for owner in translation.owners],
        **_end_object(translation.life),
    }


def _end_object(life: Life | None) -> dict[str, Any]:
    """How a recorded process ended; seen: until then it lived for certain. None: the process lives."""
    if life is None:
        return {}
    end = None if life.status is None else ending(life.status)
    return {
        "certain": life.is_certain,
        "seen": rfc3339(life.seen_ns),
        "ended": None if life.ended_ns is None else rfc3339(life.ended_ns),
        "ended_at_the_latest": life.at_the_latest,
        "exit_code": end.exit_code if end else None,
        "signal": end.signal if end else None,
    }


def _times(translation: Translation) -> list[str]:
    life, started_ns = translation.life, translation.entry.started_ns
    if life is None:
        return [f"started {full(started_ns)}"]
    started = f"started {precise(started_ns)}"
    if life.ended_ns is None:
        return [started, f"still running at {precise(life.seen_ns)}"]
    ended = f"ended {precise(life.ended_ns)}{' at the latest' if life.at_the_latest else ''}"
    end = None if life.status is None else ending(life.status)
    return [started, f"{ended} ({end.signal or f'exit {end.exit_code}'})" if end else ended]


def _answer(translation: Translation) -> str:
    entry = translation.entry
    thread = "a thread of " if translation.is_thread else ""
    if translation.is_of_host:
        return thread + _inside(translation)
    zombie = " (a zombie)" if entry.is_zombie else ""
    return f"{thread}PID {entry.numbers[0]} on the host{zombie}"


def _inside(translation: Translation) -> str:
    """The innermost number, of a process that was asked for by the host's."""
    entry, home = translation.entry, translation.home
    zombie = ", a zombie" if entry.is_zombie else ""
    own = safe_text(entry.container.label) if entry.container else ""
    if entry.level == 0:
        number = entry.numbers[0] if translation.is_thread else "a process"
        whose = f"{own}, in the host's PID namespace" if own else "no container"
        return f"{number} on the host, in {whose}{zombie}"
    member = f", a process of {own}" if entry.container and (home is None or home.id != entry.container.id) else ""
    return f"PID {entry.numbers[-1]} in {_label(home, translation.places[-1])}{member}{zombie}"


def _cells(place: Place) -> list[str]:
    inum = str(place.pidns.inum) if place.pidns else UNKNOWN
    return [str(place.nr), inum, safe_text(place.container.label) if place.container else "-"]


def _label(container: Container | None, place: Place) -> str:
    if container:
        return safe_text(container.label)
    return f"pidns:{place.pidns.inum}" if place.pidns else "a PID namespace"


def _reported(translation: Translation, name_of: NameOf) -> list[str]:
    """User and parent of a living process; a recorded one has lines of their own for them."""
    entry = translation.entry
    if entry.as_of:
        return []
    user, parent = f"user {UNKNOWN if entry.uid is None else name_of(entry.uid)}", entry.parent
    if not parent or parent == NOBODY:
        return [user]
    return [user, f"not reaped by its parent {parent.tgid}" if entry.is_zombie else f"parent {parent.tgid}"]


def _as_of_lines(entry: Entry, as_of: AsOf, name_of: NameOf) -> Iterator[str]:
    """User and parent, as of the event that reports them; and what had changed by the next one."""
    said = _said(entry.uid, None, as_of.last_parent, name_of)
    ended = "" if as_of.parent_ended_ns is None else f", which had ended by {precise(as_of.parent_ended_ns)}"
    if said:
        yield f"as of {precise(as_of.at_ns)}{' or before' if as_of.at_the_latest else ''}: {said}{ended}"
    if later := as_of.later:
        yield f"changed by {precise(later.at_ns)}: {_said(later.uid, later.comm, later.parent, name_of)}"


def _said(uid: int | None, comm: bytes | None, parent: ProcId | None, name_of: NameOf) -> str:
    parts = [
        f"user {name_of(uid)}" if uid is not None else "",
        f"named {safe(comm)}" if comm is not None else "",
        f"parent {parent.tgid}" if parent and parent != NOBODY else "",
    ]
    return ", ".join(filter(None, parts))
