"""The scripts that make bash, zsh and fish complete nstrace, and how each of them is answered.

click has such scripts too. Those of bash split words at : and =, which targets and options contain; those of fish cut
values and descriptions at a comma; and those of zsh and fish do not complete --option=value.
"""

from __future__ import annotations

import os
import re
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

VARIABLE = "_NSTRACE_COMPLETE"
_OPTION = re.compile(r"--[a-z-]+=")

# The line up to the cursor, not bash's words: bash splits at : and =, which targets and options contain.
_BASH = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("$value")
                [[ $value != *[:=/] ]] || compopt -o nospace
                ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" \
%(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s 2>/dev/null || complete -F %(complete_func)s %(prog_name)s
"""

_ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local type key descr
    local -a plain described response open open_described
    (( $+commands[%(prog_name)s] )) || return 1
    response=("${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \
%(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null)}")
    [[ $PREFIX != --*=* ]] || compset -P '--*='
    for type key descr in ${response}; do
        case $type in
            file) _path_files -f ;;
            plain)
                if [[ $descr == _ ]]; then
                    if [[ $key == *[:=/] ]]; then open+=("$key"); else plain+=("$key"); fi
                elif [[ $key == *[:=/] ]]; then
                    open_described+=("${key//:/\\\\:}:$descr")
                else
                    described+=("${key//:/\\\\:}:$descr")
                fi
                ;;
        esac
    done
    (( ! $#described )) || _describe -V unsorted described
    (( ! $#open_described )) || _describe -V unsorted open_described -S ''
    (( ! $#plain )) || compadd -V unsorted -a plain
    (( ! $#open )) || compadd -V unsorted -S '' -a open
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = """\
function %(complete_func)s
    set -l token (commandline -ct)
    set -l prefix (string match -r -- '^--[a-z-]+=' $token)
    for line in (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp | string collect) \
COMP_CWORD=$token %(prog_name)s 2>/dev/null)
        set -l found (string split -m 1 , -- $line)
        switch $found[1]
            case file
                for path in (__fish_complete_path (string replace -- "$prefix" '' $token))
                    echo "$prefix$path"
                end
            case plain
                echo "$prefix$found[2]"
        end
    end
end

complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""


class Bash(BashComplete):
    """click's completion for bash, with whole words: `label:tier=web` is one."""

    source_template = _BASH

    def source(self) -> str:
        """The script, without click's check of bash's version."""
        return self.source_template % self.source_vars()

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one at the cursor, without the command itself, and that word."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        incomplete = "" if not words or line[-1:].isspace() else words.pop()
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """What bash inserts for its own idea of the word: the part behind the last break."""
        _, incomplete = self.get_completion_args()
        breaks = os.environ.get("COMP_BREAKS", "")
        behind = max((at + 1 for at, char in enumerate(incomplete) if char in breaks), default=0)
        value = item.value.removeprefix(incomplete[:behind])  # of an option click passes the value alone
        return f"{item.type},{value}"


class Zsh(ZshComplete):
    """click's completion for zsh, with our script."""

    source_template = _ZSH

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Three lines: type, value, description or _."""
        return f"{item.type}\n{item.value}\n{_one_line(item) or '_'}"


class Fish(FishComplete):
    """click's completion for fish, with our script."""

    source_template = _FISH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one at the cursor, without the command itself, and that word."""
        words, token = split_arg_string(os.environ["COMP_WORDS"]), os.environ["COMP_CWORD"]
        return words[1 : len(words) - bool(token)], (split_arg_string(token) or [""])[0]

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Type, comma, value; and behind a tab the description."""
        text = _one_line(item)
        return f"{item.type},{item.value}" + (f"\t{text}" if text else "")


def _one_line(item: CompletionItem[Any]) -> str:
    return " ".join((item.help or "").split())


SHELLS: dict[str, type[ShellComplete]] = {"bash": Bash, "zsh": Zsh, "fish": Fish}
for _shell in SHELLS.values():
    add_completion_class(_shell)


def script(shell: str, root: click.Command) -> str:
    """The script for a shell. root: the group of all commands."""
    return SHELLS[shell](root, {}, "nstrace", VARIABLE).source()
