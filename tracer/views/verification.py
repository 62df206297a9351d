"""verify: all sources side by side, a line for each process."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from tracer.answers.verification import Finding, Source, Verdict
from tracer.views.columns import Column, Columns, columns
from tracer.views.objects import container_object

_GOOD, _BAD, _RESET = "\x1b[32m", "\x1b[1;31m", "\x1b[0m"

_TITLE_WIDTH = 8
_EXPLAINED = {
    "ENGINE": "The container engine keeps the host PID of a container's first process (State.Pid of docker inspect).",
    "PID": "The host's /proc lists that process too, and all others whose ns/pid link names the same namespace.",
    Source.STATUS: "NSpid in the host's /proc/PID/status: the kernel's list of its numbers, host first.",
    Source.IOCTL: "The namespace's descriptor, asked by ioctl for the number of a process of ours (Linux 6.11).",
    Source.INSIDE: (
        "A child in the namespace makes whoever has a number there the owner of a file (F_SETOWN), and on the host the "
        "kernel tells which process owns it (F_GETOWN): no /proc is in it. The child has no privileges and no files."
    ),
    Source.EVENTS: "nstrace's own table: every number from the kernel's fork events, kept current by exec and exit.",
}


def explanation(sources: Sequence[Source], line_width: int) -> str:
    """What each column shows, and where it comes from."""
    indent = " " * _TITLE_WIDTH
    wrapped = (
        textwrap.fill(text, line_width, initial_indent=f"{title:<{_TITLE_WIDTH}}", subsequent_indent=indent)
        for title, text in _EXPLAINED.items()
        if title in ("ENGINE", "PID", *sources)
    )
    return "".join(f"{text}\n" for text in wrapped)


def verification_table(verdict: Verdict, sources: Sequence[Source], color: bool, line_width: int | None) -> Columns:
    """CONTAINER PIDNS ENGINE PID, a column for each source, RESULT."""
    titles = [
        Column("CONTAINER", gives_way=True),
        *(Column(title, right=True) for title in ("PIDNS", "ENGINE", "PID")),
        *(Column(source, right=True) for source in sources),
        Column("RESULT"),
    ]
    table = columns(titles, [_row(finding, sources) for finding in verdict.findings], line_width)
    if not color:
        return table
    marks = [_BAD if finding.problem else "" for finding in verdict.findings]
    lines = [f"{mark}{line}{_RESET}" if mark else line for mark, line in zip(marks, table.lines, strict=True)]
    return Columns(table.header, lines)


def _row(finding: Finding, sources: Sequence[Source]) -> list[str]:
    member = finding.member
    engine = member.engine_tgid if member else None
    return [
        member.place if member else "?",
        str(finding.inum),
        "" if engine is None else str(engine),
        str(finding.tgid),
        *("-" if (nr := finding.numbers.get(source)) is None else str(nr) for source in sources),
        (finding.problem and f"DIFFERS {finding.problem}") or "ok",
    ]


def finding_object(finding: Finding) -> dict[str, Any]:
    """The same as JSON: a source that was not asked, or knows nothing, is null."""
    member = finding.member
    return {
        "container": container_object(member.container) if member else None,
        "pidns": finding.inum,
        "pid": finding.tgid,
        "proc_id": str(member.proc_id) if member else None,
        "engine_pid": member.engine_tgid if member else None,
        "nspid": finding.numbers.get(Source.STATUS),
        "ioctl": finding.numbers.get(Source.IOCTL),
        "inside": finding.numbers.get(Source.INSIDE),
        "events": finding.numbers.get(Source.EVENTS),
        "ok": not finding.problem,
        "difference": finding.problem or None,
    }
