"""Lines of a log that are JSON objects: members by name, and one more added. Pure; bytes in, bytes out."""

from __future__ import annotations

from typing import Any

import msgspec

_MAX_LINE_BYTES = 1 << 20
_DECODER = msgspec.json.Decoder()


def object_in(line: bytes) -> dict[str, Any] | None:
    """The object that a line is; None: it is none."""
    if not line.lstrip().startswith(b"{") or len(line) > _MAX_LINE_BYTES:
        return None
    try:
        found = _DECODER.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def member(found: dict[str, Any], key: str) -> Any:
    """The member of this name, or of the object in it, "kubernetes.pod_id"; None: there is none."""
    if key in found:
        return found[key]
    value: Any = found
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def has_member(found: dict[str, Any], key: str) -> bool:
    """Whether it has the member that `member` gives, and be it null."""
    value: Any = found
    for name in [key] if key in found else key.split("."):
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return True


def keys_of(found: dict[str, Any]) -> list[str]:
    """The keys of its members and of those of the objects in them, for `member`."""
    nested = {key: value for key, value in found.items() if isinstance(value, dict)}
    return [*found, *(f"{key}.{name}" for key, value in nested.items() for name in value)]


def with_member(line: bytes, found: dict[str, Any], name: str, value: Any) -> bytes:
    """The line, which is this object, with one more member, or in place of one of that name; all else as it was."""
    if name in found:
        return msgspec.json.encode(found | {name: value}) + line[len(line.rstrip()) :]
    text = line.rstrip()
    comma = b"," if found else b""
    added = msgspec.json.encode(name) + b":" + msgspec.json.encode(value)
    return text[:-1] + comma + added + b"}" + line[len(text) :]
