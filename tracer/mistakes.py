"""What to say of a command line that cannot be parsed: what is wrong, and the same command as it may have been meant.

Imported only when there is such a mistake.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence

import click

from tracer.errors import ExitCode, NstraceError
from tracer.text.hints import near_names

_ELSEWHERE = {  # what other tools call it
    "exec": "run",
    "info": "inspect",
    "list": "ps",
    "logs": "follow",
    "ls": "containers",
    "play": "replay",
    "pstree": "tree",
    "start": "run",
    "top": "ps",
    "trace": "follow",
    "watch": "follow",
}
_PREFIXES = {**dict.fromkeys(("-p", "--pid"), "pid:"), **dict.fromkeys(("-c", "--container", "--name"), "")}
"""What a TARGET begins with that other tools have an option for."""
_EXAMPLES = {
    "completion": "nstrace completion install",
    "export": "nstrace export web.arrows --to parquet",
    "inspect": "nstrace inspect web/1",
    "record": "nstrace record -w web.arrows web",
    "replay": "nstrace replay web.arrows",
    "run": "nstrace run -- make -j4",
    "translate": "nstrace translate web/15",
}


def retyped(words: Sequence[str], changes: Mapping[str, str]) -> str:
    """The command line with some words replaced, as it can be pasted into a shell. words: without the program."""
    return shlex.join(["nstrace", *(changes.get(word, word) for word in words)])


def swapped(first: str, second: str) -> str:
    """Our own command line with two of its words swapped, as it can be pasted into a shell."""
    return retyped(sys.argv[1:], {first: second, second: first})


def no_such_command(args: Sequence[str], verbs: Iterable[str], before: Sequence[str] = ()) -> NstraceError:
    """args: the command line from that word on. before: what stands in front of it."""
    name = args[0]
    found = near_names(name, verbs) or [_ELSEWHERE[word] for word in [name.lower()] if word in _ELSEWHERE]
    return _usage(
        f"no such command {name!r}", _meant([*before, *args], name, found) or "nstrace --help lists the commands"
    )


def no_such_option(error: click.NoSuchOption, argv: Sequence[str]) -> NstraceError:
    """argv: the command line without the program."""
    typed, known = error.option_name, _options(error.ctx)
    for word in argv:  # click reads -json as -j -s -o -n
        if len(word) > 2 and word[1] != "-" and word.startswith(typed) and f"-{word.partition('=')[0]}" in known:
            return _usage(f"no such option {word!r}", _meant(argv, word, [f"-{word}"]))
    if typed in _PREFIXES and (words := _as_target(argv, typed)):
        return _usage(f"no such option {typed!r}", f"did you mean: {retyped(words, {})}")
    if typed in ("-f", "--follow") and "-F" in known:  # of tail(1) and docker logs
        return _usage(f"no such option {typed!r}", _meant(argv, typed, ["-F"]))
    if typed in ("--since", "--until"):
        is_list = "--at" in known
        hint = (
            "it shows one moment: --from FILE --at TIME" if is_list else "nstrace replay FILE has --since and --until"
        )
        return _usage(f"no such option {typed!r}", hint)
    bare = {name.lstrip("-"): name for name in known if name.startswith("--")}  # dashes are alike in all of them
    found = [bare[name] for name in near_names(typed[2:], bare)] if typed.startswith("--") else []
    return _usage(f"no such option {typed!r}", _meant(argv, typed, found) or _help(error.ctx))


def _as_target(argv: Sequence[str], option: str) -> list[str] | None:
    """The command line with an option and its value as a TARGET; None: it has no value."""
    for at, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name == option and (equals or argv[at + 1 :]):
            value = value if equals else argv[at + 1]
            return [*argv[:at], _PREFIXES[option] + value, *argv[at + (1 if equals else 2) :]]
    return None


def of_usage(error: click.UsageError, argv: Sequence[str]) -> NstraceError:
    """Any other mistake that click finds. argv: the command line without the program."""
    message = " ".join(error.format_message().split()).rstrip(".")
    message = re.sub(r"^Got unexpected extra arguments? \((.*)\)$", r"too many arguments: \1", message)
    message = message.replace("is not in the range", "is out of range:")
    example = _EXAMPLES.get(error.ctx.info_name or "") if error.ctx else None
    is_missing = isinstance(error, click.MissingParameter) or message.startswith("Missing")
    hint = f"for example {example}; " if is_missing and example else ""
    verb = next((word for word in argv if not word.startswith("-")), "")  # click does not always say where it was
    see = _help(error.ctx) if error.ctx or not verb else f"see nstrace {verb} --help"
    return _usage(message[:1].lower() + message[1:], hint + see)


def _help(ctx: click.Context | None) -> str:
    return f"see {ctx.command_path if ctx else 'nstrace'} --help"


def _options(ctx: click.Context | None) -> list[str]:
    params = ctx.command.get_params(ctx) if ctx else []
    return [
        name for param in params if isinstance(param, click.Option) for name in (*param.opts, *param.secondary_opts)
    ]


def _meant(words: Sequence[str], wrong: str, found: list[str]) -> str:
    """The question for what was meant, "" where nothing looks like it; a whole command where it can be but one."""
    if len(found) == 1:
        word = next((word for word in words if word.partition("=")[0] == wrong), wrong)
        changed = found[0] + word[len(wrong) :]
        return f"did you mean: {retyped(words, {word: changed})}"
    return f"did you mean {' or '.join(found)}?" if found else ""


def _usage(message: str, hint: str) -> NstraceError:
    return NstraceError(message, hint, ExitCode.USAGE)
