"""A full memory barrier."""

from __future__ import annotations

import ctypes

from tracer.system import seccomp

_FUTEX_WAKE_PRIVATE = 129
_word = ctypes.c_uint32()
_syscall = ctypes.CDLL(None).syscall


def full_fence() -> None:
    """Order all our earlier stores before all our later loads, on every architecture. A system call alone does not
    (kernel/sched/membarrier.c); a futex's wake-up has a full barrier ahead of its look for waiters
    (futex_hb_waiters_pending(), kernel/futex/futex.h)."""
    _syscall(_FUTEX, ctypes.byref(_word), _FUTEX_WAKE_PRIVATE, 1)


_FUTEX = seccomp.number("futex")
