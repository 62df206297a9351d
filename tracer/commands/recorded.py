"""Opens recordings for commands: files first, then no privileges any more, and only then is anything parsed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracer.errors import ExitCode, NstraceError

if TYPE_CHECKING:
    from tracer.recording.source import RecordedSource
    from tracer.targets import Target


def targets_of(texts: Sequence[str]) -> tuple[Target, ...]:
    """TARGETs as a recording can answer them."""
    from tracer.targets import TargetKind, parse_target

    targets = tuple(parse_target(text) for text in texts)
    for target in targets:
        if target.kind == TargetKind.PID:
            raise NstraceError(
                f"{target.text}: a recording is asked by namespace",
                f"nstrace replay --json FILE | grep '\"pid\":{target.value},' tells its pidns: give pidns:INUM",
                ExitCode.USAGE,
            )
    return targets


def open_source(names: Sequence[str], targets: tuple[Target, ...] = (), quiet: bool = False) -> RecordedSource:
    """The recorded source of these files. Raises NstraceError."""
    from tracer.privileges import drop
    from tracer.recording.files import open_input
    from tracer.recording.reader import Recording
    from tracer.recording.source import RecordedSource

    def say(line: str) -> None:
        if not quiet:
            print(f"nstrace: {line}", file=sys.stderr, flush=True)

    inputs = [(name, open_input(name)) for name in names]
    drop()
    recordings = [Recording(name, found, say) for name, found in inputs]
    return RecordedSource(recordings, targets)
