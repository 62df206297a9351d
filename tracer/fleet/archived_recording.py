"""Messages of an archive -> a recording in memory of what they say of some processes: it can be asked as any other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.errors import NstraceError
from tracer.fleet.envelope import Opened, content, opened
from tracer.recording.frames import Damaged
from tracer.recording.inputs import FileInput
from tracer.recording.reader import Recording
from tracer.recording.source import RecordedSource
from tracer.recording.writer import FileSink, Writer
from tracer.stream.attribution import Attribution, reduce
from tracer.stream.batch import EVENT, Batch, of_kind
from tracer.stream.repair import identities, identity
from tracer.stream.schema import METADATA_KINDS, NO_CPU, PROCESS_KINDS, Flag, Kind
from tracer.typed.targets import Target


class Message(NamedTuple):
    """A message that is archived. first_ns, last_ns: when its first and its last event were (boottime); None: it has
    none."""

    number: int
    first_ns: int | None
    last_ns: int | None


class Hole(NamedTuple):
    """Messages that are missing, up to number `last`: from the latest event before them to the first one after them
    (boottime)."""

    last: int
    since_ns: int
    until_ns: int

    def gap(self) -> Batch:
        """The row that says so."""
        row = np.zeros(1, EVENT)
        row["kind"], row["cpu"], row["start_ns"], row["ts_ns"] = Kind.GAP, NO_CPU, self.since_ns, self.until_ns
        return Batch(row)


class ArchivedRecording:
    """What a question needs of one run; nothing of it has been looked into. ids: the identities of the processes; what
    is about no process is kept, too. ledger: all messages of the run that the archive has: where a number is missing,
    events are. payloads: the messages that are read, in order, by their numbers."""

    def __init__(
        self, name: str, ids: Iterable[str], ledger: Sequence[Message], payloads: Sequence[tuple[int, bytes]]
    ) -> None:
        self._name, self._ids, self._ledger, self._payloads = name, _identities(ids), ledger, payloads
        self._fd = os.memfd_create("nstrace", os.MFD_CLOEXEC)

    def source(self, targets: tuple[Target, ...] = ()) -> RecordedSource:
        """The recording, to be asked; once. It ends where the run does, whatever it is asked about. targets: as for
        `RecordedSource`. Raises NstraceError where a message is damaged."""
        attribution, holes = Attribution(), holes_in(self._ledger)
        writer: Writer | None = None
        for number, payload in self._payloads:
            found, facts, rows = self._opened(number, payload)
            writer = writer or self._begun(found, holes)
            while holes and holes[0].last < number:
                writer.take(holes.pop(0).gap())
            for batch in (*map(_known_before, facts), *rows):
                for part in attribution.split_and_learn(batch):
                    is_wanted = ~of_kind(part.rows, *PROCESS_KINDS) | _among(self._ids, identities(part.rows))
                    writer.take(reduce(part, is_wanted))
        assert writer is not None  # the first message of a run is always among them
        for hole in holes:
            writer.take(hole.gap())
        writer.close(max(one.last_ns for one in self._ledger if one.last_ns is not None))
        os.lseek(self._fd, 0, os.SEEK_SET)
        recording = Recording(self._name, FileInput(self._fd, is_ours=True), lambda _line: None)
        return RecordedSource([recording], targets)

    def _opened(self, number: int, payload: bytes) -> tuple[Opened, list[Batch], list[Batch]]:
        try:
            found = opened(payload, self._name)
            return found, *content(found)
        except Damaged as error:
            raise NstraceError(f"{self._name}: message {number}: {error}", "its file is not as it was") from error

    def _begun(self, first: Opened, holes: Sequence[Hole]) -> Writer:
        """The writer. The recording begins as that of the host did; where its first messages are missing, behind
        them."""
        said, origin = dict(first.recording.metadata), first.origin
        is_from_the_first = not (holes and holes[0].last < origin.sequence)
        began_ns = int(said["boottime_ns"]) if is_from_the_first else holes[0].until_ns
        said |= {"part": str(origin.part) if is_from_the_first else "1"}
        said |= {"realtime_ns": str(began_ns + int(said["wall_offset_ns"]))}
        return Writer(FileSink(os.dup(self._fd), self._name), said)


def _among(ids: NDArray[np.uint64], these: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of these are among the ids. np.isin would go through all ids for each of some thousand parts."""
    if not len(ids):
        return np.zeros(len(these), bool)
    found: NDArray[np.bool_] = ids[np.searchsorted(ids, these) % len(ids)] == these
    return found


def _identities(ids: Iterable[str]) -> NDArray[np.uint64]:
    """In order."""
    pairs = [one.rpartition("-") for one in ids]  # a hostile host has negative PIDs
    tgids = np.array([int(tgid) for tgid, _dash, _start in pairs], np.int64)
    return np.sort(identity(tgids, np.array([int(start) for _tgid, _dash, start in pairs], np.uint64)))


def _known_before(facts: Batch) -> Batch:
    """What a message repeats of earlier ones, so that it is understood: sessions are told where they began, and what is
    said of a process says nothing of how long it lived."""
    kept = facts.select(of_kind(facts.rows, *METADATA_KINDS))
    rows = kept.rows.copy()
    rows["flags"][of_kind(rows, *PROCESS_KINDS)] |= np.uint8(Flag.CARRIED)
    return Batch(rows, kept.heap)


def holes_in(ledger: Sequence[Message]) -> list[Hole]:
    """Where messages of a run are missing, in order; of those behind the latest nobody knows."""
    holes: list[Hole] = []
    number, last_ns = 0, 0
    for at, message in enumerate(ledger):
        if message.number > number + 1:
            first_ns = next((one.first_ns for one in ledger[at:] if one.first_ns is not None), last_ns)
            holes.append(Hole(message.number - 1, last_ns, max(last_ns, first_ns)))
        number, last_ns = message.number, max(last_ns, message.last_ns or 0)
    return holes
