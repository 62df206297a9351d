"""Whether a process exists, by pidfd_open(2): the kernel's answer without /proc."""

from __future__ import annotations

import os


def has_process(tgid: int) -> bool:
    """Whether a process has this PID, as a zombie or alive; a thread's number does not count."""
    try:
        os.close(os.pidfd_open(tgid))
    except OSError:
        return False
    return True
