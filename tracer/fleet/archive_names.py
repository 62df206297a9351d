"""The files of an archive, by their names: which messages each has, and which may be made one. Pure.

A file has the rows of a block of messages of one run: 2^n of them, from a multiple of 2^n on. Two blocks are disjoint,
or one holds the other, whoever has made them and whenever; so a listing alone says which files count: those whose block
lies in no other file's of the same run in the same folder.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote

EVENTS, PROCESSES, BATCHES = "events", "processes", "batches"
"""The tables of an archive. A message is archived when its block is in `batches`, which is written last."""
SUFFIX = ".parquet"
_NAME = re.compile(r"([0-9a-f]{1,64}-[0-9a-f]{8})\.(\d{1,15})-(\d{1,15})" + re.escape(SUFFIX), re.ASCII)
RUN = re.compile(r"[0-9a-f]{1,64}-[0-9a-f]{8}", re.ASCII)
"""What a run is called: the run of nstrace that has recorded, and the publication of it."""


class Block(NamedTuple):
    """Messages of a run by their numbers, the last one among them."""

    run: str
    first: int
    last: int

    @property
    def size(self) -> int:
        """How many messages."""
        return self.last - self.first + 1

    @property
    def parent(self) -> Block:
        """The block of twice the size that holds it."""
        return self.around(2 * self.size)

    def around(self, size: int) -> Block:
        """The block of this size that holds it."""
        first = self.first - self.first % size
        return Block(self.run, first, first + size - 1)

    def holds(self, other: Block) -> bool:
        """Whether all messages of another block are in it."""
        return self.run == other.run and self.first <= other.first and other.last <= self.last

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.run}.{self.first}-{self.last}{SUFFIX}"


def block_of(file: str) -> Block | None:
    """The block of a file of this name; None: it is no file of an archive."""
    match = _NAME.fullmatch(file)
    if not match:
        return None
    block = Block(match[1], int(match[2]), int(match[3]))
    is_one = block.size > 0 and block.size & (block.size - 1) == 0 and block.first % block.size == 0
    return block if is_one else None


def folder_of(table: str, host: str, date: str = "") -> str:
    """Where the files of a table are for a host and, but for `batches`, a day: events/date=2026-11-29/host=web1."""
    parts = [table, f"date={date}" if date else "", f"host={quote(host, safe='')}"]
    return "/".join(part for part in parts if part)


def host_in(folder: str) -> str:
    """The host of a folder of `folder_of`; "": it is none."""
    last = folder.rpartition("/")[2]
    return unquote(last.removeprefix("host=")) if last.startswith("host=") else ""


def blocks(run: str, numbers: Iterable[int]) -> list[Block]:
    """These messages in as few blocks as possible, in order."""
    left = {Block(run, number, number) for number in numbers}
    found: list[Block] = []
    while left:
        parents: defaultdict[Block, int] = defaultdict(int)
        for block in left:
            parents[block.parent] += 1
        whole = {parent for parent, halves in parents.items() if halves == 2}
        found += [block for block in left if block.parent not in whole]
        left = whole
    return sorted(found, key=lambda block: block.first)


def split(files: Iterable[str]) -> tuple[list[str], list[str]]:
    """The files of a folder that count, and those whose rows another one has; others are in neither."""
    count: list[str] = []
    covered: list[str] = []
    by_run: defaultdict[str, list[tuple[Block, str]]] = defaultdict(list)
    for file in files:
        if block := block_of(file):
            by_run[block.run].append((block, file))
    for run in sorted(by_run):
        last = -1
        for block, file in sorted(by_run[run], key=lambda one: (one[0].first, -one[0].last)):
            (covered if block.last <= last else count).append(file)
            last = max(last, block.last)
    return count, covered


class Merge(NamedTuple):
    """Files of one folder that become one, of this block; in order."""

    block: Block
    files: tuple[str, ...]


def merges(sizes: dict[str, int], archived: Sequence[Block], most_bytes: int, least_files: int = 2) -> Iterator[Merge]:
    """Which files of a folder are to become one: the largest blocks that are not larger than so many bytes, of which
    every message is archived. sizes: of the files that count, in bytes; archived: blocks, as of before the folder was
    listed: what comes into it later is no part of them."""
    done = _Numbers(archived)
    levels: defaultdict[int, dict[Block, _Node]] = defaultdict(dict)  # by the size of the blocks
    for file, size in sizes.items():
        if block := block_of(file):
            levels[block.size][block] = _Node(size, (file,))
    stays: set[Block] = set()  # blocks in which something stays as it is, and so they do not become one file
    while levels:
        size = min(levels)
        nodes = levels.pop(size)
        stays = {block.around(2 * size) for block in stays}
        halves: defaultdict[Block, list[Block]] = defaultdict(list)
        for block in sorted(nodes):
            halves[block.parent].append(block)
        for parent, found in halves.items():
            node = _Node(
                sum(nodes[block].bytes for block in found),
                tuple(file for block in found for file in nodes[block].files),
            )
            if parent not in stays and node.bytes <= most_bytes and done.has(parent):
                levels[parent.size][parent] = node
                continue
            stays.add(parent)
            yield from (Merge(one, nodes[one].files) for one in found if len(nodes[one].files) >= least_files)


class _Node(NamedTuple):
    """Files that may become one, in order; how many bytes they have."""

    bytes: int
    files: tuple[str, ...]


class _Numbers:
    """Which messages of which runs there are."""

    def __init__(self, archived: Iterable[Block]) -> None:
        ranges: defaultdict[str, list[list[int]]] = defaultdict(list)
        for block in sorted(archived):
            mine = ranges[block.run]
            if mine and block.first <= mine[-1][1] + 1:
                mine[-1][1] = max(mine[-1][1], block.last)
            else:
                mine.append([block.first, block.last])
        self._ranges = ranges

    def has(self, block: Block) -> bool:
        """Whether all messages of the block are there; there is no message 0."""
        first = max(1, block.first)
        return any(begin <= first and block.last <= end for begin, end in self._ranges.get(block.run, ()))
