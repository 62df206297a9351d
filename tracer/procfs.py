"""The only reader of /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from tracer.errors import ExitCode, NstraceError

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Command(NamedTuple):
    """What a process runs: its executable's path, and its arguments as the kernel keeps them, NUL-ended."""

    exe: bytes
    args: bytes


def start_ticks(tgid: int) -> int | None:
    """When the process began, in clock ticks since boot (proc(5), stat field 22); None: there is no such process."""
    try:
        stat = Path(f"/proc/{tgid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def command(tgid: int, start_ns: int, max_args_bytes: int) -> Command:
    """What this very process runs; empty where it has gone, or its number has another owner now."""
    try:
        exe = os.fsencode(Path(f"/proc/{tgid}/exe").readlink())
    except OSError:
        exe = b""  # a kernel thread, or not ours to see
    try:
        with Path(f"/proc/{tgid}/cmdline").open("rb") as file:
            args = file.read(max_args_bytes)
    except OSError:
        args = b""
    # /proc counts in ticks: truncate ours before comparing
    return Command(exe, args) if start_ticks(tgid) == start_ns // _TICK_NS else Command(b"", b"")


def pidns_inum(tgid: int) -> int:
    """Inode number of the PID namespace that the process is in. Raises NstraceError where there is no such process."""
    try:
        return Path(f"/proc/{tgid}/ns/pid").stat().st_ino
    except PermissionError as error:
        raise NstraceError(
            f"the namespaces of process {tgid} cannot be read", "run it with sudo", ExitCode.NOT_PERMITTED
        ) from error
    except OSError as error:
        raise NstraceError(
            f"there is no process {tgid}", "ps -e lists the host's processes", ExitCode.NO_TARGET
        ) from error
