"""What people should know of an engine that they rely on: that it is away, and that it is back. Pure."""

from __future__ import annotations

from tracer.containers.address import LOGS, TOOLS, Address
from tracer.text.escape import safe_text

_NODE = {TOOLS: "the tools of this node", LOGS: "the folders of this node"}
_SAID_AFTER_S = 1.0


class Troubles:
    """Lines about the engine at an address. is_there: whether there was one at the beginning."""

    def __init__(self, address: Address, is_there: bool) -> None:
        self._who = _NODE.get(address.url) or f"the container engine on {safe_text(address.url)}"
        self._is_over = False
        self._is_there = is_there
        self._was_deaf = self._has_said = False
        self._since_s: float | None = None

    def lines(self, is_heard: bool | None, answers: bool, now_s: float) -> list[str]:
        """What is new. is_heard: whether its events arrive; None: they never did. answers: whether it answers
        questions."""
        is_deaf = is_heard is False
        self._was_deaf |= is_deaf
        if not self._is_there:
            return self._come_up() if is_heard else []
        if is_deaf or not answers:
            return self._away(now_s)
        return self._back(now_s) if self._since_s is not None else []

    def over(self) -> list[str]:
        """As `lines`, where our process that asks it has ended."""
        was_over, self._is_over = self._is_over, True
        line = f"the process that asks {self._who} has ended: names that it would give are missing from here on"
        return [] if was_over else [line]

    def was_deaf(self, seconds: float, now_s: float) -> None:
        """Note that its events are heard again, after so long: an outage may be shorter than people are told of."""
        self._was_deaf = True
        since_s = now_s - seconds
        self._since_s = since_s if self._since_s is None else min(self._since_s, since_s)

    def _come_up(self) -> list[str]:
        self._is_there, self._since_s, self._was_deaf = True, None, False
        return [f"{self._who} has come up: its containers have names from here on"]

    def _away(self, now_s: float) -> list[str]:
        self._since_s = now_s if self._since_s is None else self._since_s
        if self._has_said or now_s - self._since_s < _SAID_AFTER_S:
            return []
        self._has_said = True
        return [f"{self._who} does not answer: names of new containers are missing until it does"]

    def _back(self, now_s: float) -> list[str]:
        assert self._since_s is not None
        line = f"{self._who} answers again after {now_s - self._since_s:.1f} s"
        if self._was_deaf:
            line += ": it is asked for all names again; what it reported meanwhile may be missing"
        is_said = self._has_said or self._was_deaf
        self._since_s, self._has_said, self._was_deaf = None, False, False
        return [line] if is_said else []
