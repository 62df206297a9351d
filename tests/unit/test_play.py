"""A recording that is played for a screen: seconds, steps, jumps, back and forth."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from agreement import source
from builders import SECOND_NS, WEB, batch, cgroup, exits, fork, gap
from recordings import record

from tracer.recording.source import RecordedSource
from tracer.screen.messages import Channel, Lines, Message, Played, Request, Said
from tracer.stream.samples import Sample
from tracer.wiring.playing import Player
from tracer.wiring.sampling import Outlet

END_NS = 9 * SECOND_NS


class Playing:
    """A player and the screen's end of its channel."""

    def __init__(self, arrows: Path) -> None:
        ours, theirs = socket.socketpair()
        self.screen: Channel[Message] = Channel(ours, Message)
        self._ends = ours, theirs

        def make() -> RecordedSource:
            return RecordedSource([one.again() for one in source(arrows).recordings])

        self.outlet = Outlet(Channel(theirs, Request), 0)
        self.player = Player(make, self.outlet, SECOND_NS, END_NS)
        self.player.is_paused = True

    def does(self, what: str, number: float = 0.0) -> Sample:
        """What it says when it has done that. said: for people."""
        self.player._does(Request(what, number))
        self.said = [one.line for one in self.screen.receive() if isinstance(one, Said)]
        return self.sample()

    def sample(self) -> Sample:
        self.screen.send(Request("more"))
        assert list(self.outlet.requests()) == []
        self.outlet.send(self.player._now_ns, at_once=True)
        (found,) = self.screen.receive()
        assert isinstance(found, Sample)
        return found

    def close(self) -> None:
        for end in self._ends:
            end.close()


@pytest.fixture
def playing(tmp_path: Path) -> Iterator[Playing]:
    record(tmp_path / "x.arrows", [batch(
        cgroup(7, WEB),
        fork(60, start_ns=2 * SECOND_NS), fork(61, start_ns=3 * SECOND_NS),
        exits(60, start_ns=2 * SECOND_NS, ts_ns=4 * SECOND_NS),
        gap(5, 4 * SECOND_NS, 5 * SECOND_NS),
        exits(61, start_ns=3 * SECOND_NS, ts_ns=6 * SECOND_NS, status=256),
        fork(62, start_ns=8 * SECOND_NS),
    )])  # fmt: skip
    found = Playing(tmp_path / "x.arrows")
    yield found
    found.close()


def pids(sample: Sample) -> list[int]:
    return [one.pids[0] for one in sample.born]


def test_forward_to_a_place(playing: Playing) -> None:
    sample = playing.does("seek", 2.5 * SECOND_NS)
    assert (sample.now_ns, pids(sample), sample.living) == (3_500_000_000, [60, 61], 2)


def test_back_is_from_the_beginning(playing: Playing) -> None:
    playing.does("seek", 6 * SECOND_NS)
    sample = playing.does("seek", 1.5 * SECOND_NS)
    assert sample.is_new
    assert (sample.now_ns, pids(sample), sample.losses) == (2_500_000_000, [60], [])


def test_beyond_an_end_is_the_end(playing: Playing) -> None:
    assert playing.does("seek", 99 * SECOND_NS).now_ns == END_NS
    assert playing.does("seek", -5).now_ns == SECOND_NS


def test_steps(playing: Playing) -> None:
    times = [playing.does("step").now_ns // SECOND_NS for _step in range(8)]
    assert times == [2, 3, 4, 5, 6, 8, 9, 9]


def test_the_next_failure_and_the_next_gap(playing: Playing) -> None:
    sample = playing.does("gap")
    assert (sample.now_ns, sample.losses[0].lost) == (5 * SECOND_NS, 5)
    assert playing.said == ["1 of 1: 5 events lost"]
    assert playing.does("failure").now_ns == 6 * SECOND_NS
    assert playing.does("gap before").now_ns == 5 * SECOND_NS


@pytest.mark.parametrize(
    ("what", "at_s", "said"),
    [("failure", 6, "no failure follows"), ("gap", 6, "no more events were lost behind here"),
     ("gap before", 3, "no more events were lost ahead of here")],
)  # fmt: skip
def test_where_there_is_none_it_stays_and_says_so(what: str, at_s: int, said: str, playing: Playing) -> None:
    before = playing.does("seek", at_s * SECOND_NS)
    sample = playing.does(what)
    assert playing.said == [said]
    assert (sample.now_ns, sample.living) == (before.now_ns, before.living) == ((at_s + 1) * SECOND_NS, sample.living)


def test_many_gaps_that_lie_together_are_one_place(tmp_path: Path) -> None:
    """As of an overflow of the ring: each CPU has its own, which overlap."""
    ms = SECOND_NS // 1000
    gaps = [gap(18, at * SECOND_NS + nr * 7 * ms, at * SECOND_NS + nr * 7 * ms + 20 * ms, cpu=nr % 2)
            for at in (2, 5) for nr in range(46)]  # fmt: skip
    record(tmp_path / "x.arrows", [batch(fork(60, start_ns=SECOND_NS), *gaps, fork(62, start_ns=8 * SECOND_NS))])
    playing = Playing(tmp_path / "x.arrows")
    said = []
    for what in ("gap", "gap", "gap", "gap before", "gap before"):
        playing.does(what)
        said += playing.said
    playing.close()
    assert said == ["1 of 2: 828 events lost in 46 gaps", "2 of 2: 828 events lost in 46 gaps",
                    "no more events were lost behind here", "1 of 2: 828 events lost in 46 gaps",
                    "no more events were lost ahead of here"]  # fmt: skip


def test_at_its_speed(playing: Playing) -> None:
    playing.player._advance(4 * SECOND_NS)
    assert playing.sample().living == 1
    playing.does("speed", 1e9)
    assert playing.player.speed == 1000


def test_it_runs_until_the_screen_has_gone(playing: Playing) -> None:
    for request in (Request("speed", 1000.0), Request("pause"), Request("events", key=(61, 3 * SECOND_NS))):
        playing.screen.send(request)
    playing.screen._socket.shutdown(socket.SHUT_WR)
    playing.player.run()
    said = list(playing.screen.receive())
    assert any(isinstance(one, Played) for one in said) or said == []


def test_events_of_one_process(playing: Playing) -> None:
    playing.screen.send(Request("events", key=(61, 3 * SECOND_NS)))
    list(playing.outlet.requests())
    playing.player._advance(END_NS)
    lines = [line for one in playing.screen.receive() if isinstance(one, Lines) for line in one.lines]
    assert [line.split()[1:3] for line in lines if "61" in line] == [["fork", "-"], ["exit", "-"]]


def test_a_slow_screen_gets_all_in_one(playing: Playing) -> None:
    playing.outlet.send(0, at_once=True)
    for second in (3, 5, 9):
        playing.player._advance(second * SECOND_NS)
        playing.outlet.send(second * SECOND_NS, at_once=True)
    first, *others = playing.screen.receive()
    assert isinstance(first, Sample)
    assert (first.is_new, others) == (True, [])
    sample = playing.sample()
    assert (pids(sample), sample.events) == ([62], 5)


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\x01\x00\x00\x00\xc1", b"\x02\x00\x00\x00\x91\x01"])
def test_what_is_no_message(data: bytes, playing: Playing) -> None:
    playing._ends[1].sendall(data)
    with pytest.raises(ValueError, match=r".*"):
        list(playing.screen.receive())
