"""What of /proc needs privileges, as operations of fixed sizes (tracer.system.broker), and those who ask for it.

The operations return what the kernel writes, as it is; whoever asks parses it.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tracer.host import procfs
from tracer.host.procfs import TICK_NS, Contents, LivingProcess
from tracer.system import cgroup_hierarchy
from tracer.system.broker import Answer, Operation, Operations, Privileged
from tracer.system.process_owner import runs_under

TGIDS, PROCESS, COMMANDS, CGROUP_ID = "proc.tgids", "proc.process", "proc.commands", "proc.cgroup_id"
RUNS_UNDER = "proc.runs_under"

MAX_ASKED = 64
_TGID = struct.Struct("<I")
_ASKED = struct.Struct(f"<II{MAX_ASKED * _TGID.size}s")  # how many, how many bytes of arguments, their PIDs
_LENGTH = struct.Struct("<I")  # of what follows
_CGROUP = struct.Struct("<Q")
_OWNED = struct.Struct("<II")  # the PID, and the user's number
PATH_MAX = 4096


class Command(NamedTuple):
    """What a process runs: the path of its executable, and its arguments as the kernel keeps them, NUL-ended."""

    exe: bytes
    args: bytes


_NOBODYS = Command(b"", b"")


def proc_operations(max_args_bytes: int) -> Operations:
    """By name. max_args_bytes: at most so much is read of the arguments of a process, which may make them as long as it
    likes."""
    return {
        TGIDS: Operation(0, lambda _request: Answer(struct.pack(f"<{len(found := procfs.tgids())}I", *found))),
        PROCESS: Operation(_TGID.size, _process),
        COMMANDS: Operation(_ASKED.size, lambda request: _commands(request, max_args_bytes)),
        CGROUP_ID: Operation(PATH_MAX, _cgroup_id),
        RUNS_UNDER: Operation(_OWNED.size, lambda request: Answer(bytes([runs_under(*_OWNED.unpack(request))]))),
    }


def _process(request: bytes) -> Answer:
    with procfs.opened_process(*_TGID.unpack(request)) as directory:
        parts = procfs.read_contents(directory)
    return Answer(joined(parts))


def _commands(request: bytes, most: int) -> Answer:
    count, asked, tgids = _ASKED.unpack(request)
    found: list[bytes] = []
    for (tgid,) in _TGID.iter_unpack(tgids[: min(count, MAX_ASKED) * _TGID.size]):
        parts = (b"", b"", b"")
        with contextlib.suppress(OSError), procfs.opened_process(tgid) as directory:
            exe, cmdline = procfs.link(directory, "exe"), procfs.beginning(directory, "cmdline", min(asked, most))
            parts = (procfs.contents(directory, "stat"), exe, cmdline)
        found += parts
    return Answer(joined(found))


def _cgroup_id(request: bytes) -> Answer:
    """The kernel's id of a cgroup is the inode number of its directory (kernfs_node.id, on 64-bit machines)."""
    root, path = cgroup_hierarchy.directory(), os.fsdecode(request.rstrip(b"\0"))
    if not root or not path.startswith("/") or ".." in path.split("/"):
        raise FileNotFoundError(2, "no such cgroup")
    return Answer(_CGROUP.pack(Path(f"{root}{path}").stat().st_ino))


class Proc:
    """What /proc reports, asked of who may read it."""

    def __init__(self, privileged: Privileged) -> None:
        self.privileged = privileged

    def tgids(self) -> list[int]:
        """The PIDs of all processes, in ascending order."""
        return [tgid for (tgid,) in _TGID.iter_unpack(self.privileged.ask(TGIDS).data)]

    def process(self, tgid: int) -> LivingProcess:
        """The process with this PID, without its namespaces. Raises OSError where there is none any more."""
        return procfs.process_of(Contents(*split(self.privileged.ask(PROCESS, _TGID.pack(tgid)).data)), None)

    def commands(self, processes: Sequence[tuple[int, int]], max_args_bytes: int) -> list[Command]:
        """What each of these very processes runs, given by PID and start (boottime, ns); empty where it has exited, or
        its number belongs to another process now."""
        found: list[Command] = []
        for at in range(0, len(processes), MAX_ASKED):
            part = processes[at : at + MAX_ASKED]
            tgids = b"".join(_TGID.pack(tgid) for tgid, _start_ns in part)
            answer = self.privileged.ask(COMMANDS, _ASKED.pack(len(part), max_args_bytes, tgids)).data
            files = split(answer)
            found += map(_command, files[0::3], files[1::3], files[2::3], (start_ns for _tgid, start_ns in part))
        return found

    def cgroup_id(self, path: str) -> int | None:
        """The kernel's id of the cgroup with this path; None: there is none any more, or none can be found."""
        encoded = os.fsencode(path)
        with contextlib.suppress(OSError):
            if len(encoded) < PATH_MAX:
                answer = self.privileged.ask(CGROUP_ID, encoded.ljust(PATH_MAX, b"\0"))
                return int(_CGROUP.unpack(answer.data)[0])
        return None

    def runs_under(self, tgid: int, uid: int) -> bool:
        """As `tracer.system.process_owner.runs_under`."""
        with contextlib.suppress(OSError):
            return self.privileged.ask(RUNS_UNDER, _OWNED.pack(tgid, uid)).data == b"\1"
        return False


def joined(parts: Iterable[bytes]) -> bytes:
    """The parts, each behind its length, for `split`."""
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def split(data: bytes) -> list[bytes]:
    """The parts that were `joined`."""
    parts, at = [], 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + length
        parts.append(data[at - length : at])
    return parts


def _command(stat: bytes, exe: bytes, args: bytes, start_ns: int) -> Command:
    # /proc counts in ticks: truncate ours before comparing
    is_it = stat and int(procfs.parse_stat(stat)[1][19]) == start_ns // TICK_NS
    return Command(exe, args) if is_it else _NOBODYS
