"""Recordings made by hand, for tests of what reads them."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from builders import PIDNS, SECOND_NS, WEB, batch, cgroup, exits, fork, row

from tracer.recording.files import create, parts_of
from tracer.recording.metadata import of_this_host
from tracer.recording.reader import Recording
from tracer.recording.rotate import RotatingWriter, Rotation
from tracer.recording.writer import FileSink, Writer
from tracer.stream.batch import Batch
from tracer.stream.schema import Kind

WALL_NS = 1_700_000_000 * SECOND_NS


class Memory:
    """An input of bytes that are there already."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    @property
    def at(self) -> int:
        return self._file.tell()

    def read(self, length: int) -> bytes:
        return self._file.read(length)

    def skip(self, length: int) -> int:
        return len(self._file.read(length))

    def unread(self, data: bytes) -> None:
        self._file.seek(-len(data), os.SEEK_CUR)


def storm(first: int, count: int) -> Batch:
    """Processes of the container web that are born, run something and end; three rows each, a millisecond apart."""
    rows = []
    for nr in range(first, first + count):
        begin = SECOND_NS + nr * 1_000_000
        shared: dict[str, Any] = {"start_ns": begin, "cgroup_id": 7, "parent_tgid": 1000}
        inside = [(PIDNS, nr)]
        rows += [
            fork(1000 + nr, inside, ts_ns=begin, **shared),
            row(Kind.EXEC, 1000 + nr, inside, exe=b"/bin/ls", args=[b"ls", b"%d" % nr], ts_ns=begin + 1000, **shared),
            exits(1000 + nr, inside, ts_ns=begin + 2000, **shared),
        ]
    return batch(*rows)


def facts() -> Batch:
    """What the recording's first batch begins with."""
    return batch(cgroup(7, WEB))


def record(path: Path, batches: Iterable[Batch], is_closed: bool = True, **metadata: str) -> list[int]:
    """Write batches, each as a message of its own, to a new file. Gives the offsets at which the messages begin, and
    at which the last of them ends. metadata: of the stream, where it is not as of this host."""
    sink = FileSink(create(path, force=False), path.name)
    writer = Writer(sink, of_this_host(WALL_NS, ["nstrace", "record"]) | metadata)
    offsets = [0]
    for part in batches:
        offsets.append(sink.bytes)
        writer.take(part)
        writer.flush()
    offsets.append(sink.bytes)
    if is_closed:
        writer.close()
    else:
        sink.close()
    return offsets


def rotated(path: Path, batches: Sequence[Batch]) -> list[Path]:
    """Write each batch to a file of its own, the last of which may hold none: the parts of one recording, in order."""
    seconds = itertools.count(step=10.0)  # every batch is due
    facts = of_this_host(WALL_NS, ["nstrace", "record"])
    writer = RotatingWriter(path, facts, Rotation(max_bytes=1), clock=lambda: next(seconds))
    for part in batches:
        writer.take(part)
    writer.close()
    return parts_of(path)


def read(data: bytes) -> tuple[list[Batch], list[str], Recording]:
    """All batches of a recording, what was said about it, and the recording."""
    said: list[str] = []
    recording = Recording("file", Memory(data), said.append)
    return [part.batch for part in recording.parts() if part.batch is not None], said, recording
