"""nstrace help: the same as --help, for who types it so."""

from __future__ import annotations

import click

from tracer.wiring.completing import complete_verb


@click.command("help")
@click.argument("name", required=False, metavar="[COMMAND]", shell_complete=complete_verb)
@click.pass_context
def command(ctx: click.Context, name: str | None) -> None:
    """Print the help of COMMAND; without one, the list of commands."""
    group, root = ctx.find_root().command, ctx.find_root()
    assert isinstance(group, click.Group)
    if name is None:
        click.echo(group.get_help(root))
        return
    found = group.get_command(root, name)
    if found is None:
        from tracer.mistakes import no_such_command

        raise no_such_command([name], group.list_commands(root), before=["help"])
    click.echo(found.get_help(click.Context(found, parent=root, info_name=name)))
