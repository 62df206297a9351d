"""What a batch of a recording says about itself: the metadata of its message."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tracer.recording.frames import Damaged
from tracer.recording.metadata import number_in


@dataclass(frozen=True)
class Index:
    """What a batch's metadata says about it. first_row: how many rows precede it in the recording; facts: how many of
    its rows are about containers, moves between them, and sessions; late: how many of them name a container that was
    reported without a name before, or may do so; carried: it repeats what the file before has reported; end: it is the
    last, and empty. Times are boottime."""

    first_row: int
    first_ns: int
    last_ns: int
    lost: int
    facts: int
    late: int
    carried: int
    end: int

    @classmethod
    def parse(cls, metadata: dict[str, str]) -> Index:
        """The index in a message's metadata. Raises Damaged."""
        try:
            facts = metadata.get("facts", "0")  # the version before did not count late names
            absent = {"late": facts}
            return cls(*[number_in(metadata, name, absent.get(name, "0")) for name in _INDEX_NAMES])
        except ValueError as error:
            raise Damaged(f"metadata of no batch: {error}") from error


_INDEX_NAMES = tuple(field.name for field in fields(Index))
