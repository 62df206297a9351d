"""Secrets in a command line: in options, behind options, and in text of any kind. Pure.

An argument that is a command line itself (`sh -c 'mysql -px'`) is looked at in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from tracer.secrets.names import is_secret
from tracer.secrets.programs import HABITS, Habits
from tracer.secrets.spans import Span, covered, merged
from tracer.secrets.values import spans

_OPTION = re.compile(r"--?[A-Za-z][\w.-]{1,255}\Z")
_IS_OPTION = re.compile(r"--?[A-Za-z][\w-]*(?:=.*)?\Z", re.DOTALL)
_ASSIGNMENT = re.compile(r"(-{0,2}[A-Za-z_][\w.:-]{0,255})=")
# Words as a shell splits them, quotes included, and what ends a command.
_WORD = re.compile(r"""(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\;|&()<>])+|[;|&\n()]""", re.DOTALL)
_ENDS = frozenset(";|&\n()")
_CUT_URL = re.compile(r"://[^\s/@:]{0,256}:(?P<password>[^\s@]*)\Z")
_MAX_WORDS = 1024
_SHORT = 64


class _Word(NamedTuple):
    """A word, and where it is in the text."""

    text: str
    start: int
    end: int


_NAMES_BY = frozenset({"set", "add", "put"})  # aws configure set NAME VALUE
_LOGON = re.compile(r"[\w$#\"]{1,128}/(?P<secret>[^\s@/]{1,256})(?:@|\Z)")
_LEAST_WORDS = 3  # a program, a user and a secret


def masked(args: Sequence[str], is_cut: bool = False) -> tuple[list[str], int]:
    """The arguments with their secrets masked, and how many those are. is_cut: the last one may go on."""
    found: list[list[Span]] = [[] for _arg in args]
    words = [_Word(arg, 0, len(arg)) for arg in args]
    for index, span in _of_command(words):
        found[index].append(span)
    shown, count = [], 0
    for arg, known in zip(args, found, strict=True):
        of_text = _of_short_text(arg) if len(arg) <= _SHORT else tuple(_of_text(arg))
        parts = merged([*known, *of_text]) if known or of_text else known
        count += len(parts)
        shown.append(covered(arg, parts) if parts else arg)
    if is_cut and shown and (cut := _CUT_URL.search(shown[-1])) and cut["password"]:
        shown[-1], count = covered(shown[-1], [cut.span("password")]), count + 1
    return shown, count


@lru_cache(4096)
def _of_short_text(arg: str) -> tuple[Span, ...]:
    return tuple(_of_text(arg))


def _of_text(arg: str) -> Iterator[Span]:
    """The secrets in an argument that show by themselves."""
    if (assigned := _ASSIGNMENT.match(arg)) and is_secret(assigned[1], arg[assigned.end() :]):
        yield assigned.end(), len(arg)
        return
    yield from spans(arg)
    if " " in arg.strip() or "\n" in arg:
        for words in _commands_in(arg):
            yield from (span for _index, span in _of_command(words))


def _commands_in(text: str) -> Iterator[list[_Word]]:
    """The commands in a text as a shell reads it."""
    words: list[_Word] = []
    for match in _WORD.finditer(text):
        if match[0] in _ENDS:
            yield words
            words = []
        elif len(words) < _MAX_WORDS:
            words.append(_unquoted(match))
    yield words


def _unquoted(match: re.Match[str]) -> _Word:
    text, start, end = match[0], match.start(), match.end()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return _Word(text[1:-1], start + 1, end - 1)
    return _Word(text, start, end)


def _of_command(words: Sequence[_Word]) -> Iterator[tuple[int, Span]]:
    """The secrets that options show: which word they are in, and where."""
    habits = Habits()
    for index, word in enumerate(words):
        behind = words[index + 1] if index + 1 < len(words) else None
        name = word.text.rpartition("/")[2]
        if name in HABITS:
            habits = HABITS[name]
        elif word.text.startswith(("-", *habits.joined)):
            yield from _of_option(index, word, behind, habits)
        elif habits.logon and (logon := _LOGON.match(word.text)):
            yield index, (word.start + logon.start("secret"), word.start + logon.end("secret"))
        elif behind and index and words[index - 1].text in _NAMES_BY and is_secret(word.text, behind.text):
            yield index + 1, (behind.start, behind.end)
    if habits.last and len(words) >= _LEAST_WORDS and any(word.text in habits.last for word in words[:-1]):
        yield len(words) - 1, (words[-1].start, words[-1].end)


def _of_option(index: int, word: _Word, behind: _Word | None, habits: Habits) -> Iterator[tuple[int, Span]]:
    text = word.text
    for option in habits.joined:
        if text.startswith(option) and len(text) > len(option):
            yield index, (word.start + len(option), word.end)
            return
    for option in habits.user:
        yield from _of_user(index, word, behind, option, habits.separator)
    if behind and (text in habits.behind or _is_secret_option(text, behind.text)):
        yield index + 1, (behind.start, behind.end)


def _is_secret_option(text: str, behind: str) -> bool:
    """Whether what is behind this option is its value, and secret; an option may have none."""
    return bool(_OPTION.match(text)) and is_secret(text, behind) and not _IS_OPTION.match(behind)


def _of_user(index: int, word: _Word, behind: _Word | None, option: str, separator: str) -> Iterator[tuple[int, Span]]:
    """The part behind the separator of -u USER:SECRET, -uUSER:SECRET or --user=USER:SECRET."""
    is_long = option.startswith("--")
    if word.text == option and behind:
        index, word, at = index + 1, behind, 0
    elif word.text.startswith(option + "=" if is_long else option):
        at = len(option) + is_long
    else:
        return
    place = word.text.find(separator, at)
    if place >= 0:
        yield index, (word.start + place + 1, word.end)
