"""The self-check lets a right trace pass and refuses a wrong one."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from tracer.errors import ExitCode, NstraceError
from tracer.events import Batch, Kind
from tracer.kernel import selfcheck
from tracer.kernel.load import Loading
from tracer.kernel.options import LoadOptions
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


def test_passes_where_arguments_are_cut_short() -> None:
    options = LoadOptions(max_args_bytes=1)
    with contextlib.closing(Trace(Loading(options).wait(), options)) as short:
        selfcheck.check(short)


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


@pytest.mark.parametrize(("bad_attempts", "passes"), [(2, True), (99, False)])
def test_tries_again_when_its_own_events_were_lost(
    trace: Trace, bad_attempts: int, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll, trace_one = trace.poll, selfcheck._trace_one
    attempts: list[Trace] = []
    losses: list[int] = []

    def losing(timeout_s: float) -> Decoded:
        """As in a storm: the exits of the attempt do not come."""
        decoded = poll(timeout_s)
        if len(attempts) > bad_attempts:
            return decoded
        losses.append(1)
        return Decoded(decoded.batch.select(decoded.batch.rows["kind"] != Kind.EXIT), decoded.cgroups)

    def counted(trace: Trace) -> object:
        attempts.append(trace)
        return trace_one(trace)

    monkeypatch.setattr(Trace, "lost", property(lambda _trace: len(losses)))
    monkeypatch.setattr(selfcheck, "_trace_one", counted)
    monkeypatch.setattr(trace, "poll", losing)
    if passes:
        selfcheck.check(trace)
        assert len(attempts) == bad_attempts + 1
    else:
        with pytest.raises(NstraceError, match="its own events were lost") as caught:
            selfcheck.check(trace)
        assert "--buffer-size" in caught.value.hint
