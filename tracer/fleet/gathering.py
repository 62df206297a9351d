"""Messages that wait for those next to them: a file of an archive has a block of messages, and making one costs as much
as many messages in it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from tracer.fleet.archive_names import blocks

T = TypeVar("T")


class Label(NamedTuple):
    """What the headers of a message say of it: the host's subject, the run, and its number in that. It decides with
    whom the message waits, and nothing else: whether it is true is seen by who reads it."""

    subject: str
    run: str
    number: int


@dataclass
class Held(Generic[T]):
    """A message that waits. place: in the stream of the server, which no other message has; since_s: since when;
    told_s: when the server was told last that somebody works on it."""

    message: T
    place: int
    size: int
    since_s: float
    told_s: float


class Gathering(Generic[T]):
    """every_s: how long a message waits at the most; most_bytes: how much all of them may be, beyond that the largest
    blocks wait no longer. Times are those of any one clock."""

    def __init__(self, every_s: float, most_bytes: int) -> None:
        self._every_s, self._most_bytes = every_s, most_bytes
        self._runs: dict[tuple[str, str], dict[int, Held[T]]] = {}  # each in the order in which they came
        self.bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether no more can wait."""
        return self.bytes >= self._most_bytes

    def held(self) -> Iterator[Held[T]]:
        """All that wait."""
        for run in self._runs.values():
            yield from run.values()

    def add(self, label: Label | None, place: int, message: T, size: int, now_s: float) -> None:
        """A message. label: None: it has none, and so it is where another message has the same one. One that is
        delivered again takes the place of the one that waits."""
        subject, run, number = label or Label("", "", place)
        waiting = self._runs.setdefault((subject, run), {})
        before = waiting.get(number)
        if before and before.place != place:
            self.add(None, place, message, size, now_s)
            return
        since_s = before.since_s if before else now_s
        waiting[number] = Held(message, place, size, since_s, now_s)
        self.bytes += size - (before.size if before else 0)

    def due(self, now_s: float, is_all: bool = False) -> list[list[Held[T]]]:
        """Those that have waited long enough, each with the block that it has become a part of, in order of their
        numbers; they wait no longer. is_all: all of them."""
        found = []
        for key, waiting in list(self._runs.items()):
            if is_all or self._is_due(next(iter(waiting.values())), now_s):
                for block in self._blocks(key):
                    if is_all or any(self._is_due(waiting[number], now_s) for number in block):
                        found.append(self._taken(key, block))
        if self.is_full:
            rest = [(key, block) for key in self._runs for block in self._blocks(key)]
            for key, block in sorted(rest, key=lambda one: -len(one[1])):
                if self.bytes <= self._most_bytes // 2:
                    break
                found.append(self._taken(key, block))
        return found

    def _is_due(self, held: Held[T], now_s: float) -> bool:
        return held.since_s + self._every_s <= now_s

    def _blocks(self, key: tuple[str, str]) -> list[range]:
        return [range(block.first, block.last + 1) for block in blocks(key[1], self._runs[key])]

    def _taken(self, key: tuple[str, str], block: range) -> list[Held[T]]:
        waiting = self._runs[key]
        found = [waiting.pop(number) for number in block]
        if not waiting:
            del self._runs[key]
        self.bytes -= sum(held.size for held in found)
        return found


def parts(found: Sequence[list[Held[T]]], most_messages: int, most_bytes: int) -> Iterator[list[Held[T]]]:
    """Blocks as parts that are so large at the most, each of whole blocks: of a block that is larger, of its halves."""
    part: list[Held[T]] = []
    left = list(reversed(found))
    while left:
        block = left.pop()
        fits = len(part) + len(block) <= most_messages and sum(one.size for one in (*part, *block)) <= most_bytes
        if fits or (len(block) == 1 and not part):
            part += block
        elif part:
            yield part
            part = []
            left.append(block)
        else:
            half = len(block) // 2
            left += [block[half:], block[:half]]
    if part:
        yield part
