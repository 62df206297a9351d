"""What happens to the containers that a TARGET names, a line each for people: started, stopped, renamed, removed.

Of containers that a pattern or a description means there may be any number: the rows `container` of the stream tell
that of them.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from tracer.stream.batch import Batch
from tracer.stream.life_hints import ALIVE
from tracer.stream.metadata import LifeFact
from tracer.stream.schema import Kind
from tracer.text.times import elapsed
from tracer.typed.targets import Target, TargetKind
from tracer.views.lives import end_words, memory_words

_NAMING = (TargetKind.ID, TargetKind.NAME, TargetKind.CALLED)


class LifeLines:
    """Receives every batch of a stream. say: writes a line for people. waits: whether following goes on when a
    container stops.

    once: what comes behind the first end is not looked at. last: by target, as typed, what was said last of how its
    container ended. removed: those that exist no more. renamed: by target, the id of a container that was renamed to
    it.
    """

    def __init__(
        self, targets: tuple[Target, ...], say: Callable[[str], None], *, waits: bool, once: bool = False
    ) -> None:
        self.last: dict[str, LifeFact] = {}
        self.removed: set[str] = set()
        self.renamed: dict[str, str] = {}
        self._targets = [target for target in targets if target.kind in _NAMING]
        self._say, self._waits, self._once = say, waits, once

    @property
    def has_end(self) -> bool:
        """Whether a container has ended, and how is known."""
        return any(map(_says_how, self.last.values()))

    def take(self, batch: Batch) -> None:
        """Receive the next batch."""
        for at in np.flatnonzero(batch.rows["kind"] == Kind.CONTAINER).tolist():
            if self._once and self.has_end:
                return
            fact = msgspec.json.decode(batch.payload(at).args, type=LifeFact)
            if meant := [target.text for target in self._targets if target.means((fact.container,), ())]:
                self._note(fact, meant)
                if line := _line(fact, waits=self._waits):
                    self._say(line)

    def _note(self, fact: LifeFact, meant: list[str]) -> None:
        match fact.action:
            case "started" | "created":
                self.removed.difference_update(meant)
            case "removed":
                self.removed.update(meant)
            case "renamed":
                self.renamed.update(dict.fromkeys(meant, fact.container.id))
            case "stopped":
                for text in meant:
                    if fact.said_by == "kernel" or (_is_believed(fact) and not _says_how(self.last.get(text))):
                        self.last[text] = fact


def _is_believed(fact: LifeFact) -> bool:
    """Whether nothing of the kernel's speaks against what an engine says."""
    return fact.doubt is None or not fact.doubt.endswith(ALIVE)


def _says_how(fact: LifeFact | None) -> bool:
    return fact is not None and (fact.exit_code is not None or fact.signal is not None)


def _line(fact: LifeFact, *, waits: bool) -> str:
    """What people should know; "": nothing. Of an end that the kernel has reported the engine's word is no news."""
    name = fact.container.label
    match fact.action:
        case "started":
            return f"{name} has started"
        case "stopped" if fact.said_by == "kernel" or not fact.doubt:
            return f"{name} has stopped: {ended(fact)}" + ("; waiting for its next start" if waits else "")
        case "stopped":
            return f"{name} has stopped: {ended(fact)} ({fact.doubt})"
        case "renamed":
            return f"{fact.old_name or fact.container.short_id} was renamed to {name}: it is followed"
        case "removed":
            return f"{name} was removed" + ("; waiting for a new container of this name" if waits else "")
    return ""


def ended(fact: LifeFact) -> str:
    """How a container ended, in words."""
    lived = f" after {elapsed(fact.duration_ns / 1e9)}" if fact.duration_ns is not None else ""
    return f"{end_words(fact)}{lived}{memory_words(fact)}"
