"""What Ctrl-C does before and after a command's own work: no traceback, whatever it interrupts.

Imports nothing that Python has not imported itself: these are the first of our lines to run. A KeyboardInterrupt during
an import is a traceback, turns into an ImportError, or is swallowed; so it is not raised there. Elsewhere it may be
swallowed too, by C code that calls Python's and drops any exception: numpy does where it compares with a member of an
enum, whose class it asks for attributes. So it is raised again until it has arrived.
"""

import os
from _signal import (  # type: ignore[import-not-found]
    ITIMER_REAL,
    SIG_IGN,
    SIGALRM,
    SIGINT,
    default_int_handler,
    getsignal,
    setitimer,
    signal,
)
from _weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

_AGAIN_S = 0.1
_number = 0  # of the last signal
_on_its_way: "Callable[[], object] | None" = None  # what was raised last, as long as it exists


class Interrupted(KeyboardInterrupt):
    """A signal ends the command, where nothing needs an orderly end. exit_code: as a shell reports it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def begin() -> None:
    """From now on Ctrl-C ends the process at once, unless it was started to ignore it: there is nothing to clean up."""
    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, leave)


def work() -> None:
    """From now on Ctrl-C is a KeyboardInterrupt, except during imports."""
    if getsignal(SIGINT) in (default_int_handler, leave):
        signal(SIGINT, interrupt)


def end() -> None:
    """From now on Ctrl-C changes nothing: all is done, and Python shuts down."""
    signal(SIGINT, SIG_IGN)
    arrived()


def interrupt(number: int, frame: "FrameType | None") -> None:
    """A signal handler: raises Interrupted, and again as often as it is swallowed, until `arrived`."""
    leave_while_importing(number, frame)
    signal(SIGALRM, _again)
    setitimer(ITIMER_REAL, _AGAIN_S, _AGAIN_S)
    _raise(number)


def arrived() -> None:
    """Whoever catches Interrupted and goes on calls it, while it is being handled."""
    setitimer(ITIMER_REAL, 0)


def _again(_alarm: int, frame: "FrameType | None") -> None:
    if not (_on_its_way and _on_its_way()) and not _goes_nowhere(frame):
        _raise(_number)


def _raise(number: int) -> None:
    global _number, _on_its_way
    error = Interrupted(number)
    _number, _on_its_way = number, ref(error)
    try:
        raise error
    finally:
        del error  # else it refers to itself by this frame, and exists for longer than it is on its way


def leave_while_importing(number: int, frame: "FrameType | None") -> None:
    """In a signal handler: end at once where the signal has interrupted an import, since nothing is half done then, or
    something that is being finalized, where Python prints an exception and goes on. frame: what was interrupted."""
    if _goes_nowhere(frame):
        leave(number, frame)


def _goes_nowhere(frame: "FrameType | None") -> bool:
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib") or code.co_name == "__del__" or _is_finalizer(code):
            return True
        frame = frame.f_back
    return False


def _is_finalizer(code: "CodeType") -> bool:
    return code.co_filename.endswith("/weakref.py") and code.co_name in ("__call__", "_exitfunc")


def leave(number: int, _frame: "FrameType | None") -> None:
    """A signal handler: end at once."""
    os._exit(128 + number)
