"""The processes that the self-check traces, and what the kernel reports of them in /proc."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TypeAlias

import msgspec

from tracer.kernel.namespaces import CLONE_NEWPID, children_elsewhere
from tracer.stream.batch import pad_args, split_args
from tracer.system.libc import call

KILLED_BY = "killed by"
"""The fact who has sent the signal that ended a process: its PIDs; none: no signal did."""
_ARGV = ["/bin/sh", "-c", "(read line); exit $?", "nstrace-self-check"]
_EXIT_CODE = 128 + signal.SIGKILL  # what a shell makes of its child's end
_DEADLINE_S = 30.0  # a process among many may have to wait long until it runs
_LOOK_S = 0.0005
_MAX_STARTS = 16

Facts: TypeAlias = dict[str, object]


class Subject:
    """A shell, and its child in a PID namespace of its own: they wait until they are ended."""

    def __init__(self, max_args_bytes: int) -> None:
        self._max_args_bytes = max_args_bytes
        self._shell: subprocess.Popen[bytes] | None = None
        self._inner = 0
        self._starts = 0

    def start(self, apart: bool) -> bytes:
        """Start them. Returns their facts, for `facts_of`. apart: the shell too is in a new PID namespace. Raises
        OSError: EBUSY where they are there already, or were too often."""
        self._starts += 1
        if self._shell or self._starts > _MAX_STARTS:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        with children_elsewhere() if apart else contextlib.nullcontext():
            if apart:
                call("unshare", CLONE_NEWPID)
            shell = self._shell = subprocess.Popen(
                _ARGV,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a shell says who was killed
                preexec_fn=_new_pidns,
            )
        try:
            self._inner = _only_child(shell.pid)
            outer, inner = (_facts_of_proc(pid, self._max_args_bytes) for pid in (shell.pid, self._inner))
            outer |= {"exit code": _EXIT_CODE, KILLED_BY: []}
            inner |= {"exit code": -signal.SIGKILL, KILLED_BY: _pids(_status_of("self"))}
            return msgspec.msgpack.encode({shell.pid: outer, self._inner: inner})
        except BaseException:
            self.end()
            raise

    def end(self) -> bytes:
        """Kill the inner one, which ends the shell, and wait for it."""
        if self._shell and self._inner:
            os.kill(self._inner, signal.SIGKILL)
        if self._shell:
            self._shell.communicate(b"\n")
        self._shell, self._inner = None, 0
        return b""


def facts_of(data: bytes) -> dict[int, Facts]:
    """What /proc reports of the shell and of its child, in this order, by PID."""
    return msgspec.msgpack.decode(data, type=dict[int, Facts])


def _new_pidns() -> None:
    """Put the child's child into a new PID namespace, where permitted (CAP_SYS_ADMIN), to check a nested chain too."""
    ctypes.CDLL(None).unshare(CLONE_NEWPID)


def _only_child(pid: int) -> int:
    """The PID of the one child of a process. Raises TimeoutError where there is none in time."""
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        if children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            return int(children[0])
        time.sleep(_LOOK_S)
    raise TimeoutError(errno.ETIMEDOUT, "it did not start")


def _facts_of_proc(pid: int, max_args_bytes: int) -> Facts:
    status = _status_of(pid)
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    fields = stat[stat.rindex(b")") + 2 :].split()
    return {
        "PIDs": _pids(status),
        "PID namespace": Path(f"/proc/{pid}/ns/pid").stat().st_ino,
        "parent": int(status["PPid"]),
        "uid": int(status["Uid"].split()[0]),
        "start time (ticks)": int(fields[19]),
        "command name": status["Name"].strip().encode(),
        "arguments": split_args(pad_args(map(str.encode, _ARGV))[:max_args_bytes]),
    }


def _status_of(pid: int | str) -> dict[str, str]:
    """/proc/PID/status, by name."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _pids(status: dict[str, str]) -> list[int]:
    return [int(nr) for nr in status["NSpid"].split()]
