"""Starts an archiver: the process that decodes is forked, and root becomes who owns the archive."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from tracer.errors import ExitCode, NstraceError
from tracer.fleet.access import Access
from tracer.fleet.archive_store import store_of
from tracer.fleet.archiver import Archiver
from tracer.fleet.decoder import Decoder
from tracer.fleet.nats_client import Connection
from tracer.fleet.running import stopped_by_signals
from tracer.fleet.server_process import LATE_IMPORTS
from tracer.system import imports
from tracer.system.privileges import become, drop_but_files, gain_nothing, is_root, lesser_user

_NOT_ALL = "it was stopped before every message was archived"


def archive(
    access: Access,
    where: str,
    *,
    cluster: str,
    every_s: float,
    compact_s: float,
    target_bytes: int,
    until_done: bool,
    say: Callable[[str], None],
) -> None:
    """Archive to this place what a cluster publishes, "*": all, until a signal comes. Root's privileges are given up.
    Raises NstraceError."""
    imports.load(*LATE_IMPORTS)
    decoder = Decoder()
    give_up_root(where)
    store = store_of(where)
    connection = Connection(access, "nstrace archive")
    archiver = Archiver(
        connection, decoder, store, cluster=cluster, every_s=every_s, compact_s=compact_s, target_bytes=target_bytes,
        say=say,
    )  # fmt: skip

    async def whole() -> bool:
        with stopped_by_signals(archiver.stop):
            try:
                return await archiver.run(until_done)
            finally:
                await connection.drop()

    is_all = asyncio.run(whole()) or not until_done
    if archiver.is_stuck:  # at Python's end libraries wait for what they have begun, as that of S3 does
        if not is_all:
            say(_NOT_ALL)
        sys.stderr.flush()
        os._exit(0 if is_all else ExitCode.FAILURE)
    if not is_all:
        raise NstraceError(_NOT_ALL, "start it again for the rest")


def give_up_root(where: str, is_new: bool = True, folder: int | None = None) -> None:
    """Become the owner of the archive's folder. is_new: it is made if it is not there. folder: the descriptor of
    another one that they become the owner of. Raises NstraceError where that is root."""
    if not is_new and "://" not in where and not Path(where).is_dir():
        raise NstraceError(f"there is no folder {where}", "nstrace fleet archive --to DIR makes one", ExitCode.USAGE)
    if not is_root():
        if "://" not in where:
            _made(where)
        return
    user = lesser_user()
    if "://" not in where:
        found = _made(where, user)
        user = found.st_uid, found.st_gid
        if user[0] == 0:
            hint = f"chown it to a user who has nothing else: chown nobody {where}"
            raise NstraceError(f"{where} belongs to root, whom no archiver needs", hint, ExitCode.NOT_PERMITTED)
    try:
        if folder is not None:
            os.fchown(folder, *user)
        become(*user)
        gain_nothing()
        imports.seal()
    except OSError as error:
        hint = "run it as another user; a container needs --cap-add SETUID --cap-add SETGID"
        raise NstraceError(f"root cannot be given up: {error.strerror}", hint, ExitCode.NOT_PERMITTED) from error


def become_reader(where: str, folder: int | None = None, begin_threads: Callable[[], None] = lambda: None) -> None:
    """Become who may read the archive, and nothing else. folder: as for `give_up_root`; begin_threads: as for
    `drop_but_files`. Raises NstraceError."""
    give_up_root(where, is_new=False, folder=folder)
    drop_but_files(begin_threads)


def _made(where: str, owner: tuple[int, int] | None = None) -> os.stat_result:
    """The status of a folder, which is made where it is missing."""
    path = Path(where)
    try:
        if not path.exists():
            path.mkdir(0o755)
            if owner:
                os.chown(path, *owner)
        found = path.stat()
    except OSError as error:
        raise NstraceError(
            f"{where} cannot be used: {error.strerror}", "name a folder that you may write to"
        ) from error
    if not stat.S_ISDIR(found.st_mode):
        raise NstraceError(f"{where} is not a folder", "name the folder of the archive", ExitCode.USAGE)
    return found
