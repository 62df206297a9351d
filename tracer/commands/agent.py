"""nstrace agent: records for good, as a service."""

from __future__ import annotations

import sys

import click

from tracer.errors import ExitCode
from tracer.wiring.completing import complete_file


@click.group("agent", invoke_without_command=True)
@click.option(
    "--config",
    "config",
    metavar="FILE",
    shell_complete=complete_file,
    help="The configuration. Default: /etc/nstrace/agent.toml, if it is there.",
)
@click.option("--check", is_flag=True, help="Say what is wrong with the configuration, with lines, and end.")
@click.pass_context
def command(ctx: click.Context, config: str | None, check: bool) -> int | None:
    """Record for good, in files below /var/lib/nstrace of which the oldest go first.

    The questions about the past (translate --at, ps --at, why and so on) find these files by themselves. Without a
    configuration all processes of the host are recorded, at most 20 GB and 7 days are kept, and 1 GB of the disk stays
    free. From when to when nobody looked, as between a stop and the next start, is said in a gap.

    SIGTERM ends it, SIGHUP reads the configuration again; where that is wrong, a line says so, and what was read
    before counts.

    \b
    [record]
    targets = ["web-*"]             default: ["host", "all"], everything
    keep = ["20 GB", "7 days"]      the most that is kept; or one of the two
    min_free = "1 GB"               of the disk
    rotate_size = "64 MB"
    rotate_interval = "1h"

    \b
    sudo nstrace agent
    nstrace agent --check --config agent.toml
    """
    if ctx.invoked_subcommand is not None:
        return None
    if check:
        return _check(config)
    from tracer.agent.service import serve

    return serve(config)


def _check(config: str | None) -> int:
    from tracer.agent.config_reader import check_config, path_of

    problems = check_config(config)
    for error in problems:
        print(f"nstrace: {error.message}\n  {error.hint}", file=sys.stderr)
    if not problems:
        path = path_of(config)
        print(f"{path} is valid" if path.exists() else f"{path} is not there: the defaults count")
    return int(ExitCode.USAGE) if problems else 0
