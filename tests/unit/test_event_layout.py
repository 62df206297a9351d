"""The record is declared once, and laid out in C as the numpy dtypes say."""

import re
from enum import IntEnum, IntFlag
from pathlib import Path

import numpy as np
import pytest

from tracer.stream.account import COUNTS
from tracer.stream.batch import EVENT, NUMBER, PIECE
from tracer.stream.schema import COUNTED_KINDS, COUNTER_SLOTS, EVENT_BYTES, KINDS, Flag, Kind, Maker, PieceKind

BPF = Path(__file__).parents[2] / "bpf"
HEADER = (BPF / "event.h").read_text()
PROBES = (BPF / "nstrace.bpf.c").read_text()
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "char": 1, "struct number": 16}


def constant(text: str) -> int:
    if text.isdigit():
        return int(text)
    found = re.search(rf"#define {text} (\d+)", HEADER + PROBES)
    assert found, text
    return int(found[1])


def c_members(structure: str, source: str = HEADER) -> tuple[list[tuple[str, int]], int]:
    """Names and offsets by C's rules of alignment, and the size."""
    body = re.search(rf"struct {structure} {{\n(.*?)\n}}(?: __attribute__\(\(aligned\((\d+)\)\)\))?;", source, re.S)
    assert body
    at, members = 0, []
    for c_type, name, count in re.findall(r"^\t(struct \w+|\w+) (\w+)(?:\[(\w+)\])?;", body[1], re.M):
        align = 8 if c_type.startswith("struct") else SIZES[c_type]
        at += -at % align
        members.append((name, at))
        at += SIZES[c_type] * (constant(count) if count else 1)
    return members, at + -at % int(body[2] or 8)


def members_of(dtype: np.dtype) -> list[tuple[str, int]]:
    assert dtype.names and dtype.fields
    return [(name, dtype.fields[name][1]) for name in dtype.names]


@pytest.mark.parametrize(("structure", "dtype"), [("event", EVENT), ("piece", PIECE), ("number", NUMBER)])
def test_same_members_at_the_same_offsets(structure: str, dtype: np.dtype) -> None:
    members, size = c_members(structure)
    assert members == members_of(dtype)
    assert size == dtype.itemsize


def test_the_counters_are_read_as_they_are_declared() -> None:
    members, size = c_members("counts", PROBES)
    assert members == members_of(COUNTS)
    assert size == COUNTS.itemsize


def test_one_size_for_all_records() -> None:
    assert EVENT.itemsize == PIECE.itemsize == EVENT_BYTES
    assert EVENT.fields and PIECE.fields
    for shared in ("seq", "kind", "cpu"):
        assert EVENT.fields[shared] == PIECE.fields[shared]


@pytest.mark.parametrize(("prefix", "enum"), [("KIND_", Kind), ("KIND_PIECE_", PieceKind), ("FLAG_", Flag)])
def test_same_enumerators(prefix: str, enum: type[IntEnum] | type[IntFlag]) -> None:
    in_c = {name: int(value) for name, value in re.findall(rf"\b{prefix}([A-Z_]+) = (\d+)", HEADER)}
    in_c = {name: value for name, value in in_c.items() if not name.startswith("PIECE_")}
    made = [member for member in enum if not isinstance(member, Kind) or KINDS[member].maker is not Maker.READER]
    assert in_c == {member.name: int(member) for member in made}


def test_every_kind_that_is_counted_has_a_counter_of_its_own() -> None:
    """The programs take a kind's lowest bits as the index."""
    assert len({kind & (COUNTER_SLOTS - 1) for kind in COUNTED_KINDS}) == len(COUNTED_KINDS)
    assert COUNTER_SLOTS & (COUNTER_SLOTS - 1) == 0
    assert COUNTS["attempts"].shape == (COUNTER_SLOTS,)
