"""What living processes are now, from /proc/PID/stat and status, which everybody may read (proc_pid_stat(5)): their
states, users and names. A process without privileges looks, so what cannot be read is not known."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from tracer.screen.model import Proc
from tracer.system.thread_states import may_run, running_state

_STATE, _PARENT, _START = 0, 1, 19  # among the fields behind the name
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def look_at(proc: Proc) -> None:
    """Note its state, its name, which it may set itself, and who has to reap it. State " ": it is not there, or cannot
    be read."""
    proc.state = " "
    try:
        before, _bracket, behind = _read(proc, "stat").rpartition(b")")
        fields = behind.split()
        if int(fields[_START]) == proc.key[1] // _TICK_NS:
            state = _running_state(proc) if may_run(fields) else None
            proc.state, proc.reaper = state or fields[_STATE].decode("ascii"), int(fields[_PARENT])
            proc.comm = before.partition(b"(")[2]
    except (OSError, IndexError, ValueError):
        pass


def _running_state(proc: Proc) -> str | None:
    directory = os.open(f"/proc/{proc.pids[0]}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return running_state(directory)
    finally:
        os.close(directory)


def set_states(procs: Iterable[Proc]) -> None:
    """Note the states of these processes, and their users: setuid(2) is no event."""
    for proc in procs:
        if proc.ended_ns is None:
            look_at(proc)
            if proc.state.strip():
                _look_at_user(proc)


def _look_at_user(proc: Proc) -> None:
    with suppress(OSError, IndexError, ValueError):
        proc.uid = int(_read(proc, "status").partition(b"\nUid:")[2].split(maxsplit=1)[0])


def is_unreaped(proc: Proc) -> bool:
    """Whether it has ended, and its parent has not reaped it."""
    look_at(proc)
    return proc.state == "Z"


def _read(proc: Proc, name: str) -> bytes:
    with open(f"/proc/{proc.pids[0]}/{name}", "rb") as file:  # noqa: PTH123 - many a second
        return file.read()
