"""What a trigger keeps: the window around an event as a recording of its own, and a command that is told of it.

Runs in a process of its own, which keeps root's privileges to make the file; a child without any reads recordings and
writes it (`tracer.system.privileges.in_child`), and another one runs the command.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from tracer.agent.config import Trigger
from tracer.agent.store import Store
from tracer.errors import NstraceError

FOLDER = "incidents"
_SUFFIX = ".arrows"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_USES = ("tracer.recording.cutting", "tracer.typed.moments")
_SECOND_NS = 1_000_000_000


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
    """The name of an incident's file, without the suffix: 20261129T140305.123Z-web-exit-sh."""
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(at_ns // _SECOND_NS))
    return f"{moment}.{at_ns // 1_000_000 % 1000:03}Z-{container}-{cause}"


def keep(incident: Incident, store: Store, most: int, say: Callable[[str], None]) -> int:
    """Make the file, remove the oldest where there are more than `most`, run the command. Gives the exit code. Raises
    NstraceError."""
    path = _write(incident, store, say)
    _retire(path.parent, most)
    if incident.trigger.run:
        _run(incident.trigger, path, say)
    return 0


def _write(incident: Incident, store: Store, say: Callable[[str], None]) -> Path:
    from tracer.wiring.kept import about
    from tracer.wiring.open_recordings import open_later
    from tracer.wiring.whole_file import default_signals, into_file

    folder = store.path / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    kept = [one for one in store.files() if one.bytes]
    names = [str(store.path / one.name) for one in about(kept, incident.begin_ns, incident.end_ns, 1)]
    parse = open_later(names, _USES, (), lambda _line: None, str(store.path / kept[-1].name))
    own = {"session": uuid.uuid4().hex, "command": json.dumps(["nstrace", "agent", incident.trigger.where])}

    def write(file: IO[bytes]) -> str:
        from tracer.recording.cutting import cut
        from tracer.typed.moments import Span

        default_signals()
        window = Span(incident.begin_ns, incident.end_ns)
        sources = [source for source in parse() if source.span().meets(window)]
        if not sources:
            raise NstraceError(f"nothing was kept of {incident.name}", "keep more: [record] keep")
        return f"{cut(sources[-1], window, file.fileno(), own)} rows"

    path = _free(folder, incident.name)
    say(f"incident: {into_file(write, path, force=False)}")
    return path


def _free(folder: Path, name: str) -> Path:
    """A path that nothing has."""
    paths = (folder / f"{name}{f'-{number}' if number > 1 else ''}{_SUFFIX}" for number in range(1, 1000))
    return next(path for path in paths if not os.path.lexists(path))


def _retire(folder: Path, most: int) -> None:
    """Names begin with the time: the least is the oldest."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(_SUFFIX) and entry.name[0] != ".")
    for name in names[: max(0, len(names) - most)]:
        (folder / name).unlink(missing_ok=True)


def _run(trigger: Trigger, path: Path, say: Callable[[str], None]) -> None:
    """Run the command as its user, without capabilities; stdin is the recording, which the user could not open."""
    argv = [word.replace("{file}", str(path)) for word in trigger.run]
    try:
        user = pwd.getpwnam(trigger.user)
    except KeyError as error:
        message = f"the command of a trigger was not run: this host has no user {trigger.user!r}"
        raise NstraceError(message, "name another in [[trigger]] user") from error

    def become_lesser() -> None:
        from tracer.system.privileges import become, gain_nothing, is_root

        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if is_root():
            become(user.pw_uid, user.pw_gid)
        gain_nothing()

    environment = {"PATH": _PATH, "HOME": user.pw_dir, "USER": user.pw_name, "LANG": "C.UTF-8"}
    with path.open("rb") as recording:
        try:
            process = subprocess.Popen(
                argv, stdin=recording, stdout=2, cwd="/", env=environment, preexec_fn=become_lesser,
                start_new_session=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            why = getattr(error, "strerror", None) or error
            raise NstraceError(f"{argv[0]} was not run: {why}", "it is [[trigger]] run, without a shell") from error
    try:
        code = process.wait(trigger.timeout_s)
        if code:
            say(f"{argv[0]} ended with {code}")
    except subprocess.TimeoutExpired:
        say(f"{argv[0]} took longer than {trigger.timeout_s:g} s: it is killed")
    finally:
        with contextlib.suppress(ProcessLookupError):  # and what it has left behind
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
