"""The truth that the tests hold nstrace against, from the kernel and without nstrace.

A process in a container sends its own getpid() over a bind-mounted AF_UNIX socket, and the kernel adds the sender's
PID as the receiver sees it (SCM_CREDENTIALS, unix(7)): a pair that no one here computed. workload.c makes such
processes, and others whose ends are known, and counts them in a ledger.
"""

import contextlib
import json
import socket
import struct
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

WORKLOAD_SOURCE = Path(__file__).with_name("workload.c")
WORKLOAD = "/workload"  # where the fixtures put it in a container
SOCKET = "/oracle/sock"
DEADLINE_S = 30.0

_REPORT = struct.Struct("=IIIIQ")  # struct report in workload.c
_UCRED = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_ANSWER = b"!"


def nspid(tgid: int) -> list[int]:
    """A process's PIDs in all its namespaces, outermost first: `NSpid:` in /proc/PID/status; [] when it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{tgid}/status").read_text(errors="replace").splitlines():
            if line.startswith("NSpid:"):
                return [int(number) for number in line.split()[1:]]
    return []


def pidns_inum(tgid: int) -> int | None:
    """The inode number of the PID namespace that a process is in; None when it is gone."""
    try:
        return int(Path(f"/proc/{tgid}/ns/pid").readlink().name.strip("pid:[]"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def hierarchies() -> list[Path]:
    """Where cgroups can be made: the mount of each hierarchy, version 2 first."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    found = [(kind != "cgroup2", place) for place, kind in mounts if kind in ("cgroup", "cgroup2")]
    return [Path(place) for _is_old, place in sorted(found)]


def pids_hierarchy() -> Path:
    """The mounted hierarchy of cgroups that names containers: version 1's of the pids controller, else version 2."""
    v1 = Path("/sys/fs/cgroup/pids")
    return v1 if (v1 / "cgroup.procs").exists() else v1.parent


def compile_static(source: Path, folder: Path) -> Path:
    """A C file as a static program in this folder."""
    program = folder / source.stem
    subprocess.run(["gcc", "-std=gnu17", "-static", "-O2", "-Wall", "-pthread", source, "-o", program], check=True)
    return program


@dataclass(frozen=True)
class Ledger:
    """What a workload did, by its own count. `exits` and `signals`: how many children ended with each."""

    vtgid: int
    forks: int
    execs: int
    exits: dict[int, int]
    signals: dict[int, int]

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """A ledger from the line that the workload printed."""
        counts = json.loads(text)
        for name in ("exits", "signals"):
            counts[name] = {int(key): count for key, count in counts[name].items()}
        return cls(**counts)


@dataclass(frozen=True)
class Pair:
    """One process: as the host knows it and as it knows itself.

    `nspid` and `pidns`: what /proc said of it while it waited for its answer; () and None for one that does not wait.
    """

    host_tgid: int
    ns_pid: int
    ns_ppid: int
    index: int
    boottime_ns: int
    nspid: tuple[int, ...]
    pidns: int | None


class Receiver:
    """Collects the reports of processes on a socket in a directory of its own, to be bind-mounted into a container.

    With hold=True processes that wait get their answer, and end, only after release(): until then all are alive.
    """

    def __init__(self, hold: bool = False) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="nstrace-oracle-")
        self.directory = Path(self._directory.name)
        self.path = self.directory / "sock"
        self._pairs: list[Pair] = []
        self._changed = threading.Condition()
        self._held: list[socket.socket] | None = [] if hold else None
        self._error: Exception | None = None
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self.directory.chmod(0o755)
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # accepted ones inherit it
        self._listening.bind(str(self.path))
        self.path.chmod(0o666)
        self._listening.listen(4096)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._thread.join()
        self._listening.close()
        self.release()
        self._directory.cleanup()

    @property
    def pairs(self) -> list[Pair]:
        """The pairs so far, in the order of their arrival."""
        with self._changed:
            return list(self._pairs)

    def wait(self, count: int, deadline_s: float = DEADLINE_S) -> list[Pair]:
        """The pairs, as soon as there are `count`; TimeoutError after the deadline."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._pairs) >= count or self._error, deadline_s)
            if self._error:
                raise self._error
            if len(self._pairs) < count:
                raise TimeoutError(f"{len(self._pairs)} of {count} pairs after {deadline_s} s")
            return list(self._pairs)

    def hold(self) -> None:
        """From now on let those who wait wait until release()."""
        with self._changed:
            self._held = self._held or []

    def release(self) -> None:
        """Answer all who wait, and from now on at once."""
        with self._changed:
            held, self._held = self._held or [], None
        for connection in held:
            self._answer(connection)

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # shut down
                return
            try:
                self._receive(connection)
            except Exception as error:  # goes to who waits; a thread that dies would leave them waiting
                connection.close()
                with self._changed:
                    self._error = error
                    self._changed.notify_all()

    def _receive(self, connection: socket.socket) -> None:
        connection.settimeout(DEADLINE_S)
        report, extra, _, _ = connection.recvmsg(_REPORT.size, socket.CMSG_SPACE(_UCRED.size))
        if not report:  # who connected went away without a word
            connection.close()
            return
        host_tgid = next(_UCRED.unpack(data)[0] for _, kind, data in extra if kind == socket.SCM_CREDENTIALS)
        ns_pid, ns_ppid, index, waits, boottime_ns = _REPORT.unpack(report)
        # The number of one that does not wait may be another's by now.
        pidns, chain = (pidns_inum(host_tgid), tuple(nspid(host_tgid))) if waits else (None, ())
        with self._changed:
            self._pairs.append(Pair(host_tgid, ns_pid, ns_ppid, index, boottime_ns, chain, pidns))
            self._changed.notify_all()
            if self._held is not None:
                self._held.append(connection)
                return
        self._answer(connection)

    @staticmethod
    def _answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send(_ANSWER)
