"""What a trigger keeps: the window around an event as a recording of its own.

Runs in a process of its own, which keeps root's privileges to make the file; a child without any reads recordings and
writes it (`tracer.system.privileges.in_child`).
"""

from __future__ import annotations

import itertools
import json
import os
import re
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from tracer.agent.config import Trigger
from tracer.agent.store import Store
from tracer.errors import NstraceError
from tracer.recording.folder import is_beside

FOLDER = "incidents"
_SUFFIX = ".arrows"
_NAME = re.compile(rf".+{re.escape(_SUFFIX)}")
_USES = ("tracer.recording.cutting", "tracer.typed.moments")
_SECOND_NS = 1_000_000_000


class Limits(NamedTuple):
    """files: how many incidents there are at most; of_container: of one container; min_free_bytes: what stays free on
    the disk."""

    files: int
    of_container: int
    min_free_bytes: int


class Incident(NamedTuple):
    """at_ns: when (wall clock). name: of its file, without the suffix."""

    trigger: Trigger
    at_ns: int
    name: str

    @property
    def begin_ns(self) -> int:
        """When its window begins (wall clock)."""
        return self.at_ns - int(self.trigger.before_s * _SECOND_NS)

    @property
    def end_ns(self) -> int:
        """When its window ends."""
        return self.at_ns + int(self.trigger.after_s * _SECOND_NS)


def name_of(at_ns: int, container: str, cause: str) -> str:
    """The name of an incident's file, without the suffix: 20261129T140305.123Z-web-exit-sh. cause: has one dash."""
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(at_ns // _SECOND_NS))
    return f"{moment}.{at_ns // 1_000_000 % 1000:03}Z-{container}-{cause}"


def path_for(incident: Incident, store: Store) -> Path:
    """Where it is kept: a path that nothing has."""
    folder, name = store.path / FOLDER, incident.name
    paths = (folder / f"{name}{f'.{number}' if number > 1 else ''}{_SUFFIX}" for number in itertools.count(1))
    return next(path for path in paths if not os.path.lexists(path))


def keep(incident: Incident, path: Path, store: Store, limits: Limits, say: Callable[[str], None]) -> int:
    """Make the file, and remove the oldest where there are too many. Gives the exit code. Raises NstraceError."""
    from tracer.wiring.kept import KeptFiles, about
    from tracer.wiring.open_recordings import open_later
    from tracer.wiring.whole_file import default_signals, into_file

    path.parent.mkdir(mode=0o700, exist_ok=True)
    _remove_unfinished(path.parent)
    kept = [one for one in store.files() if one.bytes]
    sources = about(kept, incident.begin_ns, incident.end_ns, 1)
    if store.free_bytes() - sum(one.bytes for one in sources) < limits.min_free_bytes:
        raise NstraceError(f"{path.name} is not kept: the disk is too full", "[record] min_free says what stays free")
    names = [str(store.path / one.name) for one in sources]
    found = KeptFiles(tuple(names), str(store.path / kept[-1].name), None, None)
    parse = open_later(names, _USES, (), lambda _line: None, found)
    own = {"session": uuid.uuid4().hex, "command": json.dumps(["nstrace", "agent", incident.trigger.where])}

    def write(file: IO[bytes]) -> str:
        from tracer.recording.cutting import cut
        from tracer.typed.moments import Span

        default_signals()
        window = Span(incident.begin_ns, incident.end_ns)
        sources = [source for source in parse() if source.span().meets(window)]
        if not sources:
            raise NstraceError(f"nothing was kept of {incident.name}", "keep more: [record] keep")
        began = [source for source in sources if source.span().begin_ns <= incident.at_ns]
        source = began[-1] if began else sources[0]  # a recorder that was started again meanwhile knows nothing of it
        return f"{cut(source, window, file.fileno(), own)} rows"

    say(f"incident: {into_file(write, path, force=False)}")
    _retire(path, limits)
    return 0


def _remove_unfinished(folder: Path) -> None:
    """What keepers have left that were killed; there is one at a time."""
    for entry in list(folder.iterdir()):
        if is_beside(entry.name, _NAME):
            entry.unlink(missing_ok=True)


def _container_in(name: str) -> str:
    """The container in the name of an incident's file, which may have dashes itself."""
    return name.partition("-")[2].rsplit("-", 2)[0]


def _retire(latest: Path, limits: Limits) -> None:
    """Remove what is too much: of each container the oldest ones beyond its share, then the oldest of whoever has most:
    a container whose processes meet a condition at will pushes out its own. Names begin with the time: the least is the
    oldest, but for the latest, whatever the clock says now."""
    names = sorted(
        (entry.name == latest.name, entry.name)
        for entry in latest.parent.iterdir()
        if entry.name.endswith(_SUFFIX) and entry.name[0] != "."
    )
    mine: defaultdict[str, deque[str]] = defaultdict(deque)
    for _is_latest, name in names:
        mine[_container_in(name)].append(name)
    too_many: list[str] = []
    for kept in mine.values():
        too_many += [kept.popleft() for _one in range(max(1, limits.of_container), len(kept))]
    for _one in range(max(1, limits.files), sum(map(len, mine.values()))):
        others = [kept for kept in mine.values() if kept and kept[0] != latest.name]
        most = max(map(len, others))
        too_many.append(min((kept for kept in others if len(kept) == most), key=lambda kept: kept[0]).popleft())
    for name in too_many:
        (latest.parent / name).unlink(missing_ok=True)
