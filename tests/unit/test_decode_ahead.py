"""Batches that are decoded ahead: the same come as without, whatever is in the file."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from recordings import facts, record, storm

from tracer.ask.ahead import Ahead
from tracer.recording.inputs import open_regular
from tracer.recording.reader import Recording
from tracer.stream.batch import Batch

COUNT = 6


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def read(path: Path, pool: Executor | None, wanted: int = COUNT) -> tuple[list[bytes], list[str], bool]:
    """All batches, what was said, and whether the end was read. wanted: of these batches every one that is read."""
    said: list[str] = []
    recording = Recording("x", open_regular(str(path)), said.append)
    recording.pool = pool
    batches = [part.batch for part in recording.parts(lambda index: index.first_row % wanted < 4 * 60) if part.batch]
    return [whole(batch) for batch in batches], said, recording.is_closed


def whole(batch: Batch) -> bytes:
    return batch.rows.tobytes() + batch.heap


@pytest.fixture
def path(tmp_path: Path) -> Path:
    record(tmp_path / "x.arrows", [facts(), *(storm(at * 20, 20) for at in range(COUNT))])
    return tmp_path / "x.arrows"


def test_the_same_batches_come(path: Path, pool: Executor) -> None:
    found, said, is_closed = read(path, pool)
    assert (found, said, is_closed) == read(path, None) and len(found) == COUNT + 1 and is_closed


def test_some_are_not_wanted(path: Path, pool: Executor) -> None:
    assert read(path, pool, 5 * 60) == read(path, None, 5 * 60)


def test_it_is_used(path: Path, pool: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    before, calls = Recording._columns, []

    def counted(*args: Any) -> pa.RecordBatch:
        calls.append(args)
        return before(*args)

    monkeypatch.setattr(Recording, "_columns", counted)
    assert len(read(path, pool)[0]) == COUNT + 1
    assert len(calls) == 1  # the first


def test_wherever_it_is_damaged_or_torn(path: Path, pool: Executor) -> None:
    data = path.read_bytes()
    for at in range(0, len(data), len(data) // 9):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        if at < 64:  # it is no recording then
            continue
        try:
            expected = read(path, None)
        except Exception as error:
            with pytest.raises(type(error)):
                read(path, pool)
            continue
        assert read(path, pool) == expected, at
        path.write_bytes(data[:at])
        assert at < 8000 or read(path, pool) == read(path, None), at


def test_what_fails_ahead_is_raised_at_its_place() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("three")

    for has_begun in (False, True):
        ahead = Ahead()
        if has_begun:
            ahead.begin()
        found = ahead.of(items())
        assert [next(found), next(found)] == [1, 2]
        with pytest.raises(ValueError, match="three"):
            next(found)
        assert list(ahead.of(range(5))) == [0, 1, 2, 3, 4]
