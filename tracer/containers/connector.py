"""The privileged side of asking the engine: connects to its socket, and parses nothing of what anybody says.

`start` forks the connector, which forks the process that asks (tracer.containers.engine_process), again where that has
ended. It receives packets of one size (tracer.containers.requests), connects to the address that was decided at the
start, sends one of five GETs, and answers with an errno, and with 0 the descriptor: an answer can be read there, and
nothing else be asked.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from typing import NoReturn

from tracer.containers.address import TOOLS, Address
from tracer.containers.node_connector import Tools, names_in, send
from tracer.containers.node_questions import NodeRequest
from tracer.containers.requests import PACKET_BYTES, Request, http_of, packed, tag_of
from tracer.system.descriptors import keep_blind, keep_only, receive_fds
from tracer.system.forking import fork
from tracer.system.libc import name_process

Serve = Callable[[socket.socket, socket.socket, Address], NoReturn]

# CAP_DAC_OVERRIDE for sockets of other users, CAP_SYS_CHROOT and CAP_SETPCAP, CAP_SETUID and CAP_SETGID for the process
# that asks to give everything up, CAP_KILL to end it then
_CAPABILITIES = sum(1 << number for number in (1, 5, 6, 7, 8, 18))
_AGAIN_S = 1.0  # at most so often a process that has ended gets a successor
_BACKLOG_FULL_S = 0.02
_CHANNEL_BYTES = 1 << 18
_tags = itertools.count()
_UCRED = struct.Struct("iII")  # struct ucred, unix(7)


class Running:
    """The processes that `start` has made. channel: non-blocking, for questions and answers."""

    def __init__(self, channel: socket.socket, pid: int) -> None:
        self.channel = channel
        self._pid = pid

    def leave(self) -> None:
        """Close what this process has of them; they serve another one that has been forked, and end with that."""
        self.channel.close()
        self._pid = 0

    def close(self) -> None:
        """End them, whatever they do. Safe to call twice."""
        with contextlib.suppress(OSError):  # children of ours may have the channel too: it ends for all
            self.channel.shutdown(socket.SHUT_RDWR)
        self.channel.close()
        if self._pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._pid = 0


def start(address: Address) -> Running:
    """Fork the connector and the process that asks. Call it before any thread runs. Raises OSError."""
    from tracer.containers.engine_process import serve  # both have it then, and import nothing more

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = fork()
    if pid == 0:
        _in_child(lambda: _connect_for(theirs, address, serve))
    theirs.close()
    ours.setblocking(False)
    return Running(ours, pid)


def _in_child(work: Callable[[], object]) -> NoReturn:
    try:
        work()
    finally:
        os._exit(1)


def _connect_for(questions: socket.socket, address: Address, serve: Serve) -> None:
    """Serve until nobody asks any more."""
    _detach()
    questions = socket.socket(fileno=fcntl.fcntl(questions, fcntl.F_DUPFD_CLOEXEC, 3))
    questions.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHANNEL_BYTES)
    keep_blind(questions.fileno())
    name_process("nstrace-connect")
    from tracer.system.privileges import keep

    keep(_CAPABILITIES)
    began_s = -_AGAIN_S
    while not _is_over(questions, began_s + _AGAIN_S - time.monotonic()):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        began_s = time.monotonic()
        pid = fork()
        if pid == 0:
            _in_child(lambda connections=theirs: _ask(questions, connections, address, serve))  # type: ignore[misc]
        theirs.close()
        if address.is_engine:
            serve_connections(ours, questions, address)
        else:
            serve_node(ours, questions, address)
        ours.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _ask(questions: socket.socket, connections: socket.socket, address: Address, serve: Serve) -> None:
    keep_only(questions.fileno(), connections.fileno())
    name_process("nstrace-engine")
    serve(questions, connections, address)


def _detach() -> None:
    """Leave the terminal, whose signals are for the command, and the handlers of the process that we come from."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else the kernel reaps our children, and their PIDs are reused
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _is_over(questions: socket.socket, within_s: float) -> bool:
    """Whether nobody asks any more, now or within a time."""
    poll = select.poll()
    poll.register(questions, select.POLLRDHUP)
    return bool(poll.poll(max(0, int(within_s * 1000))))


def serve_connections(connections: socket.socket, questions: socket.socket, address: Address) -> None:
    """Connect as often as the process that asks wants it, until it has ended, or nobody asks it."""
    poll = select.poll()
    poll.register(connections, select.POLLIN)
    poll.register(questions, select.POLLRDHUP)
    while True:
        ready = dict(poll.poll())
        if questions.fileno() in ready:
            return
        try:
            packet = connections.recv(PACKET_BYTES)
            if not packet:
                return
            _answer(connections, packet, address)
        except OSError:
            return


def serve_node(connections: socket.socket, questions: socket.socket, address: Address) -> None:
    """As `serve_connections`, for what a node is asked: start tools, or list folders."""
    poll = select.poll()
    poll.register(connections, select.POLLIN)
    poll.register(questions, select.POLLRDHUP)
    tools = Tools()
    try:
        while True:
            ready = dict(poll.poll(tools.due_ms()))
            tools.reap()
            if questions.fileno() in ready:
                return
            if connections.fileno() in ready:
                packet = connections.recv(PACKET_BYTES)
                if not packet:
                    return
                code, descriptor = tools.answer(packet) if address.url == TOOLS else names_in(packet)
                send(connections, code, tag_of(packet) if len(packet) > 1 else 0, descriptor)
    except OSError:
        return
    finally:
        tools.reap(all_of_them=True)


def _answer(connections: socket.socket, packet: bytes, address: Address) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as made:
        try:
            code, tag = _asked(made, address, http_of(packet)), tag_of(packet)
        except ValueError:
            code, tag = errno.EINVAL, 0
        socket.send_fds(connections, [bytes([code, tag])], [] if code else [made.fileno()])


def _asked(made: socket.socket, address: Address, request: bytes) -> int:
    """Connect and ask without waiting: a new socket has room for a request. Returns the errno, 0, or EAGAIN where
    others wait already (unix(7)). A user's path may lead anywhere: who listens there has to be that user."""
    if code := _connected(made, address.path):
        return code
    if address.owner is not None and _listener_uid(made) != address.owner:
        return errno.ECONNREFUSED
    try:
        return 0 if made.send(request, socket.MSG_NOSIGNAL) == len(request) else errno.EAGAIN
    except OSError as error:
        return error.errno or errno.EIO


def _connected(made: socket.socket, path: str) -> int:
    try:
        return made.connect_ex(path)
    except (OSError, ValueError):  # no path at all: too long, or with a NUL
        return errno.ENOENT


def _listener_uid(made: socket.socket) -> int:
    """Who has called listen(2) on the other side."""
    _pid, uid, _gid = _UCRED.unpack(made.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


def dial(connections: socket.socket, request: Request | NodeRequest, until_s: float) -> int:
    """The process that asks: the descriptor of a new connection to the engine, on which that was asked, or of what a
    node answers; close-on-exec.
    Where the engine accepts none for the moment it is tried again until then (CLOCK_MONOTONIC). Raises
    OSError."""
    while True:
        tag = next(_tags) % 256
        connections.settimeout(max(0.001, until_s - time.monotonic()))
        connections.send(request.packed(tag) if isinstance(request, NodeRequest) else packed(request, tag))
        code, descriptor = _received(connections, tag)
        if code == 0 and descriptor is not None:
            return descriptor
        if code != errno.EAGAIN:
            raise OSError(code or errno.EIO, os.strerror(code or errno.EIO))
        if time.monotonic() + _BACKLOG_FULL_S >= until_s:
            raise TimeoutError("timed out")
        time.sleep(_BACKLOG_FULL_S)


def _received(connections: socket.socket, tag: int) -> tuple[int, int | None]:
    """The errno and the descriptor that answer this request; what answers one that was given up is closed."""
    while True:
        answer, fds = receive_fds(connections, 2, 1)
        if not answer:
            raise ConnectionAbortedError(errno.ECONNABORTED, "nobody connects any more")
        if answer[1:] == bytes([tag]):
            return answer[0], fds[0] if fds else None
        for late in fds:
            os.close(late)
