"""verify: all sources side by side, a line for each process."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from tracer.answers.verification import ENGINE, Finding, Unanswered, Verdict, Witness
from tracer.text.hints import shown
from tracer.views.columns import TextColumn, TextColumns, columns
from tracer.views.objects import container_object
from tracer.views.table import LEAST_PLACE

_GOOD, _BAD, _RESET = "\x1b[32m", "\x1b[1;31m", "\x1b[0m"

_TITLE_WIDTH = 8
_FIELDS = {
    ENGINE: "engine_pid",
    Witness.STATUS: "nspid",
    Witness.IOCTL: "ioctl",
    Witness.INSIDE: "inside",
    Witness.EVENTS: "events",
}
_UNKNOWN, _NOBODY = "?", "-"
_EXPLAINED = {
    ENGINE: "The container engine keeps the host PID of a container's first process (State.Pid of docker inspect).",
    "PID": "The host's /proc lists that process too, and all others whose ns/pid link names the same namespace.",
    Witness.STATUS: "NSpid in the host's /proc/PID/status: the kernel's list of its numbers, host first.",
    Witness.IOCTL: "The namespace's descriptor, asked by ioctl for the number of a process of ours (Linux 6.11).",
    Witness.INSIDE: (
        "A child in the namespace makes whoever has a number there the owner of a file (F_SETOWN), and on the host the "
        "kernel tells which process owns it (F_GETOWN): no /proc is in it. The child has no privileges and no files."
    ),
    Witness.EVENTS: "nstrace's own table: every number from the kernel's fork events, kept current by exec and exit.",
}


def explanation(sources: Sequence[Witness], line_width: int) -> str:
    """What each column shows, and where it comes from."""
    indent = " " * _TITLE_WIDTH
    wrapped = (
        textwrap.fill(text, line_width, initial_indent=f"{title:<{_TITLE_WIDTH}}", subsequent_indent=indent)
        for title, text in _EXPLAINED.items()
        if title in (ENGINE, "PID", *sources)
    )
    return "".join(f"{text}\n" for text in wrapped)


def verification_table(
    verdict: Verdict, sources: Sequence[Witness], color: bool, line_width: int | None
) -> TextColumns:
    """CONTAINER PIDNS ENGINE PID, a column for each source, RESULT."""
    titles = [
        TextColumn("CONTAINER", gives_way=True, least=LEAST_PLACE),
        *(TextColumn(title, right=True) for title in ("PIDNS", ENGINE, "PID")),
        *(TextColumn(source, right=True) for source in sources),
        TextColumn("RESULT"),
    ]
    table = columns(titles, [_row(finding, sources) for finding in verdict.findings], line_width)
    if not color:
        return table
    marks = [_BAD if finding.problem else "" for finding in verdict.findings]
    lines = [f"{mark}{line}{_RESET}" if mark else line for mark, line in zip(marks, table.lines, strict=True)]
    return TextColumns(table.header, lines)


def _row(finding: Finding, sources: Sequence[Witness]) -> list[str]:
    member = finding.member
    return [
        member.place if member else _UNKNOWN,
        str(finding.inum),
        _engine(finding),
        str(finding.tgid),
        *(_number(finding, source) for source in sources),
        _result(finding),
    ]


def _engine(finding: Finding) -> str:
    if ENGINE in finding.not_known:
        return _UNKNOWN
    tgid = finding.member.engine_tgid if finding.member else None
    return "" if tgid is None else str(tgid)


def _number(finding: Finding, source: Witness) -> str:
    if source in finding.failed:
        return _UNKNOWN
    nr = finding.numbers.get(source)
    return _NOBODY if nr is None else str(nr)


def _result(finding: Finding) -> str:
    if finding.problem:
        return f"DIFFERS {finding.problem}"
    return "ok" if finding.is_compared else "not compared"


def unanswered_lines(unanswered: Sequence[Unanswered]) -> list[str]:
    """What was not answered, by whom and why, a line for each reason."""
    asked: dict[tuple[str, str], list[str]] = {}
    for one in unanswered:
        hint = f" ({one.error.hint})" if one.error.hint else ""
        asked.setdefault((one.source, one.error.message + hint), []).append(one.of)
    return [f"{source} of {shown(of)} is not known: {why}" for (source, why), of in asked.items()]


def finding_object(finding: Finding) -> dict[str, Any]:
    """A finding as JSON. A source is null that was not asked, that knows no such process, or that did not answer: then
    it is in not_known too. ok is null where fewer than two sources reported anything."""
    member = finding.member
    return {
        "container": container_object(member.container) if member else None,
        "pidns": finding.inum,
        "pid": finding.tgid,
        "proc_id": str(member.proc_id) if member else None,
        _FIELDS[ENGINE]: member.engine_tgid if member else None,
        **{_FIELDS[source]: finding.numbers.get(source) for source in Witness},
        "not_known": [_FIELDS[source] for source in finding.not_known],
        "ok": not finding.problem if finding.is_compared else None,
        "difference": finding.problem or None,
    }
