"""A publisher without a network: a server in memory, and kills at any moment."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from recordings import WALL_NS

from tracer.fleet.channel import No
from tracer.fleet.envelope import Opened, content, opened
from tracer.fleet.names import EVENTS
from tracer.fleet.place import PlaceFile
from tracer.fleet.publisher import Publisher, Server, Whose
from tracer.fleet.sink import Message
from tracer.fleet.spool import Spool
from tracer.fleet.spool_folder import SpoolFolder, SpoolOperations
from tracer.recording.folder import Folder
from tracer.recording.metadata import of_this_host
from tracer.recording.rotate import RotatingWriter, Rotation
from tracer.stream.batch import Batch
from tracer.system.broker import Local


class Killed(Exception):
    """The publisher dies here."""


class Memory(Server):
    """Stores messages, ids each once. die: asked before and after a message is stored; True: the publisher is killed
    then."""

    def __init__(self, max_bytes: int = 1 << 20) -> None:
        self.messages: list[Message] = []
        self.max_bytes, self.sent_again = max_bytes, 0
        self.die: Callable[[str], bool] = lambda _when: False

    def limit(self) -> int:
        return self.max_bytes

    def last(self) -> dict[str, str] | None:
        if not self.messages:
            return None
        return self.messages[-1].headers | {"Nats-Msg-Id": self.messages[-1].id}

    def store(self, message: Message, is_again: bool = False) -> No | None:
        if message.what != EVENTS:
            return None
        if self.die("before"):
            raise Killed
        self.sent_again += is_again
        if not self.messages or self.messages[-1].id != message.id:  # as a server that forgets all ids but the last
            self.messages.append(message)
        if self.die("after"):
            raise Killed
        return None

    def opened(self) -> list[Opened]:
        return [opened(message.payload, message.id) for message in self.messages]


class Bench:
    """A folder of recordings, and publishers of it one after the other."""

    def __init__(self, folder: Path, server: Memory, host: str = "web1") -> None:
        self.folder, self.server, self.host = folder, server, host
        self.spool = folder / "spool"
        self.spool.mkdir()
        self.publisher: Publisher | None = None

    def start(self) -> Publisher:
        """A new publisher, in place of the one before."""
        fd = os.open(self.folder / "state", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        files = SpoolFolder(Local(SpoolOperations(Folder(self.spool)).operations()))
        ticks = itertools.count(step=10.0)  # whatever waits is due
        publisher = Publisher(
            Spool(files), PlaceFile(fd, "state"), self.server, Whose("test", self.host),
            clock=lambda: next(ticks), sleep=lambda _s: None,
        )  # fmt: skip
        self.publisher = publisher
        return publisher

    def publish(self) -> None:
        """Publish what is there."""
        publisher = self.publisher or self.start()
        idle = 0
        while idle < 3:
            idle = 0 if publisher.step() else idle + 1

    def publish_whatever_is_killed(self) -> int:
        """As `publish`; a publisher that is killed gets a successor. Gives how many were."""
        for kills in itertools.count():
            try:
                self.publish()
            except Killed:
                self.start()
            else:
                return kills
        raise AssertionError

    def rows(self) -> Iterator[tuple[str, int, int]]:
        """Run, part and number of each row in the server's messages, in their order."""
        for found in self.server.opened():
            origin, (_facts, rows) = found.origin, content(found)
            if origin.end_row > origin.first_row:
                assert sum(map(len, rows)) == origin.end_row - origin.first_row
            for number in range(origin.first_row, origin.end_row):
                yield origin.run, origin.part, number


class Recorder:
    """Writes a rotated recording batch by batch."""

    def __init__(self, folder: Path, name: str = "all", max_bytes: int = 1 << 30) -> None:
        self._seconds = itertools.count(step=10.0)  # every batch is due
        facts = of_this_host(WALL_NS, ["nstrace", "record"])
        self.session = facts["session"]
        self._writer = RotatingWriter(
            folder / f"{name}.arrows", facts, Rotation(max_bytes=max_bytes), clock=lambda: next(self._seconds)
        )

    def take(self, batch: Batch) -> None:
        self._writer.take(batch)

    def close(self) -> None:
        self._writer.close()
