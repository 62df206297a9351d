"""The translation table against a plain model of what it promises."""

from __future__ import annotations

from builders import PIDNS, batch, exits, fork
from hypothesis import given
from hypothesis import strategies as st

from tracer.pidns import INITIAL_PIDNS, PidnsId
from tracer.table import Table


class Model:
    """What is promised, as plainly as can be: lives in their order, searched from the latest."""

    def __init__(self) -> None:
        self.lives: list[dict[str, object]] = []

    def fork(self, tgid: int, start_ns: int, numbers: set[tuple[int, int]]) -> None:
        numbers = numbers | {(0, tgid)}
        self.lives = [life for life in self.lives if not numbers & life["numbers"]]  # type: ignore[operator]
        self.lives.append({"id": (tgid, start_ns), "numbers": numbers, "alive": True})

    def exit(self, tgid: int, start_ns: int) -> None:
        for life in self.lives:
            if life["id"] == (tgid, start_ns):
                life["alive"] = False


SMALL = st.integers(1, 6)
LIVES = st.lists(st.tuples(SMALL, st.lists(SMALL, max_size=4), st.booleans()), max_size=40)


@given(LIVES, st.integers(1, 50))
def test_as_the_model(lives: list[tuple[int, list[int], bool]], batch_size: int) -> None:
    rows, model = [], Model()
    for start_ns, (tgid, inside, ends) in enumerate(lives, 1):
        numbers = [(PIDNS + level, nr) for level, nr in enumerate(inside)]
        rows.append(fork(tgid, numbers, start_ns=start_ns))
        model.fork(tgid, start_ns, set(numbers))
        if ends:
            rows.append(exits(tgid, numbers, start_ns=start_ns))
            model.exit(tgid, start_ns)
    known = Table()
    for at in range(0, len(rows), batch_size):
        known.apply(batch(*rows[at : at + batch_size]))
    assert len(known) == len(model.lives)
    assert known.live == sum(bool(life["alive"]) for life in model.lives)
    for life in model.lives:
        for inum, nr in life["numbers"]:  # type: ignore[attr-defined]
            found = known.find(PidnsId(inum, 1) if inum else INITIAL_PIDNS, nr)
            assert found and found.proc_id == life["id"] and (found.exited_ns is None) == life["alive"]
