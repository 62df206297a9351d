"""Sessions: the mark of a process that belongs to one, the line of what happened to one, and the JSON of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracer.stream.metadata import Killer, SessionFact
from tracer.text.escape import command_line, safe_text
from tracer.text.times import duration

_MAX_LEFT = 5
_NAMES = {"exec": "exec", "health": "health check"}


def marked(label: str, number: int) -> str:
    """A container's label with the mark of a session in it: web@3. number: 0: of none."""
    return f"{label}@{number}" if number else label


def session_object(number: int, fact: SessionFact | None, since: str | None) -> dict[str, Any]:
    """A session as it is in every line of JSON; null is what is not known. since: when it began."""
    return {
        "number": number,
        "since": since,
        "kind": fact and fact.kind,
        "user": fact and fact.user,
        "command": fact and fact.command,
        "exec_id": fact and fact.exec_id,
        "asked_by": asker_object(fact.asked_by) if fact and fact.asked_by else None,
        "pids": fact and fact.pids,
    }


def asker_object(asker: Killer) -> dict[str, Any]:
    """Who has begun a session."""
    return {"pid": asker.pid, "pids": asker.pids, "comm": asker.comm, "container": asker.container}


def session_words(fact: SessionFact) -> str:
    """What happened to a session, for the column INFO."""
    if fact.action == "ended":
        return _end(fact)
    if fact.action == "began":
        asker = fact.asked_by
        by = f" by {safe_text(asker.comm or 'process')} {asker.pid}" if asker else ""
        return f"{'>'.join(map(str, fact.pids))} entered{by}"
    user = f" as {safe_text(fact.user)}" if fact.user else ""
    return f"{_NAMES.get(fact.kind or '', 'entered')}{user}: {command_words(fact.command)}"


def is_told_by_others(fact: SessionFact) -> bool:
    """Whether the line of an exec says the same: nobody has said yet how the session came about."""
    return fact.action == "described" and (fact.exec_id is None or fact.kind is None)


def command_words(command: Sequence[str] | None) -> str:
    """A command line, quoted for a shell; a dash where it is not known."""
    return command_line([word.encode() for word in command]) if command else "-"


def _end(fact: SessionFact) -> str:
    how = fact.signal or (f"exit {fact.exit_code}" if fact.exit_code is not None else "unseen")
    lasted = f" after {duration(fact.duration_ns)}" if fact.duration_ns is not None else ""
    return f"ended: {how}{lasted}{_left(fact.left or [])}"


def _left(left: list[int]) -> str:
    if not left:
        return ""
    more = f" and {len(left) - _MAX_LEFT} more" if len(left) > _MAX_LEFT else ""
    return f", left {' '.join(map(str, left[:_MAX_LEFT]))}{more}"
