"""Events beside a recording: their reader may be slow, or exit, and the recording must not wait for it.

A thread of its own writes what is to be shown. What the reader is too slow for is left out, and reported as a gap.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tracer.stream.batch import EVENT, Batch, of_kind
from tracer.stream.failures import is_failure
from tracer.stream.schema import NO_CPU, Kind
from tracer.wiring.ending import GONE

if TYPE_CHECKING:
    from tracer.stream.attribution import Attribution
    from tracer.views.view import View

_MAX_BYTES = 8 << 20


class Outlet:
    """Text on its way to a descriptor, written from `begin` on. say: writes a line for people, called from the writing
    thread. error: why writing failed, unless the reader has closed its side."""

    def __init__(self, fd: int, say: Callable[[str], None], max_bytes: int = _MAX_BYTES) -> None:
        self.fd, self._say, self._max_bytes = fd, say, max_bytes
        self.error: OSError | None = None
        self._texts: deque[bytes] = deque()
        self._bytes = 0
        self._is_gone = False
        self._is_closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        """Begin the writing thread."""
        self._thread.start()

    @property
    def has_room(self) -> bool:
        """Whether the reader has kept up so far."""
        return not self._is_gone and self._bytes < self._max_bytes

    @property
    def is_gone(self) -> bool:
        """Whether the reader has closed its side."""
        return self._is_gone

    def write(self, text: bytes) -> None:
        """Queue text. Never waits."""
        with self._changed:
            if not self._is_gone:
                self._texts.append(text)
                self._bytes += len(text)
                self._changed.notify()

    def close(self, seconds: float) -> bool:
        """Wait at most so long until the reader has read all, or has closed. Returns whether it has."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (text := self._next()) is not None:
            try:
                at = 0
                while at < len(text):
                    at += os.write(self.fd, memoryview(text)[at:])
            except OSError as error:
                self._is_gone = True
                self.error = None if error.errno in GONE else error
                self._say(f"{self._why(error)}; the recording goes on")
                return
            with self._changed:
                self._bytes -= len(text)

    def _why(self, error: OSError) -> str:
        return (
            f"the events cannot be written: {error.strerror}" if self.error else "the reader of the events has closed"
        )

    def _next(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._texts or self._is_closing)
            return self._texts.popleft() if self._texts else None


class PatientView:
    """A view before an outlet: renders what there is room for; the rest becomes a gap. kinds: what the view shows;
    only_failed: of these, failures alone."""

    def __init__(self, view: View, outlet: Outlet, kinds: frozenset[Kind], only_failed: bool = False) -> None:
        self.header = view.header
        self.left_out = 0
        self._view, self._outlet = view, outlet
        self._kinds, self._only_failed = kinds, only_failed
        self._gap = np.zeros(1, EVENT)

    def render(self, batch: Batch, containers: Attribution) -> bytes:
        """As `View.render`; nothing while the reader is behind."""
        if not self._outlet.has_room:
            self._leave_out(batch)
            return b""
        text = self.last(containers)
        return text + self._view.render(batch, containers)

    def rest(self) -> bytes:
        """As `View.rest`."""
        return self._view.rest()

    def last(self, containers: Attribution) -> bytes:
        """The gap that has not been reported yet, if there is one, in its place."""
        if not self._gap["seq"][0]:
            return b""
        text = self._view.rest() + self._view.render(Batch(self._gap), containers) + self._view.rest()
        self._gap = np.zeros(1, EVENT)
        return text

    def _leave_out(self, batch: Batch) -> None:
        shown = of_kind(batch.rows, *self._kinds)
        times = batch.rows["ts_ns"][shown & is_failure(batch.rows) if self._only_failed else shown]
        if self._outlet.is_gone or not len(times):
            return
        gap = self._gap
        if not gap["seq"][0]:
            gap["kind"], gap["cpu"], gap["start_ns"] = Kind.GAP, NO_CPU, times[0]
        gap["seq"] += np.uint64(len(times))
        gap["ts_ns"] = times[-1]
        self.left_out += len(times)
