"""When a live stream ends because of its targets: when none of their processes lives, and none may come."""

from __future__ import annotations

from collections.abc import Callable, Collection

from tracer.containers.answers import Silence
from tracer.stream.batch import Batch
from tracer.stream.metadata import NEVER_RAN
from tracer.text.wait_status import reported_code
from tracer.typed.targets import BY_NAME, Target, TargetKind
from tracer.wiring.life_lines import LifeLines

_MAY_COME = ("running", "restarting", "paused")


class TargetLifetime:
    """Receives every batch; asked when no process has lived for a while. state: id of a container -> its state, as the
    engine reports it. say: writes a line for people. running: ids of the containers that ran when they were looked up.
    endless: never end: what has ended may come again. at_end: called when the first container has ended, whatever comes
    behind it; ended_before: the exit code that an engine gives a container, by its id, that had ended when it got the
    name of a TARGET; None: it had not, or that is not known. never_ran: the exit code that an engine gives a container,
    by its id, whose command it could not run; None: it says none."""

    def __init__(
        self,
        targets: tuple[Target, ...],
        state: Callable[[str], str | Silence | None],
        say: Callable[[str], None],
        *,
        running: Collection[str] = (),
        endless: bool = False,
        at_end: Callable[[], object] | None = None,
        never_ran: Callable[[str], int | None] = lambda _id: None,
        ended_before: Callable[[str], int | None] = lambda _id: None,
    ) -> None:
        self._targets, self._state, self._say = targets, state, say
        self._running, self._is_endless = frozenset(running), endless
        self._lines = LifeLines(targets, say, waits=endless, once=at_end is not None)
        self._is_waiting = False
        self._at_end, self._never_ran, self._ended_before = at_end, never_ran, ended_before
        self._code: int | None = None  # of one that had ended before

    def take(self, batch: Batch) -> None:
        """Receive the next batch."""
        self._lines.take(batch)
        if (at_end := self._at_end) and (self._lines.has_end or self._had_ended()):
            self._at_end = None
            self._ends()
            at_end()

    def _had_ended(self) -> bool:
        """Whether a container that has got the name of a TARGET by now had ended before; says so."""
        renamed, self._lines.renamed = self._lines.renamed, {}
        for container_id in renamed.values():
            if (code := self._ended_before(container_id)) is not None:
                self._code = code
                self._say(f"it had ended before: exit {code}, as its engine reports it")
        return self._code is not None

    def is_over(self) -> bool:
        """Whether all targets are namespaces, which have ended, or containers that have stopped; says so. What the
        engine does not report is not over: it may start them again when it is back."""
        if self._is_endless or any(target.kind not in (TargetKind.PIDNS, *_NAMED) for target in self._targets):
            return False
        if any(self._may_come(target) for target in self._targets if target.kind in _NAMED):
            return False
        return self._ends()

    def is_gone(self) -> bool:
        """Whether there is nothing to wait for where no process was seen: all targets are containers that were removed
        before they started, or that ended before the trace began; says so."""
        if self._is_endless or any(self._may_begin(target) for target in self._targets):
            return False
        return self._ends()

    def _may_begin(self, target: Target) -> bool:
        if target.kind != TargetKind.ID:
            return True
        if target.value in self._running:
            return self._may_come(target)
        return target.text not in self._lines.removed

    @property
    def exit_code(self) -> int | None:
        """That of the container that ended last, as a shell reports it; None: none has ended, or it is not known. Of
        one whose command was never run what the kernel has seen is the end of its runtime."""
        if self._code is not None:
            return self._code
        last = next(reversed(self._lines.last.values()), None)
        if last and last.doubt == NEVER_RAN and (code := self._never_ran(last.container.id)) is not None:
            return code
        return reported_code(last.signal, last.exit_code) if last else None

    def _may_come(self, target: Target) -> bool:
        last = self._lines.last.get(target.text)
        if target.life is not None or (target.kind != TargetKind.ID and last is None):
            return last is None
        if target.text in self._lines.removed:
            return False
        state = self._state(last.container.id if last else target.value)
        if state is Silence.NOT_YET:
            return True
        if state is Silence.NO_ANSWER and not self._is_waiting:
            self._say(f"{target.text} has no process left, and the container engine does not answer: waiting for it")
        self._is_waiting = state is Silence.NO_ANSWER
        return self._is_waiting or state in _MAY_COME

    def _ends(self) -> bool:
        names = ", ".join(target.text for target in self._targets)
        has = "has" if len(self._targets) == 1 else "have"
        may_return = any(target.kind == TargetKind.ID for target in self._targets)
        self._say(f"nothing is left to follow: {names} {has} ended" + " (-F waits for the next start)" * may_return)
        return True


_NAMED = (TargetKind.ID, *BY_NAME)
