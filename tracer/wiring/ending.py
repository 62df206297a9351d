"""How signals end a run: in one place, from before its trace is opened until its last line is written.

The first of SIGINT, SIGTERM and SIGHUP ends a run as its own end would: what the kernel has reported by then is shown
and recorded, the file is closed, the summary is right. One that comes while a run ends shortens the waiting, never the
truth: the reader of our output may delay the end for PATIENCE_S more; then it is cut off, which is reported and is a
failure. Another one, when that has not helped for INSISTENT_S, ends the process at once, whatever it does, and says so.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn, Protocol, Self

from tracer.errors import ReaderGone, ReaderStuck
from tracer.interrupt import Interrupted, leave_while_importing
from tracer.text.escape import safe_text
from tracer.text.width import cut

PATIENCE_S, INSISTENT_S = 1.0, 3.0
_LOOK_S = 0.1
_CLEAR = "\r\x1b[K"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GONE = (errno.EPIPE, errno.ECONNRESET, errno.EIO)  # a pipe, a socket, a terminal


class Endable(Protocol):
    """What a signal ends: `tracer.wiring.session.Session`."""

    @property
    def is_stopping(self) -> bool:
        """Whether it is ending already."""

    def stop(self) -> None:
        """End soon, in order."""


class Ending:
    """Handles the signals while it lasts; for commands that do nothing after it.

    Until `hold` a signal raises Interrupted: nothing has begun yet that needs an orderly end. wakeup: a descriptor that
    becomes readable when a signal arrives, so that a wait ends at once. pass_on: called with every signal first; True:
    it has been passed on.
    """

    def __init__(self) -> None:
        self.pass_on: Callable[[int], bool] = lambda _number: False
        self.has_reader = True
        self._shows = False
        self._cut_off: list[str] = []
        self._run: Endable | None = None
        self._raises = True
        self._number = 0  # the last signal that was not passed on
        self._hurried_s: float | None = None  # since when no wait may take long
        self._waiting: tuple[int, float] | None = None  # the descriptor that is waited for, and since when
        self._waited_s = defaultdict[int, float](float)  # by descriptor, the time of earlier waits
        self.wakeup, self._arriving = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._arriving, warn_on_full_buffer=False)
        for number in (*_SIGNALS, signal.SIGALRM):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup(1)
                signal.signal(number, self._handle)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Report what was cut off. Signals that arrive after that change nothing."""
        for what in self._cut_off:
            self.say(f"nstrace: cut off: {what}")
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in (*_SIGNALS, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        if self._raises and self._number and isinstance(error, Exception):  # an error that the signal caused
            raise Interrupted(self._number) from error

    def hold(self) -> None:
        """From now on remember a signal until there is a run for it to end."""
        self._raises = False

    def check(self) -> None:
        """Raises Interrupted where a signal has come since `hold`."""
        if self._number:
            raise Interrupted(self._number)

    def ends(self, run: Endable) -> None:
        """From now on signals end this run."""
        self._run = run
        if self._number or not self.has_reader:
            run.stop()

    @property
    def is_asked_for(self) -> bool:
        """Whether a signal has come that was not passed on, or the reader of the events has closed its side."""
        return self._number > 0 or not self.has_reader

    @property
    def is_closed(self) -> bool:
        """Whether the reader of the events has closed its side: then no one reads how it ended."""
        return not self.has_reader and not self._cut_off

    @property
    def is_cut_off(self) -> bool:
        """Whether a reader did not get all output."""
        return len(self._cut_off) > 0

    def cut_off(self, what: str) -> None:
        """Note that output was cut off. what: a sentence for people, what is missing where."""
        self._cut_off.append(what)

    def reader_gone(self, error: ReaderGone) -> None:
        """Note that the reader of the events has closed its side, and end the run."""
        self.has_reader = False
        if isinstance(error, ReaderStuck):
            self.cut_off("the events were not read in time after a second signal")
        self.stop()

    def stop(self) -> None:
        """End the run in order."""
        if self._run:
            self._run.stop()

    def say(self, line: str) -> None:
        """Write a line for people to stderr, safe for a terminal, as far as its reader reads."""
        self._to_stderr(self._cleared() + safe_text(line.rstrip("\n")) + "\n")

    def show(self, status: str) -> None:
        """Show a line on the terminal that stderr is, in place of the one before, until something is said. "": none."""
        shown = cut(safe_text(status), os.get_terminal_size(sys.stderr.fileno()).columns - 1) if status else ""
        self._to_stderr(self._cleared() + shown)
        self._shows = shown != ""

    def _cleared(self) -> str:
        """What clears the line that is shown."""
        was_shown, self._shows = self._shows, False
        return _CLEAR if was_shown else ""

    def _to_stderr(self, text: str) -> None:
        rest = memoryview(text.encode(sys.stderr.encoding, sys.stderr.errors or "strict"))
        with contextlib.suppress(OSError, ReaderGone):
            while rest:
                rest = rest[self.write(sys.stderr.fileno(), rest) :]

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """As `os.write`, to a reader that may be slow. Raises ReaderGone; ReaderStuck where that took too long."""
        with self._patience(fd):
            try:
                return os.write(fd, data)
            except BlockingIOError:  # another process that shares it has made it non-blocking
                select.select([], [fd], [])
                return 0
            except OSError as error:
                if error.errno in GONE:
                    raise ReaderGone from error
                raise

    def wait_for(self, fd: int, is_done: Callable[[float], bool]) -> bool:
        """Wait until the writer of this descriptor is done, or that took too long. is_done: waits so many seconds."""
        with contextlib.suppress(ReaderStuck), self._patience(fd):
            while not is_done(_LOOK_S):
                pass
            return True
        return False

    @contextlib.contextmanager
    def _patience(self, fd: int) -> Iterator[None]:
        began_s = time.monotonic()
        self._waiting = fd, began_s
        try:
            if self._is_over:
                raise ReaderStuck
            yield
        finally:
            self._waiting = None
            if self._hurried_s is not None:
                self._waited_s[fd] += time.monotonic() - max(began_s, self._hurried_s)

    @property
    def _is_over(self) -> bool:
        """Whether a reader or writer has made us wait for too long."""
        if self._hurried_s is None or self._waiting is None:
            return False
        fd, since_s = self._waiting
        return self._waited_s[fd] + time.monotonic() - max(since_s, self._hurried_s) >= PATIENCE_S

    def _handle(self, called_for: int, frame: FrameType | None) -> None:
        arrived = self._arrived()
        for number in arrived:
            if not self.pass_on(number):
                self._take(number, frame)
        if called_for not in (signal.SIGALRM, *arrived) and not self._number:
            # The kernel gives a signal to any thread; Python may call this before that thread has written the number.
            signal.setitimer(signal.ITIMER_REAL, _LOOK_S)
        if self._number:
            os.write(self._arriving, b"\0")  # ends a wait for events
        if self._is_over:
            raise ReaderStuck

    def _arrived(self) -> list[int]:
        """All signals that have arrived: Python calls a handler once for several that come at the same time."""
        with contextlib.suppress(BlockingIOError):
            return [number for number in os.read(self.wakeup, 4096) if number in _SIGNALS]
        return []

    def _take(self, number: int, frame: FrameType | None) -> None:
        is_ending = self._number > 0 or (self._run is not None and self._run.is_stopping)
        self._number = number
        if self._raises:
            leave_while_importing(number, frame)
            raise Interrupted(number)
        # A signal that comes between a check for it and a wait does not end the wait; the next tick does.
        signal.setitimer(signal.ITIMER_REAL, _LOOK_S, _LOOK_S)
        if not is_ending:
            if self._run:
                self._run.stop()
        elif self._hurried_s is None:
            self._hurried_s = time.monotonic()
        elif time.monotonic() - self._hurried_s >= INSISTENT_S:
            _leave(number)


def _leave(number: int) -> NoReturn:
    """End the process at once: nothing is closed."""
    if select.select([], [sys.stderr.fileno()], [], 0)[1]:
        name = signal.Signals(number).name
        os.write(sys.stderr.fileno(), f"nstrace: cut off by {name}: what had not been written is missing\n".encode())
    os._exit(128 + number)
