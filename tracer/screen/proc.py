"""States of living processes, from /proc/PID/stat, which everybody may read (proc_pid_stat(5)). A process without
privileges looks, so what cannot be read is not known."""

from __future__ import annotations

import os
from collections.abc import Iterable

from tracer.screen.model import Proc

_STATE, _PARENT, _START = 0, 1, 19  # among the fields behind the name
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def look_at(proc: Proc) -> None:
    """Note its state, and who has to reap it. State " ": it is not there, or cannot be read."""
    proc.state = " "
    try:
        with open(f"/proc/{proc.pids[0]}/stat", "rb") as file:  # noqa: PTH123 - many a second
            fields = file.read().rpartition(b")")[2].split()
        if int(fields[_START]) == proc.key[1] // _TICK_NS:
            proc.state, proc.reaper = fields[_STATE].decode("ascii"), int(fields[_PARENT])
    except (OSError, IndexError, ValueError):
        pass


def set_states(procs: Iterable[Proc]) -> None:
    """Note the states of these processes."""
    for proc in procs:
        if proc.gone_s is None:
            look_at(proc)


def is_unreaped(proc: Proc) -> bool:
    """Whether it has ended, and its parent has not reaped it."""
    look_at(proc)
    return proc.state == "Z"
