"""verify's judgement: what several sources report of the same processes, side by side. Pure.

Sources are read one after the other while processes come and go, so they may differ for a moment. A difference counts
when several readings in a row have it, of one and the same process. Where a source gave no answer, nothing agrees with
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tracer.errors import ExitCode, NstraceError
from tracer.stream.metadata import Container
from tracer.stream.pidns import ProcId


class Witness(StrEnum):
    """A source that reports which number a process has in a PID namespace."""

    STATUS = "NSPID"  # the host's /proc/PID/status
    IOCTL = "IOCTL"  # the namespace's descriptor
    INSIDE = "INSIDE"  # a child in the namespace, paired by F_SETOWN and F_GETOWN
    EVENTS = "EVENTS"  # the table that eBPF events have built


ENGINE = "ENGINE"  # the container engine, which reports the host PID of a container's first process


@dataclass(frozen=True, slots=True)
class Compared:
    """A process that the host's /proc sees in a namespace. place: what the column CONTAINER shows.

    engine_tgid: for a container's first process, the PID that the engine has for it; None: not asked, or not known.
    engine_failed: the engine was asked, and did not answer. engine_whose: where that PID is not this process, what the
    kernel says of it.
    """

    proc_id: ProcId
    place: str
    container: Container | None = None
    is_zombie: bool = False
    engine_tgid: int | None = None
    engine_failed: bool = False
    engine_whose: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was reported of one PID namespace. numbers: by source, PID on the host -> number inside. failed: sources
    that were asked and did not answer."""

    inum: int
    members: Mapping[int, Compared]
    numbers: Mapping[Witness, Mapping[int, int]]
    failed: frozenset[Witness] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """One process in one PID namespace. member: None where the host's /proc does not show it there. numbers: None where
    a source does not know the process. failed: the sources that did not answer. problem: what differs, "" where nothing
    does."""

    inum: int
    tgid: int
    member: Compared | None
    numbers: Mapping[Witness, int | None]
    problem: str
    failed: frozenset[Witness] = frozenset()

    @property
    def is_compared(self) -> bool:
        """Whether at least two sources reported it: one alone cannot agree."""
        has_engine = self.member is not None and self.member.engine_tgid is not None
        return len(self.numbers) + has_engine > 1

    @property
    def not_known(self) -> list[str]:
        """The sources that did not answer, the engine included."""
        engine = [ENGINE] if self.member and self.member.engine_failed else []
        return [*engine, *(source for source in Witness if source in self.failed)]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A source that did not answer. of: what it was asked about; error: why."""

    source: str
    of: str
    error: NstraceError

    @property
    def is_refused(self) -> bool:
        """Whether privileges are missing."""
        return self.error.exit_code == ExitCode.NOT_PERMITTED


@dataclass(frozen=True, slots=True)
class Round:
    """One reading of all sources."""

    findings: list[Finding]
    unanswered: list[Unanswered] = field(default_factory=list)

    @property
    def is_in_doubt(self) -> bool:
        """Whether another reading may show more."""
        return any(finding.problem for finding in self.findings) or not all(one.is_refused for one in self.unanswered)


@dataclass(frozen=True, slots=True)
class Verdict:
    """findings: in the order of namespaces and PIDs. passing: processes that came or went between readings, so that
    they cannot be judged."""

    findings: list[Finding] = field(default_factory=list)
    passing: int = 0
    unanswered: list[Unanswered] = field(default_factory=list)

    @property
    def problems(self) -> list[Finding]:
        """The findings in which something differs."""
        return [finding for finding in self.findings if finding.problem]

    @property
    def exit_code(self) -> int:
        """0: all that were asked answered, and agree; NOT_PERMITTED: not all of them may be asked; FAILURE: they
        differ, or one did not answer."""
        if self.problems:
            return ExitCode.FAILURE
        if not self.unanswered:
            return 0
        return ExitCode.NOT_PERMITTED if all(one.is_refused for one in self.unanswered) else ExitCode.FAILURE


def findings(reading: Reading) -> list[Finding]:
    """A finding for every process that any source knows, by its PID."""
    found = []
    for tgid in sorted(set(reading.members).union(*reading.numbers.values())):
        member = reading.members.get(tgid)
        numbers = {source: known.get(tgid) for source, known in reading.numbers.items()}
        found.append(Finding(reading.inum, tgid, member, numbers, _problem(tgid, member, numbers), reading.failed))
    return found


def _problem(tgid: int, member: Compared | None, numbers: Mapping[Witness, int | None]) -> str:
    parts = []
    if member and member.engine_tgid not in (None, tgid):
        parts.append(f"the engine has {member.engine_tgid} for it{member.engine_whose}")
    reported = dict(numbers)
    if member and member.is_zombie and reported.get(Witness.EVENTS, 0) is None:
        del reported[Witness.EVENTS]  # it has exited: that the table has forgotten it is no difference
    if len(set(reported.values())) > 1:
        parts.append(", ".join(f"{source}: {'nobody' if nr is None else nr}" for source, nr in reported.items()))
    return "; ".join(parts)


def judge(rounds: Sequence[Round]) -> Verdict:
    """The findings of the last round. A process whose problem was not there, the same, in every round, is one that came
    or went meanwhile."""
    lasting = set.intersection(*({_key(finding) for finding in one.findings} for one in rounds))
    last = rounds[-1]
    kept = [finding for finding in last.findings if not finding.problem or _key(finding) in lasting]
    return Verdict(kept, len(last.findings) - len(kept), last.unanswered)


def _key(finding: Finding) -> object:
    return finding.inum, finding.tgid, finding.member and finding.member.proc_id, finding.problem
