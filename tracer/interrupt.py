"""What Ctrl-C does before and after a command's own work: no traceback, whatever it interrupts.

Imports nothing that Python has not imported itself: these are the first of our lines to run. A KeyboardInterrupt during
an import is a traceback, turns into an ImportError, or is swallowed; so it is not raised there.
"""

import os
from _signal import SIG_IGN, SIGINT, default_int_handler, getsignal, signal  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType


def begin() -> None:
    """From now on Ctrl-C ends the process at once, unless it was started to ignore it: there is nothing to clean up."""
    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, _leave)


def work() -> None:
    """From now on Ctrl-C is a KeyboardInterrupt, except during imports."""
    if getsignal(SIGINT) in (default_int_handler, _leave):
        signal(SIGINT, _interrupt)


def end() -> None:
    """From now on Ctrl-C changes nothing: all is done, and Python shuts down."""
    signal(SIGINT, SIG_IGN)


def leave_while_importing(number: int, frame: "FrameType | None") -> None:
    """In a signal handler: end at once where the signal has interrupted an import, since nothing is half done then, or
    something that is being finalized, where Python prints an exception and goes on. frame: what was interrupted."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib") or code.co_name == "__del__" or _is_finalizer(code):
            _leave(number, frame)
        frame = frame.f_back


def _is_finalizer(code: "CodeType") -> bool:
    return code.co_filename.endswith("/weakref.py") and code.co_name in ("__call__", "_exitfunc")


def _leave(number: int, _frame: "FrameType | None") -> None:
    os._exit(128 + number)


def _interrupt(number: int, frame: "FrameType | None") -> None:
    leave_while_importing(number, frame)
    raise KeyboardInterrupt
