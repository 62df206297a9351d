"""The account adds up, or says what does not."""

from dataclasses import replace

import numpy as np
import pytest

from tracer.stream.account import COUNTS, Account
from tracer.stream.losses import Loser
from tracer.stream.schema import COUNTER_SLOTS, Kind


@pytest.fixture
def account() -> Account:
    """Two CPUs: 5 forks seen on the first, of which 1 filtered and 1 lost; 2 exits on the second."""
    counts = np.zeros(2, COUNTS)
    counts["filtered"][0, Kind.FORK] = 1
    counts["attempts"][0, Kind.FORK], counts["submitted"][0, Kind.FORK], counts["failed"][0, Kind.FORK] = 4, 3, 1
    counts["attempts"][1, Kind.EXIT] = counts["submitted"][1, Kind.EXIT] = 2
    delivered = np.zeros((2, COUNTER_SLOTS), np.int64)
    delivered[0, Kind.FORK], delivered[1, Kind.EXIT] = 3, 2
    return Account(counts, 0, delivered, np.array([1, 0]))


def test_adds_up(account: Account) -> None:
    assert account.differences() == []
    assert account.line() == "7 seen = 5 delivered + 1 lost + 1 filtered"
    assert [line.split() for line in account.lines()[1:]] == [
        ["fork", "5", "1", "1", "3"],
        ["exit", "2", "0", "0", "2"],
    ]


def test_says_what_the_kernel_did_not_run(account: Account) -> None:
    assert replace(account, missed=3).line() == "10 seen = 5 delivered + 1 lost + 1 filtered + 3 missed"


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("attempts", (0, Kind.FORK), ["CPU 0, fork: 5 attempts, but 3 submitted and 1 failed"]),
        (
            "submitted",
            (1, Kind.EXIT),
            ["CPU 1, exit: 2 attempts, but 3 submitted and 0 failed", "CPU 1, exit: 3 submitted, but 2 delivered"],
        ),
    ],
)
def test_says_which_counter_is_wrong(account: Account, column: str, cell: tuple[int, int], said: list[str]) -> None:
    account.counts[column][cell] += 1
    assert account.differences() == said


def test_says_when_a_loss_was_not_told(account: Account) -> None:
    assert replace(account, reported=np.array([0, 0])).differences() == ["CPU 0: 1 failed, but 0 reported as lost"]


def test_says_whose_losses_by_name_and_how_many_are_nobodys(account: Account) -> None:
    account.counts["failed"][1, Kind.EXIT] = 20
    losses = {Loser((5, 1, 7)): 2, Loser((5, 1, 7), throttled=True): 6, Loser((6, 1, 7)): 1, Loser((9, 1, 8)): 0}
    lines = replace(account, losses=losses).lines_of_losers(lambda pair: f"cgroup {pair[2]}")
    assert lines == ["lost of whom is not known: 12", "lost of cgroup 7: 9, 6 of them throttled"]
    assert replace(account, counts=np.zeros(2, COUNTS)).lines_of_losers(str) == []


@pytest.mark.parametrize(
    ("column", "cell", "value", "said"),
    [
        ("failed", (0, Kind.FORK), 2**64 - 16, "CPU 0: failed is 18446744073709551600"),
        ("submitted", (0, Kind.FORK), 2, "CPU 0, fork: 2 submitted, but 3 delivered"),
        ("failed", (0, Kind.FORK), 0, "CPU 0: 0 failed, but 1 reported as lost"),
        ("throttled", (1, 0), 2**63, "CPU 1: throttled is 9223372036854775808"),
    ],
)
def test_counters_that_cannot_be_are_broken(
    account: Account, column: str, cell: tuple[int, int], value: int, said: str
) -> None:
    assert account.broken() == []
    account.counts[column][cell] = value
    assert account.broken() == [said]


def test_what_the_reader_saw_is_broken_too(account: Account) -> None:
    assert replace(account, faults=["the ring"]).broken() == ["the ring"]
