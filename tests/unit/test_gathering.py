"""Messages that wait for those next to them."""

from __future__ import annotations

import random

import pytest

from tracer.fleet.gathering import Gathering, Held, Label, parts

RUN = f"{'a' * 32}-{'0' * 8}"


def label(number: int, host: str = "web1") -> Label:
    return Label(f"nstrace.v1.eu.{host}.events", RUN, number)


def numbers(blocks: list[list[Held[int]]]) -> list[list[int]]:
    return [[held.message for held in block] for block in blocks]


@pytest.mark.parametrize(("every_s", "size"), [(5, 4), (60, 32), (64, 64)])
def test_a_steady_host_gets_large_blocks(every_s: int, size: int) -> None:
    """A message a second: but for the first ones, each waits until a block of as many as that takes is whole."""
    gathering, found = Gathering[int](every_s, 1 << 30), list[list[int]]()
    for now_s in range(1, 1_000):
        gathering.add(label(now_s), now_s, now_s, 10, now_s)
        found += numbers(gathering.due(now_s))
    later = [block for block in found if block[0] >= 2 * size]
    assert later and all(len(block) >= size and block[0] % len(block) == 0 for block in later)


@pytest.mark.parametrize("seed", range(20))
def test_every_message_once_and_in_time(seed: int) -> None:
    rng = random.Random(seed)
    gathering, given, came = Gathering[tuple[int, int]](5.0, 5_000), list[tuple[int, int]](), list[tuple[int, int]]()
    now_s, next_of = 0.0, dict.fromkeys(range(4), 1)
    for _ in range(2_000):
        now_s += rng.random()
        if rng.random() < 0.8:
            host = rng.randrange(4)
            number = next_of[host]
            next_of[host] += rng.choice((1, 1, 1, 2))
            message = (host, number)
            said = label(number, str(host)) if host else None
            came.append(message)
            gathering.add(said, len(came), message, rng.randrange(1, 200), now_s)
        for block in gathering.due(now_s):
            given += [held.message for held in block]
            hosts, order = {held.message[0] for held in block}, [held.message[1] for held in block]
            if hosts != {0}:
                assert len(hosts) == 1 and order == list(range(order[0], order[0] + len(order)))
                assert order[0] % len(order) == 0 and len(order) & (len(order) - 1) == 0
        assert not gathering.is_full
        assert gathering.bytes == sum(held.size for held in gathering.held())
        assert all(now_s < held.since_s + 5 for held in gathering.held())
    given += [held.message for block in gathering.due(now_s, is_all=True) for held in block]
    assert sorted(given) == sorted(came) and not list(gathering.held()) and not gathering.bytes


def test_what_is_delivered_again_waits_once_and_no_longer() -> None:
    gathering = Gathering[str](10, 1 << 30)
    gathering.add(label(1), 7, "first", 10, 0)
    gathering.add(label(1), 7, "again", 30, 9)
    assert gathering.bytes == 30
    assert [[held.message for held in block] for block in gathering.due(10)] == [["again"]]
    assert not gathering.bytes


def test_messages_of_one_number_are_all_given() -> None:
    """Whoever has published them: none keeps another one from the archive, nor from its acknowledgement."""
    gathering = Gathering[int](10, 1 << 30)
    for place in (1, 2, 3, 2, 3, 1):
        gathering.add(label(5), place, place, 10, 0)
    gathering.add(None, 4, 4, 10, 0)
    gathering.add(None, 4, 4, 10, 9)
    assert gathering.bytes == 40
    assert sorted(held.message for block in gathering.due(10) for held in block) == [1, 2, 3, 4]
    assert not gathering.bytes and not list(gathering.held())


def test_where_too_much_waits_the_largest_blocks_go_first() -> None:
    gathering = Gathering[int](1_000, 160)
    for number in (1, 16, 17, 18, 19, 20, 21, 22, 23):
        gathering.add(label(number), number, number, 10, 0)
    for number in range(40, 47):
        gathering.add(label(number), number, number, 10, 0)
    assert numbers(gathering.due(0)) == [list(range(16, 24))]


def test_parts_are_of_whole_blocks_where_these_are_small_enough() -> None:
    def block(first: int, size: int, each: int = 1) -> list[Held[int]]:
        return [Held(number, number, each, 0, 0) for number in range(first, first + size)]

    found = [block(0, 4), block(4, 4), block(8, 8), block(16, 32), block(48, 1, 100), block(49, 2, 30)]
    sizes = [[held.message for held in part] for part in parts(found, 8, 50)]
    assert sizes == [
        list(range(8)), list(range(8, 16)), *(list(range(first, first + 8)) for first in range(16, 48, 8)),
        [48], [49], [50],
    ]  # fmt: skip
