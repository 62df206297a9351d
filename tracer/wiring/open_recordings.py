"""Opens recordings for commands: files first, then privileges are given up, and only then is anything parsed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.errors import NstraceError
from tracer.wiring.printing import note

if TYPE_CHECKING:
    from tracer.recording.source import RecordedSource
    from tracer.typed.targets import Target

SUFFIX = ".arrows"
# What numpy, Python and nstrace import at the first use of something: the files may be unreadable by then.
_LAZY = ("numpy.ma", "numpy.strings", "tokenize", "encodings.utf_16_be", "difflib")


def targets_of(texts: Sequence[str]) -> tuple[Target, ...]:
    """TARGETs as typed, parsed. Raises NstraceError (usage)."""
    from tracer.typed.targets import parse_target

    return tuple(map(parse_target, texts))


def split_files(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """FILE... [TARGET]...: the first is a file, and so are others that end in .arrows; the rest are targets."""
    files = [text for number, text in enumerate(arguments) if number == 0 or text.endswith(SUFFIX)]
    return files, [text for text in arguments[1:] if not text.endswith(SUFFIX)]


def find_files(names: Sequence[str]) -> list[str]:
    """The files of these names: a folder's recordings, and the parts of a recording that was rotated."""
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
    """The recorded sources of these files, one for each run of nstrace, in order of time. Privileges are given up then:
    open and import before what is needed afterwards. uses: modules that the caller needs; they are imported here. say:
    writes a line for people. Raises NstraceError."""
    from tracer.system.privileges import drop

    parse = open_later(names, uses, targets, say)
    drop()
    return parse()


def open_later(
    names: Sequence[str], uses: Sequence[str], targets: tuple[Target, ...], say: Callable[[str], None]
) -> Callable[[], list[RecordedSource]]:
    """As `open_sources`, but the caller gives up privileges: the files are open, and nothing is parsed before the
    returned function is called."""
    from tracer.recording.files import open_input
    from tracer.recording.reader import Recording
    from tracer.recording.runs import runs_of
    from tracer.recording.source import RecordedSource
    from tracer.system import imports

    imports.load(*_LAZY, *uses)
    inputs = [(name, open_input(name)) for name in find_files(names)]

    def parse() -> list[RecordedSource]:
        recordings = [Recording(name, found, say) for name, found in inputs]
        return [RecordedSource(run, targets) for run in runs_of(recordings, say)]

    return parse


def sayer(quiet: bool) -> Callable[[str], None]:
    """A function that writes lines for people to stderr, safe for a terminal; with quiet it does nothing."""
    return lambda line: note(f"nstrace: {line}", quiet)
