"""nstrace fleet ps, translate, why and summary: an archive asked as each host's own recordings are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tracer.errors import ExitCode, NstraceError
from tracer.wiring.completing import complete_file
from tracer.wiring.fleet_completing import complete_cluster, complete_host, complete_host_and_what
from tracer.wiring.printing import output_options, table_options
from tracer.wiring.windows import window_options
from tracer.wiring.zones import time_option

if TYPE_CHECKING:
    from tracer.wiring.fleet_answers import Answers, Ask

F = TypeVar("F", bound=Callable[..., Any])

archive_option = click.option(
    "--from", "where", metavar="DIR|s3://BUCKET/PATH", required=True, shell_complete=complete_file,
    help="The archive. A server's messages cannot answer: they do not tell who lived before them.",
)  # fmt: skip
cluster_option = click.option(
    "--cluster",
    metavar="NAME",
    shell_complete=complete_cluster,
    help="The hosts of this cluster alone. Default: of all.",
)
_at_option = click.option("--at", metavar="TIME", help="As of 14:03:05, 10m ago, ...; default: the host's last event.")


def _asked(where: str, cluster: str | None, texts: Sequence[str], ask: Ask[Any], quiet: bool) -> Answers:
    from tracer.commands.fleet import check_library
    from tracer.wiring.fleet_answers import ask_hosts
    from tracer.wiring.open_recordings import sayer

    check_library("nats", "fleet")
    return ask_hosts(where, cluster, texts, ask, sayer(quiet))


def _print(answers: Answers, as_json: bool) -> None:
    """Print answers that are text. Raises NstraceError for hosts of which the answer is not known."""
    sys.stdout.write(answers.objects() if as_json else answers.lines())
    sys.stdout.flush()
    if answers.failure:
        raise answers.failure


@click.command("ps")
@click.argument("targets", nargs=-1, metavar="[HOST[:TARGET]]...", shell_complete=complete_host)
@archive_option
@cluster_option
@_at_option
@click.option("--pids", is_flag=True, help="Add a column with all PIDs of each process, host first.")
@table_options("host PIDs")
@time_option
def ps(
    targets: tuple[str, ...], where: str, cluster: str | None, at: str | None, pids: bool, output: str,
    as_json: bool, quiet: bool, no_header: bool, no_trunc: bool,
) -> None:  # fmt: skip
    """List the processes of many hosts at a moment, each with its host.

    HOST may be a pattern; TARGET is one of nstrace ps, all containers without one. Each host is shown as nstrace ps
    --from shows its own recordings. Messages that are missing, and lost events, are said on stderr.

    \b
    nstrace fleet ps --from /srv/nstrace --at 14:03:05
    nstrace fleet ps --from /srv/nstrace --at 14:03:05 'web*:api-*' db1:host
    """
    from tracer.wiring.fleet_answers import processes_at

    answers = _asked(where, cluster, targets, processes_at(at), quiet)
    if as_json or output == "json":
        from tracer.views.objects import json_line, process_object
        from tracer.wiring.fleet_answers import with_host

        for asked, found in answers.of_hosts:
            sys.stdout.writelines(with_host(asked, json_line(process_object(one, str))) for one in found.entries)
    elif quiet:
        for _host, found in answers.of_hosts:
            sys.stdout.writelines(f"{entry.numbers[0]}\n" for entry in found.entries)
    else:
        from tracer.views.table import OfHost, hosts_table
        from tracer.wiring.printing import line_width, write_table

        hosts = [OfHost(asked.label, found.census, found.entries, found.moment_ns) for asked, found in answers.of_hosts]
        write_table(hosts_table(hosts, str, pids=pids, line_width=line_width(no_trunc)), no_header)
    for _host, found in answers.of_hosts:
        found.say_the_rest()
    if answers.failure:
        raise answers.failure


@click.command("translate")
@click.argument("procs", nargs=-1, required=True, metavar="HOST:PROC...", shell_complete=complete_host_and_what)
@archive_option
@cluster_option
@click.option("--at", metavar="TIME", help="The process that had the PID at TIME. Default: all that ever had it.")
@click.option("--during", metavar="A..B", help="All processes that had the PID between two times (14:03..+5m).")
@output_options
@time_option
def translate(
    procs: tuple[str, ...],
    where: str,
    cluster: str | None,
    at: str | None,
    during: str | None,
    output: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Translate a PID in a container of a host to the PID on the host and back.

    HOST may be a pattern; PROC is one of nstrace translate: 40123, web/15, pidns:INUM/15, pod:web-0/15. Each host
    answers as nstrace translate --from does of its own recordings: right, or that it is not known.

    \b
    nstrace fleet translate --from /srv/nstrace --at 14:03:05 web1:shop/15
    nstrace fleet translate --from /srv/nstrace --during 14:00..+10m 'web*:shop/15'
    """
    from tracer.views.objects import json_line
    from tracer.views.translation import block, json_object
    from tracer.wiring.fleet_answers import translations

    if at and during:
        raise click.UsageError("--at and --during cannot be combined")
    _require_what(procs, "web1:shop/15")
    as_json = as_json or output == "json"

    def show(found: Any) -> str:
        return json_line(json_object(found, str)) if as_json else block(found, str, None)

    _print(_asked(where, cluster, procs, translations(at, during, show), quiet), as_json)


def _require_what(texts: Sequence[str], example: str) -> None:
    """Raises NstraceError (usage) where a text names a host alone."""
    for text in texts:
        if not text.partition(":")[2]:
            raise NstraceError(f"{text!r} says nothing about whom", f"for example {example}", ExitCode.USAGE)


@click.command("why")
@click.argument("what", metavar="HOST:CONTAINER|HOST:PROC", shell_complete=complete_host_and_what)
@archive_option
@cluster_option
@click.option("--at", metavar="TIME", help="The last end until TIME.")
@click.option("--all", "is_all", is_flag=True, help="All ends, by cause; of one CONTAINER, or with HOST alone of all.")
@output_options
@time_option
def why(
    what: str, where: str, cluster: str | None, at: str | None, is_all: bool, output: str, as_json: bool, quiet: bool
) -> None:
    """Show why the last life of a container ended on a host, or a process: how, who sent the signal, what happened
    before.

    HOST may be a pattern; CONTAINER and PROC are those of nstrace why.

    \b
    nstrace fleet why --from /srv/nstrace web1:shop
    nstrace fleet why --from /srv/nstrace --all 'web*'
    """
    from tracer.wiring.fleet_answers import reasons

    if not is_all:
        _require_what([what], "web1:shop")
    as_json = as_json or output == "json"
    _print(_asked(where, cluster, [what], reasons(at, is_all, as_json), quiet), as_json)


@click.command("summary")
@click.argument("targets", nargs=-1, metavar="[HOST[:TARGET]]...", shell_complete=complete_host)
@archive_option
@cluster_option
@window_options()
@output_options
@time_option
def summary(
    targets: tuple[str, ...],
    where: str,
    cluster: str | None,
    since: str | None,
    until: str | None,
    output: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Count what happened on many hosts: for each host and container, as nstrace summary counts its own recordings.

    HOST may be a pattern; TARGET is one of nstrace summary, all that was recorded without one. TIMEs are those of
    nstrace replay.

    \b
    nstrace fleet summary --from /srv/nstrace --since 14:00 --until +10m
    nstrace fleet summary --from /srv/nstrace --json 'web*'
    """
    from tracer.wiring.fleet_answers import summaries

    as_json = as_json or output == "json"
    answers = _asked(where, cluster, targets, summaries(since, until, as_json), quiet)
    if as_json:
        sys.stdout.writelines(text for _host, text in answers.of_hosts)  # which have the host
        if answers.failure:
            raise answers.failure
    else:
        _print(answers, as_json)
