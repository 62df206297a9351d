"""A storm into a ring that is too small, recorded: gaps, repairs and inferred rows are the same in every output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from agreement import OUTPUTS, agree
from stack import Space, Stack, eventually

from tracer.kernel.options import LoadOptions, ring_bytes_for
from tracer.recording.files import create
from tracer.recording.metadata import of_this_host
from tracer.recording.writer import FileSink, Writer
from tracer.stream.attribution import Attribution
from tracer.stream.schema import SHOWN_KINDS, Flag, Kind
from tracer.views.jsonl import JsonLines

pytestmark = pytest.mark.kernel
KINDS = SHOWN_KINDS


def test_every_output_says_the_same(tmp_path: Path, workload: Path) -> None:
    with Stack("all", "host", options=LoadOptions(ring_bytes=ring_bytes_for(1 << 16), threads=True)) as stack:
        first = Space(workload, "crowd", 20)
        assert first.line()
        stack.read(lambda: len(stack.numbers(first.inum)) == 21)
        storm = Space(workload, "storm", 2000, 2)
        eventually(storm.has_ended)  # nobody reads
        first.kill()
        second = Space(workload, "crowd", 20)
        assert second.line()
        stack.read(lambda: len(stack.numbers(second.inum)) == 21 and not stack.table.unsure)
        second.kill()
        stack.read(lambda: stack.has_exit_of(second.init))
        threads = Space(workload, "threads-exit", 2)
        stack.read(lambda: threads.has_ended() and stack.has_exit_of(threads.init))
        batch, offset_ns = stack.stop(), stack.source.wall_offset_ns
    rows = batch.rows
    inferred = rows["kind"][rows["flags"] & Flag.INFERRED != 0]
    assert {Kind.FORK, Kind.EXIT} <= set(inferred.tolist())
    assert {Kind.SNAPSHOT, Kind.EXEC, Kind.GAP, Kind.REPAIR, Kind.THREAD_EXIT} <= set(np.unique(rows["kind"]).tolist())

    path = tmp_path / "x.arrows"
    writer = Writer(FileSink(create(path, force=False), path.name), of_this_host(offset_ns, []))
    writer.take(batch)
    writer.close()
    view, attribution = JsonLines(KINDS, True, offset_ns), Attribution()
    lines = b"".join(view.render(part, attribution) for part in attribution.split_and_learn(batch)).decode()
    for output in OUTPUTS:
        agree(path, lines, output)
