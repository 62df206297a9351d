"""Containers that come and go by the thousand: made here, and received by what an agent's recorder consists of.

The kernel's part (`FakeTrace`) and the engine's (`FakeChannel`) are made by hand; all else is the program's own, from
the live source to the file. `sizes` counts the entries of every table in it, whatever table that is.
"""

from __future__ import annotations

import gc
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import builders
import numpy as np
from builders import Row

from tracer.agent.counts import Counts
from tracer.containers import messages
from tracer.containers.address import DOCKER, Address
from tracer.containers.cgroups import Cgroups
from tracer.containers.channel import Asked, Notice
from tracer.containers.enquiry import Enquiry
from tracer.containers.messages import Found, Happened, container_from
from tracer.kernel.options import LoadOptions
from tracer.recording.metadata import of_this_host
from tracer.recording.rotate import RotatingWriter, Rotation
from tracer.stream.batch import Batch
from tracer.stream.decoding import Decoded
from tracer.stream.first_processes import FirstProcesses
from tracer.stream.lru import Lru
from tracer.stream.metadata import CgroupName
from tracer.stream.schema import Kind
from tracer.stream.table import Table
from tracer.typed.targets import parse_target
from tracer.wiring.live import LiveSource

ROOT, DOCKERS, HOSTS = 1, 2, 3  # ids of the cgroups /, /docker and /shell
FIRST_CGROUP = 1000
LABELS = {f"org.example.label-{number}": f"a value of some length, {number}" for number in range(12)}


class FakeTrace:
    """What the source reads of the kernel: `read` is what comes next."""

    def __init__(self) -> None:
        self.options, self.began_ns, self.lost = LoadOptions(), builders.SECOND_NS, 0
        self.read_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 10**15
        self.maps = SimpleNamespace(decide=lambda _decisions: None)
        self.names = [CgroupName(ROOT, 0, ""), CgroupName(DOCKERS, ROOT, "docker"), CgroupName(HOSTS, ROOT, "shell")]
        self.read: deque[Decoded] = deque()

    def snapshot(self) -> Decoded:
        one = builders.row(Kind.SNAPSHOT, 1, comm=b"init", cgroup_id=HOSTS, start_ns=1)
        return Decoded(builders.batch(one), list(self.names))

    def drain(self) -> Decoded:
        return Decoded(Batch.concat([]), [])

    def poll(self, _timeout_s: float) -> Decoded:
        return self.read.popleft() if self.read else self.drain()

    finish = drain


class FakeChannel:
    """An engine that answers at once: what it has of each id is in `containers`."""

    address, is_heard, is_over = Address(DOCKER), True, False

    def __init__(self) -> None:
        self.containers: dict[str, Found] = {}
        self.heard: list[Notice] = []

    def fileno(self) -> int:
        return -1

    def listen(self) -> None:
        pass

    def receive(self) -> bool:
        return False

    def ask_list(self, ids: Collection[str] | None, timeout_s: float) -> Asked:
        asked = Asked(ids, time.monotonic() + timeout_s)
        known = (self.containers.get(one) for one in (self.containers if ids is None else ids))
        asked.found = {one.id: container_from(as_sent(one)) for one in known if one}
        asked.is_done = True
        return asked

    def notices(self) -> list[Notice]:
        heard, self.heard = self.heard, []
        return heard


class FakeContainer:
    """One life of a container: its cgroup, its first process and a child of it, and what the engine says of it."""

    def __init__(self, number: int, name: str = "", is_host: bool = False, life_of: int = 0) -> None:
        """is_host: it has no PID namespace of its own (--pid=host). life_of: it is another life of this container."""
        self.number, self.name, self.is_host = number, name or f"job-{number}", is_host
        self.id = f"{life_of or number:08x}" * 8
        self.cgroup_id, self.tgid = FIRST_CGROUP + number, 10 + 4 * number
        self.inside = [] if is_host else [(builders.PIDNS + number, 1, 10**9 + number)]
        self.found = Found(0, self.id, self.name, "busybox:1.36", "running", "docker", LABELS)

    @property
    def cgroup(self) -> CgroupName:
        return CgroupName(self.cgroup_id, DOCKERS, self.id)

    def begins(self) -> list[Row]:
        """Its runtime comes into its cgroup, and forks its first process."""
        at_ns = self._ns
        runtime: dict[str, Any] = {"comm": b"runc:[1:CHILD]", "start_ns": self._ns}
        first: dict[str, Any] = {"cgroup_id": self.cgroup_id, "start_ns": at_ns + 2, "parent_tgid": self.tgid}
        return [
            builders.fork(self.tgid, cgroup_id=HOSTS, **runtime),
            builders.row(Kind.MOVE, self.tgid, cgroup_id=self.cgroup_id, ts_ns=at_ns + 1, **runtime),
            builders.fork(self.tgid + 1, self.inside, comm=b"runc:[2:INIT]", **first),
            builders.row(Kind.EXIT, self.tgid, cgroup_id=self.cgroup_id, ts_ns=at_ns + 3, **runtime),
            builders.row(Kind.EXEC, self.tgid + 1, self.inside, exe=b"/bin/sh", args=[b"sh"], ts_ns=at_ns + 4, **first),
        ]

    def runs(self) -> list[Row]:
        """It forks a child, which ends."""
        inside = [(inum, nr + 1, gen) for inum, nr, gen in self.inside]
        of_child: dict[str, Any] = {"cgroup_id": self.cgroup_id, "start_ns": self._ns + 5, "parent_tgid": self.tgid + 1}
        fork = builders.fork(self.tgid + 2, inside, parent_vtgid=0 if self.is_host else 1, **of_child)
        return [fork, builders.exits(self.tgid + 2, inside, ts_ns=self._ns + 6, **of_child)]

    def ends(self) -> list[Row]:
        first: dict[str, Any] = {"cgroup_id": self.cgroup_id, "start_ns": self._ns + 2, "ts_ns": self._ns + 7}
        return [builders.exits(self.tgid + 1, self.inside, **first)]

    @property
    def start_ns(self) -> int:
        """Of its first process."""
        return self._ns + 2

    @property
    def _ns(self) -> int:
        return 2 * builders.SECOND_NS + 1000 * self.number

    def happened(self, action: str) -> Notice:
        attributes = {"exitCode": "0"} if action == "die" else {}
        labels = LABELS if action in ("create", "start", "destroy") else {}
        about = self.name, "busybox:1.36", attributes, labels
        said: Notice = as_sent(Happened(0, self.id, action, self._ns, "docker", *about))
        return said


class Churn:
    """A recorder's parts, and containers that are sent through them."""

    def __init__(self, folder: Path, keep_exited: int = 64) -> None:
        self.trace, self.channel = FakeTrace(), FakeChannel()
        self.enquiry = Enquiry([(self.channel, {})])  # type: ignore[list-item]
        self.table, firsts = Table(keep_exited=keep_exited, grace_ns=0), FirstProcesses(lambda _tgid: True)
        self.cgroups = Cgroups(self.enquiry.describe, firsts=firsts.living)
        proc: Any = SimpleNamespace(tgids=list, commands=lambda ids, _most: [(b"", b"")] * len(ids))
        trace: Any = self.trace
        self.source = LiveSource(
            trace, proc, 0, (parse_target("host"), parse_target("all")), self.cgroups, firsts,
            Decoded(Batch.concat([]), []), self.table, background=self.enquiry,
        )  # fmt: skip
        self.counts, self._now_s, self._is_closed = Counts(50), 0.0, False
        self.writer = RotatingWriter(
            folder / "a.arrows", of_this_host(0, []), Rotation(100_000, None, 2), clock=self._clock
        )
        self.source.on_removed = self.writer.forget
        self._batches = self.source.batches(lambda: 0.0)
        self.send()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish the recording."""
        if not self._is_closed:
            self._is_closed = True
            self.writer.close()

    def _clock(self) -> float:
        self._now_s += 2.0
        return self._now_s

    def send(self, decoded: Decoded | None = None) -> Batch:
        """All that comes of one read."""
        if decoded:
            self.trace.read.append(decoded)
        parts: list[Batch] = []
        for batch in self._batches:
            if len(batch):
                self.counts.take(batch, self.source.attribution)
            self.writer.take(batch)
            parts.append(batch)
            if not len(batch) and not self.trace.read and not self.source._naming.holds:
                break
        return Batch.concat(parts)

    def begin(self, *containers: FakeContainer) -> Batch:
        """Containers begin, all at once."""
        for one in containers:
            self.channel.containers[one.id] = one.found
        self.channel.heard += [one.happened(action) for one in containers for action in ("create", "start")]
        rows = [row for one in containers for row in one.begins()]
        return self.send(Decoded(builders.batch(*rows), [one.cgroup for one in containers]))

    def run(self, *containers: FakeContainer) -> Batch:
        """A process begins and ends in each."""
        return self.send(Decoded(builders.batch(*(row for one in containers for row in one.runs())), []))

    def end(self, *containers: FakeContainer, is_removed: bool = True) -> Batch:
        """They end, as do their cgroups. is_removed: the engine does not keep them."""
        for one in containers if is_removed else ():
            self.channel.containers.pop(one.id)
        actions = ("die", "destroy") if is_removed else ("die",)
        self.channel.heard += [one.happened(action) for one in containers for action in actions]
        rows = [row for one in containers for row in one.ends()]
        return self.send(removing(builders.batch(*rows), [one.cgroup_id for one in containers]))

    @property
    def elsewhere(self) -> int:
        """The id of a cgroup that is no container's."""
        return HOSTS

    def move_away(self, container: FakeContainer) -> Batch:
        """Somebody moves its process to another cgroup, and removes its own."""
        row = builders.row(
            Kind.MOVE, container.tgid + 1, container.inside, cgroup_id=HOSTS, start_ns=container.start_ns
        )
        return self.send(removing(builders.batch(row), [container.cgroup_id]))

    def come_and_go(self, numbers: range, at_once: int = 100) -> None:
        """So many containers live, at_once of them at a time."""
        for begin in range(numbers.start, numbers.stop, at_once):
            made = [FakeContainer(number) for number in range(begin, min(begin + at_once, numbers.stop))]
            self.begin(*made)
            self.run(*made)
            self.end(*made)
            while any(engine._wanted for engine in self.enquiry._engines):
                self.send()

    def container_of(self, batch: Batch, tgid: int) -> set[str | None]:
        """The labels of the containers that the rows of a process have, as of now."""
        rows = np.flatnonzero(batch.rows["tgid"] == tgid).tolist()
        found = [self.source.attribution.of_row(batch, at) for at in rows]
        return {one.label if one else None for one in found}


def as_sent(message: Any) -> Any:
    """A message of the process that asks, as it arrives: nothing of it is shared with another one."""
    return messages.decode_answer(messages.encode(message))


def removing(batch: Batch, cgroup_ids: list[int]) -> Decoded:
    """A read with these events, and cgroups that were removed behind them."""
    if "removed" in Decoded._fields:
        return Decoded(batch, [], cgroup_ids)
    return Decoded(batch, [])


def sizes(*roots: object) -> Counter[str]:
    """How many entries the largest table of each name has that can be reached from here by attributes, by class and
    attribute: of dictionaries, lists, queues, sets, arrays and batches."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    todo: list[tuple[str, Any]] = [("", root) for root in roots]
    while todo:
        where, thing = todo.pop()
        if id(thing) in seen or isinstance(thing, type | str | bytes | int | float | socket.socket):
            continue
        seen.add(id(thing))
        if isinstance(thing, Lru):
            thing = thing._entries
        if isinstance(thing, dict | list | deque | set | frozenset | tuple | np.ndarray | Batch):
            found[where] = max(found[where], len(thing))
        if isinstance(thing, dict):
            todo += [(f"{where}[]", value) for value in list(thing.values())[:50]]
        elif isinstance(thing, list | tuple | deque):
            todo += [(f"{where}[]", value) for value in list(thing)[:50]]
        todo += [(f"{type(thing).__name__}.{name}", value) for name, value in _members(thing)]
    return found


def _members(thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, Callable) and hasattr(thing, "__self__"):  # type: ignore[arg-type]
        yield "__self__", thing.__self__
    if not type(thing).__module__.startswith(("tracer.", "churn")):
        return
    yield from getattr(thing, "__dict__", {}).items()
    for name in getattr(type(thing), "__slots__", ()):
        if hasattr(thing, name):
            yield name, getattr(thing, name)


def held_bytes() -> int:
    """What is allocated now, as tracemalloc has it."""
    import tracemalloc

    gc.collect()
    return tracemalloc.get_traced_memory()[0]
