"""What is read of a recording for a question: as little as metadata allows, and the answer is that of all of it."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from unittest import mock

import pytest
from builders import PIDNS
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import WALL_NS
from worlds import World

from tracer.errors import NstraceError
from tracer.past.translation import Hindsight
from tracer.recording.files import parts_of
from tracer.recording.inputs import open_input
from tracer.recording.metadata import of_this_host
from tracer.recording.past import read_past
from tracer.recording.questions import narrow
from tracer.recording.reader import Recording
from tracer.recording.rotate import RotatingWriter, Rotation
from tracer.recording.row_filter import RowFilter
from tracer.recording.source import RecordedSource
from tracer.typed.moments import Span
from tracer.typed.processes import Proc, parse_proc

PROCS = (
    *("3", "5", "web/1", "web/2", "web/3", "db/2", "db/4", "web#2/2", "nope/1"),
    *(f"pidns:{PIDNS}/2", f"pidns:{PIDNS + 1}/3"),
)


def record(path: Path, world: World, batches_a_file: int) -> list[Path]:
    """The world in files of so many batches each."""
    began = world.batches[0].rows["ts_ns"].max()
    facts = of_this_host(WALL_NS, []) | {"realtime_ns": str(WALL_NS + int(began))}
    count = itertools.count()
    seconds = itertools.count(step=10.0)  # every batch is due
    writer = RotatingWriter(path, facts, Rotation(interval_s=10_000.0), clock=lambda: next(seconds))
    for part in world.batches:
        writer._rotation = Rotation(max_bytes=1 if next(count) % batches_a_file == batches_a_file - 1 else 1 << 40)
        now_ns = int(part.rows["ts_ns"].max())
        with mock.patch("tracer.recording.rotate.time.clock_gettime_ns", lambda _clock, now_ns=now_ns: now_ns):
            writer.take(part)
    writer.close()
    return parts_of(path)


def source(paths: list[Path]) -> RecordedSource:
    return RecordedSource([Recording(str(path), open_input(str(path)), lambda _line: None) for path in paths])


def outcome(found: RecordedSource, proc: Proc, window: Span, during: bool) -> object:
    past = Hindsight(read_past(found, RowFilter({proc.nr})))
    begin_ns, end_ns = window.begin_ns - WALL_NS, window.end_ns - WALL_NS
    try:
        return past.during(proc, begin_ns, end_ns) if during else past.at(proc, begin_ns)
    except NstraceError as error:
        return error.message, error.hint, error.exit_code


@pytest.mark.parametrize("batches_a_file", [1, 3])
@settings(max_examples=10)
@given(seed=st.integers(0, 1 << 32))
def test_the_answer_is_that_of_all_of_it(
    seed: int, batches_a_file: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world, chance = World(seed, losses=seed % 3 > 0), random.Random(seed)
    paths = record(tmp_path_factory.mktemp("world") / "x.arrows", world, batches_a_file)
    for text in chance.sample(PROCS, 3):
        proc, during = parse_proc(text), chance.random() < 0.3
        begin_ns = WALL_NS + chance.randrange(0, world.now_ns + 10**9)
        window = Span(begin_ns, begin_ns + (chance.randrange(10**9) if during else 0))
        narrowed = source(paths)
        try:
            narrow(narrowed, [proc], window, names_next=True)
        except NstraceError as error:
            assert (error.message, error.hint, error.exit_code) == outcome(source(paths), proc, window, during)
            continue
        assert outcome(narrowed, proc, window, during) == outcome(source(paths), proc, window, during), (text, window)
