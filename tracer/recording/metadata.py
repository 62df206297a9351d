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

from tracer.recording.schema import VERSION

_MAX_NS = 7_258_118_400 * 10**9  # the year 2200
_MIN_OFFSET_NS = -315_360_000 * 10**9  # a clock that says 1970 on a host that has been up for ten years
_MAX_PART = 1 << 31


@dataclass(frozen=True)
class Metadata:
    """The metadata, as a reader uses it. session: one run of nstrace; part: the number of the file in it, from 1;
    began_ns: when the file was begun, wall clock. Times are between the years 1970 and 2200: what is worked out from
    them fits in 64 bits."""

    schema: int
    wall_offset_ns: int
    began_ns: int
    host: str
    session: str
    part: int
    command: str

    @classmethod
    def parse(cls, metadata: Mapping[str, str]) -> Metadata:
        """The metadata. Raises KeyError or ValueError where it is not that of a recording."""
        return cls(
            schema=int(metadata["nstrace_schema"]),
            wall_offset_ns=_number(metadata, "wall_offset_ns", _MIN_OFFSET_NS, _MAX_NS),
            began_ns=_number(metadata, "realtime_ns", 0, _MAX_NS),
            host=metadata["host"],
            session=metadata["session"],
            part=_number(metadata, "part", 1, _MAX_PART),
            command=metadata["command"],
        )


def _number(metadata: Mapping[str, str], name: str, least: int, most: int) -> int:
    """Raises KeyError or ValueError where there is no such number from least to most."""
    number = int(metadata[name])
    if not least <= number <= most:
        raise ValueError(f"its {name} is not plausible")
    return number


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
        "boot_id": _line("/proc/sys/kernel/random/boot_id"),
        "command": json.dumps(command),
    }


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
