"""What engines say of containers and execs, brought to its place among the kernel's events."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tracer.containers.cgroups import Cgroups
from tracer.kernel.trace import now_ns
from tracer.stream.batch import Batch
from tracer.stream.life_hints import LifeHints
from tracer.stream.metadata import CgroupFact, EngineEvent
from tracer.stream.needed_facts import fact_rows
from tracer.stream.selection import Selection
from tracer.stream.session_execs import SessionExecs
from tracer.wiring.choosing import Choosing
from tracer.wiring.comparing import Comparing
from tracer.wiring.late_events import is_old
from tracer.wiring.naming import Naming


class Hearing:
    """wall_offset_ns: wall clock minus boottime: engines have the one, events the other."""

    def __init__(
        self,
        naming: Naming,
        cgroups: Cgroups,
        selection: Selection,
        choosing: Choosing,
        comparing: Comparing,
        hints: LifeHints,
        execs: SessionExecs,
        wall_offset_ns: int,
    ) -> None:
        self._naming, self._cgroups, self._selection = naming, cgroups, selection
        self._choosing, self._comparing = choosing, comparing
        self._hints, self._execs, self._wall_offset_ns = hints, execs, wall_offset_ns
        self._heard: list[EngineEvent] = []

    def take(self) -> Iterator[Batch]:
        """What engines say of containers: behind what their processes did before, which may be held back for a moment
        to be named."""
        heard = self._naming.events()
        self._execs.hear(heard)
        yield from self._execs.due(now_ns())
        self._heard += heard
        if not self._heard and not self._hints.waits:
            return
        if self._naming.holds and self._heard and not is_old(self._heard[0].time_ns - self._wall_offset_ns):
            return
        heard, self._heard = self._heard, []
        names = {event.container_id: event.name for event in heard if event.action == "rename" and event.name}
        renamed = [self._cgroups.rename(container_id, name) for container_id, name in names.items()]
        if facts := [fact for found in renamed for fact in found]:
            yield from self._choosing.take(fact_rows(facts, now_ns()))
        if len(rows := self._hints.take(heard, now_ns(), self._choosing.held.oldest_ns or None)):
            yield rows
        if newly := set(self._newly_meant(facts)):
            yield from self._comparing.newcomers(newly)

    def _newly_meant(self, facts: list[tuple[int, CgroupFact]]) -> Iterator[int]:
        """Which of these cgroups, of containers that were renamed, no target meant by the name before."""
        for cgroup_id, fact in facts:
            container = fact.container
            if container and container.earlier:
                *earlier, name = container.earlier
                before = msgspec.structs.replace(container, name=name, earlier=earlier)
                if not self._selection.means_container(before):
                    yield cgroup_id
