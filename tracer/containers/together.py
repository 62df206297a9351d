"""What several engines say together of a container. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tracer.containers.answers import Silence

T = TypeVar("T")


def together(answers: Iterable[tuple[bool, T | Silence | None]]) -> T | Silence | None:
    """The answer of the first that knows the container; None: none does. Silence where one of root's may yet know it: a
    stranger's silence is nothing. answers: in the order in which engines are believed, whether it is one of root's, and
    what it says; none is taken after the first that knows."""
    unknown: list[Silence | None] = []
    for is_trusted, answer in answers:
        if answer is not None and not isinstance(answer, Silence):
            return answer
        unknown += [answer] if is_trusted else []
    for silence in (Silence.NOT_YET, Silence.NO_ANSWER):
        if silence in unknown:
            return silence
    return None if None in unknown else Silence.NO_ENGINE
