"""Names of containers that come later than their events: what they decide, and what is done where none comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tracer.containers.cgroups import Cgroups
from tracer.kernel.trace import now_ns
from tracer.stream.batch import Batch
from tracer.stream.needed_facts import fact_rows
from tracer.wiring.choosing import Choosing
from tracer.wiring.comparing import Comparing
from tracer.wiring.late_events import LateEvents
from tracer.wiring.naming import Naming

_EVERY_S = 1.0
_LAST_S = 1.0


class LateNames:
    """Asks for names that are missing, and brings what they decide. say: writes a line for people."""

    def __init__(
        self,
        naming: Naming,
        cgroups: Cgroups,
        choosing: Choosing,
        comparing: Comparing,
        late: LateEvents,
        say: Callable[[str], None],
    ) -> None:
        self._naming, self._cgroups, self._choosing, self._comparing = naming, cgroups, choosing, comparing
        self._held, self._late, self._say = choosing.held, late, say
        self._due_s = time.monotonic() + _EVERY_S

    def take(self, news: set[str]) -> Iterator[Batch]:
        """Names that the engine did not report in time, reported now. news: the ids about which it has answered."""
        is_due = time.monotonic() >= self._due_s
        if (news or is_due) and self._cgroups.is_open:
            yield from self.renew(None if is_due else news)
        if is_due:
            for line in self._naming.lines():
                self._say(line)
            self._due_s = time.monotonic() + _EVERY_S
            self._late.say_silent(self._held.oldest_ns)

    def renew(self, about: set[str] | None = None) -> Iterator[Batch]:
        """What is known by now of containers with these ids. None: of all."""
        lost = self._held.lost
        if facts := self._cgroups.renew(about):
            yield from self._choosing.take(fact_rows(facts, now_ns()))
        if self._held.lost > lost:
            self._comparing.want()
        self._late.say_shown()

    def last(self) -> Iterator[Batch]:
        """Names that are on their way when nothing is read any more: now there is time to wait for them."""
        until_s = time.monotonic() + _LAST_S
        while self._held.rows and (left_s := until_s - time.monotonic()) > 0:
            if self._naming.wait(left_s) is None:
                return
            yield from self.renew()  # also of those about whom silence is an answer by now

    def give_up(self) -> Iterator[Batch]:
        """At the end: gaps in place of what no name has decided."""
        before = self._held.lost
        yield from self._held.give_up()
        if missing := self._held.lost - before:
            self._say(f"{missing} events are not shown: the container engine did not say whether they match a TARGET")
