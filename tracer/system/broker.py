"""A process that keeps privileges for one that gives them up.

The reader of strangers' data asks it for the few things that need privileges. Each operation has a name and takes a
request of a fixed size; nothing else is accepted, and nothing is parsed. What comes back are bytes and descriptors.
Where the reader keeps its privileges (from Python), `Local` performs the same operations in its own process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import struct
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, NoReturn, Protocol

from tracer.errors import NstraceError
from tracer.system.descriptors import keep_only, receive_fds
from tracer.system.forking import fork
from tracer.system.libc import name_process
from tracer.system.privileges import keep as keep_capabilities

_REQUEST = struct.Struct("=H")  # the operation's place in the list; its request follows
_ANSWER = struct.Struct("=iI")  # errno or 0, how many bytes follow; descriptors come with it
MAX_FDS = 4
# CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_FOWNER for files of recordings, CAP_KILL for the command of
# nstrace run, CAP_SYS_PTRACE for /proc, CAP_SYS_ADMIN for the self-check's PID namespace, CAP_PERFMON and CAP_BPF.
_CAPABILITIES = sum(1 << number for number in (0, 1, 2, 3, 5, 19, 21, 38, 39))
_CHUNK_BYTES = 1 << 16
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Answer(NamedTuple):
    """What an operation returns. fds: descriptors for the reader."""

    data: bytes = b""
    fds: tuple[int, ...] = ()


class Operation(NamedTuple):
    """Something that needs privileges. perform: called with a request of exactly request_bytes; raises OSError."""

    request_bytes: int
    perform: Callable[[bytes], Answer]


Operations = Mapping[str, Operation]
"""By name."""


class Privileged(Protocol):
    """Who performs operations: `Local` or `Broker`."""

    def ask(self, name: str, request: bytes = b"", meanwhile: Callable[[], None] | None = None) -> Answer:
        """Perform an operation. meanwhile: called again and again until there is an answer, where that is possible.
        Raises the operation's OSError; NstraceError where there is no answer any more."""

    def close(self) -> None:
        """Ask nothing more."""


class Local:
    """Performs operations here."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def ask(self, name: str, request: bytes = b"", meanwhile: Callable[[], None] | None = None) -> Answer:
        """As `Privileged.ask`; nothing happens meanwhile."""
        return self._operations[name].perform(request)

    def close(self) -> None:
        """As `Privileged.close`."""


@dataclass
class _Waiting:
    """A request that was sent, and when it is there the answer, or the errno."""

    number: int = 0
    answer: Answer | None = None


def _ended(child: int) -> NstraceError:
    """The error where the child has ended. Its exit code is the errno of what it lacked at its start."""
    with contextlib.suppress(ChildProcessError):
        _pid, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and (number := os.WEXITSTATUS(status)):
            message = f"the process that keeps nstrace's privileges cannot be started: {os.strerror(number)}"
            return NstraceError(message, "free some memory, or raise the limits (ulimit -a)")
    return NstraceError("the process that keeps nstrace's privileges has ended", "was it killed? run nstrace again")


class Broker:
    """A child that performs these operations as long as this is open. No thread may run when it is made.

    keep: the descriptors that the operations need; the child closes all others. inlets: what the child does when one of
    these descriptors becomes readable, such as the end of a pipe: for what must not wait for an answer. capabilities:
    those that the operations need, a bit each.
    """

    def __init__(
        self,
        operations: Operations,
        keep: Collection[int] = (),
        inlets: Mapping[int, Callable[[], None]] = MappingProxyType({}),
        capabilities: int = _CAPABILITIES,
    ) -> None:
        self._numbers = {name: number for number, name in enumerate(operations)}
        self._sizes = {name: operation.request_bytes for name, operation in operations.items()}
        self._waiting: deque[_Waiting] = deque()
        self._ours, theirs = socket.socketpair()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._child = fork()
            if self._child == 0:
                _serve(theirs, list(operations.values()), keep, inlets, capabilities)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def ask(self, name: str, request: bytes = b"", meanwhile: Callable[[], None] | None = None) -> Answer:
        """As `Privileged.ask`."""
        assert len(request) == self._sizes[name], name
        waiting = _Waiting()
        self._waiting.append(waiting)  # meanwhile may ask too: answers come in the order of the requests
        self._send(_REQUEST.pack(self._numbers[name]) + request)
        while waiting.answer is None:
            if meanwhile and not select.select([self._ours], [], [], 0)[0]:
                meanwhile()
            else:
                self._receive_next()
        if waiting.number:
            raise OSError(waiting.number, os.strerror(waiting.number))
        return waiting.answer

    def _send(self, request: bytes) -> None:
        try:
            self._ours.sendall(request)
        except OSError as error:
            raise _ended(self._child) from error

    def _receive_next(self) -> None:
        try:
            header, fds = receive_fds(self._ours, _ANSWER.size, MAX_FDS)
            number, length = _ANSWER.unpack(header + _receive(self._ours, _ANSWER.size - len(header)))
            answer = Answer(_receive(self._ours, length), tuple(fds))
        except (OSError, EOFError) as error:
            raise _ended(self._child) from error
        waiting = self._waiting.popleft()
        waiting.number, waiting.answer = number, answer

    def close(self) -> None:
        """As `Privileged.close`; waits until the child has ended."""
        self._ours.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._child, 0)


def _receive(channel: socket.socket, length: int) -> bytes:
    """So many bytes. Raises EOFError where there are fewer."""
    found = bytearray()
    while len(found) < length:
        part = channel.recv(min(length - len(found), _CHUNK_BYTES))
        if not part:
            raise EOFError
        found += part
    return bytes(found)


def _serve(
    channel: socket.socket,
    operations: list[Operation],
    keep: Collection[int],
    inlets: Mapping[int, Callable[[], None]],
    capabilities: int,
) -> NoReturn:
    """The child: all signals are blocked in it, and it ends when the reader has closed its side."""
    code = errno.EIO
    try:
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        keep_only(channel.fileno(), *keep, *inlets)
        name_process("nstrace-broker")
        keep_capabilities(capabilities)
        code = 0
        while True:
            for fd in select.select([channel.fileno(), *inlets], [], [])[0]:
                if fd in inlets:
                    inlets[fd]()
                else:
                    _perform_next(channel, operations)
    except OSError as error:
        os._exit(code and (error.errno or code))
    except BaseException:  # the reader has ended, or sends what it never sends
        os._exit(code)


def _perform_next(channel: socket.socket, operations: list[Operation]) -> None:
    (number,) = _REQUEST.unpack(_receive(channel, _REQUEST.size))
    operation = operations[number]
    _answer(channel, operation.perform, _receive(channel, operation.request_bytes))


def _answer(channel: socket.socket, perform: Callable[[bytes], Answer], request: bytes) -> None:
    number, answer = 0, Answer()
    try:
        answer = perform(request)
    except OSError as error:
        number = error.errno or errno.EIO
    header = _ANSWER.pack(number, len(answer.data))
    socket.send_fds(channel, [header], answer.fds)
    channel.sendall(answer.data)
    for fd in answer.fds:
        os.close(fd)
