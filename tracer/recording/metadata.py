"""What a recording says about itself: the metadata of its stream."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tracer.recording.limits import MAX_NAME_BYTES, is_possible
from tracer.recording.schema import VERSION

_MAX_DIGITS = 20


@dataclass(frozen=True)
class Metadata:
    """The metadata, as a reader uses it, within `tracer.recording.limits`. session: one run of nstrace; part: the
    number of the file in it, from 1; began_ns: when the file was begun, wall clock. is_filtered: events were left out
    by a condition. boot_id: of the boot in which it was recorded; "": not known."""

    schema: int
    wall_offset_ns: int
    began_ns: int
    host: str
    session: str
    part: int
    command: str
    is_filtered: bool = False
    boot_id: str = ""

    @property
    def clock(self) -> str:
        """The same for recordings of one boot of a host: what they say of times since boot is about the same clock."""
        return f"{self.host} {self.boot_id or self.session}"

    @classmethod
    def parse(cls, metadata: Mapping[str, str]) -> Metadata:
        """The metadata. Raises ValueError where it is not that of a recording."""
        return cls(
            schema=number_in(metadata, "nstrace_schema"),
            wall_offset_ns=number_in(metadata, "wall_offset_ns"),
            began_ns=number_in(metadata, "realtime_ns"),
            host=_name(metadata, "host"),
            session=_name(metadata, "session"),
            part=number_in(metadata, "part"),
            command=metadata.get("command", ""),
            is_filtered=metadata.get("filtered") == "1",
            boot_id=metadata.get("boot_id", "")[:MAX_NAME_BYTES],
        )


def number_in(metadata: Mapping[str, str], name: str, absent: str = "") -> int:
    """A number of the metadata, in its range. absent: its text where there is none. Raises ValueError."""
    text = metadata.get(name, absent)
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < _MAX_DIGITS and is_possible(name, int(text))):
        raise ValueError(f"its {name} is not plausible")
    return int(text)


def _name(metadata: Mapping[str, str], name: str) -> str:
    text = metadata.get(name)
    if text is None or len(text) > MAX_NAME_BYTES:
        raise ValueError(f"its {name} is not plausible")
    return text


def of_this_host(wall_offset_ns: int, command: list[str]) -> dict[str, str]:
    """The metadata of a recording that begins now. wall_offset_ns: wall clock minus boottime; times in the file are
    wall clock, start_ns in it are boottime."""
    system = os.uname()
    return {
        "nstrace_schema": str(VERSION),
        "nstrace_version": version("nstrace"),
        "session": uuid.uuid4().hex,
        "part": "1",
        "wall_offset_ns": str(wall_offset_ns),
        "boottime_ns": str(time.clock_gettime_ns(time.CLOCK_BOOTTIME)),
        "realtime_ns": str(time.time_ns()),
        "host": system.nodename,
        "machine": system.machine,
        "kernel": system.release,
        "machine_id": hashlib.sha256(b"nstrace " + _line("/etc/machine-id").encode()).hexdigest()[:32],  # machine-id(5)
        "boot_id": this_boot(),
        "command": json.dumps(command),
    }


def this_boot() -> str:
    """The id of this boot (random(4)); "": it cannot be read."""
    return _line("/proc/sys/kernel/random/boot_id")


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
