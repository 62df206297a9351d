"""What is known of PID namespaces goes with them, also of those that no target means."""

from __future__ import annotations

import pytest
from stack import Space, Stack

from tracer.wiring import choosing

pytestmark = pytest.mark.kernel


def test_it_is_known_until_a_namespace_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "_KEEP_ENDED", 0)
    monkeypatch.setattr("tracer.stream.ended_spaces.LATER_NS", 0)
    mine, others = Space("sleep", "600"), [Space("sleep", "600") for _ in range(2)]
    try:
        with Stack(f"pidns:{mine.inum}") as stack:

            def known() -> set[int]:
                return {pidns.inum for pidns in stack.source.attribution.spaces()}

            assert known() >= {mine.inum, *(other.inum for other in others)}
            others[0].kill()
            stack.read(lambda: others[0].inum not in known())
            assert known() >= {mine.inum, others[1].inum}
            mine.kill()
            stack.read(lambda: mine.inum not in known())
            assert others[1].inum in known()
        assert stack.account.differences() == []
        assert set(stack.batch.rows["chain"]["inum"][stack.batch.rows["level"] > 0, 0].tolist()) == {mine.inum}
    finally:
        for space in (mine, *others):
            space.kill()
