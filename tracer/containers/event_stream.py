"""What an engine streams of containers' lives: lines of JSON in an answer of HTTP that has no end. Pure."""

from __future__ import annotations

import re

import msgspec

from tracer.containers.http_api import Malformed, Refused, TooMuch
from tracer.containers.messages import NAMING, Happened, cut, cut_labels

MAX_HELD_BYTES = 1 << 20
"""The longest chunk, and the longest line; more is TooMuch."""
MAX_TIME_NS = (1 << 63) - 1
_OK = b"200"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[^\r\n]*")
_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}")

_ACTIONS = {
    action: action
    for action in (
        *("create", "start", "restart", "die", "kill", "stop", "oom", "pause", "unpause", "rename", "destroy"),
        *("health_status", "exec_create", "exec_start", "exec_die"),
    )
}
# Podman's own words (libpod/events/config.go of it), which its compatible interface maps in part
_ACTIONS |= {"died": "die", "remove": "destroy", "exec": "exec_start", "exec_died": "exec_die"}
_ATTRIBUTES = {
    name: name for name in ("exitCode", "signal", "execID", "oldName", "execDuration", "health_status", "oomKilled")
}
_ATTRIBUTES |= {"containerExitCode": "exitCode", "health": "health_status"}
_NO_LABELS = {*_ATTRIBUTES, "name", "image"}
_MAX_LABELS = 256
_ENDS = ("die", "exec_die")  # podman reports an exit code of 0 of whatever happens


class StreamedLines:
    """Reads such an answer as it arrives. is_answered: whether its headers are there. is_podman: whether they say that
    podman answers. is_over: whether it has ended."""

    def __init__(self) -> None:
        self.is_answered = self.is_podman = self.is_over = False
        self._is_chunked = False
        self._raw = bytearray()
        self._text = bytearray()

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that this piece completes. Raises Refused, Malformed or TooMuch."""
        self._raw += piece
        if not self.is_answered and not self._read_headers():
            return []
        if self._is_chunked:
            while self._read_chunk():
                pass
        else:
            self._text += self._raw
            self._raw.clear()
        _bound(self._text)
        *lines, rest = self._text.split(b"\n")
        self._text = rest
        return [bytes(line) for line in lines if line.strip()]

    def _read_headers(self) -> bool:
        """Whether they are there now."""
        _bound(self._raw)
        head, end, rest = self._raw.partition(b"\r\n\r\n")
        if not end:
            return False
        status, *headers = bytes(head).split(b"\r\n")
        found = _STATUS.fullmatch(status)
        if not found:
            raise Malformed("no status")
        if found[1] != _OK:
            raise Refused(int(found[1]), "")
        values = {
            name.strip().lower(): value.strip().lower() for name, _, value in (h.partition(b":") for h in headers)
        }
        self._is_chunked = values.get(b"transfer-encoding", b"").endswith(b"chunked")
        self.is_podman = b"libpod" in values.get(b"server", b"")
        self._raw = rest
        self.is_answered = True
        return True

    def _read_chunk(self) -> bool:
        """Whether a whole one was there."""
        size, end, _rest = self._raw.partition(b"\n")
        if not end:
            _bound(self._raw)
            return False
        digits = bytes(size).partition(b";")[0].strip()
        if not _SIZE.fullmatch(digits):
            raise Malformed("no size of a chunk")
        count, at = int(digits, 16), len(size) + 1
        if count > MAX_HELD_BYTES:
            raise TooMuch("a chunk that is too long")
        if count == 0:
            self.is_over = True
            return False
        if len(self._raw) < at + count + 2:
            return False
        if self._raw[at + count : at + count + 2] != b"\r\n":
            raise Malformed("no end of a chunk")
        self._text += self._raw[at : at + count]
        del self._raw[: at + count + 2]
        return True


def _bound(held: bytearray) -> None:
    if len(held) > MAX_HELD_BYTES:
        raise TooMuch("a line that is too long")


class _Actor(msgspec.Struct, frozen=True, rename={"id": "ID", "attributes": "Attributes"}):
    id: str = ""
    attributes: dict[str, str] | None = None


class _Event(msgspec.Struct, rename={"type": "Type", "action": "Action", "actor": "Actor", "time_ns": "timeNano"}):
    """The members of an event that are read; podman before 4 leaves the time in ns out."""

    type: str = ""
    action: str = ""
    actor: _Actor = _Actor()
    time: int = 0
    time_ns: int = 0


_ID = re.compile(r"[0-9a-f]{64}")
_decode = msgspec.json.Decoder(_Event).decode


def happened(line: bytes, engine: str) -> Happened | None:
    """What a line says; None for what is no container's, or nothing that is passed on (attach, top, resize, ...). What
    stands behind the word of an exec or a health check is the attribute `command` or `health_status`. Raises
    Malformed."""
    try:
        event = _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed(str(error)) from error
    word, _, rest = event.action.partition(":")
    action = _ACTIONS.get(word)
    if event.type not in ("container", "") or action is None or not _ID.fullmatch(event.actor.id):
        return None
    said = event.actor.attributes or {}
    attributes = {ours: cut(said[theirs]) for theirs, ours in _ATTRIBUTES.items() if theirs in said}
    if action not in _ENDS:
        attributes.pop("exitCode", None)
    if rest.strip():
        attributes["health_status" if action == "health_status" else "command"] = cut(rest.strip())
    own = {key: value for key, value in said.items() if key not in _NO_LABELS} if action in NAMING else {}
    time_ns = event.time_ns or event.time * 1_000_000_000
    name, image = (cut(said[key]) if key in said else None for key in ("name", "image"))
    if not 0 < time_ns <= MAX_TIME_NS:
        raise Malformed("a time that is none")
    return Happened(0, event.actor.id, action, time_ns, engine, name, image, attributes, cut_labels(own, _MAX_LABELS))
