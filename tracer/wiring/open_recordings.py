"""Opens recordings for commands: files first, then no privileges any more, and only then is anything parsed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.errors import NstraceError

if TYPE_CHECKING:
    from tracer.recording.source import RecordedSource
    from tracer.typed.targets import Target

SUFFIX = ".arrows"
# What numpy, Python and we ourselves import at the first use of something: that may be when we may not read any more.
_LAZY = ("numpy.ma", "numpy.strings", "tokenize", "encodings.utf_16_be", "difflib")


def targets_of(texts: Sequence[str]) -> tuple[Target, ...]:
    """TARGETs as typed. Raises NstraceError (usage)."""
    from tracer.typed.targets import parse_target

    return tuple(map(parse_target, texts))


def split_files(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """FILE... [TARGET]...: the first is a file, and so are others that end in .arrows; the rest are targets."""
    files = [text for number, text in enumerate(arguments) if number == 0 or text.endswith(SUFFIX)]
    return files, [text for text in arguments[1:] if not text.endswith(SUFFIX)]


def find_files(names: Sequence[str]) -> list[str]:
    """Folders become the recordings in them, and the name of one that was rotated its parts."""
    from tracer.recording.files import parts_of

    found: dict[str, None] = {}
    for name in names:
        path = Path(name)
        if name != "-" and path.is_dir():
            inside = sorted(str(entry) for entry in path.iterdir() if entry.name.endswith(SUFFIX))
            if not inside:
                raise NstraceError(f"no recording is in {name}", f"their names end in {SUFFIX}")
            found |= dict.fromkeys(inside)
        elif name != "-" and not path.exists() and (parts := parts_of(path)):
            found |= dict.fromkeys(map(str, parts))
        else:
            found[name] = None
    return list(found)


def open_sources(
    names: Sequence[str],
    uses: Sequence[str],
    targets: tuple[Target, ...] = (),
    say: Callable[[str], None] = lambda _line: None,
) -> list[RecordedSource]:
    """The recorded sources of these files, one for each run of nstrace, in order of time. Privileges are gone then:
    what is needed afterwards is opened and imported before. uses: modules with which the caller goes on; they are
    imported here. say: takes a line for people. Raises NstraceError."""
    from tracer.system.privileges import drop

    parse = open_later(names, uses, targets, say)
    drop()
    return parse()


def open_later(
    names: Sequence[str], uses: Sequence[str], targets: tuple[Target, ...], say: Callable[[str], None]
) -> Callable[[], list[RecordedSource]]:
    """As `open_sources`, but privileges are the caller's to give up: the files are open, and nothing is parsed before
    what this returns is called."""
    from tracer.recording.files import open_input
    from tracer.recording.reader import Recording
    from tracer.recording.runs import runs_of
    from tracer.recording.source import RecordedSource
    from tracer.system import imports
    from tracer.text.escape import safe_text

    imports.load(*_LAZY, *uses)
    inputs = [(name, open_input(name)) for name in find_files(names)]

    def parse() -> list[RecordedSource]:
        recordings = [Recording(safe_text(name), found, say) for name, found in inputs]
        return [RecordedSource(run, targets) for run in runs_of(recordings, say)]

    return parse


def sayer(quiet: bool) -> Callable[[str], None]:
    """Lines for people, on stderr; none where they were not wanted."""

    def say(line: str) -> None:
        if not quiet:
            print(f"nstrace: {line}", file=sys.stderr, flush=True)

    return say
