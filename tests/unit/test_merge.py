"""Small batches become few when a recording is closed; what is in it stays the same, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import WEB, batch, cgroup
from recordings import facts, read, record, storm

from tracer.recording import merge as merging
from tracer.recording.files import create, open_input
from tracer.recording.merge import merge
from tracer.recording.metadata import of_this_host
from tracer.recording.reader import Recording
from tracer.recording.writer import FileSink, Writer
from tracer.stream.batch import Batch

FACTS = of_this_host(0, [])
SMALL = [Batch.concat([facts(), storm(1, 2)]), *(storm(number, 2) for number in range(3, 103, 2))]


def test_the_same_in_few_batches(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    record(path, SMALL)
    before, size = Batch.concat(read(path.read_bytes())[0]), path.stat().st_size
    merge(path, FACTS)
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
    merge(path, FACTS)
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
    merge(path, FACTS)
    recording = Recording("x", open_input(str(path)), pytest.fail)
    assert [part.index.carried for part in recording.parts()] == [1, 0]
    assert recording.last_ns == 9_000_000_000
