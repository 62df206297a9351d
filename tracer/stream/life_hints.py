"""What engines say of containers, held against what the kernel shows of their lives. Pure.

What only an engine knows (created, paused, renamed, health, removed, restarting) becomes a row by its word, at its
time. When a container starts and ends, the kernel decides: an engine's word becomes a row only where the two differ,
and says how. What an engine says of the time before the trace is no news, but for an end, which may be waited for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from tracer.stream.batch import Batch
from tracer.stream.lives import Life, Lives, Past, fact_row, note_signal
from tracer.stream.metadata import Container, EngineEvent, LifeFact, SignalSent
from tracer.text.counted import counted
from tracer.text.wait_status import reported_code, signal_of

GRACE_NS = 2_000_000_000
"""How long the kernel's word for what an engine says is waited for: what was read of the ring may be held back."""
_CLOCKS_NS = 50_000_000  # so far the wall clock may have moved against the clock of the events
_MAX_WAITING = 4096
_UNSEEN = "says so; no process of it was seen"
_EARLIER = "says so, of the time before the trace began"
_ENDS = ("stopped", "removed")
ALIVE = "still alive"
"""What a doubt ends with where the kernel speaks against an end."""
_ACTIONS = {
    "create": "created",
    "pause": "paused",
    "unpause": "unpaused",
    "rename": "renamed",
    "restart": "restarting",
    "health_status": "health",
    "destroy": "removed",
}


class _Waiting(NamedTuple):
    """A word of an engine that the kernel has until then to confirm. life: that it is about, as far as it was seen."""

    until_ns: int
    event: EngineEvent
    life: Life | None


class LifeHints:
    """means: whether a target means a container of which no process was seen; described: the container with an id, as
    an engine reports it; state: its state, a text, as soon as the engine has said it; to_come: one that has not lived
    yet, with the number of its first life, which is promised where it was created now. wall_offset_ns: wall clock
    minus CLOCK_BOOTTIME."""

    def __init__(
        self,
        lives: Lives,
        means: Callable[[Container], bool],
        described: Callable[[str], Container],
        wall_offset_ns: int,
        state: Callable[[str], object] = lambda _id: None,
        to_come: Callable[[Container, bool], Container] = lambda container, _is_new: container,
    ) -> None:
        self._lives, self._means, self._described = lives, means, described
        self._wall_offset_ns = wall_offset_ns
        self._waiting: deque[_Waiting] = deque()
        self._state, self._to_come = state, to_come
        self._ended: dict[str, tuple[EngineEvent, int]] = {}

    @property
    def waits(self) -> bool:
        """Whether rows may come of what engines have said before."""
        return bool(self._waiting or self._ended)

    def take(self, events: Iterable[EngineEvent], now_ns: int, told_ns: int | None = None) -> Batch:
        """The rows that these words make, and those that were waited for until now. now_ns: CLOCK_BOOTTIME. told_ns:
        until when the kernel's word is known, where some of it is held back; None: until now."""
        told_ns = now_ns if told_ns is None else told_ns
        rows = [row for event in events for row in self._heard(event, now_ns)]
        while self._waiting and self._waiting[0].until_ns <= told_ns:
            rows += self._doubted(self._waiting.popleft(), now_ns)
        return Batch.concat([*rows, *self._restarting(now_ns)])

    def _restarting(self, now_ns: int) -> Iterator[Batch]:
        """Of containers that have ended, those that their engine is about to start again: it has no word for that, but
        a state while it waits, which comes a moment after its word that they died."""
        for container_id, (event, until_ns) in list(self._ended.items()):
            ts_ns = self._time(event, now_ns)
            state = self._state(container_id)
            if (isinstance(state, str) and state != "running") or now_ns > until_ns:
                del self._ended[container_id]
            if state == "restarting":
                yield from self._row(event, ts_ns, "restarting", past=self._life_at(container_id, ts_ns))

    def _heard(self, event: EngineEvent, now_ns: int) -> Iterator[Batch]:
        life, ts_ns = self._lives.open(event.container_id), self._time(event, now_ns)
        if event.action == "die" and len(self._ended) < _MAX_WAITING:
            self._ended[event.container_id] = event, now_ns + GRACE_NS
        if event.action in _ACTIONS:
            yield from self._said(event, ts_ns)
        elif event.action == "kill" and life:
            if name := signal_of(event.attributes.get("signal", "")):
                note_signal(life, SignalSent(name, ts_ns))
        elif event.action == "die" and (past := self._past_of(event, ts_ns)):
            yield from self._compared(event, past, ts_ns)
        elif event.action == "oom":
            self._heard_oom(event, now_ns)
        elif event.action in ("start", "die"):
            self._wait(event, now_ns, life)

    def _heard_oom(self, event: EngineEvent, now_ns: int) -> None:
        """An engine says so for each allocation that failed: of a life the first time counts."""
        life = self._last_life(event.container_id)
        if life and not life.has_oom and not life.said_oom:
            life.said_oom = True
            self._wait(event, now_ns, life)

    def _wait(self, event: EngineEvent, now_ns: int, life: Life | None) -> None:
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append(_Waiting(now_ns + GRACE_NS, event, life))

    def _doubted(self, waiting: _Waiting, now_ns: int) -> Iterator[Batch]:
        """The rows of a word that was waited for, where the kernel has not confirmed it."""
        event = waiting.event
        life, ts_ns = self._lives.open(event.container_id), self._time(event, now_ns)
        if event.action == "start":
            if not self._lives.take_begun(event.container_id) and life is None:
                yield from self._row(event, ts_ns, "started", doubt=f"{event.engine} {_UNSEEN}")
        elif event.action == "oom":
            if waiting.life and not waiting.life.has_oom:
                yield from self._row(event, ts_ns, "oom", past=waiting.life)
        elif past := self._past_of(event, ts_ns):
            yield from self._compared(event, past, ts_ns)
        elif life and (doubt := self._lives_on(event, life)):
            yield from self._row(event, ts_ns, "stopped", exit_code=_exit_code(event), doubt=doubt)
        elif event.action == "die" and self._last_life(event.container_id) is None:
            doubt = f"{event.engine} {_UNSEEN}"
            yield from self._row(event, ts_ns, "stopped", exit_code=_exit_code(event), doubt=doubt)

    def _past_of(self, event: EngineEvent, ts_ns: int) -> Past | None:
        """The life of which an engine says that it has ended."""
        ended = [past for past in self._lives.past(event.container_id) if past.ended_ns <= ts_ns + _CLOCKS_NS]
        return ended[-1] if ended and not self._is_newer(event, ended[-1], ts_ns) else None

    def _is_newer(self, event: EngineEvent, past: Past, ts_ns: int) -> bool:
        """Whether another life had begun by then: it is that one's end."""
        life = self._lives.open(event.container_id)
        return life is not None and past.ended_ns < life.began_ns < ts_ns

    def _compared(self, event: EngineEvent, past: Past, ts_ns: int) -> Iterator[Batch]:
        """A row where the engine says of an end what the kernel does not."""
        stopped = past.stopped
        code, shown = _exit_code(event), reported_code(stopped.signal, stopped.exit_code)
        if code is None or code == shown:
            return
        doubt = "no event of the kernel reported how it ended"
        if shown is not None:
            doubt = f"{event.engine} says so; the kernel reported {stopped.signal or f'exit code {shown}'}"
        yield from self._row(event, ts_ns, "stopped", past=past.life, exit_code=code, doubt=doubt)

    def _said(self, event: EngineEvent, ts_ns: int) -> Iterator[Batch]:
        """The row of what only the engine knows."""
        action, attributes = _ACTIONS[event.action], event.attributes
        if action == "renamed":
            old = attributes.get("oldName", "").removeprefix("/")
            yield from self._row(event, ts_ns, action, old_name=old or None)
        elif action == "health":
            yield from self._row(event, ts_ns, action, health=attributes.get("health_status") or None)
        elif action == "removed" and (life := self._lives.open(event.container_id)):
            yield from self._row(event, ts_ns, action, doubt=self._lives_on(event, life))
        else:
            yield from self._row(event, ts_ns, action)

    def _lives_on(self, event: EngineEvent, life: Life) -> str | None:
        """What to say of an end that an engine reports of a container of which processes live."""
        living = len(self._lives.living(life))
        return f"{event.engine} says so; {counted(living, 'process', 'es')} of it {ALIVE}" if living else None

    def _row(
        self, event: EngineEvent, ts_ns: int, action: str, *, past: Life | None = None, **members: object
    ) -> Iterator[Batch]:
        life = past or self._last_life(event.container_id)
        if ts_ns < self._lives.began_ns:
            if action not in _ENDS:
                return
            ts_ns = self._lives.began_ns
            if not str(members.get("doubt")).endswith(ALIVE):
                members["doubt"] = f"{event.engine} {_EARLIER}"
        container = self._container(event, life)
        if life or self._means(container):
            fact = LifeFact(action, container, said_by="engine", **members)  # type: ignore[arg-type]
            yield fact_row(fact, ts_ns, life.row if life else None)

    def _last_life(self, container_id: str) -> Life | None:
        """The life of a container that was seen last, whether it has ended or not."""
        ended = self._lives.past(container_id)
        return self._lives.open(container_id) or (ended[-1].life if ended else None)

    def _life_at(self, container_id: str, ts_ns: int) -> Life | None:
        """The life of a container that was the last to begin before then."""
        lives = [past.life for past in self._lives.past(container_id)]
        lives += [life for life in [self._lives.open(container_id)] if life]
        return next((life for life in reversed(lives) if life.began_ns < ts_ns), None)

    def _container(self, event: EngineEvent, life: Life | None) -> Container:
        """The container as it is shown; of a renamed one by its new name."""
        if life is None:
            known = self._described(event.container_id)
            image = event.image or known.image
            labels = event.labels or known.labels
            found = msgspec.structs.replace(
                known, runtime=event.engine, name=event.name, image=image, labels=labels, incarnation=0
            )
            return self._to_come(found, event.action == "create")
        container = self._lives.current(life)
        return msgspec.structs.replace(container, name=event.name) if event.action == "rename" else container

    def _time(self, event: EngineEvent, now_ns: int) -> int:
        """When it happened (CLOCK_BOOTTIME), as the engine says, but not later than now."""
        return min(now_ns, event.time_ns - self._wall_offset_ns)


def _exit_code(event: EngineEvent) -> int | None:
    text = event.attributes.get("exitCode", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
