"""What an archiver says of messages while it cannot write them, and when it is stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.fs as fs
import pytest

from tracer.errors import NstraceError
from tracer.fleet import archiver as archiver_module
from tracer.fleet.archive_store import Store
from tracer.fleet.archiver import Archiver
from tracer.fleet.channel import Gone
from tracer.fleet.decoder import Files
from tracer.fleet.running import stopped_by_signals
from tracer.fleet.sink import Unavailable

COUNT = 1_200  # more than are decoded at once


class Alone(Archiver):
    """Without a server: its messages, and what it was told of each. fails: how often files cannot be written, and the
    server does not take an acknowledgement."""

    def __init__(self, folder: Path, fails: int) -> None:
        decoder: Any = SimpleNamespace(files_of=lambda _deliveries: Files([], []), close=lambda: None)
        store = Store(fs.LocalFileSystem(), str(folder), str(folder))
        super().__init__(
            Any, decoder, store, cluster="*", every_s=0.1, compact_s=0, target_bytes=0, say=lambda _line: None,  # type: ignore[arg-type]
        )  # fmt: skip
        self._writes_left = self._answers_left = fails
        self._fresh = COUNT
        self.told: Counter[tuple[int, bytes]] = Counter()

    async def _gather(self) -> int:
        for place in range(COUNT if self._fresh else 0):
            message: Any = SimpleNamespace(subject="nstrace.v1.test.web1.events", data=b"", place=place)
            self._gathering.add(None, place, message, 1, 0)
        count, self._fresh = self._fresh, 0
        return count

    async def _consumer(self) -> Any:
        waits = COUNT - sum(word == archiver_module._DONE for _place, word in self.told)
        return SimpleNamespace(num_pending=0, num_ack_pending=waits, config=SimpleNamespace(max_ack_pending=1 << 20))

    def _write(self, *_: object) -> None:
        if self._writes_left:
            self._writes_left -= 1
            raise OSError("the disk is full")

    async def _answer(self, messages: Sequence[Any], word: bytes) -> None:
        if word == archiver_module._DONE and self._answers_left:
            self._answers_left -= 1
            raise Unavailable("the server is away")
        self.told.update((message.place, word) for message in messages)


def test_nobody_else_gets_what_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those either that come after the ones which cannot be written; and none is forgotten."""
    monkeypatch.setattr(archiver_module, "_ACK_WAIT_S", 0.001)
    monkeypatch.setattr(archiver_module, "_LEAST_WAIT_S", 0.01)
    alone = Alone(tmp_path, fails=2)
    assert asyncio.run(asyncio.wait_for(alone.run(until_done=True), 30))
    assert {place for place, word in alone.told if word == archiver_module._IN_PROGRESS} == set(range(COUNT))
    assert [alone.told[place, archiver_module._DONE] for place in range(COUNT)] == [1] * COUNT


def test_others_get_at_once_what_it_has_not_written(tmp_path: Path) -> None:
    """The disk is full, and it is told to stop."""
    alone = Alone(tmp_path, fails=1 << 30)

    async def stopped() -> None:
        asyncio.get_running_loop().call_later(0.5, alone.stop)
        assert not await asyncio.wait_for(alone.run(until_done=True), 30)

    asyncio.run(stopped())
    given_back = [place for place, word in alone.told if word == archiver_module._NOT_DONE]
    assert sorted(given_back) == list(range(COUNT))
    assert not {word for _place, word in alone.told} & {archiver_module._DONE}


def test_it_does_not_wait_for_the_one_that_decodes(tmp_path: Path) -> None:
    alone, ended = Alone(tmp_path, fails=0), threading.Event()

    def decode(_deliveries: object) -> Files:
        ended.wait(30)
        raise Gone

    alone._decoder = SimpleNamespace(files_of=decode, close=ended.set)  # type: ignore[assignment]

    async def stopped() -> None:
        asyncio.get_running_loop().call_later(0.5, alone.stop)
        await asyncio.wait_for(alone.run(until_done=False), 20)

    asyncio.run(stopped())
    assert ended.is_set()
    assert sum(word == archiver_module._NOT_DONE for _place, word in alone.told) == COUNT


def test_it_waits_for_no_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the end of the process."""
    monkeypatch.setattr(archiver_module, "_PATIENCE_S", 0.1)
    alone, comes_back, has_ended = Alone(tmp_path, fails=0), threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        comes_back.wait(60)
        has_ended.set()

    monkeypatch.setattr(alone, "_write", hang)

    async def stopped() -> None:
        asyncio.get_running_loop().call_later(0.5, alone.stop)
        await asyncio.wait_for(alone.run(until_done=False), 20)

    asyncio.run(stopped())
    assert not has_ended.is_set()
    assert sum(word == archiver_module._NOT_DONE for _place, word in alone.told) == COUNT
    comes_back.set()
    assert has_ended.wait(20)


def test_what_may_have_ended_the_one_that_decodes_is_not_handed_on(tmp_path: Path) -> None:
    alone = Alone(tmp_path, fails=0)

    def decode(_deliveries: object) -> Files:
        raise Gone

    alone._decoder = SimpleNamespace(files_of=decode, close=lambda: None)  # type: ignore[assignment]
    with pytest.raises(NstraceError, match="has ended"):
        asyncio.run(asyncio.wait_for(alone.run(until_done=False), 20))
    given_back = sum(word == archiver_module._NOT_DONE for _place, word in alone.told)
    assert given_back == COUNT - archiver_module._MOST_MESSAGES


def test_two_signals_at_once_are_one() -> None:
    """As when a terminal is closed: bash and the kernel send SIGHUP."""

    async def whole() -> int:
        stopped: list[None] = []
        with stopped_by_signals(lambda: stopped.append(None)):
            for _one in range(2):
                os.kill(os.getpid(), signal.SIGHUP)
            while not stopped:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
        return len(stopped)

    before = signal.getsignal(signal.SIGHUP)
    assert asyncio.run(whole()) == 1
    assert signal.getsignal(signal.SIGHUP) == before
