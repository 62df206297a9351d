"""A timeline -> one page of HTML that needs no network: nstrace timeline.

Everything that strangers wrote is in one block of base64: numbers and text as JSON, deflated. So the page's markup is
the same for every recording, and what a command or container is called cannot become a part of it; the script shows it
as text alone. The policy in the page allows this script and this style, by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracer.past.texts import CUT
from tracer.past.timeline import Note, Timeline
from tracer.stream.batch import split_args
from tracer.stream.lanes import Lane, Lanes
from tracer.text.escape import command_line, safe, safe_text
from tracer.text.exec_errors import error_name
from tracer.text.wait_status import ending

_HEADER = struct.Struct("<I")
_POLICY = (
    "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
PARTS = ("page.html", "page.css", "page.js")
"""The files beside this module, in the folder page, that `Page` is made of."""


class Page(NamedTuple):
    """What all pages have in common: the files of PARTS."""

    html: str
    css: str
    js: str


class About(NamedTuple):
    """What a page says of its recording. wall_offset_ns: wall clock minus boottime. is_utc: times are shown in UTC."""

    name: str
    host: str
    wall_offset_ns: int
    is_utc: bool
    version: str


def render(timeline: Timeline, about: About, page: Page) -> bytes:
    """The page."""
    policy = _POLICY.format(script=_hash(page.js), style=_hash(page.css))
    before, after = page.html.replace("@POLICY@", policy).replace("@STYLE@", page.css).split("@DATA@")
    return before.encode() + base64.b64encode(pack(timeline, about)) + after.replace("@SCRIPT@", page.js).encode()


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def pack(timeline: Timeline, about: About) -> bytes:
    """The data of a page: the length of a header, the header (JSON), columns one after the other; all deflated.

    A column has the first bytes of all its numbers, then their second bytes, and so on: that deflates better.
    """
    columns = _columns(timeline)
    header = msgspec.json.encode(
        {
            "columns": [[name, len(values), values.itemsize] for name, values in columns.items()],
            **_texts(timeline),
            **_facts(timeline, about),
        }
    )
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [_HEADER.pack(len(header)), header, *map(_planes, columns.values())]
    return b"".join(map(deflate.compress, parts)) + deflate.flush()


def _planes(values: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), values.itemsize).T.tobytes()


def _columns(timeline: Timeline) -> dict[str, NDArray[Any]]:
    """The numbers, as the page's data.js reads them: little-endian, without sign."""
    lives, execs = timeline.processes, timeline.execs
    deep = sorted(timeline.between)
    since = execs["ts_ns"] - lives["start_ns"][execs["process"]] if len(execs) else np.zeros(0, np.int64)
    return {
        "start": np.diff(lives["start_ns"], prepend=0).astype("<u8"),
        "lived": (lives["end_ns"] - lives["start_ns"]).astype("<u8"),
        **{name: lives[name] for name in ("tgid", "nr", "parent_tgid", "lane", "comm", "command", "uid", "status")},
        "parent": (lives["parent"] + 1).astype("<u4"),
        "level": lives["level"],
        "fate": lives["fate"],
        "was_there": lives["was_there"],
        "exec_process": np.diff(execs["process"].astype(np.int64), prepend=0).astype("<u4"),
        "exec_since": np.maximum(since, 0).astype("<u8"),
        "exec_command": execs["command"],
        "exec_errno": execs["errno"],
        "deep_process": np.array(deep, "<u4"),
        "deep_count": np.array([len(timeline.between[at]) for at in deep], "<u4"),
        "deep_numbers": np.array([nr for at in deep for nr in timeline.between[at]], "<u4"),
    }


def _texts(timeline: Timeline) -> dict[str, Any]:
    """Names and commands, and how processes ended, each as the page shows it."""
    exes, lines = _split(timeline.commands)
    names = sorted(set(exes))
    number = {name: at for at, name in enumerate(names)}
    statuses = np.unique(timeline.processes["status"]).tolist()
    errors = np.unique(timeline.execs["errno"]).tolist()
    return {
        "comms": list(map(safe, timeline.comms)),
        "commands": lines,
        "exes": names,
        "exe_of": [number[exe] for exe in exes],
        "endings": {str(status): _ending(status) for status in statuses},
        "errors": {str(errno): error_name(errno) for errno in errors},
    }


def _split(commands: Iterable[bytes]) -> tuple[list[str], list[str]]:
    """The file names, and the arguments as a shell accepts them."""
    exes, lines = [], []
    for command in commands:
        is_cut = command.endswith(CUT)
        exe, _, args = command.removesuffix(CUT).partition(b"\0")
        exes.append(safe(exe))
        lines.append(command_line(split_args(args)) + (" ..." if is_cut else ""))
    return exes, lines


def _ending(status: int) -> str:
    """How a process ended, in two words; with signals of a core dump three."""
    how = ending(status)
    if how.signal is None:
        return f"exit {how.exit_code}"
    return f"{how.signal} (core dumped)" if how.core_dumped else how.signal


def _facts(timeline: Timeline, about: About) -> dict[str, Any]:
    return {
        "name": safe_text(about.name),
        "host": safe_text(about.host),
        "version": about.version,
        "utc": about.is_utc,
        "begin": str(timeline.begin_ns),  # JSON's numbers have 53 bits in a browser
        "end": str(timeline.end_ns),
        "wall": str(about.wall_offset_ns),
        "most": timeline.most,
        "lanes": [_lane(lane, timeline.lanes.parent(lane)) for lane in timeline.lanes.all],
        "notes": [_note(note, timeline.lanes) for note in timeline.notes],
    }


def _lane(lane: Lane, parent: int | None) -> dict[str, Any]:
    container = lane.container
    return {
        "label": safe_text(lane.label),
        "container": bool(container),
        "id": safe_text(container.id) if container else "",
        "image": safe_text(container.image or "") if container else "",
        "runtime": safe_text(container.runtime) if container else "",
        "pidns": str(lane.pidns.inum),
        "spaces": [str(space.inum) for space in lane.spaces],
        "level": lane.level,
        "parent": -1 if parent is None else parent,
        "counts": lane.counts,
    }


def _note(note: Note, lanes: Lanes) -> list[Any]:
    """What happened, from when to when, in which lane (-1: in all), how many events were lost, on which CPU, and what
    else there is to say."""
    lane = lanes.of_container(note.container)
    label = safe_text(note.container.label) if note.container else ""
    times = str(note.since_ns), str(note.ts_ns)
    return [note.kind, *times, -1 if lane is None else lane, note.lost, note.cpu, safe_text(note.text), label]
