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
    from tracer.agent.config_reader import check_config, check_host, path_of

    problems = check_config(config) or check_host(config)
    for error in problems:
        hint = f"\n  {error.hint}" if error.hint else ""
        print(f"nstrace: {error.message}{hint}", file=sys.stderr)
    if not problems:
        path = path_of(config)
        print(f"{path} is valid" if path.exists() else f"{path} is not there: the defaults count")
    return int(ExitCode.USAGE) if problems else 0


@command.command("install")
@click.option("--config", "named", metavar="FILE", shell_complete=complete_file, help="As of nstrace agent.")
@click.option("--print", "prints", is_flag=True, help="Print the unit, and change nothing.")
def install(named: str | None, prints: bool) -> int:
    """Install the agent as a unit of systemd, and start it: now, and with the system.

    What the unit permits depends on the configuration: without [publish] and [metrics] it has no network. Run it again
    when these have changed.
    """
    from tracer.agent import unit
    from tracer.agent.config_reader import check_config, check_host, read_config

    for error in check_config(named) or check_host(named):
        raise error
    config = read_config(named)
    if prints:
        click.echo(unit.text_of(config, named), nl=False)
        return 0
    unit.install(config, named)
    click.echo(f"{unit.PATH} is installed and started; nstrace agent status says how it is")
    return 0


@command.command("uninstall")
def uninstall() -> int:
    """End the agent, and remove its unit of systemd. What it has recorded stays."""
    from tracer.agent import unit

    unit.uninstall()
    click.echo(f"{unit.PATH} is removed")
    return 0


@command.command("status")
@click.option("--config", "named", metavar="FILE", shell_complete=complete_file, help="As of nstrace agent.")
def status(named: str | None) -> int:
    """Say whether an agent records, and what is kept. Exit code 3: none does."""
    import os

    from tracer.agent import lock
    from tracer.agent.config_reader import read_config
    from tracer.agent.store import NAME, files_in
    from tracer.errors import NstraceError
    from tracer.recording.folder import Folder
    from tracer.system.privileges import more_rights
    from tracer.text.counted import counted, size_text
    from tracer.text.times import precise

    folder = read_config(named).record.folder
    try:
        pid = lock.holder(folder)
        kept = files_in(Folder(folder), folder / NAME)
    except FileNotFoundError:
        pid, kept = None, []
    except PermissionError as error:
        message = f"{folder} cannot be read: {os.strerror(error.errno or 0)}"
        raise NstraceError(message, more_rights("CAP_DAC_READ_SEARCH"), ExitCode.NOT_PERMITTED) from error
    click.echo(f"recording to {folder}, PID {pid}" if pid else f"no agent records to {folder}")
    if kept:
        files = counted(len(kept), "file")
        click.echo(f"{files}, {size_text(sum(one.bytes for one in kept))}, last written {precise(kept[-1].written_ns)}")
        click.echo(f"the oldest was last written {precise(kept[0].written_ns)}")
    return 0 if pid else int(ExitCode.NO_TARGET)
