"""What `tracer.ps`, `tracer.containers` and `tracer.tree` return: sequences that print as the commands do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, overload

from tracer.answers.census import Entry
from tracer.answers.inventory import Running, running
from tracer.text.times import utc
from tracer.views.columns import TextColumns
from tracer.views.containers import container_json, container_table
from tracer.views.objects import process_object
from tracer.views.table import place, process_table
from tracer.views.tree import HEADER, processes, tree
from tracer.wiring.process_lists import Gathered

T = TypeVar("T")
_MAX_LINES = 60  # of a repr


class Listed(Sequence[T]):
    """A list of a moment. It is indexed, iterated and counted as every sequence; its repr is a table.

    at: the moment, in UTC. notes: what the commands write to stderr.
    """

    def __init__(self, items: Sequence[T], moment_ns: int, notes: Sequence[str]) -> None:
        self._items = tuple(items)
        self.at: datetime = utc(moment_ns)
        self._notes = notes

    @property
    def notes(self) -> tuple[str, ...]:
        """What may be missing in it, and why."""
        return tuple(self._notes)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __repr__(self) -> str:
        return _shortened(str(self))


class Processes(Listed[Entry]):
    """Processes, those of a container together: what `tracer.ps` returns."""

    def __init__(self, found: Gathered, notes: Sequence[str]) -> None:
        super().__init__(found.entries, found.moment_ns, notes)
        self._found = found

    def __str__(self) -> str:
        found, several = self._found, len(set(map(place, self))) > 1
        table = process_table(
            found.census, found.entries, found.name_of, found.moment_ns, containers=several, pids=False
        )
        return _text(table)

    def to_dicts(self) -> list[dict[str, Any]]:
        """The objects that `nstrace ps --json` prints, for pandas.DataFrame and the like."""
        return [process_object(entry, self._found.name_of) for entry in self]


class Containers(Listed[Running]):
    """Containers, and PID namespaces that belong to none: what `tracer.containers` returns."""

    def __init__(self, found: Gathered, notes: Sequence[str]) -> None:
        everyone = running(found.census, found.init_of)
        shown = [one for one in everyone if any(one.init.is_meant(target) for target in found.targets)]
        super().__init__(shown, found.moment_ns, notes)
        self._moment_ns = found.moment_ns

    def __str__(self) -> str:
        return _text(container_table(self, self._moment_ns))

    def to_dicts(self) -> list[dict[str, Any]]:
        """The objects that `nstrace containers --json` prints."""
        return [container_json(one) for one in self]


@dataclass(frozen=True, slots=True, repr=False)
class Node:
    """A process in a tree. depth: how many of its ancestors are in the tree; children: in the order of their start."""

    process: Entry
    depth: int
    children: list[Node] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<{self.process!r} with {len(self.children)} children>"


class Tree(Listed[Node]):
    """All processes of a tree, parents ahead of their children: what `tracer.tree` returns. roots: those without a
    parent in it."""

    def __init__(self, found: Gathered, notes: Sequence[str]) -> None:
        super().__init__(tuple(_nodes(found.entries)), found.moment_ns, notes)
        self._found = found
        self.roots: tuple[Node, ...] = tuple(node for node in self if node.depth == 0)

    def __str__(self) -> str:
        return f"{HEADER}\n{tree(self._found.census, self._found.entries)}".rstrip("\n")

    def to_dicts(self) -> list[dict[str, Any]]:
        """The objects that `nstrace tree --json` prints."""
        return [{"depth": node.depth} | process_object(node.process, self._found.name_of) for node in self]


def _nodes(entries: Sequence[Entry]) -> Iterator[Node]:
    nodes: dict[object, Node] = {}
    for depth, entry in processes(entries):
        node = nodes[entry.proc_id] = Node(entry, depth)
        if depth:
            nodes[entry.parent].children.append(node)
        yield node


def _text(table: TextColumns) -> str:
    return "\n".join((table.header, *table.lines))


def _shortened(text: str) -> str:
    lines = text.split("\n")
    if len(lines) <= _MAX_LINES:
        return text
    return "\n".join((*lines[: _MAX_LINES - 1], f"... and {len(lines) - _MAX_LINES + 1} more lines: print() shows all"))
