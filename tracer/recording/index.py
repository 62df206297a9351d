"""What a batch of a recording says about itself, and what its end says about the whole file: metadata of messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial

from tracer.recording.frames import Damaged
from tracer.recording.keys import Keys, unpacked
from tracer.recording.metadata import number_in

MANY = "1"
"""What counts as many rows in a recording of a version that did not count them: whether there are any is what is
asked."""


@dataclass(frozen=True)
class Index:
    """What a batch's metadata says about it. first_row: how many rows precede it in the recording; facts: how many of
    its rows are about containers, moves between them, and sessions; late: how many of them name a container that was
    reported without a name before, or may do so; always: how many a question about whichever numbers needs (`Indexer`);
    carried: it repeats what the file before has reported; end: it is the last, and empty; quiet: it is empty, and says
    that all that happened until its time has been reported. Times are boottime.

    keys: reads which numbers it is about; returns None where that is not known.
    """

    first_row: int
    first_ns: int
    last_ns: int
    lost: int
    facts: int
    late: int
    always: int
    carried: int
    end: int
    quiet: int
    keys: Callable[[], Keys | None] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, metadata: Mapping[str, str]) -> Index:
        """The index in a message's metadata. Raises Damaged."""
        try:
            facts = metadata.get("facts", "0")  # the version before did not count late names
            absent = {"late": facts, "always": MANY}
            numbers = [number_in(metadata, name, absent.get(name, "0")) for name in _INDEX_NAMES]
        except ValueError as error:
            raise Damaged(f"metadata of no batch: {error}") from error
        return cls(*numbers, partial(unpacked, metadata.get("keys", "")))  # type: ignore[call-arg, arg-type]


_INDEX_NAMES = tuple(one.name for one in fields(Index) if one.name != "keys")


@dataclass(frozen=True)
class Whole:
    """What the end of a file says of all its batches; times are boottime. rows, facts, late, always, lost: altogether,
    as in `Index`, but for facts and always without batches that are carried."""

    begin_ns: int
    last_ns: int
    rows: int
    facts: int
    late: int
    always: int
    lost: int

    @classmethod
    def parse(cls, metadata: Mapping[str, str]) -> Whole | None:
        """What the metadata of the end says; None: nothing, for it was written by a version before. Raises Damaged."""
        if "begin_ns" not in metadata:
            return None
        try:
            return cls(*[number_in(metadata, name) for name in WHOLE_NAMES])
        except ValueError as error:
            raise Damaged(f"metadata of no end: {error}") from error


WHOLE_NAMES = ("begin_ns", "last_ns", "first_row", "all_facts", "all_late", "all_always", "all_lost")


class Sums:
    """What all batches of a file say together: what its end has to say."""

    def __init__(self) -> None:
        self._begin_ns: int | None = None
        self._facts = self._late = self._always = self._lost = 0

    def add(self, index: Index) -> None:
        """The next batch."""
        self._begin_ns = index.first_ns if self._begin_ns is None else min(self._begin_ns, index.first_ns)
        self._late, self._lost = self._late + index.late, self._lost + index.lost
        if not index.carried:
            self._facts, self._always = self._facts + index.facts, self._always + index.always

    def fit(self, whole: Whole) -> bool:
        """Whether the end says the same."""
        begin_ns = whole.last_ns if self._begin_ns is None else self._begin_ns
        said = (whole.begin_ns, whole.facts, whole.late, whole.always, whole.lost)
        return said == (begin_ns, self._facts, self._late, self._always, self._lost)
