"""A folder of recordings, read in order while they are written: rows, each once, and what is missing between them.

Rows have numbers in their file, which stay the same when a finished file is replaced by one with fewer batches
(`tracer.recording.merge`), so a place is a file of a run and a row in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from tracer.errors import NstraceError
from tracer.fleet.envelope import passed_on
from tracer.fleet.facts import EarlierFacts
from tracer.recording.inputs import FileInput
from tracer.recording.reader import Recording
from tracer.stream.batch import Batch


class SpoolFiles(Protocol):
    """The files of the folder: `tracer.fleet.spool_folder.SpoolFolder`."""

    def names(self) -> list[str]:
        """The names of the recordings."""

    def open(self, name: str) -> int:
        """A descriptor of one, to be read. Raises OSError."""


class Known(NamedTuple):
    """What a file is: which part of which run, and when that part was begun (wall clock). metadata: as of
    `tracer.fleet.envelope.passed_on`."""

    session: str
    part: int
    began_ns: int
    name: str
    metadata: Mapping[str, str]


class Piece(NamedTuple):
    """Rows of a file that follow each other. batch: they; one GAP row where the file is damaged."""

    first_row: int
    end_row: int
    batch: Batch


class Start(NamedTuple):
    """Where to begin. row: of the file; with_carried: as of `tracer.fleet.place.Place`."""

    session: str
    part: int
    row: int = 0
    with_carried: bool = True


class Tail:
    """One recording, read while it is written. is_over: all of it has been read, and it was closed."""

    def __init__(self, known: Known, fd: int, start: Start) -> None:
        self.known = known
        self._recording = Recording(known.name, FileInput(fd, is_ours=True), lambda _line: None)
        self._at = self._recording.input.at
        self._start, self._done = start, 0  # rows that were read
        self.facts = EarlierFacts()
        self.is_over = False

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the recording says of itself."""
        return self._recording.metadata

    def pieces(self) -> Iterator[Piece]:
        """What has been added since, from the start on. Whoever takes a piece passes it to `facts` afterwards."""
        recording = self._recording
        assert isinstance(recording.input, FileInput)
        recording.input.at, recording.is_torn = self._at, False
        for part in recording.parts(lambda index: True):
            if part.batch is None:
                continue
            first, is_gap = self._done, part.index.first_row > self._done
            self._done = part.index.first_row if is_gap else first + len(part.batch)
            if not is_gap:
                self._at = recording.input.at
            piece = Piece(first, self._done, part.batch)
            if part.index.carried and not self._start.with_carried:
                self.facts.learn(piece.batch)
            else:
                yield from self._from_start(piece, is_gap)
        self.is_over = recording.is_closed

    def _from_start(self, piece: Piece, is_gap: bool) -> Iterator[Piece]:
        """What of a piece is behind the start; the rest is learned."""
        skip = min(max(0, self._start.row - piece.first_row), piece.end_row - piece.first_row)
        if skip and not is_gap:
            self.facts.learn(piece.batch.part(0, skip))
            piece = Piece(piece.first_row + skip, piece.end_row, piece.batch.part(skip, len(piece.batch)))
        if piece.end_row > max(piece.first_row, self._start.row):
            yield piece


class Spool:
    """The recordings of a folder that one recorder fills at a time."""

    def __init__(self, files: SpoolFiles) -> None:
        self._files = files
        self._known: dict[str, Known] = {}

    def listed(self) -> list[Known]:
        """Its recordings in order: runs by when they began, files of a run by their part. A file in which nothing
        stands yet, or which is no recording, is left out."""
        names = self._files.names()
        self._known = {name: known for name, known in self._known.items() if name in names}
        for name in names:
            if name not in self._known and (known := self._look(name)):
                self._known[name] = known
        runs: dict[str, int] = {}
        for known in self._known.values():
            runs[known.session] = min(runs.get(known.session, known.began_ns), known.began_ns)
        return sorted(self._known.values(), key=lambda known: (runs[known.session], known.session, known.part))

    def _look(self, name: str) -> Known | None:
        try:
            recording = Recording(name, FileInput(self._files.open(name), is_ours=True), lambda _line: None)
        except (OSError, NstraceError):
            return None
        facts = recording.facts
        return Known(facts.session, facts.part, facts.began_ns, name, passed_on(recording.metadata))

    def opened(self, known: Known, start: Start) -> Tail | None:
        """The file from this row on; None: it is gone, or it is another one by now."""
        try:
            tail = Tail(known, self._files.open(known.name), start)
        except (OSError, NstraceError):
            self._known.pop(known.name, None)
            return None
        if (tail.metadata.get("session"), tail.metadata.get("part")) != (known.session, str(known.part)):
            self._known.pop(known.name, None)
            return None
        return tail


class Pieces:
    """The pieces of one file, held back one by one. Reads no further than it is asked."""

    def __init__(self, tail: Tail) -> None:
        self.tail = tail
        self._waiting: deque[Piece] = deque()
        self._more: Iterator[Piece] = iter(())

    def peek(self) -> Piece | None:
        """The next piece; None: there is none now."""
        if not self._waiting:
            piece = next(self._more, None)
            if piece is None:
                self._more = self.tail.pieces()
                piece = next(self._more, None)
            if piece is None:
                return None
            self._waiting.append(piece)
        return self._waiting[0]

    def take(self, end_row: int) -> Piece | None:
        """The rows up to this one, without it, and out with them; None: they are not there."""
        taken: list[Piece] = []
        while piece := self.peek():
            if taken and piece.first_row != taken[-1].end_row:
                return None
            self._waiting.popleft()
            if piece.end_row > end_row:
                rows = end_row - piece.first_row
                if rows <= 0 or rows >= len(piece.batch):
                    return None
                self._waiting.appendleft(Piece(end_row, piece.end_row, piece.batch.part(rows, len(piece.batch))))
                piece = Piece(piece.first_row, end_row, piece.batch.part(0, rows))
            taken.append(piece)
            if piece.end_row == end_row:
                batch = Batch.concat([one.batch for one in taken])
                return Piece(taken[0].first_row, end_row, batch)
        return None
