"""Wiring that follow and run share: from options to a running session, and the messages around it."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TextIO

from tracer.errors import ExitCode, ReaderGone
from tracer.wiring.ending import Ending
from tracer.wiring.options import StreamOptions

if TYPE_CHECKING:
    from tracer.kernel.loader_client import Loaded
    from tracer.secrets.redactor import Redactor
    from tracer.stream.account import Account
    from tracer.stream.attribution import Attribution
    from tracer.stream.losses import PairKey
    from tracer.stream.schema import Kind
    from tracer.stream.source import BatchSink, Source
    from tracer.views.view import View
    from tracer.wiring.session import Limits, Summary

NICE = 5
_MAX_SAID = 4
_PATTERN = re.compile(r"[^\w.-]", re.ASCII)  # in no name of a container
_USUAL_COLUMNS = 80  # where a terminal does not say how wide it is


def kinds_of(options: StreamOptions) -> frozenset[Kind]:
    """The kinds of event to show."""
    from tracer.stream.schema import FAILING_KINDS

    kinds = kinds_named(options.events, options.threads)
    return kinds & FAILING_KINDS if options.failed else kinds


def kinds_named(events: Iterable[str], threads: bool) -> frozenset[Kind]:
    """The kinds with these names of events, with threads those of threads too."""
    from tracer.stream.schema import Kind

    kinds = {Kind[name.upper()] for name in events}
    if threads:
        kinds |= {Kind[f"THREAD_{kind.name}"] for kind in kinds & {Kind.FORK, Kind.EXIT}}
    return frozenset(kinds)


def view_modules(options: StreamOptions) -> list[str]:
    """The names of the modules that `make_view` imports."""
    whole = "tracer.views.jsonl" if options.json else "tracer.views.lines"
    return ["tracer.views.fields" if options.fields else whole, "tracer.views.failures"]


def make_view(options: StreamOptions, wall_offset_ns: int, out: TextIO, expected: int = 0) -> View:
    """The view for these options: text columns or JSON lines, of all events or of failures. out: where its text goes;
    lines of text are cut to the width of a terminal. expected: as for `Lines`."""
    view = _whole_view(options, wall_offset_ns, out, expected)
    if not options.failed:
        return view
    from tracer.views.failures import Failures

    return Failures(view)


def missing_here(loaded: Loaded, options: StreamOptions) -> list[str]:
    """What this kernel cannot report, of what is asked for: a line each."""
    lines = [
        None if loaded.sees_failed_execs else missing_failures(options),
        None if loaded.sees_killers else missing_killers(options),
    ]
    return [line for line in lines if line]


def missing_killers(options: StreamOptions) -> str | None:
    """What to say where programs do not see who sends signals; None: no exits are shown."""
    from tracer.stream.schema import Kind

    if Kind.EXIT.name.lower() not in options.events:
        return None
    return "who ended a process (killed_by) is not known on this kernel: its programs do not see who sends signals"


def missing_failures(options: StreamOptions) -> str | None:
    """What to say where the kernel cannot report failed execs and somebody asks for them; None: nobody does."""
    from tracer.stream.schema import EVENT_NAMES, Kind

    name = Kind.EXEC_FAILED.name.lower()
    is_asked = options.failed or any(name in condition for condition in options.where)
    if not is_asked and (name not in options.events or options.events == EVENT_NAMES):
        return None
    return f"failed execs ({name}) cannot be reported on this kernel, which has no fexit programs for system calls"


def shows_only_failed_commands(options: StreamOptions) -> bool:
    """Whether the view shows the commands of exits only where they failed."""
    return options.failed or not (options.json or options.fields)


def _fields_view(options: StreamOptions, wall_offset_ns: int, out: TextIO) -> View:
    from tracer.views.fields import JsonFields, TextFields
    from tracer.views.jsonl import JsonLines

    threads = options.threads or not {"tid", "ns_tid"}.isdisjoint(options.fields)
    lines = JsonLines(kinds=kinds_of(options), threads=threads, wall_offset_ns=wall_offset_ns)
    if options.json:
        return JsonFields(options.fields, lines)
    line_width = width_of(out) if options.is_cut else lambda: None
    tree = kinds_of(options) if options.tree else None
    return TextFields(options.fields, lines, options.header, wall_offset_ns, line_width, tree)


def _whole_view(options: StreamOptions, wall_offset_ns: int, out: TextIO, expected: int) -> View:
    if options.fields:
        return _fields_view(options, wall_offset_ns, out)
    if options.json:
        from tracer.views.jsonl import JsonLines

        return JsonLines(kinds=kinds_of(options), threads=options.threads, wall_offset_ns=wall_offset_ns)
    from tracer.views.lines import Lines

    return Lines(
        kinds=kinds_of(options),
        color=options.color,
        threads=options.threads,
        wall_offset_ns=wall_offset_ns,
        line_width=width_of(out) if options.is_cut else lambda: None,
        container_width=options.container_width,
        titles=options.header,
        expected=expected,
        tree=options.tree,
    )


def expected_width(targets: Iterable[str]) -> int:
    """How wide the names of containers are at least, from the targets that are names."""
    return max((len(target) for target in targets if not _PATTERN.search(target)), default=0)


def width_of(out: TextIO) -> Callable[[], int | None]:
    """A function that asks how wide the terminal is now, in cells; None: out is no terminal."""
    descriptor = out.fileno()
    if not os.isatty(descriptor):
        return lambda: None

    def ask() -> int:
        with contextlib.suppress(OSError):
            if columns := os.get_terminal_size(descriptor).columns:
                return columns
        return _USUAL_COLUMNS

    return ask


def make_redactor(options: StreamOptions) -> Redactor | None:
    """What masks the secrets in arguments, if it is wanted. It imports for some 0.1 s."""
    if not options.redact:
        return None
    from tracer.secrets.redactor import Redactor

    return Redactor()


def give_way() -> None:
    """Let the traced processes run first where CPUs are scarce. Without it a reader that cannot keep up, which never
    sleeps, uses as much of a CPU as each of them; with it, a third of that (sched(7)), and what the ring has no room
    for meanwhile is reported as lost. A reader that keeps up sleeps most of the time and gets a CPU when it wakes, nice
    or not."""
    os.nice(NICE)


def stream_to(
    source: Source,
    view: View,
    options: StreamOptions,
    limits: Limits,
    write: Callable[[bytes], None],
    ending: Ending,
    recorder: BatchSink | None = None,
    on_ready: Callable[[], None] = lambda: None,
    redactor: Redactor | None = None,
    watcher: BatchSink | None = None,
) -> Summary:
    """Run a session until it ends or a signal ends it. The header is the first line that is written: when the source
    has begun; of a recording only where an event follows. The summary goes to stderr; where the reader has closed our
    output there is none, unless events must not be lost and were. on_ready: called after the header. redactor: what
    the source's batches went through. watcher: as for `Session`."""
    from tracer.wiring.session import Session

    session = Session(source, view, kinds_of(options), limits, recorder, watcher)
    ending.ends(session)
    write = _headed(view.header, write)
    steps = session.steps(write)
    next(steps, None)
    if source.table is not None:  # it has begun; a recording may have nothing to show
        write(b"")
    on_ready()
    for _step in steps:
        pass
    summary = session.summary
    summary.masked = redactor.count if redactor else None
    if not options.quiet and (not ending.is_closed or exit_code(summary, options)):
        ending.say(f"nstrace: {summary.line()}")
        for line in _account_lines(summary.account, options.stats, source.attribution):
            ending.say(f"nstrace: {line}")
    return summary


def _headed(header: str, write: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """A function that writes the header, if there is one, ahead of the first text."""
    titles = [f"{header}\n".encode()] if header else []

    def write_headed(text: bytes) -> None:
        write(titles.pop() + text if titles else text)

    return write_headed


def _account_lines(account: Account | None, whole: bool, attribution: Attribution) -> list[str]:
    if account is None:
        return []
    if broken := account.broken():
        more = f" and {len(broken) - _MAX_SAID} more" if len(broken) > _MAX_SAID else ""
        return [f"the counters are broken: {'; '.join(broken[:_MAX_SAID])}{more}"]
    differences = [f"this does not add up: {line}" for line in account.differences()]
    if not whole:
        return [account.line(), *differences] if differences else []
    losers = account.lines_of_losers(lambda pair: _whose(attribution, pair))
    return [account.line(), *differences, *account.lines(), *losers]


def _whose(attribution: Attribution, pair: PairKey) -> str:
    """The name of a pair of namespace and cgroup, for people."""
    from tracer.stream.pidns import INITIAL_PIDNS, Number, PidnsId

    pidns = PidnsId(*pair[:2])
    container = attribution.container((Number(pidns, 0),), pair[2])
    if container:
        return container.label
    return "the host" if pidns.inum == INITIAL_PIDNS.inum else f"pidns:{pidns.inum}"


def exit_code(summary: Summary, options: StreamOptions) -> int:
    """The exit code: 0, or 5 where events were lost and must not be."""
    return int(ExitCode.EVENTS_LOST) if options.require_complete and not summary.is_complete else 0


def writer_to(out: TextIO, ending: Ending) -> Callable[[bytes], None]:
    """A function that writes lines whole, at once, in the encoding of out. It bypasses Python's own buffers: a signal
    while they wait for a pipe's reader makes them lose what they had accepted (CPython 3.11, measured). When the reader
    has closed, the run ends, and further lines are dropped."""
    descriptor, encoding = out.fileno(), out.encoding
    keeps = codecs.lookup(encoding).name == "utf-8"
    write_some = writing(descriptor, ending)

    def write(text: bytes) -> None:
        rest = memoryview(text if keeps else text.decode().encode(encoding, "backslashreplace"))
        try:
            while rest and ending.has_reader:
                rest = rest[write_some(descriptor, rest) :]
        except ReaderGone as error:
            ending.reader_gone(error)

    return write


def writing(descriptor: int, ending: Ending) -> Callable[[int, bytes | memoryview], int]:
    """os.write, where a write never waits for a reader; else a write that ends with the run."""
    return os.write if stat.S_ISREG(os.fstat(descriptor).st_mode) else ending.write
