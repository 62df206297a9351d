"""Starts a publisher: files are opened, processes with their privileges are forked, and the one that reads recordings
gives up everything."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tracer.errors import ExitCode, NstraceError
from tracer.fleet.channel import Channel
from tracer.fleet.place import PlaceFile
from tracer.fleet.publisher import Alive, Publisher, Server, Whose
from tracer.fleet.sender import start
from tracer.fleet.sink import Sink
from tracer.fleet.spool import Spool
from tracer.fleet.spool_folder import CAPABILITIES, SpoolFolder, SpoolOperations
from tracer.recording.folder import Folder
from tracer.system import imports
from tracer.system.broker import Broker
from tracer.system.memory import stay_small
from tracer.system.privileges import drop

_PATIENCE_S = 45.0  # a sender's requests take less


@dataclass(frozen=True)
class Publishing:
    """What is published where. folder: of the recordings; state: the file that remembers the place in it; rate: how
    many bytes a second at the most, None: as many as there are."""

    folder: Path
    state: Path
    whose: Whose
    rate: int | None = None


def publish(
    publishing: Publishing,
    sink: Sink,
    say: Callable[[str], None],
    keep_going: Callable[[], bool],
    note: Callable[[Alive], None] = lambda _alive: None,
) -> None:
    """Publish until keep_going() is false. Privileges are given up. say: writes a line for people; note: as of
    `Publisher`. Raises NstraceError."""
    imports.load(*imports.OF_READERS)
    folder = _folder(publishing.folder)
    state = _state(publishing.state, say)
    operations = SpoolOperations(folder)
    _sender, connected = start(sink, state)
    broker = Broker(operations.operations(), operations.descriptors, capabilities=CAPABILITIES)
    stay_small()
    drop()
    places = PlaceFile(state, str(publishing.state))
    server = Server(Channel(connected), say)
    spool = Spool(SpoolFolder(broker))
    Publisher(spool, places, server, publishing.whose, rate=publishing.rate, say=say, note=note).run(keep_going)


def _folder(path: Path) -> Folder:
    try:
        return Folder(path)
    except OSError as error:
        hint = "nstrace record -w FOLDER/all.arrows --rotate-size 100M fills one"
        raise NstraceError(f"the folder {path} cannot be read: {error.strerror}", hint) from error


def _state(path: Path, say: Callable[[str], None], patience_s: float = _PATIENCE_S) -> int:
    """A descriptor of the state file, which no other publisher has, nor what sends for one: where a publisher was
    killed, what that has on its way is stored when this returns, or never. Raises NstraceError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting: another publisher uses {path}, or what has sent for it has not ended yet")
            _lock(fd, time.monotonic() + patience_s)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            message = f"another publisher uses {path}"
            raise NstraceError(message, "stop it, or name another file with --state", ExitCode.FAILURE) from error
        hint = "name a file in a folder that you may write to with --state"
        raise NstraceError(f"{path} cannot be used: {error.strerror}", hint) from error
    return fd


def _lock(fd: int, until: float) -> None:
    """Lock it as soon as that is possible. Raises BlockingIOError where it is not until then (monotonic)."""
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.1)
        else:
            return
