"""Whose losses a gap tells: exactly, or not at all."""

from tracer.losses import Losses, PairKey

WEB, DB = (4026532180, 1, 10), (4026532181, 2, 11)


def test_one_pair_alone_has_lost_all() -> None:
    losses = Losses()
    assert losses.shares([3, 2], {WEB: 9}, 9) == [[(WEB, 3)], [(WEB, 2)]]  # the counters run ahead
    assert losses.shares([4], {WEB: 9}, 9) == [[(WEB, 4)]]


def test_two_pairs_in_one_gap_when_counters_and_gap_agree() -> None:
    assert Losses().shares([5], {WEB: 2, DB: 3}, 5) == [[(WEB, 2), (DB, 3)]]


def test_two_pairs_cannot_be_told_apart_in_two_gaps_or_when_counters_run_ahead() -> None:
    assert Losses().shares([2, 3], {WEB: 2, DB: 3}, 5) == [[(None, 2)], [(None, 3)]]
    assert Losses().shares([5], {WEB: 4, DB: 3}, 7) == [[(None, 5)]]


def test_exact_again_once_all_is_told() -> None:
    losses = Losses()
    losses.shares([5], {WEB: 4, DB: 3}, 7)
    assert losses.shares([2], {WEB: 4, DB: 3}, 7) == [[(None, 2)]]
    assert losses.shares([6], {WEB: 4, DB: 9}, 13) == [[(DB, 6)]]


def test_silent_when_there_was_no_room_to_count_a_pair() -> None:
    losses, nobody = Losses(), dict[PairKey, int]()
    assert losses.shares([5], nobody, 5) == [[(None, 5)]]
    assert losses.shares([1], {WEB: 1}, 6) == [[(None, 1)]]
