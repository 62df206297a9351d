"""Facts about cgroups, containers and arguments: what the stream, the engine and /proc share. Pure, and light."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

RUNTIME_COMM = b"runc:["  # runc:[0:PARENT], [1:CHILD], [2:INIT]: between the host and a container

_DIGITS, _SHORT_DIGITS = 64, 12


class Container(msgspec.Struct, frozen=True):
    """A container as the stream knows it. name, image and labels are None or {} where no engine reports them.

    incarnation counts, from 1, the lives (start to stop) that were shown by this name since the trace began: another
    container that gets the name later continues the count.
    """

    id: str
    runtime: str
    name: str | None = None
    image: str | None = None
    labels: dict[str, str] = {}
    incarnation: int = 1

    @property
    def short_id(self) -> str:
        """The first 12 digits; an id that is a name (LXC, nspawn, ctr) is whole."""
        return self.id if self.id_is_name else self.id[:_SHORT_DIGITS]

    @property
    def id_is_name(self) -> bool:
        """Whether its runtime has no other id than the name (LXC, nspawn, ctr)."""
        return len(self.id) != _DIGITS

    @property
    def label(self) -> str:
        """What the column CONTAINER shows: name, else the short id; web#2 for a second life. Unique in a stream."""
        shown = self.name or self.short_id
        return shown if self.incarnation == 1 else f"{shown}#{self.incarnation}"


class CgroupName(NamedTuple):
    """One cgroup as the kernel reports it. parent_id: 0 at the root of its hierarchy."""

    cgroup_id: int
    parent_id: int
    name: str


class CgroupFact(msgspec.Struct, frozen=True):
    """What a cgroup id stands for: its path in the hierarchy, and the container that it belongs to.

    pending: an engine that did not answer may yet report that this is one of its containers, or the container's name.
    """

    path: str
    container: Container | None = None
    pending: bool = False


def pad_args(args: Iterable[bytes]) -> bytes:
    """An argument vector as the kernel keeps it: every argument ended by a NUL."""
    return b"".join(arg + b"\0" for arg in args)


def split_args(raw: bytes) -> list[bytes]:
    """The argument vector of NUL-ended raw bytes; a truncated last argument is kept."""
    if not raw:
        return []
    parts = raw.split(b"\0")
    if raw.endswith(b"\0"):
        parts.pop()
    return parts


def first_args(raw: bytes, most: int) -> tuple[list[bytes], bool]:
    """As `split_args`, but no more than this many arguments; and whether there are more: a megabyte of NULs is a
    million arguments."""
    if not raw:
        return [], False
    parts = raw.split(b"\0", most)
    rest = parts.pop() if len(parts) > most or raw.endswith(b"\0") else b""
    return parts, bool(rest)
