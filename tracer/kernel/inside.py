"""The view from inside a PID namespace, paired with the host's by the kernel alone.

A child of ours in the namespace mounts its /proc, and for every number that it finds there sends a message with that
number as its credentials, which CAP_SYS_ADMIN allows (SCM_CREDENTIALS, unix(7)). The kernel looks the number up in the
sender's namespace (scm_check_creds, net/core/scm.c) and hands it to the receiver as the receiver's namespace has it.
No /proc of the host, no ioctl and no eBPF has a part in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from tracer.errors import ExitCode, NstraceError
from tracer.kernel.namespaces import CLONE_NEWPID, children_elsewhere, mount_own_proc
from tracer.libc import call

_DEADLINE_S = 10.0
_UCRED = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_NUMBER = struct.Struct("=i")
_DONE = 0
_PR_SET_DUMPABLE = 4


def numbers_inside(pidns_fd: int) -> dict[int, int]:
    """The PID on the host -> the number inside, of all processes that are seen inside. Raises NstraceError where the
    namespace cannot be entered, ProcessLookupError where it has ended."""
    receiving, sending = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with receiving, sending:
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        receiving.settimeout(_DEADLINE_S)
        child = _fork_into(pidns_fd, sending)
        try:
            sending.close()
            return _collect(receiving)
        except TimeoutError as error:
            raise _refused("whoever looked from inside did not answer in time") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _fork_into(pidns_fd: int, sending: socket.socket) -> int:
    try:
        with children_elsewhere(), _not_to_be_looked_into():
            call("setns", pidns_fd, CLONE_NEWPID)
            child = os.fork()
            if child == 0:
                _look_around(sending)
            return child
    except OSError as error:
        if error.errno == errno.ENOMEM:  # the namespace's first process has exited (pid_namespaces(7))
            raise ProcessLookupError from error
        raise _refused(error.strerror or "") from error


@contextlib.contextmanager
def _not_to_be_looked_into() -> Iterator[None]:
    """Whoever is inside may not trace us, nor a child that is forked meanwhile (ptrace(2), "dumpable")."""
    call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    try:
        yield
    finally:
        call("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)


def _look_around(sending: socket.socket) -> None:
    """In the child, which must not return."""
    try:
        mount_own_proc()
        own = os.getpid()
        for name in (path.name for path in Path("/proc").iterdir()):
            if name.isdigit() and int(name) != own:
                _send_as(sending, int(name))
        sending.send(_NUMBER.pack(_DONE))
    except OSError as error:
        sending.send(_NUMBER.pack(-(error.errno or errno.EIO)))
    finally:
        os._exit(0)


def _send_as(sending: socket.socket, nr: int) -> None:
    credentials = _UCRED.pack(nr, os.getuid(), os.getgid())
    with contextlib.suppress(ProcessLookupError):  # has ended
        sending.sendmsg([_NUMBER.pack(nr)], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)])


def _collect(receiving: socket.socket) -> dict[int, int]:
    found: dict[int, int] = {}
    while True:
        message, extra, _, _ = receiving.recvmsg(_NUMBER.size, socket.CMSG_SPACE(_UCRED.size))
        if not message:
            raise _refused("whoever looked from inside ended before it was done")
        nr: int = _NUMBER.unpack(message)[0]
        if nr == _DONE:
            return found
        if nr < 0:
            raise _refused(os.strerror(-nr))
        for _, kind, data in extra:
            if kind == socket.SCM_CREDENTIALS and (tgid := _UCRED.unpack(data)[0]):  # 0: it has ended since
                found[tgid] = nr


def _refused(why: str) -> NstraceError:
    return NstraceError(f"a PID namespace cannot be entered: {why}", "run it with sudo", ExitCode.NOT_PERMITTED)
