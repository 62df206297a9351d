"""What a reader makes of files: whole, torn, damaged, hostile, foreign."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fuzz_recording import changed, messages, sample, show
from recordings import Memory, facts, read, record, storm

from tracer.errors import NstraceError
from tracer.recording import frames
from tracer.recording.columns import from_arrow, to_arrow
from tracer.recording.inputs import FileInput, open_input
from tracer.recording.metadata import of_this_host
from tracer.recording.reader import Recording
from tracer.recording.row_filter import RowFilter
from tracer.recording.schema import SCHEMA
from tracer.stream.batch import Batch
from tracer.stream.schema import NO_CPU, Kind
from tracer.text.clock import Clock, calendar
from tracer.views.sheet import Sheet

BATCHES = [Batch.concat([facts(), storm(1, 40)]), storm(41, 40), storm(81, 40), storm(121, 40)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "web.arrows"


def tgids(batches: list[Batch]) -> list[int]:
    found: list[int] = Batch.concat(batches).rows["tgid"].tolist()
    return found


def test_whole(path: Path) -> None:
    record(path, BATCHES)
    batches, said, recording = read(path.read_bytes())
    assert tgids(batches) == tgids(BATCHES)
    assert Batch.concat(batches).heap == Batch.concat(BATCHES).heap
    assert (said, recording.is_closed, recording.damages) == ([], True, 0)


def test_cut_anywhere_it_gives_an_exact_prefix(path: Path) -> None:
    offsets = record(path, BATCHES)
    data = path.read_bytes()
    ends = {end: tgids(BATCHES[: number + 1]) for number, end in enumerate(offsets[2:])}
    cuts = {*offsets[1:], *(offset + 1 for offset in offsets[1:]), *random.Random(1).sample(range(len(data)), 200)}
    for cut in sorted(cuts):
        if cut < offsets[1]:
            with pytest.raises(NstraceError, match=r"not an nstrace recording|damaged at byte 0"):
                read(data[:cut])
            continue
        batches, said, recording = read(data[:cut])
        assert tgids(batches) == next((rows for end, rows in sorted(ends.items(), reverse=True) if end <= cut), [])
        if not recording.is_closed:
            assert said == [line for line in said if "not closed cleanly" in line]
            assert len(said) == 1


def test_a_flipped_bit_damages_one_batch_and_is_told(path: Path) -> None:
    offsets = record(path, BATCHES)
    data = path.read_bytes()
    for bit in random.Random(2).sample(range(offsets[1] * 8, len(data) * 8), 300):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        batches, said, recording = read(bytes(flipped))
        told = [batch for batch in batches if batch.rows["kind"][0] != Kind.GAP]
        gaps = [batch for batch in batches if batch.rows["kind"][0] == Kind.GAP]
        hit = sum(offset <= bit // 8 for offset in offsets[1:]) - 1  # which batch
        left = [batch for number, batch in enumerate(BATCHES) if number != hit]
        assert tgids(told) == tgids(left if hit < len(BATCHES) else BATCHES)
        if hit < len(BATCHES):
            assert any(f"damaged at byte {offsets[1 + hit]}" in line for line in said), said
            assert (recording.damages, recording.is_closed) == (1, True)
            assert [int(gap.rows["seq"][0]) for gap in gaps] == [len(BATCHES[hit])]
            assert gaps[0].rows["cpu"][0] == NO_CPU
        elif not recording.is_closed:
            assert said  # its end is damaged


def test_a_flipped_bit_in_the_beginning_is_told(path: Path) -> None:
    offsets = record(path, BATCHES)
    data = path.read_bytes()
    for bit in random.Random(3).sample(range(offsets[1] * 8), 200):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NstraceError, match=r"damaged at byte 0|not an nstrace recording"):
            read(bytes(flipped))


def told_and_lost(data: bytes) -> tuple[list[int], int, list[str], Recording]:
    """Whom the batches tell of, how many rows the gaps say are missing, what was said, and the recording."""
    batches, said, recording = read(data)
    gaps = [batch.rows[0] for batch in batches if len(batch) and batch.rows["kind"][0] == Kind.GAP]
    assert all(gap["start_ns"] <= gap["ts_ns"] for gap in gaps)
    told = tgids([batch for batch in batches if len(batch) and batch.rows["kind"][0] != Kind.GAP])
    return told, sum(int(gap["seq"]) for gap in gaps), said, recording


@pytest.mark.parametrize(
    ("order", "told", "why"),
    [
        ("0 1 1 2 3 end", "0 1 2 3", "out of order, or there twice"),
        ("0 1 2 3 1 end", "0 1 2 3", "out of order, or there twice"),
        ("0 2 1 3 end", "0 2 3", "120 rows are missing ahead of it"),
        ("0 3 end", "0 3", "240 rows are missing ahead of it"),
        ("0 1 2 end", "0 1 2", "120 rows are missing ahead of it"),
        ("1 2 3 end", "1 2 3", "121 rows are missing ahead of it"),
        ("0 1 other 2 3 end", "0 1 2 3", "a batch of another recording"),
        ("0 other 2 3 end", "0 2 3", "a batch of another recording"),
        ("0 other other other 1 2 3 end", "0 1 2 3", "a batch of another recording"),
    ],
)
def test_batches_that_are_not_where_they_were_written(order: str, told: str, why: str, tmp_path: Path) -> None:
    record(tmp_path / "mine", BATCHES)
    record(tmp_path / "other", BATCHES)
    schema, *pieces, end = messages((tmp_path / "mine").read_bytes())
    places = {str(number): piece for number, piece in enumerate(pieces)}
    places |= {"end": end, "other": messages((tmp_path / "other").read_bytes())[2]}
    data = b"".join([schema, *(places[name] for name in order.split()), frames.END])
    rows, lost, said, recording = told_and_lost(data)
    assert rows == tgids([BATCHES[int(number)] for number in told.split()])
    assert len(rows) + lost == len(tgids(BATCHES))
    assert recording.damages
    assert why in said[0]
    assert len(said) == len(set(said))  # of many batches the same is said once


@pytest.mark.parametrize("seed", range(5))
def test_whatever_order_batches_are_in_none_is_told_twice(seed: int, path: Path) -> None:
    record(path, BATCHES)
    data = path.read_bytes()
    schema, *pieces, end = messages(data)
    dice = random.Random(seed)
    for _ in range(40):
        order = dice.choices(range(len(pieces)), k=dice.randint(1, 7))
        shuffled = b"".join([schema, *(pieces[number] for number in order), end, frames.END])
        rows, lost, said, recording = told_and_lost(shuffled)
        whole = iter(tgids(BATCHES))
        assert all(row in whole for row in rows)  # in the order of the whole, each at most once
        assert len(rows) + lost == len(tgids(BATCHES))
        assert (shuffled == data) == (not said) == (not recording.damages)


def test_more_behind_the_end_is_said(path: Path) -> None:
    record(path, BATCHES)
    path.write_bytes(path.read_bytes() * 2)  # as by cat of two
    said: list[str] = []
    recording = Recording("file", open_input(str(path)), said.append)
    assert tgids([part.batch for part in recording.parts() if part.batch]) == tgids(BATCHES)
    assert recording.is_closed
    whys = ["there is more behind its end", "a second beginning of it", "a batch that is out of order, or there twice"]
    assert [line.partition(": ")[2] for line in said] == whys


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(1000), "it is not an Arrow stream"),
        (b'{"event": "fork"}\n', "it is not an Arrow stream"),
        (bytes(1 << 16), "it is not an Arrow stream"),
        (b"\xff\xff\xff\xff\xf8\xff\xff\x7f" + bytes(64), "it is not an Arrow stream"),
        (b"\xff\xff\xff\xff\x00\x01\x00\x00" + bytes(64), "it is not an Arrow stream"),
    ],
)
def test_no_recording(data: bytes, why: str) -> None:
    with pytest.raises(NstraceError, match=why):
        read(data)


def test_another_arrow_stream() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("x", pa.int8())])):
        pass
    with pytest.raises(NstraceError, match="some other Arrow stream"):
        read(sink.getvalue().to_pybytes())


def test_a_newer_schema_says_so() -> None:
    facts = {**of_this_host(0, []), "nstrace_schema": "2"}
    with pytest.raises(NstraceError, match=r"newer nstrace \(schema 2") as raised:
        read(frames.of_schema(facts))
    assert raised.value.hint == "upgrade nstrace"


def hostile(columns: pa.RecordBatch, **metadata: str) -> bytes:
    return frames.of_schema(of_this_host(0, [])) + frames.of_batch(columns, {"first_row": "0", **metadata})


def with_list(name: str, values: list[list[int]]) -> pa.RecordBatch:
    columns = to_arrow(storm(1, 1), 0)
    place = columns.schema.get_field_index(name)
    return columns.set_column(place, columns.schema.field(place), pa.array(values, columns.schema.types[place]))


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        (with_list("pids", [[1]] * 3), "lists of different lengths"),
        (with_list("pids", [[1, 2, 3], [1], [1, 2]]), "lists of different lengths"),
    ],
)
def test_signed_columns_that_no_writer_writes(columns: pa.RecordBatch, why: str) -> None:
    batches, said, recording = read(hostile(columns))
    assert (batches, recording.damages) == ([], 1)
    assert why in said[0]


def test_metadata_that_no_writer_writes() -> None:
    for value in ("-1", "1e9", "9" * 30, "x"):
        _batches, said, recording = read(hostile(to_arrow(storm(1, 1), 0), first_ns=value))
        assert "metadata" in said[0]
        assert recording.damages == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("wall_offset_ns", value) for value in (1 << 62 << 1, -(1 << 62), 10**30)),
        *(("realtime_ns", value) for value in (-1, 10**30, -(10**30), 1 << 63)),
        *(("part", value) for value in (0, -5, 10**25)),
    ],
)
def test_metadata_of_no_time_and_no_part(name: str, value: int) -> None:
    with pytest.raises(NstraceError, match=rf"damaged at byte 0: its {name} is not plausible"):
        read(frames.of_schema(of_this_host(0, []) | {name: str(value)}))


def test_a_clock_that_says_1970_on_a_host_that_is_up_for_days() -> None:
    day_ns = 86_400 * 10**9
    data = frames.of_schema(of_this_host(-day_ns, []) | {"realtime_ns": "5"})
    assert read(data)[2].facts.wall_offset_ns == -day_ns
    sheet, times = Sheet(1), np.array([day_ns + 1_500_000_000], np.uint64)
    clock = Clock(-day_ns, calendar("%Y-%m-%dT%H:%M:%S", time.gmtime), 3)
    clock.put(sheet, times)
    assert sheet.render().decode().strip() == clock.text(int(times[0])) == "1970-01-01T00:00:01.500"


def unreadable(fill: bytes) -> Batch:
    """Facts about cgroups that are replaced by these bytes; the first of them is cut or repeated to fit."""
    bad = facts()
    at = bad.rows["kind"] == Kind.CGROUP
    bad.rows["args_len"][at] = bad.rows["args_total"][at] = len(fill)
    return Batch(bad.rows[at], fill * int(at.sum()))


@pytest.mark.parametrize("fill", [b"\xff" * 50, b'{"unknown":' + b"[" * 100_000])
def test_a_container_that_cannot_be_read(fill: bytes) -> None:
    batches, said, _recording = read(hostile(to_arrow(unreadable(fill), 0)))
    assert batches == []
    assert "a container that cannot be read" in said[0]


def test_skipping_by_the_index_reads_headers_alone(path: Path) -> None:
    offsets = record(path, BATCHES)
    pristine = path.read_bytes()
    with path.open("r+b") as file:  # bodies that were read would be found damaged
        for end in offsets[2:4]:
            file.seek(end - 16)
            file.write(bytes(16))
        assert path.read_bytes() != pristine
    source = open_input(str(path))
    assert isinstance(source, FileInput)
    recording = Recording("file", source, pytest.fail)
    from_ns = int(BATCHES[2].rows["ts_ns"][0])
    parts = list(recording.parts(lambda index: index.last_ns >= from_ns))
    assert [part.batch is None for part in parts] == [True, True, False, False]
    assert tgids([part.batch for part in parts if part.batch]) == tgids(BATCHES[2:])


def test_of_batches_that_are_not_asked_for_few_columns_are_unpacked(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    record(path, BATCHES)
    recording = Recording("file", Memory(path.read_bytes()), pytest.fail)
    wanted = int(BATCHES[2].rows["tgid"][1])
    recording.sieve = RowFilter({wanted})
    unpack, unpacked = frames.decode, Counter[int]()

    def decode(*args: Any) -> pa.RecordBatch:
        columns = unpack(*args)
        unpacked[columns.num_columns] += 1
        return columns

    monkeypatch.setattr(frames, "decode", decode)
    kept = Batch.concat([part.batch for part in recording.parts() if part.batch is not None])
    assert (kept.rows["tgid"] == wanted).sum() == 3
    # whole: the first, which tells of the container, and the one that was asked for
    assert unpacked == {len(RowFilter.needs): len(BATCHES), len(SCHEMA): 2}


@pytest.mark.parametrize(
    ("name", "what"), [("/dev/zero", "a device"), ("/", "a folder"), ("/nowhere/at/all", "no such file")]
)
def test_files_that_are_none(name: str, what: str) -> None:
    with pytest.raises(NstraceError, match=what):
        open_input(name)


def test_a_fifo_that_nobody_writes_is_empty(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NstraceError, match="it is empty"):
        Recording("fifo", open_input(str(tmp_path / "fifo")), pytest.fail)


def test_a_pipe_is_read_as_it_comes(path: Path) -> None:
    record(path, BATCHES)
    reader, writer = os.pipe()
    source = open_input(f"/dev/fd/{reader}")
    os.set_blocking(writer, False)
    os.write(writer, path.read_bytes()[:60000])
    os.close(writer)
    recording = Recording("pipe", source, lambda _line: None)
    assert tgids([part.batch for part in recording.parts() if part.batch])[:120] == tgids(BATCHES)[:120]


def test_memory_input_is_as_a_file(path: Path) -> None:
    path.write_bytes(bytes(range(100)))
    for source in (Memory(path.read_bytes()), open_input(str(path))):
        assert source.read(10) == bytes(range(10))
        source.unread(bytes(range(4, 10)))
        assert (source.at, source.skip(16), source.read(2)) == (4, 16, bytes([20, 21]))
        assert (source.skip(1000), source.read(5)) == (78, b"")


def test_rows_of_a_recording_are_the_rows_that_were_written(path: Path) -> None:
    record(path, BATCHES)
    batches, _said, _recording = read(path.read_bytes())
    before, after = Batch.concat(BATCHES), Batch.concat(batches)
    for name in before.rows.dtype.names or ():
        if name not in ("seq", "cpu"):  # of rows that have none it is not recorded
            assert np.array_equal(before.rows[name], after.rows[name]), name


@pytest.mark.parametrize("seed", range(3))
def test_changes_behind_checksums_that_fit(seed: int) -> None:
    data = sample()
    for number in range(60):  # scripts/fuzz has more of them
        show(changed(data, random.Random(f"{seed}/{number}")))


def test_an_empty_batch_with_offsets_into_nothing() -> None:
    columns = to_arrow(Batch.concat([]), 0)
    offsets = pa.py_buffer(np.array([40448], np.int32))
    place = columns.schema.get_field_index("pids")
    empty = pa.Array.from_buffers(columns.schema.types[place], 0, [None, offsets], children=[pa.array([], pa.int32())])
    assert len(from_arrow(columns.set_column(place, columns.schema.field(place), empty), 0)) == 0
