"""follow --since: what the agent has recorded up to the moment from which the live stream goes on.

A child shows it, without privileges, when it is told that moment; the live stream waits for it, and its events are kept
in the ring meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from tracer.errors import NstraceError
from tracer.text.escape import safe_text
from tracer.wiring.kept import KeptFiles, kept_files
from tracer.wiring.open_recordings import open_sources, sayer, targets_of
from tracer.wiring.options import StreamOptions

if TYPE_CHECKING:
    from tracer.recording.source import RecordedSource

_MOMENT = struct.Struct("=Q")


class CatchUp:
    """since: TIME as typed. Raises NstraceError where the agent has kept nothing."""

    def __init__(self, since: str, targets: Sequence[str], options: StreamOptions) -> None:
        kept = kept_files(sayer(options.quiet), since, missing="--since needs what an agent has recorded")
        told, self._tells = os.pipe()
        self._is_done, done = os.pipe()
        if os.fork() == 0:
            os.close(self._tells)
            os.close(self._is_done)
            _serve(told, kept, targets, options)
        os.close(told)
        os.close(done)

    def show(self, until_ns: int) -> None:
        """Have all shown up to then (boottime), and wait for it."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._tells, _MOMENT.pack(until_ns))
        os.close(self._tells)
        while os.read(self._is_done, 1):
            pass
        os.close(self._is_done)


def live_options(options: StreamOptions) -> StreamOptions:
    """The options of the stream that goes on: who lived was said before."""
    events = tuple(name for name in options.events if name != "snapshot")
    return replace(options, header=False, events=events)


def _serve(told: int, kept: KeptFiles, targets: Sequence[str], options: StreamOptions) -> NoReturn:
    """In the child."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        packet = os.read(told, _MOMENT.size)
        if len(packet) == _MOMENT.size:
            (until_ns,) = _MOMENT.unpack(packet)
            _show(until_ns, kept, targets, options)
        code = 0
    except NstraceError as error:
        print(f"nstrace: {error.message}\n  {error.hint}", file=sys.stderr)
    except BaseException as error:
        print(safe_text(f"nstrace: unexpected {type(error).__name__}: {error}"), file=sys.stderr)
    finally:
        os._exit(code)


def _show(until_ns: int, before: KeptFiles, targets: Sequence[str], options: StreamOptions) -> None:
    from tracer.recording.metadata import this_boot
    from tracer.recording.multiple_runs import Runs, RunsView
    from tracer.system.clock_offset import wall_offset_ns
    from tracer.text.times import precise
    from tracer.typed.moments import Span, parse_moment
    from tracer.wiring.conditions import let_pass, make_filter
    from tracer.wiring.ending import Ending
    from tracer.wiring.session import Limits
    from tracer.wiring.streaming import expected_width, make_view, stream_to, view_modules, writer_to

    kept = kept_files(lambda _line: None, before.begin)
    where, say, quiet = make_filter(options), sayer(options.quiet), replace(options, quiet=True)
    boot_id, offset_ns = this_boot(), wall_offset_ns()
    sources = open_sources(kept.files, view_modules(options), targets_of(targets), say, kept)
    chosen: list[RecordedSource] = []
    for source in sources:
        is_other_boot = source.recordings[0].facts.boot_id != boot_id
        source.goes_on_ns = until_ns + (offset_ns - source.wall_offset_ns) * is_other_boot
        span = source.span()
        window = Span(parse_moment(before.begin or "", span), source.goes_on_ns + source.wall_offset_ns)
        if window.meets(span) or source is sources[-1]:
            source.show(window, with_living=window.meets(span))
            chosen.append(source)
    last = chosen[-1]
    for source in chosen[:-1]:
        source.goes_on_ns = 0
    if last.recordings[-1].range_ns()[1] < last.goes_on_ns:
        why = "no agent records now" if kept.growing is None else "the agent is behind"
        say(f"nobody has looked since {precise(last.span().end_ns)}: {why}")
    let_pass(where, chosen)
    with Ending() as ending:
        width = expected_width(targets)
        view = RunsView({one.attribution: make_view(options, one.wall_offset_ns, sys.stdout, width) for one in chosen})
        write = writer_to(sys.stdout, ending)
        ending.hold()
        for source in chosen:
            source.read_while(lambda: not ending.is_asked_for)
        stream_to(Runs(chosen), view, quiet, Limits(only_failed=options.failed), write, ending)
