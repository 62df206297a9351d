"""Who ended a process, as text: what stands in INFO behind the signal."""

from __future__ import annotations

from tracer.stream.metadata import Killer
from tracer.text.escape import safe_text

_REASONS = {
    "oom": "out of memory",
    "pidns_ended": "with PID 1",
    "parent_ended": "with its parent",
    "parent_thread_ended": "with the thread of its parent that had forked it",
    "fault": "for a fault",
    "timer": "by a timer",
    "terminal": "by the terminal",
    "seccomp": "by seccomp",
    "cpu_limit": "at its CPU limit",
}


def killed_by(killer: Killer, tgid: int, is_short: bool = False) -> str:
    """Such as " by runc (4711)"; is_short: without the PID. tgid: of who was ended. Nothing where nobody is named."""
    if killer.kernel:
        return f" {_REASONS.get(killer.reason or '', 'by the kernel')}"
    if killer.pid is None:
        return ""
    if killer.pid == tgid:
        return " by itself"
    name = safe_text(killer.comm or "-")
    return f" by {name}" if is_short else f" by {name} ({killer.pid})"
