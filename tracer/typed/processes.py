"""The PROC arguments, parsed: which process the user means. Pure, and light.

40123  a PID on the host                     web/15             number 15 inside a container (web#2/15, name:host/15)
pid:N/15  in the PID namespace of process N  pidns:INUM/15      in the PID namespace with this inode number
pod:UID/15  in the container of a pod        pod:shop/web-0/15  of several none is meant
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import SupportsIndex

from tracer.errors import ExitCode, NstraceError

MAX_PID = 1 << 22  # PID_MAX_LIMIT, include/linux/threads.h
_EXAMPLES = "for example web/15, 40123, pidns:4026532180/15 or pid:40123/15"


class Space(StrEnum):
    """What a number is relative to."""

    HOST = "host"
    CONTAINER = "container"  # by name, as it is shown, or id; name:NAME: never by id; pod:POD: the one that a pod has
    PIDNS = "pidns"  # by inode number
    PID = "pid"  # that of a process, by its PID on the host


@dataclass(frozen=True)
class Proc:
    """One PROC. where: container name or id, inode number or PID, "" for the host; text: as the user typed it."""

    space: Space
    where: str
    nr: int
    text: str


def parse_proc(text: str) -> Proc:
    """The parsed PROC. Raises NstraceError (usage) for a text that cannot mean any process."""
    where, slash, number = text.rpartition("/")
    where = where.removeprefix("/")  # docker's own notation
    if not _is_number(number) or bool(slash) != bool(where):
        is_name = re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.-]{1,63}", text)
        hint = f"for the first process of a container: {text}/1; " if is_name else ""
        if text.endswith(".arrows"):
            hint = f"a recording goes with --from {text}; "
        raise _usage(f"{text!r} is not a PID or CONTAINER/PID", hint + _EXAMPLES)
    if not 0 < int(number) <= MAX_PID:
        raise _usage(f"{text!r}: a PID is between 1 and {MAX_PID}", _EXAMPLES)
    return Proc(*parse_space(where), int(number), text)


def proc_of(given: str | SupportsIndex) -> Proc:
    """As `parse_proc`, from Python: a number alone is a PID on the host. Raises TypeError for any other type."""
    return parse_proc(given if isinstance(given, str) else str(operator.index(given)))


def parse_space(where: str) -> tuple[Space, str]:
    """What numbers are relative to: the part of a PROC before the slash, "" or host for the host."""
    prefix, colon, value = where.partition(":")
    if where in ("", "host"):
        return Space.HOST, ""
    if not colon or (prefix in ("name", "pod") and value):
        return Space.CONTAINER, where
    if prefix not in (Space.PIDNS, Space.PID) or not _is_number(value) or int(value) == 0:
        raise _usage(f"{where!r} is not a valid container or PID namespace", _EXAMPLES)
    return Space(prefix), str(int(value))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _usage(message: str, hint: str) -> NstraceError:
    return NstraceError(message, hint, ExitCode.USAGE)
