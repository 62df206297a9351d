"""Small batches become few when a recording is closed; what is in it stays the same, and nothing else is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from builders import WEB, batch, cgroup
from recordings import facts, read, record, storm

from tracer.recording import merge as merging
from tracer.recording.file_writer import FileWriter
from tracer.recording.files import create
from tracer.recording.folder import Folder
from tracer.recording.inputs import open_input
from tracer.recording.merge import Written, merge
from tracer.recording.metadata import of_this_host
from tracer.recording.reader import Recording
from tracer.recording.writer import FileSink, Writer
from tracer.stream.batch import Batch

FACTS = of_this_host(0, [])
SMALL = [Batch.concat([facts(), storm(1, 2)]), *(storm(number, 2) for number in range(3, 103, 2))]


def merge_file(path: Path) -> None:
    written = Written(os.open(path, os.O_RDONLY), Folder(path.parent), path.name)
    merge(written, FACTS)
    written.close()


def small_file(path: Path) -> FileWriter:
    """A file of many small batches that is not yet closed."""
    writer = FileWriter(path, FACTS)
    for small in SMALL:
        writer.take(small)
        writer.flush()
    return writer


def test_a_file_is_merged_when_it_is_closed(tmp_path: Path) -> None:
    small_file(tmp_path / "x.arrows").close()
    batches, said, recording = read((tmp_path / "x.arrows").read_bytes())
    assert (len(batches), said, recording.is_closed) == (1, [], True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.arrows"]


@pytest.mark.parametrize("other", ["nothing", "fifo", "recording", "link"])
def test_another_file_of_that_name_is_not_even_opened(
    other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder" / "x.arrows"
    path.parent.mkdir()
    writer = small_file(path)
    path.rename(tmp_path / "ours")
    if other == "fifo":
        os.mkfifo(path)
    if other in ("recording", "link"):
        record(tmp_path / "strangers", SMALL)
    if other == "recording":
        (tmp_path / "strangers").rename(path)
    if other == "link":
        path.symlink_to(tmp_path / "strangers")
    before = [(entry.name, entry.lstat()) for entry in path.parent.iterdir()]
    real_open, opened = os.open, []

    def open_and_note(name: str, *args: int, dir_fd: int | None = None) -> int:
        opened.append(str(name))
        return real_open(name, *args, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_and_note)
    writer.close()
    assert not [name for name in opened if name.endswith("x.arrows")]
    assert [(entry.name, entry.lstat()) for entry in path.parent.iterdir()] == before


def test_another_folder_of_that_name_is_left_alone(tmp_path: Path) -> None:
    mine, moved = tmp_path / "mine", tmp_path / "moved"
    mine.mkdir()
    writer = small_file(mine / "x.arrows")
    mine.rename(moved)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "x.arrows").write_bytes(b"precious")
    mine.symlink_to(victim)
    writer.close()
    assert [(entry.name, entry.read_bytes()) for entry in victim.iterdir()] == [("x.arrows", b"precious")]
    batches, _said, _recording = read((moved / "x.arrows").read_bytes())
    assert len(batches) == 1


def test_the_same_in_few_batches(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    record(path, SMALL)
    before, size = Batch.concat(read(path.read_bytes())[0]), path.stat().st_size
    merge_file(path)
    batches, said, recording = read(path.read_bytes())
    assert (len(batches), said, recording.is_closed) == (1, [], True)
    assert Batch.concat(batches).rows.tobytes() == before.rows.tobytes()
    assert Batch.concat(batches).heap == before.heap
    assert path.stat().st_size < size / 10
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.arrows"]


@pytest.mark.parametrize("why", ["few", "large", "torn", "damaged", "twice", "full"])
def test_it_stays_where_that_is_not_worth_it_or_fails(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.arrows"
    offsets = record(path, SMALL[:2] if why == "few" else SMALL, is_closed=why != "torn")
    if why == "large":
        monkeypatch.setattr(merging, "SMALL_ROWS", 1)
    if why == "damaged":
        with path.open("r+b") as file:
            file.seek(offsets[3] - 4)
            file.write(b"1234")
    if why == "twice":
        data = path.read_bytes()
        path.write_bytes(data[: offsets[4]] + data[offsets[3] :])
    if why == "full":
        monkeypatch.setattr(
            "os.write", lambda _fd, _data: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
    before = path.read_bytes()
    merge_file(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.arrows"]


def test_what_was_carried_over_stays_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    writer = Writer(FileSink(create(path, force=False), "x"), FACTS)
    writer.carry(batch(cgroup(7, WEB)))
    for small in SMALL[1:]:
        writer.take(small)
        writer.flush()
    writer.close(until_ns=9_000_000_000)
    merge_file(path)
    recording = Recording("x", open_input(str(path)), pytest.fail)
    assert [part.index.carried for part in recording.parts()] == [1, 0]
    assert recording.last_ns == 9_000_000_000
