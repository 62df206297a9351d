"""What follow and record share: from TARGETs to a live session, recorded or not."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tracer.errors import ExitCode, NstraceError
from tracer.wiring.options import StreamOptions

if TYPE_CHECKING:
    from tracer.containers.enquiry import Enquiry
    from tracer.containers.names import Names
    from tracer.containers.resolve_targets import Resolved
    from tracer.host.lookup import Lookup
    from tracer.kernel.options import LoadOptions
    from tracer.typed.targets import Target
    from tracer.views.view import View
    from tracer.wiring.destination import Destination
    from tracer.wiring.ending import Ending
    from tracer.wiring.live import LiveSource
    from tracer.wiring.recorders import RecordOptions
    from tracer.wiring.target_lifetime import TargetLifetime
    from tracer.wiring.tracing import Tracing

_WITHOUT_PTRACE = "the executables of other users' processes that were already running are not known"
_OVER = ("exited", "dead")
_SAYS_S, _LOOK_S = 2.0, 0.05
RESTART_S = 1.0  # a container that restarts has no process for a moment


class Followed(NamedTuple):
    """A running trace of targets. lifetime: when they end; it wants to receive every batch. engines: what is asked
    for the names of containers."""

    source: LiveSource
    lifetime: TargetLifetime
    engines: Enquiry


class HasEnded(Exception):
    """The container had ended before it could be followed. code: its exit code, as its engine reports it."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(name)
        self.name, self.code = name, code


@contextlib.contextmanager
def followed(
    targets: Sequence[str],
    load_options: LoadOptions,
    max_processes: int,
    say: Callable[[str], None],
    uses: Sequence[str] = (),
    confine: Callable[[Tracing], object] = lambda _tracing: None,
    *,
    waits: bool = False,
    endless: bool = False,
    at_end: Callable[[], object] | None = None,
    for_code: bool = False,
    wait_hint: str = "-F waits for it",
) -> Iterator[Followed]:
    """Trace the TARGETs, all containers where there are none, as long as this lasts. say: writes a line for people.
    uses: as for `Tracing.load`. confine: called before anything of strangers is read from the kernel, to give
    privileges up. waits: follow names, and wait for what is not there yet. endless, at_end: as for `TargetLifetime`.
    for_code: it is about the exit code of the container. wait_hint: what to do where a TARGET is not there yet. Raises
    NstraceError, and with for_code HasEnded."""
    from tracer.system.clock_offset import wall_offset_ns
    from tracer.wiring.tracing import Tracing

    began_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + wall_offset_ns()
    with contextlib.ExitStack() as stack:
        tracing = stack.enter_context(Tracing(load_options))  # compiles while we import the rest, resolve the targets
        from tracer.containers.names import Names

        names = stack.enter_context(contextlib.closing(Names()))
        names.prepare()
        names.start()
        from tracer.containers.enquiry import Enquiry
        from tracer.host.lookup import Lookup
        from tracer.kernel.loader_client import CAP_SYS_PTRACE, may
        from tracer.wiring.target_lifetime import TargetLifetime

        lookup = Lookup(names)
        resolved = _resolved(lookup, targets or ("all",), waits, wait_hint)
        for missing in resolved.missing:
            say(f"{missing}; waiting for one")
        for name in resolved.not_running:
            if for_code:
                _check_last(names, resolved.targets[0].value, name, began_ns if waits else 0)
            say(f"{name} is not running; waiting for it to start")
        for text in lookup.unmatched(resolved.targets):
            say(f"no running container matches {text}; waiting for one to start")
        enquiry = Enquiry(names.engines())
        for line in _without_names(names, resolved.targets):
            say(line)
        if not may(CAP_SYS_PTRACE):
            say(f"without CAP_SYS_PTRACE: {_WITHOUT_PTRACE}")
        tracing.load(uses)
        confine(tracing)
        names.runs_under = tracing.runs_under
        tracing.check()
        names.hurry()
        if enquiry.fileno() >= 0:
            tracing.trace.ring.wake_on(enquiry.fileno())
        source = tracing.source(
            resolved.targets, enquiry.describe, max_processes, names.inits, say, enquiry, names.init_tgid
        )
        lifetime = TargetLifetime(
            resolved.targets, enquiry.state, say, running=resolved.running, endless=endless, at_end=at_end,
            never_ran=lambda container_id: _code_by_engine(names, container_id),
            ended_before=lambda container_id: _code_before(names, container_id),
        )  # fmt: skip
        yield Followed(source, lifetime, enquiry)


def _without_names(names: Names, targets: Sequence[Target]) -> Iterator[str]:
    """What to say where containers will have no names, or where a life is waited for."""
    from tracer.typed.targets import BY_DESCRIPTION, TargetKind

    if not names.is_there and names.error:
        if any(target.kind == TargetKind.ALL for target in targets):
            yield f"{names.error.message}: containers are shown by their ids"
        patterns = [target.text for target in targets if target.kind in BY_DESCRIPTION]
        if patterns and names.may_come:
            yield f"{names.error.message}: what may match {', '.join(patterns)} is held back until it does"
    for target in targets:
        if target.life is not None and target.life > 1:
            yield f"waiting for life {target.life} of {target.value}; what runs now counts as its first"


def _check_last(names: Names, container_id: str, name: str, since_ns: int) -> None:
    """Raises HasEnded where the container has run since then (wall clock); NstraceError where its engine does not
    answer."""
    last = names.last(container_id)
    if last and last.state in _OVER and last.started_ns >= since_ns:
        raise HasEnded(name, last.exit_code)


def _code_before(names: Names, container_id: str) -> int | None:
    """The exit code of a container that does not run any more, as its engine reports it."""
    with contextlib.suppress(NstraceError):
        if (last := names.last(container_id)) and last.state in _OVER:
            return last.exit_code
    return None


def _code_by_engine(names: Names, container_id: str) -> int | None:
    """The exit code that an engine has given a container whose command it could not run: a moment after the kernel has
    shown that. None: it does not say."""
    until_s = time.monotonic() + _SAYS_S
    while time.monotonic() < until_s:
        try:
            last = names.last(container_id)
        except NstraceError:
            return None
        if last is None:
            return None
        if last.exit_code:
            return last.exit_code
        time.sleep(_LOOK_S)
    return None


def _resolved(lookup: Lookup, texts: Sequence[str], waits: bool, wait_hint: str) -> Resolved:
    """What the TARGETs mean now. Raises NstraceError."""
    from tracer.containers.resolve_targets import NotThere

    try:
        return lookup.targets(texts, waits=waits, names_later=True)
    except NotThere as error:
        hint = "; ".join(filter(None, [error.hint, wait_hint]))
        raise NstraceError(error.message, hint, error.exit_code, error.detail) from error


def _check(targets: Sequence[str], options: StreamOptions) -> None:
    """Raises NstraceError (usage) where -F or --exit-code cannot be."""
    from tracer.typed.targets import BY_NAME, TargetKind, parse_target

    parsed = [parse_target(text) for text in targets]
    if options.exit_code and (len(parsed) != 1 or parsed[0].kind not in BY_NAME):
        message = "--exit-code needs one TARGET, a container's name or id"
        raise NstraceError(message, "for example nstrace follow --exit-code web", ExitCode.USAGE)
    for target in parsed if options.follow_name else ():
        if target.kind in (TargetKind.PID, TargetKind.PIDNS):
            message = f"-F follows names, and {target.text} is a PID namespace that does not come again"
            raise NstraceError(message, "leave -F out, or give a container's name", ExitCode.USAGE)


def follow_live(
    targets: tuple[str, ...],
    options: StreamOptions,
    view: Callable[[int], View],
    record: RecordOptions | None,
    before: Callable[[int], object] = lambda _until_ns: None,
) -> int:
    """Follow the TARGETs until they or we end; returns the exit code. view: called when wall_offset_ns is known.
    before: called ahead of the first event, with the time from which on there are events (boottime)."""
    from tracer.wiring.ending import Ending

    with Ending() as ending:
        try:
            return _follow_until(ending, targets, options, view, record, before)
        except HasEnded as ended:
            ending.say(f"nstrace: {ended.name} has ended before: exit {ended.code}, as its engine reports it")
            return ended.code


def _follow_until(
    ending: Ending,
    targets: tuple[str, ...],
    options: StreamOptions,
    view: Callable[[int], View],
    record: RecordOptions | None,
    before: Callable[[int], object],
) -> int:
    from tracer.kernel.options import LoadOptions
    from tracer.system.memory import keep_freed
    from tracer.wiring.conditions import make_filter, passing_live
    from tracer.wiring.recorders import beside_recording, outlet_of, recording
    from tracer.wiring.session import Limits
    from tracer.wiring.streaming import (
        exit_code,
        give_way,
        make_redactor,
        missing_here,
        shows_only_failed_commands,
        stream_to,
        view_modules,
        writer_to,
    )

    def say(line: str) -> None:
        if not options.quiet:
            ending.say(f"nstrace: {line}")

    def confine(tracing: Tracing) -> None:
        begin_threads = outlet.begin if outlet else lambda: None
        if destination:
            destination.confine(tracing, begin_threads)
        else:
            tracing.confine(begin_threads=begin_threads)

    _check(targets, options)
    keep_freed()
    destination = destination_of(record, options.redact, bool(options.where)) if record else None
    outlet = outlet_of(options, sys.stdout) if record and record.has_view else None
    load_options = LoadOptions(options.ring_bytes, options.max_args_bytes, options.threads)
    recorder, redactor, where = None, make_redactor(options), make_filter(options)
    with contextlib.ExitStack() as stack:
        uses = (*view_modules(options), *(destination.uses if destination else ()))
        waits, at_end = options.follow_name, ending.stop if options.follow_name and options.exit_code else None
        how: dict[str, Any] = {
            "waits": waits,
            "endless": waits and not options.exit_code,
            "for_code": options.exit_code,
        }
        tracing = followed(targets, load_options, options.max_processes, say, uses, confine, **how, at_end=at_end)
        source, lifetime, _engines = stack.enter_context(tracing)
        for line in missing_here(source.trace.loaded, options):
            say(line)
        source.redact = redactor or source.redact
        source.only_failed_commands = shows_only_failed_commands(options) and record is None and where is None
        passing = passing_live(where, source)
        ends = lifetime.is_over, RESTART_S, options.failed, lifetime.is_gone
        limits = Limits(options.duration, options.count, *ends, *passing)
        ending.hold()
        source.trace.ring.wake_on(ending.wakeup)
        before(source.trace.began_ns)
        shown, write = view(source.wall_offset_ns), writer_to(sys.stdout, ending)
        if outlet:
            shown, write = stack.enter_context(beside_recording(shown, outlet, options, source.attribution, ending))
        if destination:
            recorder = stack.enter_context(recording(destination, options, ending))
            source.on_removed = recorder.forget
        source.trace.gather_up_to_s = _patience_s(record, where is not None)
        give_way()
        summary = stream_to(
            source, shown, options, limits, write, ending, recorder, redactor=redactor, watcher=lifetime
        )
        if recorder:
            recorder.until_ns = source.reported_until_ns
        code = _container_code(targets[0], lifetime, say) if options.exit_code else 0
    has_failed = ending.is_cut_off or (recorder is not None and recorder.error is not None)
    own = exit_code(summary, options) or int(has_failed)
    return code or own


def _container_code(name: str, lifetime: TargetLifetime, say: Callable[[str], None]) -> int:
    """The exit code of the container that was followed; 1 where it is not known."""
    if lifetime.exit_code is None:
        say(f"no end of {name} was seen: its exit code is not known")
        return int(ExitCode.FAILURE)
    return lifetime.exit_code


def destination_of(record: RecordOptions, redact: bool, is_filtered: bool) -> Destination:
    """Where the recording goes, looked at while there are privileges. The parameters are `Destination`'s. Raises
    NstraceError."""
    from tracer.wiring.destination import Destination  # and with it pyarrow, which nothing else here needs

    return Destination(record, redact, is_filtered)


def _patience_s(record: RecordOptions | None, has_condition: bool) -> float:
    """How long events may gather, in s: fewer reads cost less, and only a screen needs events at once."""
    from tracer.kernel.trace import ASKED_S, FILE_S, LIVE_S, UNSEEN_S

    if record and not record.has_view:
        return UNSEEN_S
    with contextlib.suppress(OSError, ValueError):
        if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
            return UNSEEN_S if has_condition else FILE_S
    return ASKED_S if has_condition else LIVE_S
