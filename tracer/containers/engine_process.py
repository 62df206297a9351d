"""The process that asks the engine: it reads HTTP and decodes JSON, and can do nothing else.

It is forked by tracer.containers.connector, gives up everything before it asks for the first time, and has two
descriptors: questions come by one, connections on which the engine answers them by the other. A flood of an answer ends
in an error here, and where not, in the end of this process, which gets a successor.
"""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from tracer.containers import messages
from tracer.containers.connector import dial
from tracer.containers.engine import Dial, Engine
from tracer.containers.messages import Answer, AskList, Done, Failed, First, Nonsense, Question, Ready, cut
from tracer.errors import NstraceError
from tracer.system import privileges

MAX_MEMORY_BYTES = 192 << 20
"""Beyond what it has at the start: an answer of the longest length, and what becomes of it."""
_MAX_FILES = 16


def serve(questions: socket.socket, connections: socket.socket, addresses: Sequence[str]) -> NoReturn:
    """Answer questions until nobody asks any more."""
    _limit()
    try:
        privileges.drop()
    except NstraceError as error:
        questions.send(messages.encode(_failed(0, error)))
        os._exit(1)
    asker = _Asker(addresses, partial(dial, connections))
    questions.send(messages.encode(Ready(0)))
    while packet := questions.recv(messages.MAX_PACKET_BYTES):
        for answer in asker.answers(messages.decode_question(packet)):
            questions.send(messages.encode(answer))
    os._exit(0)


def _limit() -> None:
    """Bound what this process can take from the host. Raises OSError."""
    for what, most in (
        (resource.RLIMIT_DATA, _data_bytes() + MAX_MEMORY_BYTES),
        (resource.RLIMIT_NOFILE, _MAX_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def _data_bytes() -> int:
    """As much as RLIMIT_DATA counts now: also what we have inherited from whoever has forked us."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("\nVmData:")[1].split()[0]) << 10


class _Asker:
    """Answers one question after the other, with the engine that answered first."""

    def __init__(self, addresses: Sequence[str], dial: Dial) -> None:
        self._addresses, self._dial = addresses, dial
        self._engine: Engine | None = None

    def answers(self, question: Question) -> Iterator[Answer]:
        """The messages of an answer. Never raises: what is not known to go wrong is a failure too."""
        try:
            yield from self._answers(question, time.monotonic() + question.timeout_s)
        except NstraceError as error:
            yield _failed(question.number, error)
        except Exception as error:
            yield Failed(question.number, f"unexpected {type(error).__name__}", "", 1, cut(str(error)))

    def _answers(self, question: Question, until_s: float) -> Iterator[Answer]:
        self._engine = self._engine or Engine.connect(self._addresses, self._dial, until_s)
        if isinstance(question, AskList):
            yield from self._engine.listed(question.number, question.ids, until_s)
            yield Done(question.number)
        else:
            yield First(question.number, self._engine.init_tgid(question.id, until_s))


def _failed(number: int, error: NstraceError) -> Failed:
    texts = (cut(error.message), cut(error.hint), int(error.exit_code), cut(error.detail))
    return Failed(number, *texts, is_nonsense=isinstance(error, Nonsense))
