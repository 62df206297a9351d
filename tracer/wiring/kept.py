"""What the agent has kept, for questions about the past that name no recording: which of its files tell of a time.

Files are chosen by when they were last written to, before any of them is read; each begins with who lived then, so that
those around a moment answer as all of them would.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracer.errors import ExitCode, NstraceError
from tracer.text.counted import counted, size_text
from tracer.text.times import rfc3339
from tracer.typed.moments import Span, parse_moment

if TYPE_CHECKING:
    from tracer.agent.store import Kept

_SECOND_NS = 1_000_000_000
_DAY_NS = 86_400 * _SECOND_NS
_NEAR_NS = 10 * _SECOND_NS  # between an event and the last write to its file
_MUCH_BYTES = 500_000_000  # to read them takes a minute
_AGENT = "nstrace agent records for good: sudo nstrace agent install"


@dataclass(frozen=True)
class KeptFiles:
    """files: their names, the oldest first. growing: the one that is being written; None: none is. begin, end: the
    times that were asked about, as `parse_moment` takes them; None: none was. are_kept: they are the agent's.
    is_behind: it lives, and has not written all until now."""

    files: tuple[str, ...]
    growing: str | None
    begin: str | None
    end: str | None
    are_kept: bool = True
    is_behind: bool = False


def kept_files(
    say: Callable[[str], None],
    begin: str | None = None,
    end: str | None = None,
    *,
    ahead: int | None = None,
    missing: str = "a recording is missing",
    less: str = "",
) -> KeptFiles:
    """The agent's files about the time from begin to end, as typed; None: from the first on, to now. What has happened
    until now is written first. ahead: how many files behind that are read as well; None: all. say: writes a line for
    people. missing: the error where the agent has kept nothing. less: what has less read, for people. Raises
    NstraceError."""
    from tracer.agent import lock
    from tracer.agent.config_reader import read_config

    folder = read_config().record.folder
    if not _listed(folder):
        raise NstraceError(f"{missing}, and no agent has recorded to {folder}", _AGENT, ExitCode.USAGE)
    now = Span(time.time_ns() - _DAY_NS, time.time_ns())
    begin_ns = None if begin is None else _moment(begin, now)
    end_ns = None if end is None else parse_moment(end, replace(now, begin_ns=begin_ns or now.begin_ns))
    is_recent = end_ns is None or end_ns > now.end_ns - _NEAR_NS
    has_written = is_recent and lock.have_written(folder)
    lives = has_written or lock.holder(folder) is not None
    found = _listed(folder)
    chosen = about(found, begin_ns, end_ns, ahead)
    size = sum(one.bytes for one in chosen)
    hint = f" ({less} reads less)" if less and size >= _MUCH_BYTES else ""
    say(f"from the agent's recordings in {folder}: {counted(len(chosen), 'file')}, {size_text(size)}{hint}")
    is_behind = is_recent and lives and not has_written
    if is_behind:
        say("the agent has not written all until now: the latest is missing")
    names = tuple(os.fspath(folder / one.name) for one in chosen)
    growing = names[-1] if lives and chosen[-1] == found[-1] else None
    return KeptFiles(names, growing, _typed(begin_ns), _typed(end_ns), is_behind=is_behind)


def given_or_kept(
    files: Sequence[str],
    begin: str | None,
    end: str | None,
    say: Callable[[str], None],
    *,
    ahead: int | None = None,
    missing: str = "a recording is missing",
    less: str = "",
) -> KeptFiles:
    """These files, as typed; or where there is none, the agent's: the parameters are those of `kept_files`, which
    raises NstraceError."""
    if files:
        return KeptFiles(tuple(files), None, begin, end, are_kept=False)
    return kept_files(say, begin, end, ahead=ahead, missing=missing, less=less)


def files_or_kept(
    arguments: Sequence[str], begin: str | None, end: str | None, say: Callable[[str], None]
) -> tuple[KeptFiles, list[str]]:
    """FILE... [TARGET]... as typed: the files, and the TARGETs. Where there is no FILE, but a time from begin to end,
    the files are the agent's about that time. Raises NstraceError, UsageError."""
    from tracer.wiring.open_recordings import is_recording, split_files

    if (begin or end) and not any(is_recording(text, number == 0) for number, text in enumerate(arguments)):
        missing = f"{arguments[0]} is no recording" if arguments else "a recording is missing"
        return given_or_kept((), begin, end, say, ahead=0, missing=missing), list(arguments)
    if not arguments:
        raise click.UsageError("Missing argument 'FILE... [TARGET]...'")
    files, targets = split_files(arguments)
    return given_or_kept(files, begin, end, say), targets


def name_beside(found: KeptFiles, targets: Sequence[str], suffix: str) -> str:
    """The name of what is made of recordings, where none is typed: the first one's with another suffix; of the agent's
    a new one in the current directory. Raises UsageError where there is none."""
    from tracer.wiring.recorders import name_for

    if found.are_kept:
        return name_for(targets, time.localtime(), suffix)
    if found.files[0] == "-":
        raise click.UsageError("the output file is missing: -w OUT")
    return os.fspath(Path(found.files[0]).with_suffix(suffix))


def has_kept() -> bool:
    """Whether an agent has kept anything that we may read."""
    from tracer.agent.config_reader import read_config

    try:
        return bool(_listed(read_config().record.folder))
    except NstraceError:
        return False


def _listed(folder: Path) -> list[Kept]:
    """The agent's files, the oldest first, without those in which nothing stands yet. Raises NstraceError where we may
    not look."""
    from tracer.agent.store import NAME, files_in
    from tracer.recording.folder import Folder

    try:
        return [one for one in files_in(Folder(folder), folder / NAME) if one.bytes]
    except FileNotFoundError:
        return []
    except (PermissionError, NstraceError) as error:
        hint = "run it with sudo, or name a recording"
        raise NstraceError(
            f"the agent's recordings in {folder} cannot be read", hint, ExitCode.NOT_PERMITTED
        ) from error


def _moment(text: str, now: Span) -> int:
    """Of a time of day the last one. Raises NstraceError (usage)."""
    if text.strip().startswith("+"):
        message = f"{text!r}: the agent's recordings have no beginning to count from"
        raise NstraceError(message, "for example 14:03, 10m or -10s", ExitCode.USAGE)
    return parse_moment(text, now)


def _typed(moment_ns: int | None) -> str | None:
    """A moment as `parse_moment` takes it."""
    return None if moment_ns is None else rfc3339(moment_ns)


def about(found: Sequence[Kept], begin_ns: int | None, end_ns: int | None, ahead: int | None) -> Sequence[Kept]:
    """The files that tell of this time (wall clock), one before, and as many behind as `kept_files` says."""
    times = [one.written_ns for one in found]
    first = 0
    if begin_ns is not None:
        first = next((at for at, time_ns in enumerate(times) if time_ns >= begin_ns - _NEAR_NS), len(times) - 1)
        first = max(0, first - 1)
    last = len(times) - 1
    if end_ns is not None and ahead is not None:
        until = [at for at, time_ns in enumerate(times) if time_ns <= end_ns + _NEAR_NS]
        last = (until[-1] + 1 if until else 0) + ahead  # the clock may have been set back: not the first one behind
    return found[first : last + 1]
