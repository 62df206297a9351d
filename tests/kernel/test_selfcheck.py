"""The self-check lets a right trace pass and refuses a wrong one."""

from __future__ import annotations

import numpy as np
import pytest

from tracer.errors import ExitCode, NstraceError
from tracer.events import Batch
from tracer.kernel import selfcheck
from tracer.kernel.load import Loading, LoadOptions
from tracer.kernel.trace import Trace
from tracer.kernel.wire import Decoded

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def trace() -> Trace:
    options = LoadOptions()
    return Trace(Loading(options).wait(), options)


def test_passes_and_leaves_no_event_of_its_own(trace: Trace) -> None:
    decoded = selfcheck.check(trace)
    assert not [row for row in decoded.batch.rows if b"nstrace-self-check" in bytes(row["comm"])]


@pytest.mark.parametrize(
    ("field", "fact"), [("start_ns", "start time"), ("uid", "uid"), ("status", "exit code"), ("parent_tgid", "parent")]
)
def test_refuses_when_a_field_reads_wrong(trace: Trace, field: str, fact: str, monkeypatch: pytest.MonkeyPatch) -> None:
    poll = trace.poll

    def wrong(timeout_s: float) -> Decoded:
        decoded = poll(timeout_s)
        rows = decoded.batch.rows.copy()
        rows[field] += np.uint32((1 << 28) + (1 << 8))
        return Decoded(Batch(rows, decoded.batch.heap), decoded.cgroups)

    monkeypatch.setattr(trace, "poll", wrong)
    with pytest.raises(NstraceError, match=fact) as caught:
        selfcheck.check(trace)
    assert caught.value.exit_code == ExitCode.NOT_PERMITTED
