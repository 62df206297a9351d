"""The nstrace command: finds the verb, prints errors. Imports click alone; a verb's module is loaded when it is run."""

from __future__ import annotations

import codecs
import contextlib
import importlib
import io
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracer import gate, interrupt
from tracer.errors import ExitCode, NstraceError, ReaderGone, lacking, unwritable
from tracer.text.escape import json_escaped
from tracer.version import VERSION

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VERBS = {
    "follow": "show fork, exec and exit live, with the PID on the host and inside",
    "record": "record events to a file",
    "replay": "show a recording as follow would have shown it",
    "translate": "find a process: from the PID inside a container to the host's, and back",
    "top": "a live screen of containers and their processes",
    "timeline": "draw a recording as a page for a browser",
    "export": "convert a recording to Parquet, JSON lines, CSV or a Perfetto trace",
    "summary": "count what happens, or what was recorded: for each container and in all",
    "sql": "ask recordings in SQL: tables of events, processes, containers and gaps",
    "join": "add to each line of a log, a table, the process that it is about",
    "fleet": "many hosts: publish recordings to a server, follow and archive them",
    "diff": "show what ran in one life of a container and not in another, or in one recording",
    "run": "run a command in a new PID namespace and follow it; needs no container",
    "ps": "list processes with all their PIDs, on the host and inside",
    "tree": "show processes as a tree of containers and nested namespaces",
    "why": "show why a container or a process ended, and what led to it",
    "inspect": "show all of one process: PIDs, namespaces, command, parents, environment",
    "containers": "list the running containers of every runtime",
    "sessions": "list who is in containers from outside: docker exec, nsenter, health checks",
    "verify": "compare all sources of PIDs and print the differences",
    "dump": "write the last minutes of what the agent has recorded to a recording of its own",
    "agent": "record for good, as a service: the questions about the past find it by themselves",
    "config": "show the settings, and where each of them comes from",
    "completion": "print or install the completion for bash, zsh or fish",
    "help": "show the help of a command",
}


# Keeps numpy and pyarrow from beginning threads with their import: those would keep capabilities, for capset(2) is of
# one thread (tracer.system.privileges.drop).
_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


class Verbs(click.Group):
    """The group of commands: loads tracer.commands.<verb> when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The click command of a verb."""
        if cmd_name not in VERBS:
            return None
        if cmd_name != "run":  # whose command gets our environment
            os.environ.update(_NO_THREADS)
        module = importlib.import_module(f"tracer.commands.{cmd_name}")
        command: click.Command = module.command
        from tracer.wiring.defaults import use_for_targets
        from tracer.wiring.repeated import refuse_repeated

        use_for_targets(command)
        refuse_repeated(command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        """As click does it, with whole descriptions, and without importing any verb."""
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(verb, help=text) for verb, text in VERBS.items() if verb.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it; a name that is misspelt gets a suggestion. Raises NstraceError (usage)."""
        if args and args[0] not in VERBS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from tracer.mistakes import no_such_command

            raise no_such_command(args, VERBS)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """As click does it; but a closed pipe is a normal end (0), where click would end with 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


BEGINNING = f"""\
Which process is this? Every PID of every process in containers, on the host
and inside. Three commands to begin with:

  sudo nstrace follow web        show forks, execs and exits in container web
  sudo nstrace translate web/15  find the host's PID of process 15 inside web
  sudo nstrace run -- make       run a command in a new PID namespace and follow
                                 it; needs no container

Commands:
{click.wrap_text(", ".join(VERBS), 78, "  ", "  ")}

nstrace --help lists the commands, nstrace help COMMAND explains one.
"""


@click.group(cls=Verbs, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--debug", is_flag=True, help="Show the cause of an error: traceback, messages of the compiler and the verifier."
)
@click.version_option(VERSION, "-V", "--version", prog_name="nstrace")
@click.pass_context
def nstrace(ctx: click.Context, debug: bool) -> None:
    """Which process is this? Every PID of every process in containers, on the host and inside."""
    if ctx.invoked_subcommand is None:
        click.echo(BEGINNING, nl=False)
    else:
        from tracer.wiring.defaults import defaults_of

        ctx.default_map = {ctx.invoked_subcommand: defaults_of(ctx.invoked_subcommand, ctx.obj or ())}


class WithoutPandas:
    """Hides pandas: where it is installed, pyarrow imports it with the first array, 0.2 s and 30 MB for nothing."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Called by the import system (sys.meta_path). Returns None: other finders look for the module."""
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name=name)


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    try:
        interrupt.work()
        nowhere = _mend_streams()
        sys.meta_path.insert(0, WithoutPandas())
        code = _run(sys.argv[1:] if argv is None else argv, nowhere)
        interrupt.end()
    except KeyboardInterrupt:  # while the last lines were written
        interrupt.end()
        code = 130
    sys.exit(code)


def _mend_streams() -> int:
    """Make all streams writable: one that was closed becomes /dev/null, what cannot be encoded is escaped. No file that
    is opened later becomes 0, 1 or 2: a library's last message on stderr would end up in a recording. Returns a
    descriptor of /dev/null: a reader without privileges cannot open it."""
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    codecs.register_error("nstrace", _escaped)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for as long as we run
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="nstrace")
    gate.install()
    return nowhere


def _escaped(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return json_escaped(error.object[error.start : error.end]), error.end


def _run(argv: list[str], nowhere: int) -> int:
    if "_NSTRACE_COMPLETE" in os.environ:
        importlib.import_module("tracer.wiring.shells")  # knows how to talk to them
    debug = "--debug" in argv[: _first_verb(argv)]
    try:
        result = nstrace.main(argv, prog_name="nstrace", standalone_mode=False, obj=argv)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except NstraceError as error:
        return _say(error, debug)
    except click.UsageError as error:
        from tracer import mistakes

        if isinstance(error, click.NoSuchOption):
            return _say(mistakes.no_such_option(error, argv))
        return _say(mistakes.of_usage(error, argv))
    except click.ClickException as error:
        return _say(NstraceError(_one_line(error.format_message()), "see nstrace --help", ExitCode(error.exit_code)))
    except (click.Abort, KeyboardInterrupt) as error:
        return getattr(error.__cause__ or error.__context__ or error, "exit_code", 130)  # click 8.1 names no cause
    except (ReaderGone, BrokenPipeError):
        return _closed_pipe(nowhere)
    except OSError as error:
        if missing := lacking(error):
            return _say(missing)
        known = unwritable(error)
        if debug or not known:
            return _unexpected(error, debug)
        _closed_pipe(nowhere)
        return _say(known)
    except Exception as error:
        return _unexpected(error, debug)


def _unexpected(error: Exception, debug: bool) -> int:
    message = _one_line(f"unexpected {type(error).__name__}: {error}")
    hint = "run nstrace --debug ... for a report"
    return _say(NstraceError(message, hint, detail=traceback.format_exc()), debug)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _first_verb(argv: list[str]) -> int:
    return next((index for index, word in enumerate(argv) if not word.startswith("-")), len(argv))


def _say(error: NstraceError, debug: bool = False) -> int:
    """Print an error; returns its exit code."""
    with contextlib.suppress(BrokenPipeError):
        if debug and error.detail:
            print(error.detail.rstrip("\n"), file=sys.stderr)
        print(f"nstrace: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
    return int(error.exit_code)


def _closed_pipe(nowhere: int) -> int:
    """The reader of stdout has closed it: a normal end. Keeps Python from complaining at exit. nowhere: a descriptor of
    /dev/null."""
    os.dup2(nowhere, sys.stdout.fileno())
    return 0
