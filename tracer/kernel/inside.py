"""The view from inside a PID namespace, paired with the host's by the kernel alone.

A child of ours in the namespace checks for each number whether a process has it, by making that process the owner of an
open file (F_SETOWN, fcntl(2)): the kernel looks the number up in the child's namespace. We have the same file open, and
read who owns it (F_GETOWN): the kernel answers with the number of that very process in ours. This uses no /proc, no
ioctl and no eBPF.

The container may be hostile, and have CAP_SYS_PTRACE: then it can trace the child, read and write its memory, and open
what it has open and the directories that it is in. So the child is a program of its own (inside_child.py), which gave
up everything before it was born: it is a user that nobody else is, without capabilities, with no_new_privs and six
system calls; its root directory is empty and read-only, and only its namespaces of users and of time are the host's; it
has no memory of ours, and no descriptor except the socket that it answers on and the file. What a container can still
do is to stop it, to end it, or to make it answer wrongly: that costs this one answer, or makes it wrong, which is a
difference to all other sources.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import struct
import time
from typing import NoReturn, Self

from tracer.kernel import confined, inside_child
from tracer.kernel.namespaces import CLONE_NEWPID
from tracer.system.libc import call
from tracer.system.pidfd import has_process

DEADLINE_S = 2.0
"""From the child's birth, for a whole namespace."""
_REAPED_S, _PAUSE_S = 0.2, 0.0005
_NAME = "nstrace-verify"
_NUMBER = struct.Struct("=i")


def numbers_inside(pidns_fd: int, highest: int) -> dict[int, int]:
    """PID on the host -> number inside, for all processes that are visible inside.

    highest: the largest number that is known to be in use there; the newest may be smaller, because numbers wrap around
    at the end. Raises ProcessLookupError where the namespace has ended, ConnectionAbortedError where the child was
    killed, TimeoutError where the view is not complete within two seconds, OSError where the namespace cannot be
    entered.
    """
    with Lookout(pidns_fd, highest) as looking:
        return looking.numbers()


class Lookout:
    """A child that looks around in a namespace, as long as this is open. group: its process group's number, which is
    the PID of the child's parent outside."""

    def __init__(self, pidns_fd: int, highest: int) -> None:
        self._answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._slip = os.eventfd(0, os.EFD_CLOEXEC)
        with theirs, confined.file_of(inside_child.program(highest)) as program:
            self.group = os.fork()
            if self.group == 0:
                _go(pidns_fd, program.fileno(), [theirs.fileno(), self._slip])
        with contextlib.suppress(OSError):  # it has done so itself, or has ended
            os.setpgid(self.group, self.group)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the child. One that the container traces stays dead until it is released; this does not wait for it."""
        self._answers.close()
        os.close(self._slip)
        os.killpg(self.group, signal.SIGKILL)
        until = time.monotonic() + _REAPED_S
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < until:
                if not os.waitid(os.P_PGID, self.group, os.WEXITED | os.WNOHANG):
                    time.sleep(_PAUSE_S)

    def numbers(self) -> dict[int, int]:
        """As `numbers_inside`."""
        self._await_birth()
        found: dict[int, int] = {}
        until = time.monotonic() + DEADLINE_S
        while nr := self._next(until):
            tgid = fcntl.fcntl(self._slip, fcntl.F_GETOWN)
            # Before Linux 5.12 a file's owner may be a thread, or have exited (commit cc4a3f885e8f).
            if tgid != self.group and has_process(tgid):
                found[tgid] = nr
            with contextlib.suppress(ConnectionError):
                self._answers.send(b".")
        return found

    def _next(self, until: float) -> int:
        """The next number that a process has; 0: there are no more."""
        left = until - time.monotonic()
        if left <= 0:
            raise _error(errno.ETIMEDOUT)
        self._answers.settimeout(left)
        try:
            return int(_NUMBER.unpack(self._answers.recv(_NUMBER.size))[0])
        except TimeoutError:  # socket.timeout has no errno
            raise _error(errno.ETIMEDOUT) from None
        except (ConnectionError, struct.error):  # it ended, or another process writes on its socket
            raise _error(errno.ECONNABORTED) from None

    def _await_birth(self) -> None:
        """Wait until the child's parent has ended, which nothing inside can prevent."""
        ended = os.waitid(os.P_PID, self.group, os.WEXITED | os.WNOWAIT)
        code = ended.si_status if ended and ended.si_code == os.CLD_EXITED else errno.EIO
        if code == errno.ENOMEM:  # the namespace's first process has exited (pid_namespaces(7))
            raise _error(errno.ESRCH)
        if code:
            raise _error(code)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _go(pidns_fd: int, program: int, descriptors: list[int]) -> NoReturn:
    """Run the program in the child, which ends with the errno of what failed."""
    code = errno.EIO
    try:
        os.setpgid(0, 0)
        call("setns", pidns_fd, CLONE_NEWPID)
        confined.execute(program, _NAME, descriptors)
    except OSError as error:
        code = error.errno if error.errno not in (None, errno.ENOMEM) else code  # that means the namespace's end
    finally:
        os._exit(code)
