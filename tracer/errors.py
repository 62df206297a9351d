"""The one exception that a user sees: what is wrong, how to fix it, and the exit code. Only cli.py prints it."""

from __future__ import annotations

import errno
import os
from enum import IntEnum

from tracer.text.escape import safe_text


class ExitCode(IntEnum):
    """Exit codes of the nstrace command."""

    FAILURE = 1
    USAGE = 2
    NO_TARGET = 3
    NOT_PERMITTED = 4  # or the kernel lacks something
    EVENTS_LOST = 5  # under --require-complete


class NstraceError(Exception):
    """Something that the user can act on.

    message: one line, what is wrong. hint: one line, how to fix it, or "". Names of files and containers in them may
    hold anything: here both become safe to print, whoever prints them. detail: what only --debug prints.
    """

    def __init__(self, message: str, hint: str = "", exit_code: ExitCode = ExitCode.FAILURE, detail: str = "") -> None:
        self.message, self.hint = safe_text(message), safe_text(hint)
        super().__init__(self.message)
        self.exit_code = exit_code
        self.detail = detail


def unwritable(error: OSError) -> NstraceError | None:
    """The error to print where an output could not be written for lack of room, or since the disk has failed; None:
    it is another error, or one of a file that is named."""
    if error.filename or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        return None
    hint = "the disk may be failing" if error.errno == errno.EIO else "free some space, or write to another place"
    return NstraceError(f"the output cannot be written: {os.strerror(error.errno)}", hint)


def lacking(error: OSError) -> NstraceError | None:
    """The error to print where the system lacks what every command needs: /proc, or room for descriptors; None: it is
    another error."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return NstraceError("too many files are open", "raise the limit: ulimit -n 1024")
    if error.errno == errno.ENOENT and str(error.filename).startswith("/proc/self"):
        return NstraceError("/proc is not mounted", "mount -t proc proc /proc")
    return None


class ReaderGone(Exception):
    """The reader of our output has closed it: a normal end. No OSError, because click makes exit code 1 of those."""


class ReaderStuck(ReaderGone):
    """The reader of our output does not read, and a signal has said not to wait any longer."""
