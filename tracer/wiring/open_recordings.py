"""Opens recordings for commands: files first, then privileges are given up, and only then is anything parsed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.errors import ExitCode, NstraceError
from tracer.wiring.printing import note

if TYPE_CHECKING:
    from tracer.recording.source import RecordedSource
    from tracer.typed.targets import Target
    from tracer.wiring.kept import KeptFiles

SUFFIX = ".arrows"
# What numpy, Python and nstrace import at the first use of something: the files may be unreadable by then.


def targets_of(texts: Sequence[str]) -> tuple[Target, ...]:
    """TARGETs as typed, parsed. Raises NstraceError (usage)."""
    from tracer.typed.targets import parse_target

    return tuple(map(parse_target, texts))


def split_files(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """FILE... [TARGET]...: the first is a file, and so are others that end in .arrows; the rest are targets."""
    files = [text for number, text in enumerate(arguments) if number == 0 or text.endswith(SUFFIX)]
    return files, [text for text in arguments[1:] if not text.endswith(SUFFIX)]


def is_recording(text: str, is_first: bool) -> bool:
    """Whether `split_files` takes it for a FILE, and it could be one. is_first: of the arguments."""
    return text.endswith(SUFFIX) or (is_first and _is_there(text))


def is_path(text: str) -> bool:
    """Whether there is a file or folder of this name; Path.exists() raises where a name is too long for one."""
    return os.path.exists(text)  # noqa: PTH110


def is_folder(text: str) -> bool:
    """As `is_path`, of folders."""
    return os.path.isdir(text)  # noqa: PTH112


def _is_there(name: str) -> bool:
    from tracer.recording.files import parts_of

    return name == "-" or os.path.lexists(name) or bool(parts_of(Path(name)))


def _wrong_order(target: str, file: str) -> NstraceError:
    from tracer.mistakes import swapped

    hint = f"FILE comes before TARGET: {swapped(target, file)}"
    return NstraceError(f"no such file: {target}", hint, ExitCode.USAGE)


def find_files(names: Sequence[str]) -> list[str]:
    """The files of these names: a folder's recordings, and the parts of a recording that was rotated."""
    return list(_found(names))


def _found(names: Sequence[str]) -> dict[str, bool]:
    """As `find_files`; True: it was not named, but is in a folder that was. Raises NstraceError (usage) where the first
    of several can only be a TARGET."""
    from tracer.recording.files import parts_of

    if len(names) > 1 and not names[0].endswith(SUFFIX) and not _is_there(names[0]):
        raise _wrong_order(*names[:2])
    found: dict[str, bool] = {}
    for name in names:
        path = Path(name)
        if name != "-" and is_folder(name):
            found |= dict.fromkeys(_inside(path), True)
        elif name != "-" and not is_path(name) and (parts := parts_of(path)):
            found |= dict.fromkeys(map(str, parts), False)
        else:
            found[name] = False
    return found


def _inside(folder: Path) -> list[str]:
    try:
        inside = sorted(str(entry) for entry in folder.iterdir() if entry.name.endswith(SUFFIX))
    except OSError as error:
        raise NstraceError(
            f"{folder} cannot be read: {error.strerror}", "name the files in it, or run it with sudo"
        ) from error
    if not inside:
        raise NstraceError(f"no recording is in the folder {folder}", f"names of recordings end in {SUFFIX}")
    return inside


def check_kept(out: str | None, names: Sequence[str]) -> None:
    """Raises NstraceError (usage) where what is written would replace a file that it is made of. names: as typed."""
    for name in _found(names) if out not in (None, "-") else ():
        with contextlib.suppress(OSError):
            if name != "-" and Path(str(out)).samefile(name):
                message = f"{out} is read here, and would be replaced"
                raise NstraceError(message, "give another name with -w", ExitCode.USAGE)


def open_sources(
    names: Sequence[str],
    uses: Sequence[str],
    targets: tuple[Target, ...] = (),
    say: Callable[[str], None] = lambda _line: None,
    kept: KeptFiles | None = None,
) -> list[RecordedSource]:
    """The recorded sources of these files, one for each run of nstrace, in order of time. Privileges are given up then:
    open and import before what is needed afterwards. uses: modules that the caller needs; they are imported here. say:
    writes a line for people. kept: where the names are from, unless they were
    typed: of the agent's files those that cannot be read are left out. Raises NstraceError."""
    from tracer.system.privileges import drop

    parse = open_later(names, uses, targets, say, kept)
    drop()
    return parse()


def open_later(
    names: Sequence[str],
    uses: Sequence[str],
    targets: tuple[Target, ...],
    say: Callable[[str], None],
    kept: KeptFiles | None = None,
) -> Callable[[], list[RecordedSource]]:
    """As `open_sources`, but the caller gives up privileges: the files are open, and nothing is parsed before the
    returned function is called."""
    from tracer.recording.inputs import allow_many_files, open_input, open_regular
    from tracer.recording.reader import Recording
    from tracer.recording.runs import runs_of
    from tracer.recording.source import RecordedSource
    from tracer.system import imports

    imports.load(*imports.OF_READERS, *uses)
    found = dict.fromkeys(names, True) if kept and kept.are_kept else _found(names)
    allow_many_files(len(found))
    left_out: list[NstraceError] = []
    opened = []
    for name, is_inside in found.items():
        with _leaving_out(left_out, is_inside):
            opened.append((name, (open_regular if is_inside else open_input)(name), is_inside))

    def parse() -> list[RecordedSource]:
        recordings = []
        for name, data, is_inside in opened:
            with _leaving_out(left_out, is_inside):
                recordings.append(Recording(name, data, say))
                recordings[-1].is_growing = kept is not None and name == kept.growing
        if not recordings:
            raise left_out[0]
        for error in left_out:
            say(f"left out: {error.message}")
        sources = [RecordedSource(run, targets) for run in runs_of(recordings, say)]
        for source in sources:
            source.is_all = not left_out and not (kept and kept.is_behind)
        return sources

    return parse


@contextlib.contextmanager
def _leaving_out(left_out: list[NstraceError], is_inside: bool) -> Iterator[None]:
    """What is in a folder, whoever put it there, and is no recording that can be read, is left out, as is a file of the
    agent's that a crash of the host has damaged; what was named is an error."""
    try:
        yield
    except NstraceError as error:
        if not is_inside:
            raise
        left_out.append(error)


def sayer(quiet: bool) -> Callable[[str], None]:
    """A function that writes lines for people to stderr, safe for a terminal; with quiet it does nothing."""
    return lambda line: note(f"nstrace: {line}", quiet)
