"""A folder for what a query cannot keep in memory: of the one process that answers it, and gone with the query."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tracer.system.privileges import FIRST_UID, can_change_root, can_confine, is_root

_FOLDER = "/var/tmp"  # for files that may be large: /tmp is often in memory (file-hierarchy(7))
_INSIDE = "spilled"  # DuckDB makes it, and removes it


class Spill(NamedTuple):
    """fd: a descriptor of the folder, for `tracer.system.privileges.drop`. path: where in it files can be made, as the
    process that is confined to it sees that. outside: the same as any other process sees it."""

    fd: int
    path: str
    outside: str


@contextlib.contextmanager
def spill_folder() -> Iterator[Spill | None]:
    """A new folder in $TMPDIR, else in /var/tmp, of a user that nobody else is; it is removed in the end with all that
    is in it. None: none can be made, or a process could write elsewhere too."""
    if not can_confine():
        yield None
        return
    name = Path(os.environ.get("TMPDIR") or _FOLDER) / f"nstrace-{os.urandom(8).hex()}"
    try:
        name.mkdir(0o700)
    except OSError:
        yield None
        return
    try:
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if is_root():
                with contextlib.suppress(OSError):  # a user namespace has few users: it stays root's, and is of no use
                    os.fchown(folder, *(FIRST_UID + os.getpid(),) * 2)
            outside = f"{name.resolve()}/{_INSIDE}"
            yield Spill(folder, f"/{_INSIDE}" if can_change_root() else outside, outside)
        finally:
            os.close(folder)
    finally:
        shutil.rmtree(name, ignore_errors=True)
