"""The time between two runs of a service, in which nobody looked: a file of its own, the last part of the earlier run.

Its one row is a GAP, in the clock of the earlier run: so it can say from when to when, whatever happened meanwhile, and
what that run knew is unsure from then on, for every question.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tracer.errors import NstraceError
from tracer.recording.file_writer import FileWriter
from tracer.recording.files import part_of
from tracer.recording.folder import Folder
from tracer.recording.inputs import FileInput
from tracer.recording.reader import Recording
from tracer.stream.batch import EVENT, Batch
from tracer.stream.schema import NO_CPU, Kind


def write_hole(path: Path, number: int, earlier: Sequence[FileInput], began_ns: int, folder: Folder) -> bool:
    """Write the file of this number, where an earlier run was. earlier: its files, the latest first; as many as may be
    damaged. began_ns: when this run has begun (wall clock). folder: the path's. Raises NstraceError."""
    for data in earlier:
        with contextlib.suppress(NstraceError):
            facts, last_ns = _end_of(data)
            offset_ns = int(facts["wall_offset_ns"])
            writer = FileWriter(part_of(path, number), facts, folder=folder)
            writer.take(_nobody_looked(last_ns, max(last_ns, began_ns - offset_ns)))
            writer.close()
            return True
    return False


def _end_of(data: FileInput) -> tuple[dict[str, str], int]:
    """The metadata of the part that comes behind this one, and until when this one reports (boottime). Raises
    NstraceError where it is no recording."""
    recording = Recording("", data, lambda _line: None)
    _first, last_ns = recording.range_ns()
    began_ns = recording.facts.began_ns
    return {**recording.metadata} | {"part": str(recording.facts.part + 1)}, max(
        last_ns, began_ns - recording.facts.wall_offset_ns
    )


def _nobody_looked(since_ns: int, until_ns: int) -> Batch:
    """The row: how many events there were is not known."""
    row = np.zeros(1, EVENT)
    row["kind"], row["cpu"], row["start_ns"], row["ts_ns"] = Kind.GAP, NO_CPU, since_ns, until_ns
    return Batch(row)
