"""Whose losses a gap tells: exactly, or not at all."""

from tracer.stream.losses import NOBODY, Loser, LossLedger

WEB, DB = Loser((4026532180, 1, 10)), Loser((4026532181, 2, 11))


def test_one_pair_alone_has_lost_all() -> None:
    losses = LossLedger()
    assert losses.shares([3, 2], {WEB: 9}, 9) == [[(WEB, 3)], [(WEB, 2)]]  # the counters run ahead
    assert losses.shares([4], {WEB: 9}, 9) == [[(WEB, 4)]]


def test_two_pairs_in_one_gap_when_counters_and_gap_agree() -> None:
    assert LossLedger().shares([5], {WEB: 2, DB: 3}, 5) == [[(WEB, 2), (DB, 3)]]


def test_two_pairs_cannot_be_told_apart_in_two_gaps_or_when_counters_run_ahead() -> None:
    assert LossLedger().shares([2, 3], {WEB: 2, DB: 3}, 5) == [[(NOBODY, 2)], [(NOBODY, 3)]]
    assert LossLedger().shares([5], {WEB: 4, DB: 3}, 7) == [[(NOBODY, 5)]]


def test_exact_again_once_all_is_told() -> None:
    losses = LossLedger()
    losses.shares([5], {WEB: 4, DB: 3}, 7)
    assert losses.shares([2], {WEB: 4, DB: 3}, 7) == [[(NOBODY, 2)]]
    assert losses.shares([6], {WEB: 4, DB: 9}, 13) == [[(DB, 6)]]


def test_silent_when_there_was_no_room_to_count_a_pair() -> None:
    losses, nobody = LossLedger(), dict[Loser, int]()
    assert losses.shares([5], nobody, 5) == [[(NOBODY, 5)]]
    assert losses.shares([1], {WEB: 1}, 6) == [[(NOBODY, 1)]]


def test_throttled_and_refused_of_one_pair() -> None:
    pair = WEB.pair
    losses, throttled = LossLedger(), Loser(pair, throttled=True)
    assert losses.shares([3], {throttled: 7}, 7) == [[(throttled, 3)]]
    assert losses.shares([4], {throttled: 7, WEB: 5}, 12) == [[(WEB, 4)]]  # whose, but not why: no flag
    assert losses.shares([5], {throttled: 7, WEB: 5}, 12) == [[(WEB, 5)]]
    assert losses.shares([9], {throttled: 12, WEB: 9}, 21) == [[(throttled, 5), (WEB, 4)]]
