"""What is published is written as often as [publish] says, however much it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from recordings import WALL_NS, storm

from tracer.agent.config import Record
from tracer.agent.recorder import _record_options
from tracer.agent.store import Store
from tracer.recording.writer import FEW_ROWS, PATIENCE
from tracer.stream.batch import Batch
from tracer.wiring.destination import Destination
from tracer.wiring.ending import Ending


class _Tracing:
    """As far as a destination asks it."""

    wall_offset_ns = WALL_NS

    def confine(self, operations: object = None, *_: object, **__: object) -> object:
        from tracer.system.broker import Local

        return Local(operations)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, FEW_ROWS])
@pytest.mark.parametrize("every_s", [1.0, 10.0, None])
def test_events_of_an_agent(every_s: float | None, count: int, tmp_path: Path) -> None:
    after_s = every_s or (PATIENCE.few_s if count == 1 else PATIENCE.others_s)
    options = _record_options(Record(), Store(tmp_path), (), every_s)
    destination = Destination(options, redact=False)
    destination.confine(_Tracing(), lambda: None)  # type: ignore[arg-type]
    with Ending() as ending:
        writer = destination.writer(ending, lambda _line: None)
        begun_s = writer._writer._flushed  # type: ignore[union-attr]
        now = [begun_s]
        writer._clock = writer._writer._clock = lambda: now[0]  # type: ignore[union-attr]
        writer.take(Batch.concat([]))
        writer.take(storm(1, count))
        now[0] = begun_s + after_s - 0.01
        writer.take(Batch.concat([]))
        assert writer.rows == 0
        now[0] = begun_s + after_s + 1e-6
        writer.take(Batch.concat([]))
        assert writer.rows == 3 * count
        writer.close()
