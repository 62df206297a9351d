"""What is published is written within a second, however little it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from recordings import WALL_NS, storm

from tracer.agent.config import Record
from tracer.agent.recorder import _record_options
from tracer.agent.store import Store
from tracer.recording import writer as writing
from tracer.stream.batch import Batch
from tracer.wiring.destination import Destination
from tracer.wiring.ending import Ending


class _Tracing:
    """As far as a destination asks it."""

    wall_offset_ns = WALL_NS

    def confine(self, operations: object = None, *_: object, **__: object) -> object:
        from tracer.system.broker import Local

        return Local(operations)  # type: ignore[arg-type]


@pytest.mark.parametrize(("is_prompt", "after_s"), [(True, writing.FLUSH_S), (False, writing.SLOW_FLUSH_S)])
def test_few_events_of_an_agent(
    is_prompt: bool, after_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = _record_options(Record(), Store(tmp_path), (), is_prompt=is_prompt)
    destination = Destination(options, redact=False)
    destination.confine(_Tracing(), lambda: None)  # type: ignore[arg-type]
    now = [0.0]
    with Ending() as ending:
        writer = destination.writer(ending, lambda _line: None)
        writer._clock = writer._writer._clock = lambda: now[0]  # type: ignore[union-attr]
        writer.take(Batch.concat([]))
        writer.take(storm(1, 1))
        now[0] = after_s - 0.01
        writer.take(Batch.concat([]))
        assert writer.rows == 0
        now[0] = after_s
        writer.take(Batch.concat([]))
        assert writer.rows == 3
        writer.close()
