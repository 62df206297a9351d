"""nstrace top: a live screen of containers and their processes."""

from __future__ import annotations

import click

from tracer.errors import NstraceError
from tracer.wiring.completing import complete_file, complete_target
from tracer.wiring.options import WholeNumber

_DEFAULT_PROCESSES = 262_144


@click.command("top")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@click.option("--from", "files", multiple=True, metavar="FILE", shell_complete=complete_file, help="Play a recording.")
@click.option(
    "--max-processes",
    type=WholeNumber(1),
    default=_DEFAULT_PROCESSES,
    show_default=True,
    metavar="N",
    help="How many processes to keep.",
)
def command(targets: tuple[str, ...], files: tuple[str, ...], max_processes: int) -> int:
    """Show containers and their processes on a screen that changes as they do.

    Every process has its PID on the host and inside, its user, state, age and command, and how many events a second are
    its own. Processes that are too brief to be seen are counted. A process that has ended and is not reaped says so.
    Losses of events are shown as they happen. ? lists the keys.

    With --from a recording is played: a line of time, speed, steps, and jumps to the next failure or gap. TARGETs are
    those of nstrace follow.

    \b
    nstrace top
    nstrace top web
    nstrace top --from web.arrows
    """
    from importlib.util import find_spec

    if not find_spec("textual"):
        raise NstraceError("top needs the library textual", "pip install 'nstrace[top]'")
    from tracer.wiring.sampling import serve_live, serve_recording
    from tracer.wiring.top import run_top

    if files:
        return run_top(lambda channel, ready: serve_recording(files, targets, channel, ready), targets)
    return run_top(lambda channel, ready: serve_live(targets, channel, max_processes, ready), targets)
