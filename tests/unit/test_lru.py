"""The bounded table: what was used longest ago makes room."""

from tracer.stream.lru import Lru


def filled(count: int, limit: int) -> Lru[int, str]:
    recent: Lru[int, str] = Lru(limit)
    for number in range(count):
        recent.put(number, str(number))
    return recent


def test_what_was_used_longest_ago_makes_room_and_is_counted() -> None:
    recent = filled(3, 3)
    assert recent.get(0) == "0"
    recent.put(3, "3")
    assert (list(recent), recent.evicted) == ([2, 0, 3], 1)


def test_its_keys_can_be_gone_through_while_it_is_used() -> None:
    recent = filled(3, 8)
    seen = []
    for key in recent:
        seen.append((key, recent.get(key)))
        recent.put(key + 10, "new")
    assert seen == [(0, "0"), (1, "1"), (2, "2")]
