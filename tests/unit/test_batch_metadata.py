"""What batches and files say of themselves, so that readers skip them: it is right, small, and not believed blindly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import PIDNS, SECOND_NS, batch, fork, row
from hypothesis import given
from hypothesis import strategies as st
from recordings import WALL_NS, facts, read, record, storm
from test_narrowed_reading import outcome, source
from test_narrowed_reading import record as rotated
from worlds import World

from bench.synthetic import batch as synthetic
from tracer.recording import frames
from tracer.recording.columns import to_arrow
from tracer.recording.indexer import Indexer
from tracer.recording.keys import host_keys, keys_in, keys_of, packed, unpacked
from tracer.recording.questions import narrow, span_of
from tracer.stream.batch import Batch
from tracer.stream.schema import Kind
from tracer.typed.moments import Span
from tracer.typed.processes import parse_proc


@given(st.sets(st.integers(0, (1 << 32) - 1), max_size=400), st.integers(1, 1 << 15))
def test_every_key_is_found_again(values: set[int], rows: int) -> None:
    made = np.array(sorted(values), np.uint32)
    found = unpacked(packed(made, rows))
    assert found is None or found.may_have(made).all()
    if found is not None and found.shift == 0:
        others = np.setdiff1d(np.arange(0, 1 << 32, 9_999_991).astype(np.uint32), made)
        assert not found.may_have(others).any()


@pytest.mark.parametrize("text", ["", "0", "0 1 x", "0 5 AAAA", "1 1 AAAA", "0 -1 AAAA", "0 9999999 AAAA", "a b c"])
def test_a_set_that_cannot_be_read_is_none(text: str) -> None:
    assert unpacked(text) is None


def test_the_numbers_of_a_batch_are_all_that_its_processes_have() -> None:
    deep = [(PIDNS + level, 10 + level) for level in range(6)]  # more than stand in the row itself
    found = keys_of(batch(fork(4711, deep), fork(4712)))
    inums, numbers = np.array(deep, np.uint64).T
    wanted = np.concatenate([host_keys([4711, 4712]), keys_in(inums, numbers.astype(np.uint32))])
    assert sorted(wanted.tolist()) == found.tolist()


def consecutive(random: np.random.Generator, count: int) -> Any:
    return 5000 + np.arange(count)


def scattered(random: np.random.Generator, count: int) -> Any:
    return random.integers(1, 1 << 22, count)


@pytest.mark.parametrize("choose", [consecutive, scattered])
@pytest.mark.parametrize("lives", [1, 80, 2_000, 10_000])
def test_it_takes_no_more_than_4_percent(lives: int, choose: Callable[..., Any]) -> None:
    made, random = synthetic(lives), np.random.default_rng(1)
    made.rows["tgid"] = np.repeat(choose(random, lives), 3)
    made.rows["chain"]["nr"][:, 0] = np.repeat(choose(random, lives), 3)
    said = Indexer().of_batch(made, carried=False)
    without = {name: value for name, value in said.items() if name != "keys"}
    columns = to_arrow(made, WALL_NS)
    assert len(frames.of_batch(columns, said)) <= 1.04 * len(frames.of_batch(columns, without))
    found = unpacked(said["keys"])
    assert found is not None and found.may_have(keys_of(made)).all()


def forged(path: Path, change: Callable[[dict[str, str]], dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A recording whose batches say of themselves what they do not hold, with checksums that fit."""
    right = Indexer.of_batch
    monkeypatch.setattr(Indexer, "of_batch", lambda self, made, carried: change(right(self, made, carried)))
    record(path, [facts(), storm(1, 5), storm(6, 5)])
    return path.read_bytes()


NOBODY = packed(host_keys([77]), 100)


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ({"last_ns": str(SECOND_NS)}, "other times than its rows"),
        ({"first_ns": str(90 * SECOND_NS), "last_ns": str(99 * SECOND_NS)}, "other times than its rows"),
        ({"keys": NOBODY}, "does not tell of all its numbers"),
        ({"always": "0"}, "does not tell of rows that are always needed"),
    ],
)
def test_a_batch_that_lies_is_damaged(
    lie: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = forged(tmp_path / "x.arrows", lambda index: index | lie, monkeypatch)
    _batches, lines, recording = read(data)
    assert recording.damages
    assert any(said in line for line in lines)


@pytest.mark.parametrize("name", ["begin_ns", "all_facts", "all_late", "all_always", "all_lost"])
def test_an_end_that_lies_is_said(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Indexer.of_end
    monkeypatch.setattr(Indexer, "of_end", lambda self, until_ns: right(self, until_ns) | {name: "7"})
    record(tmp_path / "x.arrows", [facts(), storm(1, 5)])
    batches, lines, recording = read((tmp_path / "x.arrows").read_bytes())
    assert sum(map(len, batches)) == 16
    assert (recording.damages, lines[-1].rpartition(": ")[2]) == (1, "its end does not fit to its batches")


def test_a_number_that_metadata_hides_is_not_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the batch is read all the same, it counts as damaged: the answer is that it is not known."""
    forged(tmp_path / "x.arrows", lambda index: index | {"keys": NOBODY}, monkeypatch)
    path = tmp_path / "x.arrows"
    proc, window = parse_proc("1003"), Span(*[WALL_NS + SECOND_NS + 3_000_500] * 2)
    found = source([path])
    found.choice = None
    assert getattr(outcome(found, proc, window, during=False), "hole", None)


def without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write as the version before did."""
    new = {"keys", "always", "begin_ns", "all_facts", "all_late", "all_always", "all_lost"}
    for name in ("of_batch", "of_end"):
        right = getattr(Indexer, name)

        def old(self: Indexer, *args: Any, right: Any = right) -> dict[str, str]:
            return {name: value for name, value in right(self, *args).items() if name not in new}

        monkeypatch.setattr(Indexer, name, old)


def test_recordings_of_the_version_before_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(11)
    record(tmp_path / "new.arrows", world.batches, realtime_ns=str(WALL_NS))
    without_metadata(monkeypatch)
    record(tmp_path / "old.arrows", world.batches, realtime_ns=str(WALL_NS))
    (old,) = source([tmp_path / "old.arrows"]).recordings
    assert old.whole is None and all(index.keys() is None and index.always for index in old.indices())
    assert span_of(source([tmp_path / "old.arrows"])) == span_of(source([tmp_path / "new.arrows"]))
    for text in ("3", "5", "web/2", f"pidns:{PIDNS}/2"):
        for moment_ns in range(WALL_NS, WALL_NS + world.now_ns, world.now_ns // 10):
            assert asked(tmp_path / "old.arrows", text, moment_ns) == asked(tmp_path / "new.arrows", text, moment_ns)


def asked(path: Path, text: str, moment_ns: int) -> object:
    proc, window, found = parse_proc(text), Span(moment_ns, moment_ns), source([path])
    narrow(found, [proc], window, names_next=True)
    return outcome(found, proc, window, during=False)


def test_a_recording_that_is_cut_off_is_asked_as_one_that_is_read(tmp_path: Path) -> None:
    path, cut = tmp_path / "x.arrows", tmp_path / "cut.arrows"
    batches = [facts(), *(storm(first, 4) for first in range(1, 20, 4))]
    offsets = record(path, batches, realtime_ns=str(WALL_NS))
    data, proc = path.read_bytes(), parse_proc("1003")
    window = Span(*[WALL_NS + SECOND_NS + 3_000_500] * 2)
    for length in {*range(offsets[1], len(data), 797), *offsets[1:], len(data) - 1}:
        cut.write_bytes(data[:length])
        found = source([cut])
        narrow(found, [proc], window, names_next=True)
        assert outcome(found, proc, window, False) == outcome(source([cut]), proc, window, False), length


def test_of_a_rotated_recording_files_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, init = World(3), row(Kind.SNAPSHOT, 999, [(PIDNS, 999)], exe=b"/bin/sh", cgroup_id=7)
    world.batches = [Batch.concat([facts(), batch(init)]), *(storm(first, 4) for first in range(1, 200, 4))]
    paths = rotated(tmp_path / "x.arrows", world, 2)
    bodies: list[int] = []
    verify = frames.verify_body

    def counted(message: frames.Message, body: bytes) -> None:
        bodies.append(len(body))
        verify(message, body)

    monkeypatch.setattr(frames, "verify_body", counted)
    found = source(paths)
    proc, window = parse_proc("1100"), Span(*[WALL_NS + SECOND_NS + 100_000_500] * 2)
    narrow(found, [proc], window, names_next=True)
    answer = outcome(found, proc, window, during=False)
    assert sum(size > 1000 for size in bodies) <= 8 < len(world.batches)  # those of ends are small
    passed = [recording for recording in found.recordings if recording.input.at == Path(recording.name).stat().st_size]
    assert len(passed) == len(paths) > 20
    assert answer == outcome(source(paths), proc, window, during=False)
