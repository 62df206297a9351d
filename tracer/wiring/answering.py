"""Questions about the living host, asked by a process without privileges and answered by one that has them.

A question is a number of fixed size and nothing else: who asks has read what strangers wrote, who answers parses none
of it. The two are joined by pipes; who answers ends when who asks has ended.
"""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable

from tracer.errors import NstraceError
from tracer.system.privileges import drop_but_look
from tracer.typed.processes import MAX_PID

Answer = Callable[[int], bytes | None]
_QUESTION = struct.Struct("=I")
_LENGTH = struct.Struct("=i")  # of the answer behind it; -1: there is none
_MAX_ANSWER_BYTES = 1 << 16


class Asker:
    """Called with a number, as the function that answers it in the other process. Raises NstraceError where that
    process has ended."""

    def __init__(self, questions: int, answers: int) -> None:
        self._questions, self._answers = questions, answers
        self._is_asking = False

    def __call__(self, nr: int) -> bytes | None:
        """The answer to a number; None: there is none, or a signal has interrupted a question before: what is read next
        would be the answer to that one."""
        if self._is_asking:
            return None
        self._is_asking = True
        try:
            os.write(self._questions, _QUESTION.pack(nr))
        except BrokenPipeError as error:
            raise _gone() from error
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        answer = None if length < 0 else self._read(length)
        self._is_asking = False
        return answer

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = os.read(self._answers, length - len(data))
            if not part:
                raise _gone()
            data += part
        return data


def _gone() -> NstraceError:
    return NstraceError("the process that asks the host has ended", "run it again")


def answered_elsewhere(answer: Answer) -> Asker:
    """A function as `answer`, which is called in a child that can look at the host, and no more."""
    question_reader, question_writer = os.pipe()
    answer_reader, answer_writer = os.pipe()
    if os.fork() == 0:
        os.close(question_writer)
        os.close(answer_reader)
        _serve(answer, question_reader, answer_writer)
    os.close(question_reader)
    os.close(answer_writer)
    return Asker(question_writer, answer_reader)


def _serve(answer: Answer, questions: int, answers: int) -> None:
    """Answer until nobody asks any more, and end."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # who asks ends by them, and we with him
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        drop_but_look()
        while len(question := os.read(questions, _QUESTION.size)) == _QUESTION.size:
            (nr,) = _QUESTION.unpack(question)
            found = answer(nr) if 0 < nr <= MAX_PID else None
            text = b"" if found is None else found[:_MAX_ANSWER_BYTES]
            os.write(answers, _LENGTH.pack(-1 if found is None else len(text)) + text)
    finally:
        os._exit(0)
