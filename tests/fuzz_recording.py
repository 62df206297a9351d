"""Fuzzer of the reader of recordings: every cut, every flipped bit, and changes behind checksums that fit.

    python tests/fuzz_recording.py [SECONDS [SEED]]

cuts and flips: all of a recording of 64 kB. changes: random ones, for SECONDS (60). Whatever is in a file, reading it
gives batches that can be shown, or NstraceError; any other exception, a crash, or one file that takes more than
MAX_FILE_S ends the fuzzer. Memory is limited by RLIMIT_AS.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from builders import PIDNS, WEB, batch, cgroup, fork, gap, row
from recordings import Memory, facts, read, record, storm

from tracer.errors import NstraceError
from tracer.recording import frames
from tracer.recording.index import Index
from tracer.recording.past import read_past
from tracer.recording.reader import Recording
from tracer.recording.row_filter import RowFilter
from tracer.recording.source import RecordedSource
from tracer.stream.batch import Batch
from tracer.stream.schema import Kind
from tracer.stream.table import Table
from tracer.views.jsonl import JsonLines
from tracer.views.lines import Lines
from tracer.wiring.open_recordings import find_files

MAX_FILE_S = 20.0
MAX_MEMORY = 4 << 30
_PROCESSES = frozenset(Kind) - {Kind.CGROUP, Kind.PIDNS}


def messages(data: bytes) -> list[bytes]:
    """A recording cut into its messages."""
    found = []
    at = 0
    while at + 8 < len(data):
        header = data[at + 8 : at + 8 + frames.header_bytes(data[at : at + 8])]
        length = 8 + len(header) + frames.parse(header).body_bytes
        found.append(data[at : at + length])
        at += length
    return found


def show(data: bytes) -> int:
    """Read it as replay does, through table, attribution and both views, and as translate does. How many characters
    were shown."""
    shown = 0
    try:
        source = RecordedSource([Recording("file", Memory(data), lambda _line: None)])
        views = (
            JsonLines(_PROCESSES, threads=True, wall_offset_ns=source.wall_offset_ns),
            Lines(_PROCESSES, color=True, threads=True, wall_offset_ns=source.wall_offset_ns),
        )
        table = Table()
        for part in source.batches(lambda: 0.0):
            table.apply(part)
            shown += sum(len(view.render(part, source.attribution)) for view in views if len(part))
        read_past(RecordedSource([Recording("file", Memory(data), lambda _line: None)]), RowFilter({10}))
    except NstraceError:
        pass
    return shown


def sample() -> bytes:
    """A small recording with a bit of everything."""
    deep = [(PIDNS + n, 10 + n) for n in range(9)]
    everything = batch(
        cgroup(7, WEB),
        row(Kind.SNAPSHOT, 50, [(PIDNS, 1)], cgroup_id=7, exe=b"/bin/init", args=[b"init"], state=ord("S")),
        fork(60, deep, comm=b"\xff\x1b[31m"),
        row(Kind.EXEC, 60, deep, exe=b"/bin/\xe9", args=[b"a b", b"", b"\xff\n"], flags=1, old_tid=61),
        gap(12),
    )
    return written([everything, storm(1, 5)])


def written(batches: list[Batch]) -> bytes:
    """A recording of these batches."""
    with TemporaryDirectory() as folder:
        record(Path(folder) / "x.arrows", batches)
        (path,) = find_files([folder])
        return Path(path).read_bytes()


def changed(data: bytes, dice: random.Random) -> bytes:
    """The same with some bytes of some messages changed, and checksums that fit."""
    parts = messages(data)
    for number in dice.sample(range(len(parts)), dice.randint(1, len(parts))):
        parts[number] = _resigned(parts[number], dice)
    if dice.random() < 0.1:
        parts.insert(dice.randrange(len(parts)), dice.choice(parts))
    return b"".join(parts)


_VALUES = (0, 1, 0x7F, 0x80, 0xFF)


def _resigned(message: bytes, dice: random.Random) -> bytes:
    length = frames.header_bytes(message[:8])
    header, body = bytearray(message[8 : 8 + length]), bytearray(message[8 + length :])
    told = frames.parse(bytes(header)).metadata["crc32"].encode()
    at = header.index(told)
    for _ in range(dice.choice((1, 1, 1, 2, 5, 20))):
        target = body if body and dice.random() < 0.6 else header
        place = dice.randrange(len(target))
        if not (target is header and at - 8 <= place < at + 16):
            target[place] = dice.choice((*_VALUES, dice.randrange(256), target[place] ^ 1 << dice.randrange(8)))
    header[at : at + 16] = b"?" * 16
    return frames.sign(frames.PREFIX.pack(0xFFFFFFFF, length) + bytes(header) + bytes(body))


def timed(data: bytes, what: str) -> None:
    """Show it; raises where that takes too long."""
    began = time.process_time()
    show(data)
    if time.process_time() - began > MAX_FILE_S:
        raise AssertionError(f"{what} takes {time.process_time() - began:.0f} s")


def fuzz_changes(seed: str, seconds: float) -> int:
    """Random changes until the time is over; how many files were read."""
    data, count = sample(), 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        name = f"change {seed}/{count}"
        timed(changed(data, random.Random(name)), name)
        count += 1
    return count


def large() -> bytes:
    """A recording of some 64 kB."""
    return written([Batch.concat([facts(), storm(1, 300)]), *(storm(n, 300) for n in range(301, 1200, 300))])


def begin(data: bytes) -> int:
    """Where the first batch stands."""
    return 8 + frames.header_bytes(data[:8])


def check_prefix(data: bytes, whole: bytes, at: int) -> None:
    """Cut there, exactly the batches before are read."""
    try:
        batches, said, recording = read(data[:at])
    except NstraceError:
        assert at < begin(data), f"cut at {at}: not read at all"
        return
    told = Batch.concat(batches)
    assert whole.startswith(told.rows["tgid"].tobytes()), f"cut at {at}: no prefix"
    assert recording.is_closed or said, f"cut at {at}: not told"


def check_flip(data: bytes, whole: bytes, bit: int) -> None:
    """With this bit flipped all is read but one batch, and it is told where, or that it was not closed."""
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        batches, said, _recording = read(bytes(flipped))
    except NstraceError:
        assert bit // 8 < begin(data), f"bit {bit}: not read at all"
        return
    told = [b for b in batches if b.rows["kind"][0] != Kind.GAP]
    missing = len(whole) // 4 - sum(map(len, told))
    gaps = sum(int(b.rows["seq"][0]) for b in batches if b.rows["kind"][0] == Kind.GAP)
    assert missing in (0, gaps), f"bit {bit}: {missing} rows are missing, gaps tell {gaps}"
    assert said or Batch.concat(told).rows["tgid"].tobytes() == whole, f"bit {bit}: wrong, and not told"


def cached_decoding() -> None:
    """Batches that have been decoded once are not decoded again: only what is behind the checksum is of interest."""
    decode = Recording._decode
    known: dict[tuple[str, int], Batch] = {}

    def remembered(recording: Recording, message: frames.Message, index: Index, body: bytes) -> Batch:
        key = (message.metadata["crc32"], len(body))
        if key not in known:
            known[key] = decode(recording, message, index, body)
        return known[key]

    Recording._decode = remembered  # type: ignore[method-assign, assignment]


def run(check: Callable[[bytes, bytes, int], None], data: bytes, whole: bytes, places: range) -> int:
    """A check at many places."""
    cached_decoding()
    for place in places:
        check(data, whole, place)
    return len(places)


def split(length: int, pieces: int) -> Iterator[range]:
    """range(length) in pieces."""
    step = -(-length // pieces)
    return (range(at, min(length, at + step)) for at in range(0, length, step))


def main() -> None:
    """All of it, on all processors."""
    parser = argparse.ArgumentParser(
        "scripts/fuzz --exhaustive", description="Tries to break the reader of recordings."
    )
    parser.add_argument("seconds", type=float, nargs="?", default=60.0, help="how long the random part takes (60)")
    parser.add_argument("seed", nargs="?", default="1", help="of the random part (1)")
    options = parser.parse_args()
    seconds, seed = options.seconds, options.seed
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    data = large()
    whole = Batch.concat(read(data)[0]).rows["tgid"].tobytes()
    print(f"fuzz: a recording of {len(data)} bytes", flush=True)
    with ProcessPoolExecutor() as pool:
        for what, check, length in (("cuts", check_prefix, len(data)), ("flipped bits", check_flip, len(data) * 8)):
            began = time.monotonic()
            count = sum(pool.map(partial(run, check, data, whole), split(length, 64)))
            print(f"fuzz: {count} {what} in {time.monotonic() - began:.0f} s", flush=True)
        count = sum(pool.map(fuzz_changes, [f"{seed}.{n}" for n in range(2)], [seconds] * 2))
        print(f"fuzz: {count} changed files in {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
