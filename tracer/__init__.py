"""nstrace from Python: which process is this?

    import tracer

    tracer.translate("web/15").pid                # on the host, of a living process; no eBPF is needed
    tracer.translate(40123).entry.numbers         # all its PIDs, the host's first
    tracer.open("web.arrows").translate("web/15", at="14:03:05")[0].pid
    tracer.open("web.arrows").to_arrow()          # all events as a table; or to_pandas()
    for event in tracer.follow("web"):            # needs root, as nstrace follow does
        print(event["event"], event["pids"])
    for event in tracer.follow_typed("web"):      # the same as objects of tracer.stream.typed
        print(event.event, event.ts_ns)
    tracer.open("web.arrows").events()            # and .typed_events(): those of a recording

What cannot be done raises tracer.NstraceError, with a message and a hint; an argument of a wrong type is a
TypeError, as everywhere. Importing this is cheap: what a function needs is imported when it is called.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as in typing, which takes longer to import than the command needs until it can handle Ctrl-C
if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable
    from typing import Any, SupportsIndex

    from tracer.answers.translation import Translation
    from tracer.api import Recorded
    from tracer.errors import NstraceError
    from tracer.stream.typed import Event

_File = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = ["NstraceError", "follow", "follow_typed", "open", "translate"]


def translate(proc: str | SupportsIndex) -> Translation:
    """The living process that proc means, with all its PIDs: as `nstrace translate PROC`.

    proc: 40123 or "40123" (a PID on the host), "web/15", "pidns:4026532180/15" or "pid:40123/15". Raises NstraceError
    where there is no such process.
    """
    from contextlib import closing

    from tracer.containers.names import Names
    from tracer.host.lookup import Lookup
    from tracer.host.translation import translate
    from tracer.system.host_pidns import require_initial_pidns
    from tracer.typed.processes import proc_of

    meant = proc_of(proc)
    require_initial_pidns()
    with closing(Names()) as names:
        return translate(Lookup(names), meant)


def open(file: _File | Iterable[_File], *files: _File | Iterable[_File]) -> Recorded:
    """A recording: one file, a folder, the name of one that was rotated, or all its parts, one by one or in a list.

    Raises NstraceError for what is not a recording; files of several runs of nstrace are not one.
    """
    from tracer.api import Recorded, each

    return Recorded([os.fsdecode(one) for one in each(file, *files)])


def follow(
    *targets: str | Iterable[str],
    events: str | Collection[str] = ("fork", "exec", "exit", "snapshot"),
    threads: bool = False,
    duration: float | None = None,
) -> Generator[dict[str, Any], None, None]:
    """Events as they happen, each as the object that a line of `nstrace follow --json` holds; gaps are among them.

    targets: as for nstrace follow ("web", "web-*", "label:tier=db", "pid:4711", ...), one by one or in a list; all
    containers without any. events: which of them; threads: those of threads too. duration: seconds. Ends when no more
    processes of the targets can appear.

    Tracing begins when the first event is requested. It ends when the iterator is closed, which leaves nothing open:
    `with contextlib.closing(tracer.follow("web")) as events`. Raises NstraceError, mostly at the first event.
    """
    from tracer.api import follow_objects, plain

    return follow_objects(targets, events, threads, duration, plain)


def follow_typed(
    *targets: str | Iterable[str],
    events: str | Collection[str] = ("fork", "exec", "exit", "snapshot"),
    threads: bool = False,
    duration: float | None = None,
) -> Generator[Event, None, None]:
    """As `follow`, each event as an object of `tracer.stream.typed`, with the names and values of the JSON."""
    from tracer.api import follow_objects
    from tracer.stream.typed import event_of

    return follow_objects(targets, events, threads, duration, event_of)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name == "NstraceError":
            from tracer.errors import NstraceError

            return NstraceError
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
