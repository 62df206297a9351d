"""A command in a PID namespace of its own: unshare(2), a small init as its first process, /proc mounted anew."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tracer.errors import ExitCode, NstraceError
from tracer.kernel.namespaces import CLONE_NEWPID, children_elsewhere, close_own, mount_own_proc
from tracer.system.libc import call
from tracer.system.privileges import more_rights

_PR_SET_NAME = 15
_FORWARDED = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
_SI_USER = 0  # si_code of kill(2); above it are the kernel's (sigaction(2))
_INSISTENT, _WITHIN_S = 3, 2.0
NOT_FOUND, NOT_EXECUTABLE, FIRST_SIGNAL = 127, 126, 128  # as shells report them


class Newborn:
    """A namespace whose init waits for `go`. init: host PID of the init.

    The command is not number 1 itself: the kernel keeps signals without a handler from a namespace's first process
    (pid_namespaces(7)), so that Ctrl-C would not end it. init reaps, forwards signals and exits with its code.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        gate, self._gate = os.pipe2(os.O_CLOEXEC)
        self._terminal = _terminal()
        self._asked = deque[float](maxlen=_INSISTENT)
        self._is_killed = False
        try:
            with children_elsewhere(), _signals_blocked() as mask:
                call("unshare", CLONE_NEWPID)
                self.init = os.fork()
                if self.init == 0:
                    os.close(self._gate)
                    _be_init(gate, argv, mask)
        except OSError as error:
            raise NstraceError(
                f"cannot create a new PID namespace: {error.strerror}",
                more_rights("CAP_SYS_ADMIN"),
                ExitCode.NOT_PERMITTED,
            ) from error
        os.close(gate)
        self._pidfd = os.pidfd_open(self.init)
        self._sending: int | None = None
        self._orders = -1

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a process needs that signals the init for us."""
        return (self._pidfd,)

    def hand_over(self) -> Mapping[int, Callable[[], None]]:
        """Let another process signal the init from now on, which may do so. Returns what it does when this descriptor
        becomes readable."""
        self._orders, self._sending = os.pipe2(os.O_CLOEXEC)
        return {self._orders: self._obey}

    def handed_over(self) -> None:
        """The other process runs. Where it ends, a signal cannot be passed on, which shows if nobody else reads."""
        os.close(self._orders)

    def _obey(self) -> None:
        for number in os.read(self._orders, 1):
            self._signal(number)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def go(self) -> None:
        """Start the command."""
        os.write(self._gate, b".")
        os.close(self._gate)

    def take_signal(self, number: int) -> bool:
        """Pass a signal on to the command, except Ctrl-C, which the terminal sends it too. _INSISTENT signals within
        _WITHIN_S kill all processes in the namespace. False: the command cannot receive it: it has ended, or the
        process that may signal it has."""
        if self._is_killed or self._has_ended:
            return False
        self._asked.append(time.monotonic())
        if len(self._asked) == _INSISTENT and self._asked[-1] - self._asked[0] <= _WITHIN_S:
            self._is_killed = True
            number = signal.SIGKILL  # the end of a namespace's first process ends all of them
        elif number == signal.SIGINT and self._is_in_foreground:
            return True
        if self._sending is None:
            self._signal(number)
        else:
            try:
                os.write(self._sending, bytes([number]))
            except BrokenPipeError:  # who may do so has ended
                return False
        return True

    @property
    def _has_ended(self) -> bool:
        with contextlib.suppress(ChildProcessError):
            return os.waitid(os.P_PID, self.init, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return True  # and another process may have its number

    @property
    def _is_in_foreground(self) -> bool:
        """Whether the terminal, if there is one, sends its signals to us, and so to the processes that we start."""
        with contextlib.suppress(OSError):
            return self._terminal is not None and os.tcgetpgrp(self._terminal) == os.getpgrp()
        return False

    def wait(self) -> int:
        """Wait for the command. Its exit code; 128 + the signal's number where one ended it."""
        _pid, status = os.waitpid(self.init, 0)
        return _code_of(status)


def _terminal() -> int | None:
    """A descriptor of the terminal that controls us; None: there is none."""
    with contextlib.suppress(OSError):
        return os.open("/dev/tty", os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)  # what is typed is for the command
    return None


@contextlib.contextmanager
def _signals_blocked() -> Iterator[Iterable[int]]:
    """A context in which all signals are blocked, so that a child that is forked runs no handler of ours. Yields the
    earlier mask."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _code_of(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else FIRST_SIGNAL - code


def _be_init(gate: int, argv: Sequence[str], mask: Iterable[int]) -> None:
    code = int(ExitCode.FAILURE)
    try:
        close_own(gate)
        call("prctl", _PR_SET_NAME, b"nstrace-init", 0, 0, 0)
        mount_own_proc()
        may_begin = os.read(gate, 1)  # nothing: our parent has died
        os.close(gate)
        if may_begin:
            code = _run_and_reap(argv, mask)
    except OSError as error:
        print(f"nstrace: {error.strerror}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def _run_and_reap(argv: Sequence[str], mask: Iterable[int]) -> int:
    child = os.fork()
    if child == 0:
        _become(argv, mask)
    while True:
        found = signal.sigwaitinfo({signal.SIGCHLD, *_FORWARDED})
        if found.si_signo != signal.SIGCHLD:
            if found.si_code <= _SI_USER:  # the terminal has sent it to the command too
                os.kill(child, found.si_signo)
        elif (status := _reap(child)) is not None:
            return _code_of(status)


def _reap(child: int) -> int | None:
    """Reap all that have ended: SIGCHLD comes once for several. The status of this child, if it was among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                found = ended[1]
    return found


def _become(argv: Sequence[str], mask: Iterable[int]) -> None:
    code = NOT_EXECUTABLE
    try:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
            signal.signal(number, signal.SIG_DFL)
        for number in _FORWARDED:
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execvp(argv[0], list(argv))
    except FileNotFoundError:
        code = NOT_FOUND
        print(f"nstrace: there is no command {argv[0]!r}", file=sys.stderr, flush=True)
    except OSError as error:
        print(f"nstrace: {argv[0]!r} cannot be run: {error.strerror}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)
