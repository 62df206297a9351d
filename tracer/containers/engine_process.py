"""The process that asks the engine: it reads HTTP and decodes JSON, and can do nothing else.

It is forked by tracer.containers.connector, gives up everything before it asks for the first time, and has two
descriptors: questions come by one, connections on which the engine answers them by the other. While it waits, for a
question or for an answer, it reads the engine's events. A flood of an answer ends in an error here, and where not, in
the end of this process, which gets a successor.
"""

from __future__ import annotations

import math
import os
import resource
import select
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn

from tracer.containers import messages
from tracer.containers.address import TOOLS, Address
from tracer.containers.connector import dial
from tracer.containers.engine import Engine
from tracer.containers.listening import Listening, Send
from tracer.containers.messages import (
    Answer,
    AskExec,
    AskExecs,
    AskLast,
    AskList,
    Done,
    Failed,
    First,
    Listen,
    Nonsense,
    Question,
    Ready,
    cut,
)
from tracer.containers.node_questions import NodeRequest
from tracer.containers.node_source import Ask, NodeLogs, NodeTools
from tracer.containers.requests import Request
from tracer.errors import NstraceError
from tracer.system import privileges
from tracer.system.limits import lower_limits

MAX_MEMORY_BYTES = 192 << 20
"""Beyond what it has at the start: an answer of the longest length, and what becomes of it."""
_MAX_FILES = 16


def serve(questions: socket.socket, connections: socket.socket, address: Address) -> NoReturn:
    """Answer questions until nobody asks any more. address: an engine's, or what a node is asked for: that knows lists
    alone."""
    _limit()
    try:
        privileges.drop()
    except NstraceError as error:
        questions.send(messages.encode(_failed(0, error)))
        os._exit(1)

    def send(answer: Answer) -> None:
        questions.send(messages.encode(answer))

    asker = _Asker(address, partial(dial, connections), send, connections)
    send(Ready(0))
    while packet := asker.next(questions):
        for answer in asker.answers(messages.decode_question(packet)):
            send(answer)
    os._exit(0)


def _limit() -> None:
    """Bound what this process can take from the host. Raises OSError."""
    lower_limits({
        resource.RLIMIT_DATA: _data_bytes() + MAX_MEMORY_BYTES,
        resource.RLIMIT_NOFILE: _MAX_FILES,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    })  # fmt: skip


def _data_bytes() -> int:
    """As much as RLIMIT_DATA counts now: also what we have inherited from whoever has forked us."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("\nVmData:")[1].split()[0]) << 10


class _Asker:
    """Answers one question after the other, and reads the engine's events between. connector: the socket of the process
    that connects; without that one nothing can be asked."""

    def __init__(
        self,
        address: Address,
        dial: Callable[[Request | NodeRequest, float], int],
        send: Send,
        connector: socket.socket,
    ) -> None:
        self._connector = connector
        self._engine = Engine(address.url, dial, self._listen_until_readable)
        self._lists = self._engine if address.is_engine else _node(address, dial)
        self._listening = Listening(dial, send)

    def next(self, questions: socket.socket) -> bytes:
        """The next question; b"": nobody asks any more, or nobody connects."""
        self._listen_until_readable(questions, math.inf)
        return b"" if self._is_alone else questions.recv(messages.MAX_PACKET_BYTES)

    @property
    def _is_alone(self) -> bool:
        """Whether the process that connects has ended."""
        poll = select.poll()
        poll.register(self._connector, 0)
        return bool(poll.poll(0))

    def _listen_until_readable(self, waited_for: socket.socket, until_s: float) -> None:
        """Read the engine's events until there is something to be read from a socket, or until then."""
        while True:
            poll = select.poll()
            poll.register(waited_for, select.POLLIN)
            poll.register(self._connector, 0)  # its end alone
            if self._listening.fileno() >= 0:
                poll.register(self._listening.fileno(), select.POLLIN)
            left_s = min(self._listening.due_in(), until_s - time.monotonic())
            ready = poll.poll(None if left_s == math.inf else max(0, math.ceil(left_s * 1000)))
            numbers = {number for number, _ in ready}
            if self._listening.fileno() in numbers or self._listening.due_in() == 0:
                self._listening.turn()
            if numbers & {waited_for.fileno(), self._connector.fileno()} or time.monotonic() >= until_s:
                return

    def answers(self, question: Question) -> Iterator[Answer]:
        """The messages of an answer. Never raises: what is not known to go wrong is a failure too."""
        try:
            yield from self._answers(question, _until_s(question))
        except NstraceError as error:
            yield _failed(question.number, error)
        except Exception as error:
            yield Failed(question.number, f"unexpected {type(error).__name__}", "", 1, cut(str(error)))

    def _answers(self, question: Question, until_s: float) -> Iterator[Answer]:
        if isinstance(question, Listen):
            self._listening.begin(question.since_ns)
            return
        if isinstance(question, AskList):
            yield from self._lists.listed(question.number, question.ids, until_s)
            yield Done(question.number)
        elif isinstance(question, AskExec):
            yield self._engine.inspect_exec(question.number, question.id, until_s)
        elif isinstance(question, AskLast):
            yield self._engine.last(question.number, question.id, until_s)
        elif isinstance(question, AskExecs):
            yield self._engine.execs(question.number, question.id, until_s)
        else:
            yield First(question.number, self._engine.init_tgid(question.id, until_s))


def _node(address: Address, ask: Ask) -> NodeTools | NodeLogs:
    return (NodeTools if address.url == TOOLS else NodeLogs)(ask, address.places)


def _until_s(question: Question) -> float:
    return time.monotonic() + (0 if isinstance(question, Listen) else question.timeout_s)


def _failed(number: int, error: NstraceError) -> Failed:
    texts = (cut(error.message), cut(error.hint), int(error.exit_code), cut(error.detail))
    return Failed(number, *texts, is_nonsense=isinstance(error, Nonsense))
