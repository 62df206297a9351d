"""The process that records: as nstrace record -F with rotation, with the same privileges, and it does not end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tracer.agent.beats import Beats
from tracer.agent.config import LEAST_EVERY_S, Config, Record
from tracer.agent.reporting import Reporting
from tracer.agent.store import Kept, Store, rotate_bytes
from tracer.agent.triggers import Triggers
from tracer.errors import NstraceError
from tracer.system.privileges import end_with
from tracer.wiring.recorders import RecordOptions

if TYPE_CHECKING:
    from tracer.containers.enquiry import Enquiry
    from tracer.recording.inputs import FileInput
    from tracer.stream.batch import Batch
    from tracer.stream.source import BatchSink
    from tracer.wiring.ending import Ending
    from tracer.wiring.options import StreamOptions
    from tracer.wiring.tracing import Tracing

_USED = (
    "tracer.stream.pidns",
    "tracer.agent.beats",
    "tracer.recording.hole",
    "tracer.recording.file_writer",
    "tracer.wiring.recorders",
)
_LOOKED_AT = 8  # files of earlier runs: of those of one that was cut off at once there may be several
_MAX_PROCESSES = 262_144


def record(whole: Config, store: Store, channel: socket.socket, packets: socket.socket) -> int:
    """Record until a signal says to end. channel: where to say how it is doing, and what triggers match; packets: where
    to say what metrics count. Gives the exit code. Raises NstraceError."""
    from tracer.kernel.options import LoadOptions
    from tracer.kernel.trace import FILE_S, UNSEEN_S
    from tracer.system.memory import stay_small
    from tracer.views.nothing import Nothing
    from tracer.wiring.destination import Destination
    from tracer.wiring.ending import Ending
    from tracer.wiring.following import followed
    from tracer.wiring.recorders import recording
    from tracer.wiring.session import Limits
    from tracer.wiring.streaming import give_way, make_redactor, stream_to

    config, every_s = whole.record, whole.publish.every_s if whole.publish else None
    parent, options, kept = os.getppid(), _options(config), store.files()
    with Ending() as ending, contextlib.ExitStack() as stack:
        destination = Destination(_record_options(config, store, kept, every_s), config.redact)
        earlier = _opened(store, kept[-_LOOKED_AT:])

        def say(line: str) -> None:
            ending.say(f"nstrace: {line}")

        def confine(tracing: Tracing) -> None:
            stay_small()
            destination.confine(tracing, lambda: end_with(parent, signal.SIGTERM))

        redactor = make_redactor(options)
        triggers = Triggers(whole.triggers, channel, say)
        load_options = LoadOptions(options.ring_bytes, options.max_args_bytes, options.threads)
        uses = (*_USED, *destination.uses)
        following = followed(
            config.targets, load_options, options.max_processes, say, uses, confine, waits=True, endless=True
        )
        found = stack.enter_context(following)
        source = found.source
        source.redact = redactor or source.redact
        source.only_failed_commands = False
        ending.hold()
        source.trace.ring.wake_on(ending.wakeup)
        _say_hole(destination, kept, earlier, source.trace.began_ns + source.wall_offset_ns)
        recorder = stack.enter_context(recording(destination, options, ending))
        source.on_removed = recorder.forget
        source.trace.gather_up_to_s = FILE_S if every_s == LEAST_EVERY_S else UNSEEN_S
        give_way()
        source.trace.ring.wake_on(channel.fileno())
        heard: BatchSink = Beats(channel, recorder, lambda: source.settled_ns)
        triggers.begin(source, os.uname().nodename)
        watchers, sink = _Each(found.lifetime, triggers, _Engines(found.engines, ending)), heard
        if metrics := whole.metrics:
            sink = Reporting(packets, heard, recorder, found, metrics.containers)
        stream_to(source, Nothing(), options, Limits(), _nowhere, ending, sink, redactor=redactor, watcher=watchers)
        recorder.until_ns = source.reported_until_ns
    if found.engines.has_died:
        why = "the process that asks the container engine has ended"
        raise NstraceError(f"{why}: this recording ends, names would be missing in it", "was it killed?")
    return int(recorder.error is not None)


class _Each:
    """Several sinks as one."""

    def __init__(self, *sinks: BatchSink) -> None:
        self._sinks = sinks

    def take(self, batch: Batch) -> None:
        for sink in self._sinks:
            sink.take(batch)


class _Engines:
    """Ends the recording, in order, where our process that asks an engine of root's has ended: it cannot be started
    again here, for this one holds no privilege, and a name that is missing is missing for good."""

    def __init__(self, engines: Enquiry, ending: Ending) -> None:
        self._engines, self._ending = engines, ending

    def take(self, _batch: Batch) -> None:
        """As `BatchSink.take`."""
        if self._engines.has_died:
            self._ending.stop()


def _nowhere(_text: bytes) -> None:
    """Nothing is shown."""


def _options(config: Record) -> StreamOptions:
    from tracer.wiring.options import stream

    values: dict[str, Any] = {"quiet": False, "require_complete": False, "max_processes": _MAX_PROCESSES}
    values |= {"buffer_size": config.buffer_bytes, "max_args_bytes": config.max_args_bytes}
    return stream(values | {"threads": config.threads, "redact": config.redact})


def _record_options(config: Record, store: Store, kept: Sequence[Kept], every_s: float | None) -> RecordOptions:
    """Numbers go on behind those of earlier runs; the first one, where there are any, is that of the hole."""
    rotate = rotate_bytes(config), config.rotate_interval_s, None
    first = kept[-1].number + 2 if kept else 1
    return RecordOptions(str(store.recording), False, False, rotate, has_view=False, first=first, every_s=every_s)


def _opened(store: Store, kept: Sequence[Kept]) -> list[FileInput]:
    """The latest files of earlier runs, the latest first; read when there are no privileges."""
    from tracer.recording.inputs import open_regular

    opened = []
    for one in reversed(kept):
        with contextlib.suppress(NstraceError):
            opened.append(open_regular(str(store.path / one.name)))
    return opened


def _say_hole(destination: Any, kept: Sequence[Kept], earlier: list[FileInput], began_ns: int) -> None:
    """Write, where there was an earlier run, that nobody looked since."""
    from tracer.recording.hole import write_hole

    if kept:
        write_hole(destination.path, kept[-1].number + 1, earlier, began_ns, destination.folder)
