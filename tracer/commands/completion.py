"""nstrace completion: the script that makes a shell complete commands, options, containers and PIDs."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

VARIABLE = "_NSTRACE_COMPLETE"
SHELLS = ("bash", "zsh", "fish")

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


add_completion_class(Bash)


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print what makes SHELL complete nstrace: commands, options, names of containers, PIDs inside.

    \b
    bash  echo 'eval "$(nstrace completion bash)"' >> ~/.bashrc
    zsh   echo 'eval "$(nstrace completion zsh)"' >> ~/.zshrc
    fish  nstrace completion fish > ~/.config/fish/completions/nstrace.fish
    """
    found = get_completion_class(shell)
    assert found
    sys.stdout.write(found(click.get_current_context().find_root().command, {}, "nstrace", VARIABLE).source())
