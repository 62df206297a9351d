"""Translate, of a recording: from what was typed to the process at a moment, or the processes during a time."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from tracer.answers.translation import Life, Translation
from tracer.errors import ExitCode, NstraceError
from tracer.past.archive import Past
from tracer.past.gaps import Hole
from tracer.past.history import Holder, Lifetime
from tracer.past.places import Place
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId
from tracer.text.escape import decode
from tracer.text.hints import near, shown
from tracer.text.times import precise
from tracer.typed.descriptions import POD, means_pod, not_one_of_pod
from tracer.typed.processes import Proc, Space
from tracer.typed.targets import split_life


class Recalled(NamedTuple):
    """The processes, in order of their start; hole: where events are missing, so that there may have been others."""

    translations: list[Translation]
    hole: Hole | None


class Hindsight:
    """Answers from one recording. Moments are boottime, in ns. All methods raise NstraceError where nothing is
    found."""

    def __init__(self, past: Past) -> None:
        self._past = past

    @property
    def container_spaces(self) -> set[PidnsId]:
        """The PID namespaces in which the numbers of containers count."""
        return {pidns for pidns, _container in self._past.homes}

    def at(self, proc: Proc, moment_ns: int) -> Recalled:
        """The process at a moment: one for certain, or with a hole those that it may have been."""
        spaces = [place.pidns for place in self.places(proc) if place.since_ns <= moment_ns < place.until_ns]
        holders = [self._past.history.at(pidns, proc.nr, moment_ns) for pidns in spaces]
        for holder in holders:
            if holder.living and not holder.hole:
                return Recalled([self._translation(proc, holder.living, moment_ns, is_certain=True)], None)
        hole = next((holder.hole for holder in holders if holder.hole), None)
        if hole is None:
            raise self._nobody(proc, f"at {self._clock(moment_ns)}", holders)
        maybe = [holder.living for holder in holders if holder.living]
        return Recalled([self._translation(proc, life, moment_ns, is_certain=False) for life in maybe], hole)

    def during(self, proc: Proc, begin_ns: int, end_ns: int) -> Recalled:
        """All processes that it was at some time from begin to end."""
        found: dict[Lifetime, Translation] = {}
        hole = None
        for pidns, since_ns, until_ns in self._meeting(proc, begin_ns, end_ns):
            lifetimes, missing = self._past.history.during(pidns, proc.nr, since_ns, until_ns)
            hole = hole or missing
            for life in lifetimes:
                is_certain = missing is None or life.seen_ns >= begin_ns
                found[life] = self._translation(proc, life, min(life.seen_ns, end_ns), is_certain=is_certain)
        if not found and hole is None:
            raise self._nobody(proc, f"between {self._clock(begin_ns)} and {self._clock(end_ns)}", [])
        return Recalled([found[life] for life in sorted(found, key=lambda life: life.proc_id.start_ns)], hole)

    def first_two(self, proc: Proc, begin_ns: int, end_ns: int) -> tuple[list[Lifetime], Hole | None]:
        """The first two processes that it was at some time from begin to end, and where others may be missing. In
        several namespaces (of a container that has started again) any loss that was not repaired may hide one."""
        history, places = self._past.history, self._meeting(proc, begin_ns, end_ns)
        if len(places) == 1 and places[0][1:] == (begin_ns, end_ns):
            return history.during(places[0].pidns, proc.nr, begin_ns, end_ns, most=2)
        lives = [history.during(pidns, proc.nr, since_ns, until_ns, most=2)[0] for pidns, since_ns, until_ns in places]
        found = list(dict.fromkeys(itertools.chain(*lives)))
        return found[:2], history.hole(begin_ns, end_ns, history.begins_ns)

    def translation(self, proc: Proc, life: Lifetime, moment_ns: int) -> Translation:
        """What is known of a process that it certainly was, as of a moment, or of the end of its life before that."""
        return self._translation(proc, life, min(life.seen_ns, moment_ns), is_certain=True)

    def unknown(self, proc: Proc, recalled: Recalled) -> NstraceError:
        """The error where a hole leaves no certain answer."""
        assert recalled.hole
        maybe = [translation.entry for translation in recalled.translations]
        known = [f"it may have been PID {entry.numbers[0]} ({decode(entry.comm)})" for entry in maybe]
        return NstraceError(f"{proc.text}: not known: {self.missing(recalled.hole)}", "; ".join(known))

    def missing(self, hole: Hole) -> str:
        """A hole in words."""
        if hole.since_ns is None:
            return f"the recording begins at {self._clock(hole.until_ns or 0)}"
        if hole.until_ns is None:
            return f"the recording ends at {self._clock(hole.since_ns)}"
        return f"events were lost between {self._clock(hole.since_ns)} and {self._clock(hole.until_ns)}"

    def spaces(self, proc: Proc) -> list[PidnsId]:
        """The PID namespaces that the part of a PROC before the slash may mean, at any time."""
        return list(dict.fromkeys(place.pidns for place in self.places(proc)))

    def _meeting(self, proc: Proc, begin_ns: int, end_ns: int) -> list[Place]:
        """Which namespaces are meant in a time, both ends included, and when in it."""
        return [
            Place(pidns, max(since_ns, begin_ns), min(until_ns - 1, end_ns))
            for pidns, since_ns, until_ns in self.places(proc)
            if since_ns <= end_ns and until_ns > begin_ns
        ]

    def places(self, proc: Proc) -> list[Place]:
        """The PID namespaces that the part of a PROC before the slash may mean, and when."""
        match proc.space:
            case Space.HOST:
                return [Place(INITIAL_PIDNS)]
            case Space.PIDNS:
                if not (spaces := self._past.spaces_of(int(proc.where))):
                    hint = "nstrace containers --from FILE lists the namespaces"
                    raise NstraceError(
                        f"no process was recorded in PID namespace {proc.where}", hint, ExitCode.NO_TARGET
                    )
                return list(map(Place, spaces))
            case Space.PID:
                hint = f"translate {proc.where} first: it prints the namespace; then use pidns:INUM/{proc.nr}"
                raise NstraceError(f"{proc.text}: pid:N is only valid for running processes", hint, ExitCode.USAGE)
            case Space.CONTAINER:
                return self._of_container(proc.where)

    def _of_container(self, text: str) -> list[Place]:
        """The namespaces of all containers of this name, which may have been reused; by id of one container."""
        if text.startswith(POD):
            return self._of_pod(text.removeprefix(POD))
        name, life = split_life(text.removeprefix("name:"))
        if by_name := self._past.places_called(name, life):
            return by_name
        homes = [home for home in self._past.homes if life in (None, home[1].incarnation)]
        by_id = [] if text.startswith("name:") else [(p, one.id) for p, one in homes if one.has_id(name)]
        ids = sorted({container_id for _pidns, container_id in by_id})
        if len(ids) > 1:
            hint = f"give more of the id: {shown([container_id[:20] for container_id in ids])}"
            raise NstraceError(
                f"the ids of {len(ids)} recorded containers begin with {text!r}", hint, ExitCode.NO_TARGET
            )
        if not ids:
            labels = sorted({container.label for _pidns, container in self._past.homes})
            hint = near(text, labels) + (f"recorded: {shown(labels)}" if labels else "no container was recorded")
            if self._past.history.gaps:  # what tells of it may be among what was lost
                raise NstraceError(
                    f"not known: no container named {text!r} was recorded, and events were lost", hint, ExitCode.FAILURE
                )
            raise NstraceError(f"no container named {text!r} was recorded", hint, ExitCode.NO_TARGET)
        return list(dict.fromkeys(Place(pidns) for pidns, _container_id in by_id))

    def _of_pod(self, text: str) -> list[Place]:
        """The namespaces of the one container of a pod, which may have had several lives."""
        found = {pidns: container for pidns, container in self._past.homes if means_pod(container.pod, text)}
        ids = sorted({container.id for container in found.values()})
        if len(ids) != 1:
            raise not_one_of_pod(text, [container_id[:20] for container_id in ids])
        return list(map(Place, found))

    def _translation(self, proc: Proc, life: Lifetime, moment_ns: int, *, is_certain: bool) -> Translation:
        reported = self._past.reported(life, moment_ns)
        offset_ns = self._past.wall_offset_ns
        ended_ns = None if life.end_ns is None else life.end_ns + offset_ns
        history, seen_ns = self._past.history, life.seen_ns
        if life.end_ns is None and history.hole(history.ends_ns, history.ends_ns, seen_ns) is None:
            seen_ns = history.ends_ns  # an end would have been reported
        return Translation(
            asked=proc.text,
            is_of_host=proc.space == Space.HOST,
            is_thread=False,
            entry=reported.entry,
            owners=reported.owners,
            life=Life(ended_ns, life.at_the_latest, seen_ns + offset_ns, reported.status, is_certain),
        )

    def _nobody(self, proc: Proc, when: str, holders: list[Holder]) -> NstraceError:
        """The error where no process had the number; an earlier owner keeps it until its reaping, which is no event."""
        befores = [holder.before for holder in holders if holder.before]
        afters = [holder.after for holder in holders if holder.after]
        hints = []
        if befores:
            before = max(befores, key=lambda life: life.proc_id.start_ns)
            ended = f"ended {self._clock(before.end_ns or before.seen_ns)}"
            latest = " at the latest" if before.at_the_latest else ""
            hints.append(f"before: {self._name(before)}, {ended}{latest}; its PID is not reused before it is reaped")
        if afters:
            after = min(afters, key=lambda life: life.proc_id.start_ns)
            # without its name: what it ran may stand where nothing had to be read
            hints.append(f"next: PID {after.proc_id.tgid}, started {self._clock(after.proc_id.start_ns)}")
        where = proc.text.rpartition("/")[0]
        what = f"no process {proc.nr} {f'in {where}' if where else 'on the host'} was recorded {when}"
        return NstraceError(what, "; ".join(hints), ExitCode.NO_TARGET)

    def _name(self, life: Lifetime) -> str:
        reported = self._past.reported(life, life.seen_ns)
        return f"PID {reported.entry.numbers[0]} ({decode(reported.entry.comm)})"

    def _clock(self, moment_ns: int) -> str:
        return precise(moment_ns + self._past.wall_offset_ns)
