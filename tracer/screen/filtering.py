"""The filter of nstrace top: a condition that is typed, tried, edited and taken away. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from tracer.errors import NstraceError
from tracer.screen.cells import user_name
from tracer.screen.facts import Facts
from tracer.screen.model import Mask, Proc

_LOOKS = 200
_FROM_PROC: dict[str, Callable[[Proc], object]] = {
    **dict.fromkeys(("uid", "user"), lambda proc: proc.uid),
    "state": lambda proc: proc.state,
    "comm": lambda proc: proc.comm,
}


class Condition(Protocol):
    """A condition on processes: `tracer.ask.process_filter.ProcessFilter`. needs: the names in it."""

    @property
    def needs(self) -> Collection[str]:
        """The names in it."""

    def mask(self, processes: Sequence[Facts], name_of: Callable[[int], str]) -> list[bool]:
        """For which of them it is true. Raises NstraceError."""


class Filter:
    """text: as typed, of what is applied; wrong: what is wrong with what was typed last, "": nothing."""

    def __init__(self, make: Callable[[str], Condition]) -> None:
        self._make = make
        self._condition: Condition | None = None
        self.text = self.wrong = self._typed = ""
        self._before: tuple[str, Condition | None] = ("", None)
        self._turn = 0

    def edit(self) -> str:
        """Begin to type. Gives the text to begin with."""
        self._before = self.text, self._condition
        return self._typed or self.text

    def set(self, text: str) -> None:
        """Apply this; where it is wrong, what was applied stays."""
        self._typed, self.wrong = text, ""
        if not text.strip():
            self.text, self._condition, self._typed = "", None, ""
            return
        try:
            self._condition = self._make(text)
            self.text = text
        except NstraceError as error:
            self.wrong = _said(error)

    def undo(self) -> None:
        """Apply what was applied when typing began."""
        (self.text, self._condition), self.wrong, self._typed = self._before, "", ""

    def fail(self, error: NstraceError) -> None:
        """It cannot be evaluated: apply nothing. The text stays to be edited."""
        self.text, self._condition, self.wrong = "", None, _said(error)

    @property
    def mask(self) -> Mask | None:
        """Which processes are shown; None: all."""
        found = self._condition
        return (lambda listed: found.mask(listed, user_name)) if found else None

    def asked_of(self, procs: Sequence[Proc]) -> list[list[object]]:
        """What of these processes may change without an event, as far as the condition asks for it."""
        asked = [getter for name, getter in _FROM_PROC.items() if self._condition and name in self._condition.needs]
        return [[getter(proc) for getter in asked] for proc in procs] if asked else []

    def to_look_at(self, procs: list[Proc]) -> list[Proc]:
        """Of all processes those that have to be looked at in /proc now, so that the condition holds of what is: some
        each time."""
        if self._condition is None or _FROM_PROC.keys().isdisjoint(self._condition.needs):
            return []
        first, self._turn = self._turn, self._turn + _LOOKS
        if self._turn >= len(procs):
            self._turn = 0
        return procs[first : first + _LOOKS]


def _said(error: NstraceError) -> str:
    return "; ".join(filter(None, (error.message, error.hint)))
