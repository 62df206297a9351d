"""A recording in several files: each begins with the living processes and known containers, so it needs no other."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tracer.recording.carry_over import CarryOver
from tracer.recording.file_writer import FileWriter
from tracer.recording.files import AlreadyThere, errors_of, folder_of, part_of
from tracer.recording.folder import Folder
from tracer.recording.writer import PATIENCE, Patience
from tracer.stream.batch import Batch

_MAX_SKIPPED = 10_000  # names in a row; to look at them takes some 0.1 s


@dataclass(frozen=True)
class Rotation:
    """When a file is full; None: never. max_files: how many are kept, the latest ones; None: all."""

    max_bytes: int | None = None
    interval_s: float | None = None
    max_files: int | None = None


class RotatingWriter:
    """As `Writer`, into web.000001.arrows, web.000002.arrows, ... for a path web.arrows. first: the number of its first
    file; those before are of earlier runs.

    force: as for `FileWriter`, of the first file. A later one never replaces anything: a number whose name something
    has by then is left out. say: receives a line for people about that. folder: the path's, if it
    is open already.
    """

    def __init__(
        self,
        path: Path,
        facts: Mapping[str, str],
        rotation: Rotation,
        *,
        force: bool = False,
        fsync: bool = False,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = lambda _line: None,
        folder: Folder | None = None,
        first: int = 1,
        patience: Patience = PATIENCE,
    ) -> None:
        self._path, self._facts, self._rotation, self._fsync, self._clock = path, facts, rotation, fsync, clock
        self._say, self._patience = say, patience
        self._folder = folder or folder_of(path)
        self._living = CarryOver()
        self._kept = deque[tuple[str, os.stat_result]]()  # finished files, while their number is limited
        self._number, self._part = first, 1
        self._done_rows = self._done_bytes = self._done_lost = 0
        self._told: set[int] = set()
        self._removed: set[int] = set()  # cgroups of which rows may wait to be written
        self._open(force)

    @property
    def name(self) -> str:
        """The file that is written now."""
        return self._writer.name

    @property
    def rows(self) -> int:
        """How many rows are in all files, repeated ones not counted."""
        return self._done_rows + self._writer.rows - self._carried_rows

    @property
    def bytes(self) -> int:
        """How many bytes are in all files."""
        return self._done_bytes + self._writer.bytes

    @property
    def lost(self) -> int:
        """How many lost events are in all files."""
        return self._done_lost + self._writer.lost

    def take(self, batch: Batch) -> None:
        """As `Writer.take`."""
        self._writer.add(batch)
        if self._writer.is_due or (self._is_late and self._writer.has_waiting):
            self._remember(self._writer.flush())
            if self._is_late or self._is_large:
                self._close()
                self._open_next()

    def quiet(self, until_ns: int) -> None:
        """As `Writer.quiet`."""
        self._remember(self._writer.quiet(until_ns))

    def forget(self, cgroup_ids: Collection[int]) -> None:
        """As `Writer.forget`: the next file says nothing of them."""
        self._removed.update(cgroup_ids)

    def _remember(self, written: Batch) -> None:
        self._living.apply(written)
        if self._removed:
            self._living.forget(self._removed)
            self._writer.forget(self._removed)
            self._removed = set()

    @property
    def _is_large(self) -> bool:
        return self._rotation.max_bytes is not None and self._writer.bytes >= self._rotation.max_bytes

    @property
    def _is_late(self) -> bool:
        interval_s = self._rotation.interval_s
        return interval_s is not None and self._clock() - self._began >= interval_s

    def _open_next(self) -> None:
        self._part += 1
        for _skipped in range(_MAX_SKIPPED):
            self._number += 1
            try:
                self._open(force=False)
            except AlreadyThere:
                self._say(f"{part_of(self._path, self._number)} is not part of this recording: its number is skipped")
                continue
            break
        else:
            path = part_of(self._path, self._number)
            raise AlreadyThere(f"{path} and {_MAX_SKIPPED - 1} before it are there", "record into another folder")
        self._writer.carry(self._living.snapshot(time.clock_gettime_ns(time.CLOCK_BOOTTIME)))
        self._carried_rows = self._writer.rows
        if self._rotation.max_files and len(self._kept) >= self._rotation.max_files:
            name, made = self._kept.popleft()
            with errors_of(self._path.with_name(name)):
                self._folder.remove(name, made)

    def _open(self, force: bool) -> None:
        self._began = self._clock()
        path = part_of(self._path, self._number)
        now = {"part": str(self._part), "realtime_ns": str(time.time_ns())}
        facts = {**self._facts, **now}
        self._writer = FileWriter(
            path,
            facts,
            force=force,
            fsync=self._fsync,
            clock=self._clock,
            folder=self._folder,
            told=self._told,
            patience=self._patience,
        )
        self._carried_rows = 0

    def _close(self) -> None:
        self.close()
        self._told = self._writer.told
        self._done_rows += self._writer.rows - self._carried_rows
        self._done_bytes += self._writer.bytes
        self._done_lost += self._writer.lost
        if self._rotation.max_files:
            self._kept.append((part_of(self._path, self._number).name, self._writer.made))

    def close(self, until_ns: int = 0) -> None:
        """As `Writer.close`."""
        self._writer.close(until_ns)

    def abandon(self) -> None:
        """As `Writer.abandon`."""
        self._writer.abandon()
