"""nstrace verify: every source of truth about PIDs, side by side."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from tracer.errors import ExitCode, NstraceError
from tracer.gate import ungated
from tracer.text.counted import counted
from tracer.typed.durations import duration_ns
from tracer.wiring.amounts import Duration
from tracer.wiring.completing import complete_target
from tracer.wiring.options import wants_color
from tracer.wiring.printing import table_options

if TYPE_CHECKING:
    from tracer.answers.verification import Round, Verdict, Witness
    from tracer.containers.names import Names
    from tracer.host.verification import Verifier
    from tracer.wiring.watching import Watch

_USED = ("tracer.views.verification", "tracer.views.objects")
_ROUNDS, _PAUSE_S = 3, 0.1
_LIVE_S = 3.0
_PROSE_WIDTH, _LEAST_WIDTH = 80, 40


class _WithOptionalSeconds(click.Command):
    """A command whose --live takes a duration if one follows; anything else that follows is a TARGET."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, with the default number added to a lone --live."""
        pairs = itertools.zip_longest(args, args[1:], fillvalue="")
        alone = [arg == "--live" and not _is_duration(following) for arg, following in pairs]
        filled = [f"{arg}={_LIVE_S}" if fill else arg for arg, fill in zip(args, alone, strict=True)]
        return super().parse_args(ctx, filled)


def _is_duration(text: str) -> bool:
    return duration_ns(text) is not None


@click.command("verify", cls=_WithOptionalSeconds)
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@click.option(
    "--live",
    type=Duration(most_s=3600),
    metavar="[TIME]",
    help=f"Also compare the table built from eBPF events in TIME (5s, 1m; default: {_LIVE_S:.0f}s).",
)
@click.option("--explain", is_flag=True, help="First explain each column and where it comes from.")
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="Use of colors; NO_COLOR is respected.",
)
@table_options("host PIDs of the processes whose sources differ")
def command(
    targets: tuple[str, ...],
    live: float | None,
    explain: bool,
    color: str,
    output: str,
    as_json: bool,
    quiet: bool,
    no_header: bool,
    no_trunc: bool,
) -> int:
    """Compare the PIDs of the TARGETs' processes in every source; of all containers without a TARGET.

    Each process is looked up from the host and from inside: the engine's State.Pid, NSpid in /proc, the namespace's
    ioctl, a child process in the namespace, and with --live nstrace's own table of events. Processes that start or exit
    meanwhile are no difference: a difference counts if it is found three times in a row.

    Exit codes: 0: all sources agree. 1: they differ, or one did not answer (?). 3: no such process. 4: not permitted to
    read all sources without root.

    \b
    nstrace verify web --explain  where each column comes from
    nstrace verify --live 5       compare nstrace's own events too
    """
    from tracer.answers.verification import judge
    from tracer.host.census import take_census
    from tracer.host.inside_operations import Inside
    from tracer.host.verification import Verifier
    from tracer.views.objects import json_line
    from tracer.views.verification import finding_object, unanswered_lines
    from tracer.wiring.looking import prepared
    from tracer.wiring.printing import line_width, note
    from tracer.wiring.process_lists import noting, require_distinct

    lookup = prepared(_USED)
    with Inside() as inside, _watching(live, lookup.names) as watch:
        meant = lookup.targets_of_now(targets or ("all",))
        require_distinct(lookup, meant, take_census(lookup.host), noting(quiet))
        if watch and live:
            watch.run(live)
        verdict = judge(_rounds(Verifier(lookup, meant, inside, watch.table if watch else None), watch))
    if not verdict.findings:
        raise _nothing_compared(verdict, targets)
    if as_json or output == "json":
        sys.stdout.writelines(json_line(finding_object(finding)) for finding in verdict.findings)
    elif quiet:
        sys.stdout.writelines(f"{tgid}\n" for tgid in dict.fromkeys(finding.tgid for finding in verdict.problems))
    else:
        _print_table(verdict, explain, wants_color(color), line_width(no_trunc), no_header)
    for line in (*unanswered_lines(verdict.unanswered), _summary(verdict, lookup.names)):
        note(f"nstrace: {line}", quiet)
    if lookup.names.error:
        note(f"nstrace: ENGINE is not available: {lookup.names.error.message}", quiet)
    if watch and watch.lost:
        note(f"nstrace: {watch.lost} events were lost: processes may be missing in EVENTS", quiet)
    return verdict.exit_code


def _print_table(verdict: Verdict, explain: bool, color: bool, width: int | None, no_header: bool) -> None:
    from tracer.views.verification import explanation, verification_table

    sources = _asked(verdict)
    if explain:
        sys.stdout.write(explanation(sources, max(_LEAST_WIDTH, width or _PROSE_WIDTH)))
    table = verification_table(verdict, sources, color, width)
    text = table.text if no_header else f"{table.header}\n{table.text}"
    (ungated(sys.stdout) if color else sys.stdout).write(text)


def _rounds(verifier: Verifier, watch: Watch | None) -> list[Round]:
    """Readings until one leaves no doubt, at most three."""
    import time

    rounds = [verifier.read()]
    while rounds[-1].is_in_doubt and len(rounds) < _ROUNDS:
        if watch:
            watch.run(_PAUSE_S)
        else:
            time.sleep(_PAUSE_S)
        rounds.append(verifier.read())
    return rounds


@contextlib.contextmanager
def _watching(seconds: float | None, names: Names) -> Iterator[Watch | None]:
    """A trace, where one is wanted. In any case all privileges are given up but that of looking around."""
    if seconds is None:
        from tracer.system.privileges import drop_but_look

        drop_but_look()
        yield None
        return
    from tracer.wiring.watching import Watch

    with contextlib.closing(Watch(names, _USED)) as watch:
        yield watch


def _asked(verdict: Verdict) -> list[Witness]:
    """The sources that were asked, in the order of Witness."""
    from tracer.answers.verification import Witness

    return [
        source
        for source in Witness
        if any(source in finding.numbers or source in finding.failed for finding in verdict.findings)
    ]


def _nothing_compared(verdict: Verdict, targets: tuple[str, ...]) -> NstraceError:
    """The error where no process was found, or none that can be read."""
    for one in verdict.unanswered:
        return NstraceError(f"nothing could be compared: {one.error.message}", one.error.hint, one.error.exit_code)
    where = ", ".join(targets) or "any container or nested PID namespace"
    return NstraceError(f"no process in {where}", "nstrace containers lists what is running", ExitCode.NO_TARGET)


def _summary(verdict: Verdict, names: Names) -> str:
    processes = len({finding.tgid for finding in verdict.findings})
    spaces = len({finding.inum for finding in verdict.findings})
    passing = f"; {verdict.passing} started or exited meanwhile" if verdict.passing else ""
    said = _agreement(verdict, is_everyone=not names.error)
    return f"{counted(processes, 'process', 'es')} in {counted(spaces, 'PID namespace')}: {said}{passing}"


def _agreement(verdict: Verdict, is_everyone: bool) -> str:
    differ, alone = len(verdict.problems), sum(not finding.is_compared for finding in verdict.findings)
    lines = counted(len(verdict.findings), "line")
    if differ:
        return f"sources differ on {differ} of {lines}"
    if alone:
        return f"only one source on {alone} of {lines}"
    return "all sources agree" if is_everyone and not verdict.unanswered else "all sources that answered agree"
