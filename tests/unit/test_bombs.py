"""Small files that would unfold to much, and files that have no end: one clear line, at once, in little memory."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from builders import PIDNS, SECOND_NS, batch, cgroup, fork, row
from conftest import wait_for
from fuzz_recording import messages
from measuring import LIMIT_BYTES, ROOT, Done, measured
from recordings import WALL_NS, facts, read, record, storm

from tracer.errors import NstraceError
from tracer.past import census as past
from tracer.recording import frames, limits
from tracer.recording import past as recording_past
from tracer.recording.census import read_census
from tracer.recording.columns import to_arrow
from tracer.recording.inputs import open_input
from tracer.recording.metadata import of_this_host
from tracer.recording.past import read_past
from tracer.recording.reader import Recording
from tracer.recording.row_filter import RowFilter
from tracer.recording.schema import SCHEMA
from tracer.recording.source import RecordedSource
from tracer.stream.batch import EVENT, Batch
from tracer.stream.metadata import Container
from tracer.stream.pidns import INITIAL_PIDNS
from tracer.stream.schema import Kind

NULS = 120 << 20
BATCHES = [Batch.concat([facts(), storm(1, 40)]), storm(41, 40), storm(81, 40)]
COMMANDS = [
    "replay FILE",
    "replay --json FILE",
    "export FILE --to parquet -w OUT",
    "export FILE --to csv -w OUT",
    "export FILE --to jsonl -w OUT",
    "export FILE --to perfetto -w OUT",
    "timeline FILE -w OUT",
    "translate --from FILE 1001",
    "ps --from FILE",
    "tree --from FILE",
    "containers --from FILE",
]


def of_text(column: str, cell: object, count: int = 1) -> pa.RecordBatch:
    """A batch of rows that have this text."""
    columns = to_arrow(batch(*(row(Kind.EXEC, 1001, [(PIDNS, 1)], exe=b"/bin/x") for _ in range(count))), WALL_NS)
    place = columns.schema.get_field_index(column)
    return columns.set_column(place, columns.schema.field(place), pa.array([cell] * count, SCHEMA.types[place]))


class Forged:
    """A recording of messages that no writer writes, with checksums that fit."""

    def __init__(self) -> None:
        facts = of_this_host(WALL_NS, []) | {"realtime_ns": str(WALL_NS)}
        self.whose = {name: facts[name] for name in ("session", "part")}
        self.messages = [frames.of_schema(facts)]
        self.rows = 0

    def add(self, columns: pa.RecordBatch, **metadata: object) -> None:
        texts = {name: str(value) for name, value in metadata.items()}
        index = {"first_row": str(self.rows), "first_ns": str(SECOND_NS), "last_ns": str(100 * SECOND_NS)}
        self.messages.append(frames.of_batch(columns, index | self.whose | texts))
        self.rows += len(columns)

    def data(self) -> bytes:
        return b"".join(self.messages)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A row of 120 MB, and a good batch behind it."""
    forged = Forged()
    forged.add(of_text("args", bytes(NULS)))
    forged.add(to_arrow(storm(1, 1), WALL_NS))
    assert len(forged.data()) < 40_000
    return forged.data()


def run(command: str, path: Path) -> Done:
    out = path.with_suffix(".out")
    args = [{"FILE": path, "OUT": out}.get(word, word) for word in command.split()]
    done = measured(*args)
    return done._replace(stdout=out.read_bytes()) if out.exists() else done


@pytest.mark.parametrize("command", COMMANDS)
def test_a_row_of_120_mb_of_nuls(command: str, bomb: bytes, tmp_path: Path) -> None:
    (tmp_path / "bomb.arrows").write_bytes(bomb)
    done = run(command, tmp_path / "bomb.arrows")
    assert f"a column args of {NULS} bytes in a batch of 1 rows" in done.stderr
    assert done.stderr.count("is damaged") == 1
    if "translate" in command:
        assert "1001: there may be others: events were lost" in done.stderr
    elif "timeline" not in command and "perfetto" not in command:  # what is behind it is read
        assert b"1001" in done.stdout or (done.exit_code == 0 and command.startswith(("ps", "tree", "containers")))
    assert done.peak_bytes < LIMIT_BYTES


@pytest.mark.parametrize("command", COMMANDS)
def test_two_hundred_such_batches(command: str, bomb: bytes, tmp_path: Path) -> None:
    parts = messages(bomb)
    whole = b"".join([parts[0], *([parts[1]] * 200), *parts[2:]])
    (tmp_path / "bomb.arrows").write_bytes(whole)
    done = run(command, tmp_path / "bomb.arrows")
    assert done.stderr.count("is damaged") == 1
    assert done.peak_bytes < LIMIT_BYTES


def test_nothing_is_unpacked_that_is_too_large(monkeypatch: pytest.MonkeyPatch, bomb: bytes) -> None:
    unpacked: list[int] = []
    opened = pa.ipc.open_stream

    def open_stream(data: pa.Buffer, **more: Any) -> Any:
        unpacked.append(len(data))
        return opened(data, **more)

    monkeypatch.setattr(pa.ipc, "open_stream", open_stream)
    batches, _said, recording = read(bomb)
    assert [len(batch) for batch in batches if batch.rows["kind"][0] != Kind.GAP] == [3]
    assert len(unpacked) == 1
    assert (recording.damages, recording.missing) == (1, 1)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        (of_text("comm", b"x" * 17), "a column comm|a name of more than 16 bytes"),
        (of_text("comm", b"x" * 4000), "a column comm of 4000 bytes in a batch of 1 rows"),
        (of_text("event", "x" * 4000), "a column event of 4000 bytes"),
        (of_text("exe", b"x" * (limits.MAX_EXE_BYTES + 1)), "more text than nstrace writes"),
        (of_text("args", b"x" * (limits.MAX_ARGS_BYTES + 1)), "more text than nstrace writes"),
        (of_text("args", b"x" * (limits.MAX_ROW_BYTES // 4), 300), "bytes in a batch of 300 rows"),
        (of_text("pids", list(range(1, 100))), "a column pids of 99 numbers in a batch of 1 rows"),
    ],
)
def test_more_than_a_writer_writes(columns: pa.RecordBatch, why: str) -> None:
    forged = Forged()
    forged.add(columns)
    forged.add(to_arrow(storm(1, 1), WALL_NS))
    batches, said, recording = read(forged.data())
    assert recording.damages == 1
    assert [len(part) for part in batches if part.rows["kind"][0] != Kind.GAP] == [3]
    assert any(text in said[0] for text in why.split("|")), said


def test_the_largest_that_a_writer_writes_is_read(tmp_path: Path) -> None:
    largest = [b"x" * (limits.MAX_ARGS_BYTES - 1)]
    deep = [(PIDNS + level, level + 1) for level in range(32)]
    rows = [
        row(Kind.EXEC, 1000 + n, deep, exe=b"/" * 4200, args=largest, start_ns=n, ts_ns=SECOND_NS) for n in range(900)
    ]
    labels = {f"label-{number}": "x" * 100 for number in range(4000)}
    many = batch(cgroup(7, Container("a" * 64, "docker", "web", "image", labels)), *rows)
    record(tmp_path / "x.arrows", [many, storm(1, limits.MAX_ROWS // 3 + 10)])
    batches, said, recording = read((tmp_path / "x.arrows").read_bytes())
    assert (said, recording.damages) == ([], 0)
    read_back = Batch.concat(batches)
    assert len(read_back) == len(many) + 3 * (limits.MAX_ROWS // 3 + 10)
    assert read_back.payload(1) == many.payload(1)
    assert b'"name":"web"' in read_back.payload(0).args  # without its labels


def test_what_is_larger_is_cut_by_the_writer(tmp_path: Path) -> None:
    long = row(Kind.EXEC, 5, exe=b"/bin/x", args=[b"y" * 100_000])
    record(tmp_path / "x.arrows", [batch(fork(4), long, fork(6))])
    batches, said, recording = read((tmp_path / "x.arrows").read_bytes())
    assert (said, recording.damages) == ([], 0)
    (part,) = batches
    assert part.rows["tgid"].tolist() == [4, 5, 6]
    assert part.payload(1).args == b"y" * limits.MAX_ARGS_BYTES
    assert part.rows["flags"].tolist() == [0, 1, 0]


# What is behind the end, and ends that are none.


def offsets(tmp_path: Path, name: str = "x") -> list[bytes]:
    record(tmp_path / name, BATCHES)
    return messages((tmp_path / name).read_bytes())


def told(data: bytes) -> tuple[int, list[str], Recording]:
    batches, said, recording = read(data)
    return sum(len(part) for part in batches if part.rows["kind"][0] != Kind.GAP), said, recording


def test_an_end_that_stands_first_or_in_the_middle(tmp_path: Path) -> None:
    schema, one, two, three, end = offsets(tmp_path)
    for order in ([end, one, two, three], [one, end, two, three, end], [end, frames.END, one, two, three, end]):
        count, said, recording = told(b"".join([schema, *order, frames.END]))
        assert count == 361
        assert recording.damages
        assert any("there is more behind its end" in line for line in said)


def test_two_recordings_in_one_file(tmp_path: Path) -> None:
    first, second = (b"".join(offsets(tmp_path, name)) + frames.END for name in ("a", "b"))
    (tmp_path / "both.arrows").write_bytes(first + second)
    for name in (tmp_path / "both.arrows", "-"):
        done = measured("replay", "--require-complete", name, stdin=first + second)
        assert done.exit_code == 5
        assert len(done.stdout.splitlines()) == 1 + 360
        assert "there is more behind its end" in done.stderr
        assert "another recording, which is not read" in done.stderr
        assert "not closed cleanly" not in done.stderr


def test_empty_markers_ahead_of_good_batches(tmp_path: Path) -> None:
    schema, *rest = offsets(tmp_path)
    count, said, recording = told(schema + frames.END * 100_000 + b"".join(rest) + frames.END)
    assert (count, recording.damages, recording.is_closed) == (361, 1, True)
    assert len(said) == 1


def test_empty_batches_ahead_of_good_ones(tmp_path: Path) -> None:
    forged = Forged()
    forged.add(pa.RecordBatch.from_pylist([], SCHEMA))
    schema, empty = forged.messages
    forged.add(to_arrow(storm(1, 10), WALL_NS))
    count, said, _recording = told(schema + empty * 20_000 + forged.messages[-1])
    assert count == 30
    assert [line.rpartition(": ")[2] for line in said[:1]] == ["an empty batch"]
    assert len(said) == 2  # and that there is no end


def test_a_header_at_every_byte_is_not_looked_at_for_ever(tmp_path: Path) -> None:
    schema, one, *_rest = offsets(tmp_path)
    header = one[: 8 + frames.header_bytes(one[:8])]
    forged = header.replace(b"crc32", b"crc31")  # its checksum has to be formed to see that it is none
    count, said, recording = told(schema + forged * 20_000 + one)
    assert recording.damages
    assert any("too much damage" in line for line in said) or count


# Files without an end.


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    path = tmp_path / "sparse.arrows"
    path.write_bytes(b"".join(offsets(tmp_path)[:3]))
    os.truncate(path, 1 << 40)
    return path


def test_a_sparse_terabyte_behind_a_beginning(sparse: Path) -> None:
    for command in ("replay --require-complete", "ps --from", "export --to csv -w -"):
        done = measured(*command.split(), sparse)
        assert done.exit_code == (5 if "complete" in command else 0)
        assert "is damaged at byte" in done.stderr
        assert done.peak_bytes < LIMIT_BYTES


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["replay -q -", "export --to csv -w - -", "translate 1 --from -"])
def test_a_stream_without_end_heeds_signals(command: str, number: int, tmp_path: Path) -> None:
    beginning = b"".join(offsets(tmp_path)[:2])
    argv = [sys.executable, "-m", "tracer", *command.split()]
    reading = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT)
    assert reading.stdin
    try:
        reading.stdin.write(beginning)
        reading.stdin.flush()
        wait_for(lambda: _is_asleep(reading.pid))
        os.kill(reading.pid, number)
        assert reading.wait(timeout=60) in (0, -number, 128 + number)
    finally:
        reading.kill()
        reading.communicate()


def _is_asleep(pid: int) -> bool:
    """Whether it waits for more of the stream, without privileges."""
    status = Path(f"/proc/{pid}/status").read_text()
    return "NoNewPrivs:\t1" in status and "State:\tS" in status


# Numbers out of range.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wall_offset_ns", -(1 << 62)), ("wall_offset_ns", 1 << 62 << 1), ("realtime_ns", -1), ("part", 10**18),
        ("nstrace_schema", -1), ("session", "x" * 1000), ("host", "y" * 1000), ("part", "1_0"), ("part", "\u0661"),
    ],
)  # fmt: skip
def test_metadata_of_the_stream_out_of_range(name: str, value: object, tmp_path: Path) -> None:
    facts = of_this_host(WALL_NS, []) | {name: str(value)}
    (tmp_path / "x.arrows").write_bytes(frames.of_schema(facts))
    for command in ("replay FILE", "export FILE --to csv -w OUT"):
        done = run(command, tmp_path / "x.arrows")
        assert done.exit_code == 1
        assert f"is damaged at byte 0: its {name} is not plausible" in done.stderr


@pytest.mark.parametrize("name", ["first_row", "first_ns", "last_ns", "lost", "facts", "late", "carried", "end"])
@pytest.mark.parametrize("value", [-1, 10**18 * 5, 10**30, "x"])
def test_metadata_of_a_batch_out_of_range(name: str, value: object) -> None:
    forged = Forged()
    forged.add(to_arrow(storm(1, 1), WALL_NS), **{name: value})
    _count, said, recording = told(forged.data())
    assert f"its {name} is not plausible" in said[0]
    assert recording.damages == 1


def test_times_out_of_range() -> None:
    for name in ("ts_ns", "start_ns", "parent_start_ns"):
        for value in (-1, limits.MAX_BOOT_NS + 1, (1 << 63) - 1):
            far = storm(1, 1)
            far.rows[name] = np.int64(value).view(np.uint64)
            forged = Forged()
            forged.add(to_arrow(far, 0))
            forged.messages[0] = frames.of_schema(of_this_host(0, []) | forged.whose)
            _count, said, _recording = told(forged.data())
            assert f"a {name} that is not plausible" in said[0]


@pytest.mark.parametrize("incarnation", [10**18, -1, 0])
@pytest.mark.parametrize("command", COMMANDS[:4])
def test_an_incarnation_out_of_range(incarnation: int, command: str, tmp_path: Path) -> None:
    container = Container("a" * 64, "docker", "web", "nginx", {}, incarnation)
    record(tmp_path / "x.arrows", [batch(cgroup(7, container)), storm(1, 1)])
    done = run(command, tmp_path / "x.arrows")
    assert "a container whose incarnation is not plausible" in done.stderr
    assert b"1001" in done.stdout or "parquet" in command


# A recording that unfolds to a quarter of a gigabyte; docs/security.md has the figures of a whole one.


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Processes with long arguments, most of which end; the last ones live."""
    path = tmp_path_factory.mktemp("large") / "large.arrows"
    record(path, _thousands())
    assert path.stat().st_size < 20 << 20
    return path


def _thousands() -> Iterator[Batch]:
    yield facts()
    for number in range(64):
        first = 1000 + number * 1000
        begin = SECOND_NS + number * 1_000_000
        rows = np.zeros(3000, EVENT)
        rows["kind"] = np.tile([Kind.FORK, Kind.EXEC, Kind.EXIT], 1000)
        tgid = np.repeat(np.arange(first, first + 1000), 3)
        rows["tgid"], rows["tid"], rows["cgroup_id"], rows["level"] = tgid, tgid, 7, 1
        rows["start_ns"], rows["ts_ns"] = begin + tgid, begin + tgid + np.tile([0, 10, 20], 1000)
        rows["comm"] = b"x"
        rows["chain"]["inum"][:, 0], rows["chain"]["nr"][:, 0], rows["chain"]["gen"][:, 0] = PIDNS, 2 + tgid % 30_000, 1
        is_exec = rows["kind"] == Kind.EXEC
        rows["exe_len"][is_exec], rows["args_len"][is_exec], rows["args_total"][is_exec] = 6, 4090, 4090
        if number % 16 == 0:  # these live
            rows["kind"][rows["kind"] == Kind.EXIT] = Kind.EXEC
            rows["exe_len"][2::3] = rows["args_len"][2::3] = 0
        yield Batch(rows, (b"/bin/x" + b"a" * 4089 + b"\0") * 1000)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_quarter_of_a_gigabyte_in_some_megabytes(command: str, large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    args = [{"FILE": large, "OUT": out, "1001": "web/2002"}.get(word, word) for word in command.split()]
    done = measured(*args, "-q", is_shown="replay" not in command)
    assert done.exit_code == 0, done.stderr
    assert done.peak_bytes < LIMIT_BYTES


def test_more_processes_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "MAX_PROCESSES", 50)
    monkeypatch.setattr(past, "MAX_COMMAND_BYTES", 50_000)
    living = [row(Kind.SNAPSHOT, 100 + n, start_ns=n + 1, args=[b"x" * 4000], ts_ns=SECOND_NS) for n in range(80)]
    record(tmp_path / "x.arrows", [batch(*living[:40]), batch(*living[40:])])
    source = RecordedSource([Recording("x", open_input(str(tmp_path / "x.arrows")), pytest.fail)])
    recalled = read_census(source, WALL_NS + 2 * SECOND_NS)
    entries = list(recalled.census)
    assert (len(entries), recalled.forgotten) == (50, 30)
    assert recalled.shortened
    assert sum(len(entry.args or b"") for entry in entries) <= 50_000
    assert all(entry.args_truncated for entry in entries)


def test_translate_says_where_there_is_too_much_about_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execs = [row(Kind.EXEC, 5, args=[b"x" * 1000], ts_ns=SECOND_NS + n) for n in range(200)]
    record(tmp_path / "x.arrows", [batch(*execs), storm(1, 10)])
    source = RecordedSource([Recording("x", open_input(str(tmp_path / "x.arrows")), pytest.fail)])
    monkeypatch.setattr(recording_past, "MAX_BYTES", 100_000)
    with pytest.raises(NstraceError, match=r"x has more than \d+ MB about these numbers"):
        read_past(source, RowFilter({5}))
    again = RecordedSource([source.recordings[0].again()])
    assert len(read_past(again, RowFilter({1001})).history) >= 1


def test_threads_and_others_arguments_are_not_kept_for_an_answer(tmp_path: Path) -> None:
    """What is left out changes no answer."""
    threads = [row(Kind.THREAD_FORK, 5, tid=100 + n, ts_ns=SECOND_NS + n, start_ns=9) for n in range(100)]
    others = [row(Kind.SNAPSHOT, 50 + n, args=[b"x" * 1000], ts_ns=SECOND_NS, start_ns=8) for n in range(20)]
    born = row(Kind.EXEC, 5, args=[b"job"], start_ns=9, ts_ns=SECOND_NS)
    record(tmp_path / "x.arrows", [batch(*others, born, *threads)])
    whole, lean = (
        read_past(RecordedSource([Recording("x", open_input(str(tmp_path / "x.arrows")), pytest.fail)]), about)
        for about in (None, RowFilter({5}))
    )
    assert (len(whole.history.batch), len(lean.history.batch)) == (121, 23)
    for past_ in (whole, lean):
        holder = past_.history.at(INITIAL_PIDNS, 5, SECOND_NS + 99)
        assert holder.living and holder.hole is None
        assert holder.living.seen_ns == SECOND_NS + 99
        assert past_.reported(holder.living, SECOND_NS + 99).entry.args == b"job\0"
    assert len(lean.history.batch.heap) < 1000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("form", ["csv", "csv --partition"])
def test_an_export_that_a_signal_ends_leaves_nothing(form: str, number: int, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    beginning = b"".join(offsets(tmp_path)[:2])
    argv = [sys.executable, "-m", "tracer", "export", "-", "--to", *form.split(), "-w", str(folder / "x")]
    running = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert running.stdin
    try:
        running.stdin.write(beginning)
        running.stdin.flush()
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        wait_for(lambda: any(_is_asleep(int(pid)) for pid in children.read_text().split()))
        child = os.pidfd_open(int(children.read_text()))
        running.send_signal(number)
        assert running.wait(timeout=60) == (130 if number == signal.SIGINT else 128 + number)
        assert select.select([child], [], [], 60)[0]
        os.close(child)
        assert list(folder.iterdir()) == []
    finally:
        running.kill()
        running.communicate()


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_millions_of_empty_arguments(form: str, tmp_path: Path) -> None:
    """Within all limits: 16 kB of NULs in each row."""
    rows = np.zeros(1024, EVENT)
    rows["kind"], rows["tgid"], rows["ts_ns"] = Kind.EXEC, np.arange(1000, 2024), SECOND_NS
    rows["args_len"] = rows["args_total"] = 16_000
    record(tmp_path / "x.arrows", [Batch(rows, bytes(16_000 * 1024))] * 2)
    done = measured("export", tmp_path / "x.arrows", "--to", form, "-w", tmp_path / "out")
    assert done.exit_code == 0 and done.stderr.startswith("nstrace: wrote ") and done.stderr.count("\n") == 1
    assert done.peak_bytes < LIMIT_BYTES


# Folders of strangers.


def test_what_is_no_recording_in_a_folder_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    record(folder / "web.arrows", BATCHES)
    (folder / "picture.arrows").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100))
    (folder / "folder.arrows").mkdir()
    (folder / "nowhere.arrows").symlink_to("nothing")
    os.mkfifo(folder / "fifo.arrows")
    done = measured("replay", folder)
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 1 + 360)
    assert done.stderr.count("left out: ") == 4
    for name in ("picture", "folder", "nowhere", "fifo"):
        assert re.search(f"left out: .*{folder}/{name}.arrows", done.stderr)
    assert measured("replay", "--require-complete", folder).exit_code == 5
    assert measured("replay", folder / "web.arrows", folder / "picture.arrows").exit_code == 1  # which was named
    assert measured("ps", "--from", folder).exit_code == 0


def test_a_folder_of_nothing_but_strangers_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.arrows").write_bytes(b"x")
    done = measured("replay", tmp_path)
    assert (done.exit_code, done.stdout) == (1, b"")
    assert "x.arrows is not an nstrace recording" in done.stderr


def test_a_folder_of_more_files_than_usually_may_be_open(tmp_path: Path) -> None:
    record(tmp_path / "0.arrows", [storm(1, 1)])
    data = (tmp_path / "0.arrows").read_bytes()
    for number in range(1, 1500):
        (tmp_path / f"{number}.arrows").write_bytes(data)
    for limit, exit_code, rows in (("-S -n 1024", 0, 3), ("-n 1024", 1, 0)):
        script = f'ulimit {limit}; exec "$@"'
        argv = ["sh", "-c", script, "sh", sys.executable, "-m", "tracer", "replay", "-q", str(tmp_path)]
        done = subprocess.run(argv, capture_output=True, cwd=ROOT, timeout=100)
        assert (done.returncode, len(done.stdout.splitlines())) == (exit_code, rows), done.stderr
    assert b"1500 files are more than can be open at once (1024)" in done.stderr
