"""A file that a child without privileges makes of recordings: whole, or not at all."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tracer.text.counted import size_text

if TYPE_CHECKING:
    from tracer.system.privileges import GiveUp


def default_signals() -> None:
    """In the child that converts: end at once. Where only the command gets a signal, it ends the child."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def into_file(
    write: Callable[[IO[bytes]], str | None],
    out: Path,
    force: bool,
    begin_threads: Callable[[], None] = lambda: None,
    folder: int | None = None,
    give_up: GiveUp | None = None,
) -> str:
    """Have a child without privileges write the whole file: under another name, until it is finished. write: gives what
    it has written, in words. Gives a line for people. begin_threads, folder, give_up: as for
    `tracer.system.privileges.in_child`."""
    from tracer.recording.files import created
    from tracer.system.privileges import in_child

    with created(out, force, is_whole=True) as fd, os.fdopen(fd, "wb") as file:
        wrote = in_child(lambda: write(file), folder, begin_threads, give_up)
        size = size_text(os.fstat(fd).st_size)
    return f"wrote {out}: {', '.join(filter(None, (wrote, size)))}"
