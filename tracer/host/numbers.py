"""Single numbers, live: of the host -> container and number inside; of a namespace -> PID on the host.

Every answer is right at the moment when it is returned: the kernel translates, or what is remembered is about a process
that is held by a descriptor and still exists.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import NamedTuple

from tracer.answers.translation import home
from tracer.errors import NstraceError
from tracer.host import nsfs, procfs
from tracer.host.processes import Host
from tracer.stream.pidns import Number
from tracer.text.escape import safe_text

_FORGET_S = 1.0  # a PID that is not in a container may be later: a process enters its cgroup after its birth
_MAX_KNOWN = 128  # each takes a descriptor


class _Known(NamedTuple):
    """directory: as `procfs.open_process` returns it, so that a later process with the same number is not mistaken."""

    directory: int
    answer: bytes | None
    found_s: float

    @property
    def holds(self) -> bool:
        return procfs.is_there(self.directory) and (
            self.answer is not None or time.monotonic() - self.found_s < _FORGET_S
        )


class ToContainer:
    """Numbers of the host's processes and threads -> web/15. Start times do not suffice to show which process has a
    number: it may be reused within a clock tick."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: OrderedDict[int, _Known] = OrderedDict()

    def __call__(self, nr: int) -> bytes | None:
        """The number inside of a container or a nested namespace; None: no such process is in one."""
        known = self._known.get(nr)
        if known and known.holds:
            self._known.move_to_end(nr)
            return known.answer
        if known:
            self._forget(nr)
        try:
            directory = procfs.open_process(nr)
        except OSError:
            return None
        answer = self._ask(directory)
        self._known[nr] = _Known(directory, answer, time.monotonic())
        if len(self._known) > _MAX_KNOWN:
            self._forget(next(iter(self._known)))
        return answer

    def close(self) -> None:
        """Close the descriptors."""
        for nr in list(self._known):
            self._forget(nr)

    def _forget(self, nr: int) -> None:
        os.close(self._known.pop(nr).directory)

    def _ask(self, directory: int) -> bytes | None:
        try:
            process, numbers = self._host.read(directory), procfs.thread_numbers(directory)
        except OSError:
            return None
        container = home(self._host.owners(process)) if process.level else self._host.container(process)
        if container:
            return f"{safe_text(container.label)}/{numbers[-1]}".encode()
        if process.level and process.chain:
            return f"pidns:{process.chain[-1].pidns.inum}/{numbers[-1]}".encode()
        return None


class ToHost:
    """Numbers inside one PID namespace -> the host's. open_pidns: returns a descriptor of the namespace, called again
    after it has ended: a container that restarts has a new one. prefix: written in front of the number."""

    def __init__(self, host: Host, open_pidns: Callable[[], AbstractContextManager[int]], prefix: bytes) -> None:
        self._host, self._open, self._prefix = host, open_pidns, prefix
        self._stack = ExitStack()
        self._fd = self._stack.enter_context(open_pidns())
        self._members: dict[int, int] = {}
        self._listed_s = self._asked_s = -_FORGET_S

    def __call__(self, nr: int) -> bytes | None:
        """The host's number of the process or thread that has this number inside; None: there is none."""
        answer = self._ask(nr)
        if answer is None and self._is_over() and self._reopened():
            answer = self._ask(nr)
        return None if answer is None else b"%s%d" % (self._prefix, answer)

    def close(self) -> None:
        """Close the descriptor."""
        self._stack.close()

    def _ask(self, nr: int) -> int | None:
        try:
            return nsfs.host_tid(self._fd, nr)
        except nsfs.NotTranslated:
            return self._by_proc(nr)

    def _by_proc(self, nr: int) -> int | None:
        """Where the kernel does not translate: from a list of the namespace, made anew when it may have changed."""
        pidns = self._host.identify(self._fd)
        if nr not in self._members and time.monotonic() - self._listed_s >= _FORGET_S:
            self._listed_s = time.monotonic()
            self._members = {
                number.nr: process.tgid
                for process in self._host.processes()
                for number in process.chain or ()
                if number.pidns == pidns
            }
        process = self._host.process(self._members.get(nr, 0))
        if process and Number(pidns, nr) in (process.chain or ()):
            return process.tgid
        self._members.pop(nr, None)
        return None

    def _is_over(self) -> bool:
        """Whether the namespace has ended; checked again only after a while."""
        if time.monotonic() - self._asked_s < _FORGET_S:
            return False
        self._asked_s = time.monotonic()
        return not self._host.is_alive(self._fd)

    def _reopened(self) -> bool:
        """Whether there is a new namespace, which is open now."""
        again = ExitStack()
        try:
            fd = again.enter_context(self._open())
        except NstraceError:  # it is not running now, or no engine answers: it may later
            return False
        self._stack.close()
        self._stack, self._fd = again, fd
        return True
