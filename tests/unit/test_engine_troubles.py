"""What people read of an engine that is away: two lines an outage, and nothing of a moment."""

from __future__ import annotations

from tracer.containers.address import LOGS, Address
from tracer.containers.engine_troubles import Troubles

URL = "unix:///run/x\x1b.sock"
WHO = r"the container engine on unix:///run/x\x1b.sock"
AWAY = f"{WHO} does not answer: names of new containers are missing until it does"
MAYBE_MISSED = ": it is asked for all names again; what it reported meanwhile may be missing"


def test_one_that_answers_is_not_spoken_of() -> None:
    troubles = Troubles(Address(URL), is_there=True)
    assert [troubles.lines(heard, True, float(at)) for at, heard in enumerate((None, None, True, True))] == [[]] * 4


def test_one_that_goes_away_and_comes_back() -> None:
    troubles = Troubles(Address(URL), is_there=True)
    troubles.lines(True, True, 0.0)
    said = [troubles.lines(False, False, at) for at in (1.0, 1.5, 2.0, 3.0)]
    assert said == [[], [], [AWAY], []]
    assert troubles.lines(True, False, 4.0) == []  # it is heard; its list is on its way
    assert troubles.lines(True, True, 4.25) == [f"{WHO} answers again after 3.2 s{MAYBE_MISSED}"]
    assert troubles.lines(True, True, 5.0) == []


def test_a_restart_in_a_moment_is_a_line() -> None:
    troubles = Troubles(Address(URL), is_there=True)
    troubles.lines(True, True, 0.0)
    assert troubles.lines(False, True, 1.0) == []
    assert troubles.lines(True, True, 1.5) == [f"{WHO} answers again after 0.5 s{MAYBE_MISSED}"]


def test_a_restart_that_nobody_has_looked_at_is_a_line_too() -> None:
    troubles = Troubles(Address(URL), is_there=True)
    assert troubles.lines(True, True, 0.0) == []
    troubles.was_deaf(0.25, 1.0)
    assert troubles.lines(True, False, 1.0) == []  # its list is on its way
    assert troubles.lines(True, True, 1.25) == [f"{WHO} answers again after 0.5 s{MAYBE_MISSED}"]


def test_one_that_is_slow_for_a_moment_is_not_spoken_of() -> None:
    troubles = Troubles(Address(URL), is_there=True)
    assert [troubles.lines(True, answers, at) for at, answers in ((0.0, False), (0.5, True), (1.0, True))] == [[]] * 3


def test_one_that_hangs_has_missed_nothing() -> None:
    troubles = Troubles(Address(URL), is_there=True)
    assert [troubles.lines(True, False, at) for at in (0.0, 1.0)] == [[], [AWAY]]
    assert troubles.lines(True, True, 2.0) == [f"{WHO} answers again after 2.0 s"]


def test_one_that_comes_up_later() -> None:
    troubles = Troubles(Address(URL), is_there=False)
    assert troubles.lines(None, False, 0.0) == troubles.lines(None, False, 9.0) == []
    assert troubles.lines(True, True, 10.0) == [f"{WHO} has come up: its containers have names from here on"]
    assert troubles.lines(True, True, 11.0) == []


def test_one_that_is_asked_no_more_is_spoken_of_once() -> None:
    troubles = Troubles(Address(URL), is_there=True)
    said = f"the process that asks {WHO} has ended: names that it would give are missing from here on"
    assert [troubles.over(), troubles.over()] == [[said], []]
    assert "the folders of this node" in Troubles(Address(LOGS), is_there=True).over()[0]
