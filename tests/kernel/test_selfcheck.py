"""The self-check lets a right trace pass and refuses a wrong one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import wait_for

from tracer.errors import ExitCode, NstraceError
from tracer.kernel import selfcheck
from tracer.kernel.loader_client import Loading
from tracer.kernel.options import LoadOptions, ring_bytes_for
from tracer.kernel.trace import Trace
from tracer.stream.batch import KILLER, Batch, with_killers
from tracer.stream.decoding import Decoded
from tracer.stream.schema import Kind, Sender

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def trace() -> Trace:
    options = LoadOptions()
    return Trace(Loading(options).wait(), options)


@pytest.fixture
def own_trace() -> Iterator[Trace]:
    """One of a test's own: a trace starts its check's processes only so often."""
    options = LoadOptions()
    with contextlib.closing(Trace(Loading(options).wait(), options)) as trace:
        yield trace


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
    take = trace._take

    def wrong() -> Decoded:
        decoded = take()
        rows = decoded.batch.rows.copy()
        rows[field] += np.uint32((1 << 28) + (1 << 8))
        return Decoded(Batch(rows, decoded.batch.heap), decoded.cgroups)

    monkeypatch.setattr(trace, "_take", wrong)
    with pytest.raises(NstraceError, match=fact) as caught:
        selfcheck.check(trace)
    assert caught.value.exit_code == ExitCode.NOT_PERMITTED


@pytest.mark.parametrize(("field", "value"), [("tgid", 1), ("sender", Sender.PARENT_ENDED), ("level", 3)])
def test_refuses_when_a_killer_reads_wrong(
    own_trace: Trace, field: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = own_trace._take

    def wrong() -> Decoded:
        decoded = take()
        at = np.flatnonzero(decoded.batch.rows["killer_len"]).tolist()
        notes = [decoded.batch.payload(index).killer for index in at]
        return Decoded(with_killers(decoded.batch, at, list(map(wrong_note, notes))), decoded.cgroups)

    def wrong_note(note: bytes) -> bytes:
        row = np.frombuffer(note.ljust(KILLER.itemsize, b"\0"), KILLER).copy()
        row[field] = value
        return row.tobytes()[: len(note)]

    monkeypatch.setattr(own_trace, "_take", wrong)
    with pytest.raises(NstraceError, match="killed by"):
        selfcheck.check(own_trace)


def test_a_kernel_that_shows_no_killers_passes(own_trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    take = own_trace._take

    def without() -> Decoded:
        decoded = take()
        at = np.flatnonzero(decoded.batch.rows["killer_len"]).tolist()
        return Decoded(with_killers(decoded.batch, at, [b""] * len(at)), decoded.cgroups)

    monkeypatch.setattr(own_trace, "_take", without)
    with pytest.raises(NstraceError, match="killed by"):
        selfcheck.check(own_trace)
    monkeypatch.setattr(own_trace, "loaded", dataclasses.replace(own_trace.loaded, sees_killers=False))
    selfcheck.check(own_trace)


@pytest.mark.parametrize(("bad_attempts", "passes"), [(2, True), (99, False)])
def test_tries_again_when_its_own_events_were_lost(
    trace: Trace, bad_attempts: int, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, trace_one = trace._take, selfcheck._trace_one
    apart: list[bool] = []
    refused: list[int] = []

    def losing() -> Decoded:
        """As in a storm: the exits of the attempt do not come."""
        decoded = take()
        if len(apart) > bad_attempts:
            return decoded
        refused.append(1)
        return Decoded(decoded.batch.select(decoded.batch.rows["kind"] != Kind.EXIT), decoded.cgroups)

    def counted(trace: Trace, is_apart: bool) -> object:
        apart.append(is_apart)
        return trace_one(trace, is_apart)

    monkeypatch.setattr(Trace, "refused", property(lambda _trace: len(refused)))
    monkeypatch.setattr(selfcheck, "_trace_one", counted)
    monkeypatch.setattr(trace, "_take", losing)
    if passes:
        selfcheck.check(trace)
        assert apart == [False] + [True] * bad_attempts
    else:
        with pytest.raises(NstraceError, match="its own events were lost") as caught:
            selfcheck.check(trace)
        assert "--buffer-size" in caught.value.hint


def test_a_ring_that_is_always_full_is_quiet_for_it(workload: Path) -> None:
    """Beside more workers than CPUs, which are in our own cgroup and PID namespace, so that none of it is quiet."""
    options = LoadOptions(ring_bytes=ring_bytes_for(1 << 16))
    loaded = Loading(options).wait()
    storm = subprocess.Popen([workload, "storm", "10000000", "6"], stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        trace = Trace(loaded, options)
        early = selfcheck.check(trace)
        assert (early.batch.rows["kind"] == Kind.GAP).any() == (trace.lost > 0)
        with contextlib.closing(trace):
            wait_for(lambda: bool((trace.poll(0.1).batch.rows["kind"] == Kind.FORK).any()))  # it is heard of again
    finally:
        os.killpg(storm.pid, signal.SIGKILL)
        storm.wait()
