"""A picture of a window begins with who lived at its beginning, and ends where the window does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import PIDNS, SECOND_NS, WEB, batch, cgroup, exits, fork
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import WALL_NS, record
from test_narrowed_reading import record as record_world
from test_narrowed_reading import source
from worlds import World

from tracer.stream.batch import Batch, of_kind
from tracer.stream.schema import COUNTED_KINDS, Flag, Kind
from tracer.typed.moments import Span


@pytest.mark.parametrize("batches_a_file", [1, 3])
@settings(max_examples=15)
@given(seed=st.integers(0, 1 << 32), part=st.floats(0.05, 1))
def test_who_lived_is_who_had_begun_and_not_ended(
    seed: int, part: float, batches_a_file: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = World(seed, losses=False)
    paths = record_world(tmp_path_factory.mktemp("world") / "x.arrows", world, batches_a_file)
    begin_ns = int(world.now_ns * part)
    plain, found = source(paths), source(paths)
    window = Span(begin_ns + WALL_NS, world.now_ns + SECOND_NS + WALL_NS)
    plain.show(window)
    found.show(window, with_living=True)
    whole = Batch.concat(list(found.batches(lambda: 0.0)))
    rows = whole.rows
    is_living = (rows["kind"] == Kind.SNAPSHOT) & (rows["flags"] & Flag.CARRIED != 0)
    living = {(one.tgid, one.start_ns) for one in world.beings
              if one.start_ns < begin_ns and (one.end_ns is None or one.end_ns >= begin_ns)}  # fmt: skip
    assert set(zip(rows["tgid"][is_living].tolist(), rows["start_ns"][is_living].tolist(), strict=True)) == living
    assert (rows["ts_ns"][is_living] == begin_ns).all()
    others = Batch.concat(list(plain.batches(lambda: 0.0))).rows
    same = rows[~is_living & of_kind(rows, *COUNTED_KINDS)], others[of_kind(others, *COUNTED_KINDS)]
    for name in ("ts_ns", "kind", "tgid", "start_ns"):
        assert np.array_equal(same[0][name], same[1][name])


def test_outputs_of_a_window_in_which_nothing_happens(tmp_path: Path) -> None:
    of_web = {"cgroup_id": 7}
    first = fork(60, [(PIDNS, 1)], start_ns=SECOND_NS, ts_ns=SECOND_NS, **of_web)
    brief = fork(61, [(PIDNS, 2)], start_ns=2 * SECOND_NS, ts_ns=2 * SECOND_NS, **of_web)
    gone = exits(61, [(PIDNS, 2)], start_ns=2 * SECOND_NS, ts_ns=3 * SECOND_NS, **of_web)
    end = exits(60, [(PIDNS, 1)], start_ns=SECOND_NS, ts_ns=9 * SECOND_NS, **of_web)
    record(tmp_path / "x.arrows", [batch(cgroup(7, WEB), first, brief), batch(gone), batch(end)])
    window = ["--since", "2023-11-14T22:13:25Z", "--until", "+1s"]

    def nstrace(*words: str) -> str:
        argv = [sys.executable, "-m", "tracer", words[0], str(tmp_path / "x.arrows"), *words[1:], *window]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout + done.stderr

    assert "1 process," in nstrace("timeline", "-w", str(tmp_path / "x.html"))
    assert "1 process," in nstrace("export", "--to", "perfetto", "-w", str(tmp_path / "x.pftrace"))
    whole = json.loads(nstrace("summary", "--json"))["all"]
    assert (whole["before"], whole["begun"], whole["ended"], whole["most_alive"]) == (1, 0, 0, 1)
