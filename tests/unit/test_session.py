"""The loop: limits, the end of the targets, the summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import builders
import numpy as np
import pytest
from builders import PIDNS

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.schema import Flag, Kind
from tracer.stream.table import Table
from tracer.wiring.session import IDLE_S, Limits, Session

ALL = frozenset({Kind.FORK, Kind.EXEC, Kind.EXIT, Kind.SNAPSHOT})
INSIDE = [(PIDNS, 1)]


class Played:
    """A source that gives these batches, then empty ones for as long as it may wait."""

    def __init__(self, *batches: Batch) -> None:
        self.attribution, self.table = Attribution(), Table()
        self.lost = 0
        self.asked: list[float | None] = []
        self._batches = batches

    def account(self) -> None:
        pass

    def batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        for batch in self._batches:
            if timeout_s() is None:
                return
            self.table.apply(batch)
            yield batch
        while (wait := timeout_s()) is not None:
            self.asked.append(wait)
            yield builders.batch()


class Recorded(Played):
    """A source that keeps no table, and ends by itself."""

    def __init__(self, *batches: Batch) -> None:
        super().__init__(*batches)
        self.table = None  # type: ignore[assignment]

    def batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        yield from self._batches


class Kinds:
    """A view that shows the kind of each row."""

    header = ""

    def render(self, batch: Batch, containers: Attribution) -> bytes:
        return "".join(f"{Kind(int(kind)).name.lower()} " for kind in batch.rows["kind"]).encode()

    def rest(self) -> bytes:
        return b"rest "


def life(tgid: int) -> list[builders.Row]:
    return [builders.fork(tgid, INSIDE), builders.row(Kind.EXEC, tgid, INSIDE), builders.exits(tgid, INSIDE)]


def play(*batches: Batch, kinds: frozenset[Kind] = ALL, limits: Limits) -> tuple[str, Session]:
    shown: list[bytes] = []
    session = Session(Played(*batches), Kinds(), kinds, limits)
    session.run(shown.append)
    return b"".join(shown).decode().removesuffix("rest ").strip(), session


def test_ends_when_everyone_has_and_nobody_can_come() -> None:
    shown, session = play(builders.batch(*life(100)), limits=Limits(is_over=lambda: True))
    assert shown == "fork exec exit"
    assert session.summary.total == 3
    assert session.summary.line().startswith("3 events (1 fork, 1 exec, 1 exit) in ")


def test_the_summary_tells_what_was_shown() -> None:
    batch = builders.batch(*life(100), *life(101), builders.exits(5, flags=Flag.INFERRED))
    _shown, session = play(batch, kinds=frozenset({Kind.EXIT}), limits=Limits(is_over=lambda: True))
    session.summary.seconds, session.summary.masked, session.summary.evicted = 3723.0, 1, 1
    assert session.summary.line() == (
        "2 events (2 exits) in 1 h 2 min, 0 lost, 1 inferred, 1 living process evicted from the table, 1 secret masked"
    )


def test_of_a_recording_it_tells_the_time_of_the_events() -> None:
    first = builders.batch(builders.fork(1, ts_ns=10**9), builders.fork(2, ts_ns=3 * 10**9))
    source = Recorded(first, builders.batch(builders.exits(1, ts_ns=25 * 10**8)))
    session = Session(source, Kinds(), ALL, Limits())
    assert session.run(lambda _text: None).line() == "3 events (2 forks, 1 exit) in 2.0 s, 0 lost"
    source = Recorded()
    assert Session(source, Kinds(), ALL, Limits()).run(lambda _text: None).line() == "0 events, 0 lost"


def test_what_was_held_back_is_shown_when_nothing_comes_for_a_while() -> None:
    shown: list[bytes] = []
    session = Session(Played(builders.batch(*life(100))), Kinds(), ALL, Limits(duration_s=IDLE_S + 0.1))
    session.run(shown.append)
    assert shown[0] == b"fork exec exit "
    assert set(shown[1:]) == {b"rest "}
    assert len(shown) > 2  # when nothing came, and at the end
    shown.clear()
    Session(Recorded(builders.batch(*life(100)), builders.batch()), Kinds(), ALL, Limits()).run(shown.append)
    assert shown == [b"fork exec exit ", b"rest "]


def test_goes_on_while_someone_may_come() -> None:
    answers = iter([False, False, True])
    shown, _session = play(builders.batch(*life(100)), limits=Limits(is_over=lambda: next(answers)))
    assert shown == "fork exec exit"
    assert next(answers, None) is None


def test_ends_where_nobody_was_seen_and_nobody_can_come() -> None:
    limits = Limits(is_over=lambda: False, is_gone=lambda: True)
    assert play(limits=limits)[0] == ""
    _shown, session = play(limits=Limits(0.2, is_over=lambda: True))
    assert session.summary.seconds and session.summary.seconds >= 0.2  # that is asked where somebody was seen


def nothing(batch: Batch, _containers: Attribution) -> Batch:
    return batch.select(np.zeros(len(batch), dtype=bool))


@pytest.mark.parametrize(
    ("limits", "taken"),
    [(Limits(duration_s=0.1), 6), (Limits(count=4), 4), (Limits(duration_s=0.1, passing=nothing), 6)],
)
def test_a_watcher_receives_what_does_not_pass_as_well(limits: Limits, taken: int) -> None:
    received: list[Batch] = []

    class Watcher:
        def take(self, batch: Batch) -> None:
            received.append(batch)

    batch = builders.batch(*life(100), *life(101))
    Session(Played(batch), Kinds(), ALL, limits, watcher=Watcher()).run(lambda _text: None)
    assert [len(batch) for batch in received] == [taken]


@pytest.mark.parametrize(("count", "shown"), [(1, "fork"), (2, "fork exec"), (4, "fork exec exit fork")])
def test_count_ends_at_the_very_event(count: int, shown: str) -> None:
    batch = builders.batch(*life(100), *life(101))
    assert play(batch, limits=Limits(count=count))[0] == shown


def test_count_counts_failures_where_they_alone_are_shown() -> None:
    good, bad = life(100), [*life(101)[:2], builders.exits(101, INSIDE, status=3 << 8)]
    batch = builders.batch(*good, *bad, *good, *bad, *good)
    shown, _session = play(batch, kinds=frozenset({Kind.EXIT}), limits=Limits(count=2, only_failed=True))
    assert shown.count("exit") == 4
    assert shown.endswith("exit")


def test_count_counts_what_is_shown() -> None:
    batch = builders.batch(builders.row(Kind.SNAPSHOT, 99, INSIDE), *life(100), *life(101))
    shown, session = play(batch, kinds=frozenset({Kind.EXIT}), limits=Limits(count=2))
    assert shown.count("exit") == 2
    assert session.summary.events[Kind.EXIT] == 2


def test_duration_bounds_every_wait() -> None:
    source = Played()
    Session(source, Kinds(), ALL, Limits(duration_s=0.05)).run(lambda _text: None)
    assert source.asked
    assert all(wait is not None and 0 < wait <= 0.05 for wait in source.asked)


def test_stop_ends_it() -> None:
    session = Session(Played(builders.batch(builders.fork(100, INSIDE))), Kinds(), ALL, Limits())
    session.run(lambda _text: session.stop())
    assert session.summary.events[Kind.FORK] == 1
