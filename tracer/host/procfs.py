"""The only reader of /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from tracer.errors import ExitCode, NstraceError
from tracer.stream.pidns import INITIAL_PIDNS, Chain, Number, PidnsId, ProcId
from tracer.system import cgroup_hierarchy
from tracer.system.privileges import more_rights
from tracer.system.thread_states import ZOMBIE, may_run, running_state

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_CHUNK_BYTES = 1 << 16
MAX_ARGS_BYTES = 4096
"""How much is read of a process's arguments where all processes are read: as much as events have by default."""

SpacesOf = Callable[[int], tuple[PidnsId, ...]]
"""Descriptor of a PID namespace -> that namespace and all around it, outermost (below the initial one) first."""


def start_ticks(tgid: int) -> int | None:
    """When the process began, in clock ticks since boot (proc(5), stat field 22); None: there is no such process."""
    try:
        stat = Path(f"/proc/{tgid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def hides_others() -> bool:
    """Whether /proc is mounted so that processes of other users cannot be seen (hidepid, proc(5)): number 1 is always
    there."""
    return not os.path.exists("/proc/1/stat")  # noqa: PTH110 - with hidepid=1 it may not be looked up


def pidns_inum(tgid: int) -> int:
    """Inode number of the PID namespace that the process is in. Raises NstraceError where there is no such process."""
    try:
        return Path(f"/proc/{tgid}/ns/pid").stat().st_ino
    except PermissionError as error:
        raise NstraceError(
            f"the namespaces of process {tgid} cannot be read", more_rights("CAP_SYS_PTRACE"), ExitCode.NOT_PERMITTED
        ) from error
    except OSError as error:
        raise NstraceError(
            f"there is no process {tgid}", "ps -e lists the host's processes", ExitCode.NO_TARGET
        ) from error


@dataclass(frozen=True, slots=True)
class LivingProcess:
    """What /proc reports of one process that has not been reaped; all of it is of this very process.

    proc_id: start_ns is cut to a clock tick, as in /proc. numbers: its PIDs, outermost first, the host's included;
    chain: the same with their namespaces, None where those cannot be read. parent_tgid: 0 where there is none. args:
    NUL-ended, the first MAX_ARGS_BYTES; args_truncated: there are more. exe: b"" where there is none or it cannot be
    read. state: proc(5), Z is a zombie; where the main thread has ended, of one that runs. cgroups: its different
    paths, that of the hierarchy which distinguishes containers first; () where none can be read. uid: the real one, in
    the initial user namespace.
    """

    proc_id: ProcId
    numbers: tuple[int, ...]
    chain: Chain | None
    parent_tgid: int
    comm: bytes
    exe: bytes
    args: bytes
    args_truncated: bool
    state: str
    uid: int
    cgroups: tuple[str, ...]

    @property
    def tgid(self) -> int:
        """Its PID on the host."""
        return self.proc_id.tgid

    @property
    def cgroup(self) -> str:
        """The path that shows its container (tracer.system.cgroup_hierarchy)."""
        return self.cgroups[0] if self.cgroups else ""

    @property
    def level(self) -> int:
        """The nesting depth of its innermost namespace; the host's is 0."""
        return len(self.numbers) - 1

    @property
    def is_zombie(self) -> bool:
        """Whether it has exited and keeps its numbers until its parent reaps it."""
        return self.state in ZOMBIE


def living(nr: int, spaces_of: SpacesOf) -> LivingProcess | None:
    """The process of this PID or thread number on the host; None: there is none."""
    try:
        with opened_process(nr) as directory:
            found = read_process(directory, spaces_of)
        if found.tgid == nr:
            return found
        process = living(found.tgid, spaces_of)
        return process if has_thread(found.tgid, 0, nr) else None
    except (FileNotFoundError, ProcessLookupError):
        return None


def thread_numbers(directory: int) -> tuple[int, ...]:
    """The numbers of the thread (or process) of this directory, outermost first. Raises OSError where it has exited."""
    return _numbers(contents(directory, "status"), b"NSpid")


def has_thread(tgid: int, level: int, nr: int) -> bool:
    """Whether a thread of the process has this number in the process's namespace at this level."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), opened_process(tgid) as directory:
        for tid in os.listdir(f"/proc/{tgid}/task"):  # noqa: PTH208
            numbers = _numbers(contents(directory, f"task/{tid}/status"), b"NSpid")
            if level < len(numbers) and numbers[level] == nr:
                return True
    return False


def is_ours_to_see(tgid: int) -> bool:
    """Whether the process's namespaces can be read (ptrace(2), PTRACE_MODE_READ)."""
    try:
        os.readlink(f"/proc/{tgid}/ns/pid")  # noqa: PTH115 - a third of the time
    except PermissionError:
        return False
    except OSError:
        return True  # has ended
    return True


@contextlib.contextmanager
def opened_pidns(tgid: int) -> Iterator[int]:
    """A descriptor of the PID namespace that a process is in. Raises OSError where it cannot be opened."""
    fd = os.open(f"/proc/{tgid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def processes(spaces_of: SpacesOf) -> Iterator[LivingProcess]:
    """All processes of the host, each read whole in its turn; those that end meanwhile are left out."""
    for tgid in tgids():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), opened_process(tgid) as directory:
            yield read_process(directory, spaces_of)


def tgids() -> list[int]:
    """The PIDs of all processes, in ascending order."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - a tenth of the time


def cgroups_in_use() -> set[str]:
    """The paths of the cgroups that processes are in, of the hierarchy that counts."""
    found = set()
    for tgid in tgids():
        with contextlib.suppress(OSError), opened_process(tgid) as directory:
            paths = cgroup_hierarchy.paths(os.fsdecode(contents(directory, "cgroup")), cgroup_hierarchy.controller())
            found |= set(paths[:1])
    return found


def inits() -> dict[int, tuple[int, int]]:
    """Every nested PID namespace by its inode number, with its first process: tgid and start in ticks."""
    found = {}
    for tgid in tgids():
        with contextlib.suppress(OSError), opened_process(tgid) as directory:
            numbers = _numbers(contents(directory, "status"), b"NStgid")
            if len(numbers) > 1 and numbers[-1] == 1:
                inum = os.stat("ns/pid", dir_fd=directory).st_ino
                found[inum] = (tgid, int(stat_fields(directory)[1][19]))
    return found


def open_process(nr: int) -> int:
    """A descriptor of the directory of a process or thread. It refers to this one alone: after its end every read
    fails, even if its number is reused (proc_pid_make_inode, fs/proc/base.c). Raises OSError where there is none, or
    none that we may see (hidepid=1, proc(5))."""
    try:
        return os.open(f"/proc/{nr}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError as error:
        raise FileNotFoundError(*error.args) from error


def is_there(directory: int) -> bool:
    """Whether the process or thread of this directory has not been reaped yet."""
    try:
        os.stat("stat", dir_fd=directory)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return True


@contextlib.contextmanager
def opened_process(nr: int) -> Iterator[int]:
    """As open_process, closed at the end of the context."""
    directory = open_process(nr)
    try:
        yield directory
    finally:
        os.close(directory)


class Contents(NamedTuple):
    """What the kernel writes of a process, as it is: some files of its directory, and where the link exe points to."""

    stat: bytes
    status: bytes
    cmdline: bytes
    exe: bytes
    cgroup: bytes


def read_contents(directory: int, max_args_bytes: int = MAX_ARGS_BYTES + 1) -> Contents:
    """What is in this directory of a process. Raises OSError where it has exited."""
    return Contents(
        stat=contents(directory, "stat"),
        status=contents(directory, "status"),
        cmdline=beginning(directory, "cmdline", max_args_bytes),
        exe=link(directory, "exe"),
        cgroup=contents(directory, "cgroup"),
    )


def read_process(directory: int, spaces_of: SpacesOf) -> LivingProcess:
    """The process of this directory; for a thread's directory its process, with the start of the thread. Raises OSError
    where it has exited."""
    found = read_contents(directory)
    process = process_of(found, _chain(directory, _numbers(found.status, b"NStgid"), spaces_of))
    state = running_state(directory) if may_run(parse_stat(found.stat)[1]) else None
    return replace(process, state=state) if state else process


def process_of(found: Contents, chain: Chain | None) -> LivingProcess:
    """The process that has these contents. chain: its PIDs with their namespaces."""
    comm, fields = parse_stat(found.stat)
    numbers = _numbers(found.status, b"NStgid")
    return LivingProcess(
        proc_id=ProcId(numbers[0], int(fields[19]) * TICK_NS),
        numbers=numbers,
        chain=chain,
        parent_tgid=int(fields[1]),
        comm=comm,
        exe=found.exe,
        args=found.cmdline[:MAX_ARGS_BYTES],
        args_truncated=len(found.cmdline) > MAX_ARGS_BYTES,
        state=fields[0].decode(),
        uid=int(status_field(found.status, b"Uid").split()[0]),
        cgroups=cgroup_hierarchy.paths(os.fsdecode(found.cgroup), cgroup_hierarchy.controller()),
    )


def stat_fields(directory: int) -> tuple[bytes, list[bytes]]:
    """As `parse_stat`, of the process of this directory."""
    return parse_stat(contents(directory, "stat"))


def parse_stat(stat: bytes) -> tuple[bytes, list[bytes]]:
    """From /proc/PID/stat the command name, which may hold any bytes, and the fields behind it."""
    comm, _, rest = stat[stat.index(b"(") + 1 :].rpartition(b") ")
    return comm, rest.split()


def contents(directory: int, name: str) -> bytes:
    """A file of a process that the kernel writes, whole; b"" where it cannot be read."""
    with _opened_file(directory, name) as fd:
        if fd is None:
            return b""
        parts = [os.read(fd, _CHUNK_BYTES)]
        while len(parts[-1]) == _CHUNK_BYTES:
            parts.append(os.read(fd, _CHUNK_BYTES))
        return b"".join(parts)


def beginning(directory: int, name: str, max_bytes: int) -> bytes:
    """The first bytes of a process's own memory in /proc, which it may make as long as it likes (PR_SET_MM_MAP,
    prctl(2)): cmdline or environ, of which one read(2) gives as much as there is. b"" where it cannot be read."""
    with _opened_file(directory, name) as fd:
        return b"" if fd is None else os.read(fd, max_bytes)


@contextlib.contextmanager
def _opened_file(directory: int, name: str) -> Iterator[int | None]:
    """A descriptor of a file of a process; None: it is not ours to read."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except PermissionError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _numbers(status: bytes, name: bytes) -> tuple[int, ...]:
    """The numbers in a line of status, outermost first: NSpid, of a thread, or NStgid, of its process."""
    return tuple(map(int, status_field(status, name).split()))


def status_field(status: bytes, name: bytes) -> bytes:
    """The value behind a name in /proc/PID/status; a newline in a command name is escaped there."""
    start = status.index(b"\n" + name + b":\t") + len(name) + 3
    return status[start : status.index(b"\n", start)]


def link(directory: int, name: str) -> bytes:
    """What a link of a process points to, b"" where there is none or it cannot be read."""
    try:
        return os.readlink(os.fsencode(name), dir_fd=directory)
    except (PermissionError, FileNotFoundError):
        return b""


def _chain(directory: int, numbers: tuple[int, ...], spaces_of: SpacesOf) -> Chain | None:
    if len(numbers) == 1:
        return (Number(INITIAL_PIDNS, numbers[0]),)
    try:
        fd = os.open("ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except PermissionError:
        return None
    try:
        spaces = (INITIAL_PIDNS, *spaces_of(fd))
    finally:
        os.close(fd)
    return tuple(map(Number, spaces, numbers))
