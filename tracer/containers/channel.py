"""Our side of the process that asks an engine: questions that are sent, answers and events that arrive when they do."""

from __future__ import annotations

import contextlib
import select
import time
from collections import deque
from collections.abc import Collection
from typing import Self

import msgspec

from tracer.containers import messages
from tracer.containers.address import Address
from tracer.containers.connector import Running, start
from tracer.containers.messages import (
    MAX_CONTAINERS,
    MAX_LABELS,
    AskExec,
    AskExecs,
    AskFirst,
    AskLast,
    AskList,
    Deaf,
    Done,
    Exec,
    Execs,
    Failed,
    First,
    Found,
    FoundContainer,
    Happened,
    Heard,
    Last,
    Listen,
    Missed,
    Nonsense,
    Ready,
    container_from,
)
from tracer.errors import ExitCode, NstraceError

_AT_ONCE = 512  # so many packets are read before others have their turn
_GRACE_S = 0.5  # a failure that is on its way
_MAX_HEARD = 8192
_NOWHERE = Address("")

Notice = Happened | Heard | Deaf | Missed
SLOW = "docker ps shows whether it answers; pid:N and pidns:INUM need no engine"


class Asked:
    """A question that was sent. found: the containers of a list, by id; tgid: a first process; exec: of an exec;
    last: of an end; execs: of a container. failure: why there is no answer. All of them are valid when is_done."""

    def __init__(self, ids: Collection[str] | None, until_s: float, owner: int | None = None) -> None:
        self.ids, self.asked_s, self.until_s, self.owner = ids, time.monotonic(), until_s, owner
        self.is_done = False
        self.found: dict[str, FoundContainer] = {}
        self.tgid: int | None = None
        self.exec: Exec | None = None
        self.last: Last | None = None
        self.execs: list[str] = []
        self.failure: NstraceError | None = None
        self._labels = 0

    @property
    def is_overdue(self) -> bool:
        """Whether even the failure to answer should be here by now."""
        return time.monotonic() > self.until_s + _GRACE_S

    def fail(self, failure: NstraceError) -> None:
        """There is no answer."""
        self.failure, self.is_done = failure, True

    def take(self, answer: Found | Done | First | Exec | Execs | Last | Failed) -> None:
        """A part of the answer, or its end. Raises ValueError for what was not asked, or is too much."""
        if isinstance(answer, Failed):
            self.fail(_failure(answer))
        elif isinstance(answer, Found):
            self._labels += len(answer.labels)
            if (self.ids is not None and answer.id not in self.ids) or self._labels > MAX_LABELS:
                raise ValueError("a container that was not asked for")
            self.found[answer.id] = container_from(answer, self.owner)
            if len(self.found) > MAX_CONTAINERS:
                raise ValueError("too many containers")
        else:
            self.tgid = answer.tgid if isinstance(answer, First) else None
            self.exec = answer if isinstance(answer, Exec) else None
            self.last = answer if isinstance(answer, Last) else None
            self.execs = answer.ids if isinstance(answer, Execs) else []
            self.is_done = True


class Channel:
    """Questions to the process that asks. Nothing here waits but `wait`. As a context: closed at its end.

    address: of the engine. is_heard: whether its events are received; None: they never were. is_over: it does not
    answer any more, and never will; has_died: for it has ended, without having said what it should not.
    """

    def __init__(self, running: Running, address: Address = _NOWHERE) -> None:
        self.address = address
        self.is_heard: bool | None = None
        self.is_over = self.has_died = False
        self._running = running
        self._listens_since_ns: int | None = None
        self._heard: deque[Notice] = deque()
        self._open: dict[int, Asked] = {}
        self._last = 0
        self._is_ready = False
        self._lost: NstraceError | None = None  # why there will be no answer any more

    @classmethod
    def opened(cls, address: Address) -> Channel:
        """With a new process, which is forked: before any thread runs, and before privileges are given up. Raises
        NstraceError where no process can be made."""
        try:
            return cls(start(address), address)
        except OSError as error:
            why = error.strerror or str(error)
            raise NstraceError(
                f"no process can be started to ask the container engine: {why}", "ulimit -u shows how many you may run"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process. What was asked stays without an answer."""
        self._end(_ended("it was ended"))

    def leave(self) -> None:
        """As `Running.leave`: nothing can be asked here any more."""
        self._lost = _ended("another process asks it")
        self._running.leave()

    def fileno(self) -> int:
        """A descriptor that is readable where an answer has arrived; -1: none will."""
        return self._running.channel.fileno()

    def ask_list(self, ids: Collection[str] | None, timeout_s: float) -> Asked:
        """Ask which of these containers exist, at most MAX_IDS. None: all."""
        self._last += 1
        listed = None if ids is None else sorted(ids)
        asked = Asked(ids, time.monotonic() + timeout_s, self.address.owner)
        return self._send(AskList(self._last, listed, timeout_s), asked)

    def ask_first(self, container_id: str, timeout_s: float) -> Asked:
        """Ask for the first process of a container."""
        self._last += 1
        return self._send(AskFirst(self._last, container_id, timeout_s), Asked((), time.monotonic() + timeout_s))

    def ask_exec(self, exec_id: str, timeout_s: float) -> Asked:
        """Ask for an exec."""
        self._last += 1
        return self._send(AskExec(self._last, exec_id, timeout_s), Asked((), time.monotonic() + timeout_s))

    def ask_last(self, container_id: str, timeout_s: float) -> Asked:
        """Ask how a container ended last."""
        self._last += 1
        return self._send(AskLast(self._last, container_id, timeout_s), Asked((), time.monotonic() + timeout_s))

    def ask_execs(self, container_id: str, timeout_s: float) -> Asked:
        """Ask for the execs that run in a container."""
        self._last += 1
        return self._send(AskExecs(self._last, container_id, timeout_s), Asked((), time.monotonic() + timeout_s))

    def listen(self) -> None:
        """Have events reported from now on: `notices`."""
        if self._listens_since_ns is None:
            self._listens_since_ns = 0
            self._listen()

    def _listen(self) -> None:
        """As the successor of a process that has ended has to be asked, too."""
        if self._listens_since_ns is not None and not self._lost:
            with contextlib.suppress(OSError):
                self._running.channel.send(messages.encode(Listen(0, self._listens_since_ns)))

    def notices(self) -> list[Notice]:
        """What has been reported since the last call."""
        heard, self._heard = list(self._heard), deque()
        return heard

    def _send(self, question: messages.Question, asked: Asked) -> Asked:
        if self._lost:
            asked.fail(self._lost)
            return asked
        try:
            self._running.channel.send(messages.encode(question))
            self._open[question.number] = asked
        except OSError as error:  # it has not read the questions before this one, or has ended
            asked.fail(_ended(error.strerror or str(error)))
        return asked

    def receive(self) -> bool:
        """Take answers that have arrived, some of them where there are many. Returns whether there was one."""
        for count in range(_AT_ONCE):
            if self._lost:
                return count > 0
            try:
                packet = self._running.channel.recv(messages.MAX_PACKET_BYTES)
            except BlockingIOError:
                return count > 0
            except OSError:
                packet = b""
            if packet:
                self._take(packet)
            else:
                self.has_died = True
                self._lose(_ended("it has ended"))
        return True

    def _take(self, packet: bytes) -> None:
        """Take a message. What is none of ours comes from a process that an engine has taken over: it is ended."""
        try:
            answer = messages.decode_answer(packet)
            if isinstance(answer, Ready):
                if self._is_ready:
                    self._fail_all(_ended("it has begun again"))
                    self._listen()
                self._is_ready = True
            elif isinstance(answer, Happened | Heard | Deaf | Missed):
                self._note(answer)
            elif isinstance(answer, Failed) and not answer.number:
                self._lose(_failure(answer))
            elif answer.number in self._open:
                asked = self._open[answer.number]
                asked.take(answer)
                if asked.is_done:
                    del self._open[answer.number]
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self._lose(_ended("it says what nobody has asked"))

    def _note(self, notice: Notice) -> None:
        """Keep what is reported, as far as there is room. Raises ValueError where nobody listens."""
        if self._listens_since_ns is None:
            raise ValueError("nobody listens")
        if isinstance(notice, Happened):
            self._listens_since_ns = max(self._listens_since_ns, min(notice.time_ns, time.time_ns()) + 1)
        elif isinstance(notice, Heard):
            self._listens_since_ns = max(self._listens_since_ns, min(notice.until_ns, time.time_ns()))
        if isinstance(notice, Heard):
            self.is_heard = True
        elif isinstance(notice, Deaf) and self.is_heard:
            self.is_heard = False
        self._heard.append(notice)
        if len(self._heard) > _MAX_HEARD:
            first = self._heard[0]
            since_ns = first.time_ns if isinstance(first, Happened) else first.since_ns
            self._heard = deque([Missed(0, "", since_ns, max(since_ns, time.time_ns()))])

    def _lose(self, why: NstraceError) -> None:
        self.is_over = True
        self._end(why)

    def _end(self, why: NstraceError) -> None:
        self._lost = self._lost or why
        self._fail_all(why)
        self._running.close()

    def _fail_all(self, why: NstraceError) -> None:
        for asked in self._open.values():
            asked.fail(why)
        self._open.clear()

    def wait(self, asked: Asked) -> None:
        """Wait for an answer. Raises NstraceError where there is none in time."""
        poll = select.poll()
        while not asked.is_done:
            left_s = asked.until_s + _GRACE_S - time.monotonic()
            if left_s <= 0:
                asked.fail(NstraceError("the container engine does not answer in time", SLOW))
            elif self.fileno() >= 0:
                poll.register(self.fileno(), select.POLLIN)
                poll.poll(max(1, int(left_s * 1000)))
                self.receive()
        if asked.failure:
            raise asked.failure


def _failure(failed: Failed) -> NstraceError:
    kind = Nonsense if failed.is_nonsense else NstraceError
    return kind(failed.message, failed.hint, ExitCode(failed.exit_code), failed.detail)


def _ended(why: str) -> NstraceError:
    return NstraceError(f"the process that asks the container engine does not answer: {why}", "run it again")
