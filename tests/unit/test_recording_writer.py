"""When batches are written, and what is left where they cannot be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from recordings import read, storm

from tracer.errors import NstraceError, ReaderGone
from tracer.recording import writer as writing
from tracer.recording.file_writer import FileWriter
from tracer.recording.files import check_new, create, created
from tracer.recording.metadata import of_this_host
from tracer.recording.rotate import RotatingWriter, Rotation
from tracer.recording.writer import FileSink, Patience, Writer
from tracer.stream.batch import Batch


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writer(tmp_path: Path, clock: Clock) -> Writer:
    return Writer(FileSink(create(tmp_path / "x.arrows", force=False), "x"), of_this_host(0, []), clock)


def test_written_after_a_second_and_slow_streams_after_five(writer: Writer, clock: Clock) -> None:
    for count, seconds in ((writing.FEW_ROWS, 1.0), (3, 5.0)):
        writer.take(storm(1, -(-count // 3)))
        before = writer.rows
        clock.now += seconds - 0.01
        writer.take(Batch.concat([]))
        assert writer.rows == before
        clock.now += 0.02
        writer.take(Batch.concat([]))
        assert writer.rows > before
        assert not writer.has_waiting


@pytest.fixture
def prompt_writer(tmp_path: Path, clock: Clock) -> Writer:
    sink = FileSink(create(tmp_path / "prompt.arrows", force=False), "prompt")
    return Writer(sink, of_this_host(0, []), clock, patience=Patience(few_s=1.0))


def test_few_rows_wait_as_long_as_is_said_with_the_time_in_which_they_gathered(
    prompt_writer: Writer, clock: Clock
) -> None:
    prompt_writer.take(storm(1, 1))
    clock.now += 0.5
    prompt_writer.take(storm(2, 1))
    assert prompt_writer.rows == 0
    clock.now += 0.5
    prompt_writer.take(storm(3, 1))
    assert prompt_writer.rows == 9
    clock.now += 1.0
    prompt_writer.take(storm(4, 1))
    assert prompt_writer.rows == 12


def test_what_has_gathered_before_is_written_at_once(writer: Writer, clock: Clock) -> None:
    clock.now += 1.0
    writer.take(storm(1, writing.FEW_ROWS))
    assert not writer.has_waiting


def test_written_when_there_is_much_of_it(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MAX_ROWS", 100)
    writer.take(storm(1, 90))
    assert writer.rows == 270
    monkeypatch.setattr(writing, "MAX_HEAP_BYTES", 50)
    writer.take(storm(1, 30))
    assert writer.rows == 360


def test_one_write_a_batch(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = os.write

    def counted(fd: int, data: memoryview) -> int:
        sizes.append(len(data))
        return write(fd, data)

    monkeypatch.setattr(os, "write", counted)
    writer.take(storm(1, 100))
    writer.flush()
    assert len(sizes) == 1


def test_a_write_that_fails_half_way_is_taken_back(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.take(storm(1, 100))
    writer.flush()
    write, calls = os.write, iter([1000])

    def full(fd: int, data: memoryview) -> int:
        for size in calls:
            return write(fd, data[:size])
        raise OSError(28, "No space left on device")

    writer.take(storm(101, 100))
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(NstraceError, match="No space left"):
        writer.flush()
    batches, said, _recording = read((tmp_path / "x.arrows").read_bytes())
    assert len(Batch.concat(batches)) == 300
    assert "not closed cleanly" in said[0]


@pytest.mark.parametrize("rotates", [False, True])
def test_where_not_even_a_beginning_fits_no_file_is_left(
    rotates: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, room = os.write, iter([100])

    def full(fd: int, data: memoryview) -> int:
        for size in room:
            return write(fd, data[:size])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(NstraceError, match="cannot be written: No space left") as failure:
        if rotates:
            RotatingWriter(tmp_path / "x.arrows", of_this_host(0, []), Rotation(max_bytes=1))
        else:
            FileWriter(tmp_path / "x.arrows", of_this_host(0, []))
    assert "replayed" not in failure.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["record", "record, rotated", "run", "export"])
def test_where_not_even_a_beginning_fits_what_is_to_be_replaced_stays(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("x.000001.arrows" if how == "record, rotated" else "x.arrows")
    path.write_bytes(b"precious")

    def full(*_args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(NstraceError, match="cannot be written: No space left"):
        if how == "record":
            FileWriter(path, of_this_host(0, []), force=True)
        elif how == "record, rotated":
            RotatingWriter(tmp_path / "x.arrows", of_this_host(0, []), Rotation(max_bytes=1), force=True)
        elif how == "run":
            create(path, force=True)
        else:
            with created(path, force=True, is_whole=True) as fd, os.fdopen(fd, "wb", buffering=0) as file:
                os.write(file.fileno(), b"x")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [(path.name, b"precious")]


def test_a_pipe_that_nobody_reads_any_more() -> None:
    reader, into = os.pipe()
    os.close(reader)
    with pytest.raises(ReaderGone):
        Writer(FileSink(into, "stdout"), of_this_host(0, []))


def test_files_are_ours_alone_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    os.close(create(path, force=False))
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"old")
    for check in (check_new, create):
        with pytest.raises(NstraceError, match="already exists"):
            check(path, force=False)
    old = path.open("rb")
    os.close(create(path, force=True))
    assert (old.read(), path.read_bytes()) == (b"old", b"")  # replaced, not written into
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.arrows"]


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "fifo"])
@pytest.mark.parametrize("force", [False, True])
def test_nothing_but_a_file_is_replaced(kind: str, force: bool, tmp_path: Path) -> None:
    path, other = tmp_path / "x", tmp_path / "other"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(other)
        if kind == "link":
            other.write_bytes(b"precious")
    for make in (check_new, create):
        with pytest.raises(NstraceError, match="not a regular file"):
            make(path, force)
    assert kind != "link" or other.read_bytes() == b"precious"
    assert kind != "dangling" or not other.exists()


def test_dev_null_takes_everything_and_stays_what_it_is(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("makes devices: needs root")
    null = tmp_path / "null"
    os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    for force in (False, True):
        fd = create(null, force)
        assert os.write(fd, b"x") == 1
        os.close(fd)
        with created(null, force, is_whole=True) as fd:
            os.close(fd)
    assert null.is_char_device()
    zero = tmp_path / "zero"
    os.mknod(zero, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    with pytest.raises(NstraceError, match="not a regular file"):
        create(zero, force=True)


@pytest.mark.parametrize("name", ["no/such/folder/x", "file/x", "x" * 300, "loop/x"])
def test_a_name_that_cannot_be_is_said(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for check in (check_new, create):
        with pytest.raises(NstraceError, match="cannot be written"):
            check(tmp_path / name, force=True)


def test_another_name_of_a_file_keeps_what_it_has(tmp_path: Path) -> None:
    path, other = tmp_path / "x", tmp_path / "other"
    other.write_bytes(b"precious")
    path.hardlink_to(other)
    os.close(create(path, force=True))
    assert (path.read_bytes(), other.read_bytes()) == (b"", b"precious")


def test_what_is_not_whole_has_no_name(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(ZeroDivisionError), created(path, force=False, is_whole=True) as fd:
        os.close(fd)
        assert not path.exists()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with created(path, force=False, is_whole=True) as fd:
        os.write(fd, b"all")
        os.close(fd)
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("x", b"all")]
