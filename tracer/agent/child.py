"""A process that the agent starts, and starts again when it has ended, each time after a longer pause."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from tracer.errors import NstraceError
from tracer.interrupt import Interrupted
from tracer.system.forking import fork
from tracer.text.escape import safe_text

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 60.0
PATIENCE_S = 10.0  # how long an orderly end may take
_IS_WELL_S = 60.0  # who has run for so long begins with the first pause again
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


class Child:
    """name: for people. work: what it does, in a process of its own; gives the exit code. It ends by SIGTERM.

    pidfd: readable when it has ended; None: it does not run. exit_code: of its last end; negative: a signal.
    has_failed: it has ended, and nobody had asked it to.
    """

    def __init__(self, name: str, work: Callable[[], int]) -> None:
        self.name, self._work = name, work
        self.pid, self.pidfd = 0, None  # type: int, int | None
        self.exit_code: int | None = None
        self.has_failed = self._is_asked = False
        self._pause_s = _FIRST_PAUSE_S
        self._began_s = self.due_s = 0.0

    @property
    def runs(self) -> bool:
        """Whether it runs."""
        return self.pidfd is not None

    @property
    def ran_s(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self._began_s

    def start(self) -> None:
        """Start it. No thread of ours may run."""
        self._began_s, self.has_failed, self._is_asked = time.monotonic(), False, False
        sys.stdout.flush()
        self.pid = fork()
        if self.pid == 0:
            _run(self._work)
        self.pidfd = os.pidfd_open(self.pid)

    def signal(self, number: int) -> None:
        """Send it a signal, where it runs."""
        self._is_asked = self._is_asked or number == signal.SIGTERM
        if self.pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def reap(self) -> None:
        """Note its end, for which this waits. due_s: when it is to be started again (time.monotonic)."""
        if self.pidfd is None:
            return
        _pid, status = os.waitpid(self.pid, 0)
        self.exit_code, self.has_failed = os.waitstatus_to_exitcode(status), not self._is_asked
        os.close(self.pidfd)
        self.pidfd = None
        if self.ran_s >= _IS_WELL_S:
            self._pause_s = _FIRST_PAUSE_S
        self.due_s, self._pause_s = time.monotonic() + self._pause_s, min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends within this time, for which this waits. It has to be reaped then."""
        return self.pidfd is not None and bool(select.select([self.pidfd], [], [], max(0.0, seconds))[0])

    def finish(self, within_s: float, say: Callable[[str], None]) -> None:
        """Wait for its end, and not for ever."""
        if self.runs and not self.ends_within(within_s):
            say(f"the {self.name} does not end: it is killed")
            self.signal(signal.SIGKILL)
        self.reap()

    def hurry(self) -> None:
        """Start it again without a pause, and begin with the first one the next time."""
        self.due_s, self._pause_s = 0.0, _FIRST_PAUSE_S


def _run(work: Callable[[], int]) -> NoReturn:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        code = work()
    except NstraceError as error:
        print(f"nstrace: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        code = int(error.exit_code)
    except KeyboardInterrupt as error:
        code = error.exit_code if isinstance(error, Interrupted) else 130
    except BaseException as error:
        print(safe_text(f"nstrace: unexpected {type(error).__name__}: {error}"), file=sys.stderr)
        if os.environ.get("NSTRACE_DEBUG"):
            traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)
