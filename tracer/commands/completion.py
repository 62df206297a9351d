"""nstrace completion: prints or installs the script that makes a shell complete commands, options, containers, PIDs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from tracer.errors import ExitCode, NstraceError
from tracer.wiring.shells import SHELLS, script

_SHELL = click.Choice(list(SHELLS))


@click.command("completion")
@click.argument("what", type=click.Choice([*SHELLS, "install"]), metavar="bash|zsh|fish|install")
@click.argument("shell", type=_SHELL, required=False, metavar="[SHELL]")
@click.pass_context
def command(ctx: click.Context, what: str, shell: str | None) -> None:
    """Print the completion script for bash, zsh or fish; or install it for yourself.

    The shell then completes commands, options and their values, names of files and containers, and PIDs inside.
    `install` writes the script to the place where your shell looks for it, and says what it did; SHELL is the one in
    $SHELL by default. It is for the user who runs it: call it without sudo.

    \b
    nstrace completion install
    eval "$(nstrace completion bash)"    for this session alone
    """
    root = ctx.find_root().command
    if what != "install":
        if shell:
            raise click.UsageError(
                f"nstrace completion {what} prints the script; install goes before the name of a shell"
            )
        sys.stdout.write(script(what, root))
        return
    from tracer.wiring.install_completion import install, place_of

    shell = shell or _own_shell()
    for line in install(script(shell, root), place_of(shell, _home(), os.environ)):
        click.echo(line)
    click.echo(f"a new {shell} completes nstrace")


def _own_shell() -> str:
    shell = Path(os.environ.get("SHELL", "")).name
    if shell in SHELLS:
        return shell
    said = f"there is no completion for the shell {shell!r}" if shell else "SHELL is not set"
    raise NstraceError(said, f"name one: nstrace completion install {next(iter(SHELLS))}", ExitCode.USAGE)


def _home() -> Path:
    if os.environ.get("SUDO_UID") and os.geteuid() == 0:
        raise NstraceError(
            "under sudo the completion would be root's",
            "call it without sudo: nstrace completion install",
            ExitCode.USAGE,
        )
    return Path.home()
