"""nstrace from Python: which process is this?

    import tracer

    tracer.translate("web/15").pid                # on the host, of a running process; no eBPF is needed
    tracer.translate(40123).pids                  # all its PIDs, the host's first
    tracer.ps("web")                              # its processes; also tracer.containers() and tracer.tree("web")
    tracer.ps("web", from_file="web.arrows", at="14:03:05")
    tracer.open("web.arrows").translate("web/15", at="14:03:05")[0].pid
    tracer.open("web.arrows").to_arrow()          # all events as a table; or to_pandas()
    with tracer.follow_typed("web") as events:    # needs root, as nstrace follow does
        for event in events:
            print(event.event, event.pids, event.when)
    for event in tracer.follow("web"):            # the same as dictionaries, as in nstrace follow --json
        print(event["event"], event["pids"])
    tracer.open("web.arrows").events()            # and .typed_events(): those of a recording

What cannot be done raises tracer.NstraceError, with a message and a hint; an argument of a wrong type is a
TypeError, as everywhere. Importing this is cheap: what a function needs is imported when it is called.
"""

from __future__ import annotations

import os

from tracer.version import VERSION as __version__

TYPE_CHECKING = False  # as in typing, which takes longer to import than the command needs until it can handle Ctrl-C
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime
    from typing import Any, SupportsIndex

    from tracer.answers.translation import Translation
    from tracer.api import Recorded
    from tracer.errors import NstraceError
    from tracer.following import Events
    from tracer.results import Containers, Processes, Tree
    from tracer.stream.typed import Event

_File = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = ["NstraceError", "__version__", "containers", "follow", "follow_typed", "open", "ps", "translate", "tree"]


def translate(proc: str | SupportsIndex) -> Translation:
    """The running process that proc means, with all its PIDs: as `nstrace translate PROC`.

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


def ps(
    *targets: str | Iterable[str], from_file: _File | Iterable[_File] | None = None, at: str | datetime | None = None
) -> Processes:
    """Processes with all their PIDs, on the host and inside: as `nstrace ps TARGET`.

    targets: as for nstrace ps ("web", "web-*", "pid:4711", "host", ...), one by one or in a list; all containers
    without any. from_file: a recording instead of the running host, at its end or at a moment. at: a time as for --at,
    or a datetime.

    The result is a sequence of processes (`pid`, `ns_pid`, `command`, `started`, ...), and prints as a table. Raises
    NstraceError where no process matches.
    """
    from tracer.api import gathered_now
    from tracer.results import Processes

    if from_file is not None:
        return open(from_file).ps(*targets, at=at)
    _require_now(at)
    with gathered_now(targets) as (found, notes):
        return Processes(found, notes)


def containers(
    *targets: str | Iterable[str], from_file: _File | Iterable[_File] | None = None, at: str | datetime | None = None
) -> Containers:
    """Running containers, and PID namespaces that belong to none: as `nstrace containers`. Arguments are as for `ps`.

    The result is a sequence of containers (`name`, `id`, `image`, `init`, `pidns`, ...), and prints as a table.
    """
    from tracer.api import gathered_now
    from tracer.results import Containers

    if from_file is not None:
        return open(from_file).containers(*targets, at=at)
    _require_now(at)
    with gathered_now(targets) as (found, notes):
        return Containers(found, notes)


_containers = containers  # the package tracer.containers takes the name, and calls this


def tree(
    *targets: str | Iterable[str], from_file: _File | Iterable[_File] | None = None, at: str | datetime | None = None
) -> Tree:
    """Processes below their parents: as `nstrace tree`. Arguments are as for `ps`.

    The result is a sequence of nodes (`process`, `depth`, `children`), parents ahead of their children, and prints as a
    tree; `roots` are those without a parent in it.
    """
    from tracer.api import gathered_now
    from tracer.results import Tree

    if from_file is not None:
        return open(from_file).tree(*targets, at=at)
    _require_now(at)
    with gathered_now(targets) as (found, notes):
        return Tree(found, notes)


def _require_now(at: object) -> None:
    """Raises NstraceError where a moment is given, but no recording."""
    from tracer.errors import ExitCode, NstraceError

    if at is not None:
        raise NstraceError("at needs a recording", "give from_file too", ExitCode.USAGE)


def follow(
    *targets: str | Iterable[str],
    events: str | Collection[str] = ("fork", "exec", "exit", "snapshot"),
    threads: bool = False,
    duration: float | None = None,
) -> Events[dict[str, Any]]:
    """Events as they happen, each as the object that a line of `nstrace follow --json` holds; gaps are among them.

    targets: as for nstrace follow ("web", "web-*", "label:tier=db", "pid:4711", ...), one by one or in a list; all
    containers without any. events: which of them; threads: those of threads too. duration: seconds. Ends when no more
    processes of the targets can appear.

    `with tracer.follow("web") as events` traces from the beginning of the block to its end, and leaves nothing open.
    Without `with`, tracing begins when the first event is requested, and ends when the iterator is closed. Raises
    NstraceError, mostly when tracing begins.
    """
    from tracer.api import plain
    from tracer.following import follow_objects

    return follow_objects(targets, events, threads, duration, plain)


def follow_typed(
    *targets: str | Iterable[str],
    events: str | Collection[str] = ("fork", "exec", "exit", "snapshot"),
    threads: bool = False,
    duration: float | None = None,
) -> Events[Event]:
    """As `follow`, each event as an object of `tracer.stream.typed`, with the names and values of the JSON, and its
    time as a datetime too (`when`)."""
    from tracer.following import follow_objects
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
