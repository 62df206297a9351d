"""sessions: one line a session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracer.answers.sessions import Session
from tracer.text.escape import safe_text
from tracer.text.times import rfc3339, short
from tracer.views.columns import TextColumn, TextColumns, columns
from tracer.views.objects import container_object
from tracer.views.sessions import asker_object, command_words, marked
from tracer.views.table import LEAST_PLACE, UNKNOWN, NameOf

_TITLES = (
    TextColumn("SESSION", gives_way=True, least=LEAST_PLACE),
    TextColumn("PID", right=True),
    TextColumn("NSPID", right=True),
    TextColumn("KIND"),
    TextColumn("USER"),
    TextColumn("SINCE"),
    TextColumn("ENDED"),
    TextColumn("PROCS", right=True),
    TextColumn("COMMAND"),
)


def session_table(shown: Sequence[Session], name_of: NameOf, now_ns: int, line_width: int | None = None) -> TextColumns:
    """SESSION PID NSPID KIND USER SINCE ENDED PROCS COMMAND. name_of: uid -> user. now_ns: the wall clock."""
    return columns(_TITLES, [_row(one, name_of, now_ns) for one in shown], line_width)


def _row(one: Session, name_of: NameOf, now_ns: int) -> list[str]:
    label = safe_text(one.container.label) if one.container else "-"
    return [
        marked(label, one.number or 0),
        str(one.pids[0]),
        ">".join(map(str, one.pids[1:] or one.pids)),
        safe_text(one.kind or UNKNOWN),
        _user(one, name_of),
        short(one.since_ns, now_ns),
        _end(one),
        str(len(one.living)),
        command_words(one.command),
    ]


def _user(one: Session, name_of: NameOf) -> str:
    if one.user is None:
        return UNKNOWN
    return safe_text(name_of(int(one.user)) if one.user.isdecimal() else one.user)


def _end(one: Session) -> str:
    if one.ended_ns is None:
        return "-"
    return safe_text(one.signal or (f"exit {one.exit_code}" if one.exit_code is not None else UNKNOWN))


def session_json(one: Session) -> dict[str, Any]:
    """A session as JSON, with the names that the stream has."""
    return {
        "number": one.number,
        "container": container_object(one.container),
        "incarnation": one.container.incarnation if one.container else None,
        "pids": one.pids,
        "since": rfc3339(one.since_ns),
        "kind": one.kind,
        "user": one.user,
        "command": one.command,
        "exec_id": one.exec_id,
        "asked_by": asker_object(one.asked_by) if one.asked_by else None,
        "ended": None if one.ended_ns is None else rfc3339(one.ended_ns),
        "exit_code": one.exit_code,
        "signal": one.signal,
        "left": one.left,
        "processes": one.living,
    }
