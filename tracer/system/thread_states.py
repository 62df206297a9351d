"""The state of a process whose main thread has ended while others run: /proc/PID/stat calls it a zombie all the same,
for it tells of the main thread (do_task_stat(), fs/proc/array.c)."""

from __future__ import annotations

import os

ZOMBIE = "ZX"  # proc_pid_stat(5): it has ended, and waits for its parent or for its last reference
_STATE, _THREADS = 0, 17  # among the fields behind the name


def may_run(fields: list[bytes]) -> bool:
    """Whether these fields of /proc/PID/stat, those behind the name, are of a main thread that has ended ahead of
    others."""
    return fields[_STATE].decode("ascii") in ZOMBIE and int(fields[_THREADS]) > 1


def running_state(process: int) -> str | None:
    """The state of a thread that runs, of the process of this directory (a descriptor); None: it is a zombie.
    Raises OSError where it has been reaped."""
    tasks = os.open("task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=process)
    try:
        states = (_state(tasks, thread) for thread in os.listdir(tasks))  # noqa: PTH208
        return next((state for state in states if state not in ZOMBIE), None)
    finally:
        os.close(tasks)


def _state(tasks: int, thread: str) -> str:
    """X: it has gone."""
    try:
        fd = os.open(f"{thread}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=tasks)
    except OSError:
        return "X"
    with os.fdopen(fd, "rb") as file:
        return file.read().rpartition(b")")[2].split()[_STATE].decode("ascii")
