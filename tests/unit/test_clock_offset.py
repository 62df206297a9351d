"""The two clocks are read together, whatever runs in between."""

from itertools import chain, repeat

import pytest

from tracer.system.clock_offset import wall_offset_ns

WALL_NS = 1_700_000_000_000_000_000


@pytest.mark.parametrize("pauses", [[], [8_000_000], [8_000_000, 0, 3_000_000], [0, 9_000_000, 0, 0, 2_000_000]])
def test_another_program_that_runs_in_between_does_not_shift_it(pauses: list[int]) -> None:
    now_ns, pause = 1_000_000_000, chain(pauses, repeat(0))

    def read(offset_ns: int) -> int:
        nonlocal now_ns
        now_ns += 100
        read_ns = now_ns + offset_ns
        now_ns += next(pause)
        return read_ns

    assert abs(wall_offset_ns(lambda: read(WALL_NS), lambda: read(0)) - WALL_NS) < 1000


def test_where_none_are_close_the_closest_counts() -> None:
    now_ns = 0
    pauses = chain([9_000_000, 0, 0, 60_000, 0, 0], repeat(9_000_000))  # behind each of the three readings of a try

    def read(offset_ns: int) -> int:
        nonlocal now_ns
        read_ns = now_ns + offset_ns
        now_ns += next(pauses)
        return read_ns

    assert abs(wall_offset_ns(lambda: read(WALL_NS), lambda: read(0)) - WALL_NS) <= 30_000
