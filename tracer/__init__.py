"""nstrace from Python: which process is this?

    import tracer

    tracer.translate("web/15").pid                       # living processes: no eBPF, no root where /proc needs none
    tracer.open("web.arrows").translate("web/15", at="14:03:05")
    tracer.open("web.arrows").to_arrow()                 # or to_pandas()
    for event in tracer.follow("web"): ...               # needs root, as nstrace follow

Whatever cannot be done raises tracer.NstraceError, with a message and a hint. Importing this is cheap: what a function
needs is imported when it is called.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from tracer.errors import NstraceError

if TYPE_CHECKING:
    from tracer.answers.translation import Translation
    from tracer.api import Recorded

__all__ = ["NstraceError", "follow", "open", "translate"]


def translate(proc: str) -> Translation:
    """The living process that is meant, with all its PIDs: as `nstrace translate PROC`.

    proc: "40123" (a PID on the host), "web/15", "pidns:4026532180/15" or "pid:40123/15".
    """
    from tracer.host.lookup import Lookup
    from tracer.host.translation import translate
    from tracer.initial import require_initial_pidns
    from tracer.proc import parse_proc

    require_initial_pidns()
    return translate(Lookup(), parse_proc(proc))


def open(*files: str | os.PathLike[str]) -> Recorded:
    """A recording: one file, a folder, the name of one that was rotated, or all its parts. Files of several runs of
    nstrace are not one recording."""
    from tracer.api import Recorded

    return Recorded([os.fspath(file) for file in files])


def follow(
    *targets: str,
    events: Collection[str] = ("fork", "exec", "exit", "snapshot"),
    threads: bool = False,
    duration: float | None = None,
) -> Iterator[dict[str, Any]]:
    """Events as they happen, each as the object that a line of `nstrace follow --json` holds; gaps are among them.

    targets: as for nstrace follow ("web", "web-*", "label:tier=db", "pid:4711", ...); all containers without any.
    events: which of them; threads: those of threads too. duration: seconds. Ends when nobody of the targets can come
    any more. Tracing begins with the first event that is asked for, and ends when the iterator is closed.
    """
    from tracer.api import follow_objects

    return follow_objects(targets, events, threads, duration)
