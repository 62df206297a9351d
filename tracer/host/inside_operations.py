"""The view from inside a PID namespace, as an operation of the broker (tracer.system.broker), and who asks for it."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Iterator

from tracer.errors import ExitCode, NstraceError
from tracer.host import nsfs, procfs
from tracer.kernel.inside import DEADLINE_S, numbers_inside
from tracer.system.broker import Answer, Broker, Operation, Operations
from tracer.system.host_pidns import INITIAL_PIDNS_INUM
from tracer.system.privileges import more_rights

INSIDE = "host.inside"
CAPABILITIES = sum(1 << number for number in (5, 6, 7, 8, 18, 19, 21))
"""CAP_SYS_ADMIN to enter the namespace, CAP_SYS_PTRACE to open it; CAP_SETGID, CAP_SETUID, CAP_SETPCAP and
CAP_SYS_CHROOT for the child inside, to give everything up; CAP_KILL to end it."""
_ASKED = struct.Struct("<III")  # PID of a process in the namespace or in one nested in it, inode number, highest number
_PAIR = struct.Struct("<II")


def inside_operations() -> Operations:
    """By name."""
    return {INSIDE: Operation(_ASKED.size, _inside)}


def _inside(request: bytes) -> Answer:
    tgid, inum, highest = _ASKED.unpack(request)
    with opened_namespace(tgid, inum) as fd:
        return Answer(b"".join(_PAIR.pack(*pair) for pair in numbers_inside(fd, highest).items()))


@contextlib.contextmanager
def opened_namespace(tgid: int, inum: int) -> Iterator[int]:
    """A descriptor of the PID namespace with this inode number that the process is in. Raises ProcessLookupError where
    it is in none, FileNotFoundError where the process has ended, OSError where it may not be looked at."""
    if inum == INITIAL_PIDNS_INUM:  # ours, which has no parent to ask for
        with procfs.opened_pidns(os.getpid()) as fd:
            yield fd
        return
    with procfs.opened_pidns(tgid) as fd, nsfs.ancestry(fd) as around:
        found = next((one for one in around if nsfs.inum(one) == inum), None)
        if found is None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        yield found


class Inside:
    """Asks a process that may enter namespaces. Make it before privileges are given up, and before any thread runs. As
    a context: the process ends with it."""

    def __init__(self) -> None:
        self._broker = Broker(inside_operations(), capabilities=CAPABILITIES)
        self._hint = more_rights("CAP_SYS_ADMIN")  # we may be root now, and are not later

    def __enter__(self) -> Inside:
        return self

    def __exit__(self, *_: object) -> None:
        self._broker.close()

    def numbers(self, tgid: int, inum: int, highest: int) -> dict[int, int]:
        """As `tracer.kernel.inside.numbers_inside`, of a namespace that a process is in. Raises ProcessLookupError and
        FileNotFoundError where the namespace has ended, NstraceError where there is no answer."""
        try:
            answer = self._broker.ask(INSIDE, _ASKED.pack(tgid, inum, highest))
        except (FileNotFoundError, ProcessLookupError):
            raise
        except OSError as error:
            raise self._explained(error) from error
        return dict(_PAIR.iter_unpack(answer.data))

    def _explained(self, error: OSError) -> NstraceError:
        if error.errno == errno.ETIMEDOUT:
            return NstraceError(
                f"looking from inside the PID namespace took more than {DEADLINE_S:.0f} s", "run it again"
            )
        if error.errno == errno.ECONNABORTED:
            return NstraceError("the child process that looks from inside was killed", "run it again")
        why = f"the PID namespace cannot be entered: {error.strerror}"
        if error.errno == errno.EPERM:
            return NstraceError(why, self._hint, ExitCode.NOT_PERMITTED)
        return NstraceError(why, "run it again")
