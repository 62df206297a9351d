"""Whether a live stream lasts when no process of its targets lives: one may come later."""

from __future__ import annotations

from collections.abc import Callable

from tracer.containers.cgroups import Silence
from tracer.typed.targets import Target, TargetKind

_MAY_COME = ("running", "restarting", "paused")


class TargetLifetime:
    """Called when no process has lived for a while. state: id of a container -> its state, as the engine reports it.
    say: writes a line for people."""

    def __init__(
        self,
        targets: tuple[Target, ...],
        state: Callable[[str], str | Silence | None],
        say: Callable[[str], None],
    ) -> None:
        self._targets, self._state, self._say = targets, state, say
        self._is_waiting = False

    def is_over(self) -> bool:
        """Whether all targets are namespaces, which have ended, or containers that have stopped. What the engine does
        not report is not over: it may start them again when it is back."""
        if any(target.kind not in (TargetKind.PIDNS, TargetKind.ID) for target in self._targets):
            return False
        return not any(self._may_come(target) for target in self._targets if target.kind == TargetKind.ID)

    def _may_come(self, target: Target) -> bool:
        state = self._state(target.value)
        if state is Silence.NOT_YET:
            return True
        if state is Silence.NO_ANSWER and not self._is_waiting:
            self._say(f"{target.text} has no process left, and the container engine does not answer: waiting for it")
        self._is_waiting = state is Silence.NO_ANSWER
        return self._is_waiting or state in _MAY_COME
