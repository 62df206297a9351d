"""Which recordings belong to one run of nstrace, each of its parts once."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence

from tracer.recording.inputs import FileInput
from tracer.recording.reader import Recording

_CHUNK_BYTES = 1 << 20
Say = Callable[[str], None]


def runs_of(recordings: Sequence[Recording], say: Say) -> list[list[Recording]]:
    """The parts of each run in their order, runs in the order of their beginning. say: writes a line for people, about
    files that hold the same part, of which one is read, and parts that are missing."""
    copies: defaultdict[tuple[str, int, int], list[Recording]] = defaultdict(list)
    for recording in recordings:
        facts = recording.facts
        copies[facts.session, facts.wall_offset_ns, facts.part].append(recording)
    runs: defaultdict[tuple[str, int], list[Recording]] = defaultdict(list)
    for (session, offset_ns, _part), same in sorted(copies.items(), key=lambda copy: copy[0]):
        runs[session, offset_ns].append(_best(same, say))
    for run in runs.values():
        _say_missing(run, say)
    return sorted(runs.values(), key=lambda run: run[0].facts.began_ns)


def _say_missing(run: list[Recording], say: Say) -> None:
    for before, after in itertools.pairwise(run):
        if count := after.facts.part - before.facts.part - 1:
            parts = f"{count} parts are" if count > 1 else "a part is"
            say(f"{parts} missing between {before.name} and {after.name}")


def _best(same: list[Recording], say: Say) -> Recording:
    """Of files with the same part the one that has most rows, the first where several have."""
    different: list[Recording] = []
    for one in same:
        if original := next((other for other in different if _is_copy(one, other)), None):
            say(f"{one.name} is a copy of {original.name}: read once")
        else:
            different.append(one)
    best = max(different, key=_rows_in) if len(different) > 1 else different[0]
    for other in different:
        if other is not best:
            say(f"{other.name} holds the same part of the recording as {best.name}: not read")
    return best


def _is_copy(one: Recording, other: Recording) -> bool:
    if not isinstance(one.input, FileInput) or not isinstance(other.input, FileInput):
        return False
    if one.input.size != other.input.size:
        return False
    first, second = one.input.again(), other.input.again()
    while chunk := first.read(_CHUNK_BYTES):
        if chunk != second.read(_CHUNK_BYTES):
            return False
    return True


def _rows_in(recording: Recording) -> int:
    """How many rows can be read; 0 for a stream, of which that is not known before it is read."""
    if not isinstance(recording.input, FileInput):
        return 0
    again = recording.again()
    for _part in again.parts():
        pass
    return again.rows - again.missing
