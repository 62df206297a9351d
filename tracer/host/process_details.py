"""What inspect reads from /proc beyond what the look-up of a process reads. The second half of procfs."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace

from tracer.answers.census import Entry
from tracer.answers.inspection import Details
from tracer.host.proc_operations import Proc, joined, proc_operations, split
from tracer.host.procfs import (
    TICK_NS,
    LivingProcess,
    beginning,
    contents,
    link,
    opened_process,
    parse_stat,
    stat_fields,
    status_field,
)
from tracer.system.broker import Answer, Local, Operation, Operations, Privileged
from tracer.system.thread_states import may_run, running_state

_FIRST_OF_OTHERS = 0xF0000000
MAX_ARGS_BYTES = 1 << 17
"""How much is read of the arguments of one process: as much as the longest single argument has (execve(2))."""
MAX_ENVIRON_BYTES = 1 << 20
EnvironOf = Callable[[LivingProcess], bytes | None]
_NAMESPACES = (
    *("cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts"),
)  # namespaces(7)
_ENVIRON, _TGID = "proc.environ", struct.Struct("<I")


def details(process: LivingProcess, environ_of: EnvironOf | None = None) -> Details:
    """More of this very process. environ_of: reads its environment; None: it is left out. Raises ProcessLookupError
    where it has exited."""
    try:
        with opened_process(process.tgid) as directory:
            status = contents(directory, "status")
            environ = environ_of(process) if environ_of else b""
            uids = tuple(map(int, status_field(status, b"Uid").split()))
            found = Details(
                cwd=link(directory, "cwd"),
                root=link(directory, "root"),
                threads=int(status_field(status, b"Threads")),
                uids=uids,
                gids=tuple(map(int, status_field(status, b"Gid").split())),
                ns_uid=_mapped(uids[0], contents(directory, "uid_map")),
                namespaces=_namespaces(directory),
                environ=None if environ is None else environ[:MAX_ENVIRON_BYTES],
                environ_truncated=len(environ or b"") > MAX_ENVIRON_BYTES,
            )
            fields = stat_fields(directory)[1]
            began = int(fields[19]) * TICK_NS
            if may_run(fields):
                found = replace(found, main_has_ended=running_state(directory) is not None)
    except FileNotFoundError as error:
        raise ProcessLookupError from error
    if began != process.proc_id.start_ns:  # the number was reused before we opened the directory
        raise ProcessLookupError
    return found


def with_more_args(entry: Entry) -> Entry:
    """The entry of a living process, with more of its arguments where they were cut."""
    if not entry.args_truncated:
        return entry
    args = Proc(Local(proc_operations(MAX_ARGS_BYTES + 1))).commands([entry.proc_id], MAX_ARGS_BYTES + 1)[0].args
    if not args:  # it has exited meanwhile
        return entry
    return replace(entry, args=args[:MAX_ARGS_BYTES], args_truncated=len(args) > MAX_ARGS_BYTES)


def environ_operations() -> Operations:
    """The operation of `environ_by`, by name: /proc/PID/environ may be read by its owner alone."""
    return {_ENVIRON: Operation(_TGID.size, _environ)}


def environ_by(privileged: Privileged) -> EnvironOf:
    """A function that has this one read the environment of a process; None where it may not be read; b"" where it has
    none, or the number is another process's by now."""

    def environ_of(process: LivingProcess) -> bytes | None:
        try:
            stat, environ = split(privileged.ask(_ENVIRON, _TGID.pack(process.tgid)).data)
        except PermissionError:
            return None
        except OSError:
            return b""
        began = int(parse_stat(stat)[1][19]) * TICK_NS
        return environ if began == process.proc_id.start_ns else b""

    return environ_of


def _environ(request: bytes) -> Answer:
    with opened_process(*_TGID.unpack(request)) as directory:
        environ = b""
        with contextlib.suppress(ProcessLookupError):  # a zombie has no memory
            environ = beginning(directory, "environ", MAX_ENVIRON_BYTES + 1)
        stat = contents(directory, "stat")
    return Answer(joined((stat, environ)))


def shared_with_host(namespaces: Mapping[str, int]) -> frozenset[str]:
    """The names of those namespaces that are the host's: its first process is in them, or the kernel made them before
    any other (PROC_DYNAMIC_FIRST, include/linux/proc_ns.h)."""
    of_host: dict[str, int] = {}
    with contextlib.suppress(OSError), opened_process(1) as directory:
        of_host = _namespaces(directory)
    return frozenset(name for name, inum in namespaces.items() if inum < _FIRST_OF_OTHERS or of_host.get(name) == inum)


def _namespaces(directory: int) -> dict[str, int]:
    found = {}
    for name in _NAMESPACES:  # only its owner may list them
        with contextlib.suppress(OSError):
            found[name] = os.stat(f"ns/{name}", dir_fd=directory).st_ino
    return found


def _mapped(uid: int, uid_map: bytes) -> int | None:
    """A host uid in a user namespace: user_namespaces(7), lines of inside, outside, length; None: it has none there."""
    for line in uid_map.splitlines():
        inside, outside, length = map(int, line.split())
        if outside <= uid < outside + length:
            return inside + uid - outside
    return None
