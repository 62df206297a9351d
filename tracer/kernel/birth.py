"""A command in a PID namespace of its own: unshare(2), a small init as its first process, /proc mounted anew."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from tracer.errors import ExitCode, NstraceError
from tracer.kernel.namespaces import CLONE_NEWPID, children_elsewhere, close_own, mount_own_proc
from tracer.libc import call

_PR_SET_NAME = 15
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
NOT_FOUND, NOT_EXECUTABLE, FIRST_SIGNAL = 127, 126, 128  # as shells report them


class Newborn:
    """A namespace whose init waits for `go`. init: its host PID.

    The command is not number 1 itself: the kernel keeps signals without a handler from a namespace's first process
    (pid_namespaces(7)), so that Ctrl-C would not end it. init reaps, forwards signals and exits with its code.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        gate, self._gate = os.pipe2(os.O_CLOEXEC)
        try:
            with children_elsewhere():
                call("unshare", CLONE_NEWPID)
                self.init = os.fork()
                if self.init == 0:
                    os.close(self._gate)
                    _be_init(gate, argv)
        except OSError as error:
            raise NstraceError(
                f"a new PID namespace is not to be had: {error.strerror}",
                "nstrace run needs root (CAP_SYS_ADMIN)",
                ExitCode.NOT_PERMITTED,
            ) from error
        os.close(gate)

    def go(self) -> None:
        """Let the command begin."""
        os.write(self._gate, b".")
        os.close(self._gate)

    def signal(self, number: int) -> None:
        """Pass a signal on to the command."""
        os.kill(self.init, number)

    def wait(self) -> int:
        """The command's exit code, 128 + the signal's number where one ended it."""
        _pid, status = os.waitpid(self.init, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else FIRST_SIGNAL - code


def _be_init(gate: int, argv: Sequence[str]) -> None:
    code = int(ExitCode.FAILURE)
    try:
        close_own(gate)
        call("prctl", _PR_SET_NAME, b"nstrace-init", 0, 0, 0)
        mount_own_proc()
        may_begin = os.read(gate, 1)  # nothing: our parent has died
        os.close(gate)
        if may_begin:
            code = _run_and_reap(argv)
    except OSError as error:
        print(f"nstrace: {error.strerror}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def _run_and_reap(argv: Sequence[str]) -> int:
    for number in _FROM_TERMINAL:
        signal.signal(number, signal.SIG_IGN)  # the terminal sends them to the command too
    signal.set_wakeup_fd(-1)
    child = os.fork()
    if child == 0:
        _become(argv)
    for number in _FORWARDED:
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else FIRST_SIGNAL - code


def _become(argv: Sequence[str]) -> None:
    code = NOT_EXECUTABLE
    try:
        for number in (*_FROM_TERMINAL, *_FORWARDED, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(argv[0], list(argv))
    except FileNotFoundError:
        code = NOT_FOUND
        print(f"nstrace: there is no command {argv[0]!r}", file=sys.stderr, flush=True)
    except OSError as error:
        print(f"nstrace: {argv[0]!r} cannot be run: {error.strerror}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)
