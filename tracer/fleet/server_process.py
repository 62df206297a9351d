"""Begins the process that speaks to a server: it has the network, and none of the privileges of who begins it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from tracer.fleet.channel import Gone, Packets
from tracer.system import forking, imports
from tracer.system.descriptors import keep_only
from tracer.system.libc import name_process
from tracer.system.privileges import drop_but_connect

LATE_IMPORTS = ("asyncio", "concurrent.futures.thread", "encodings.idna", "stringprep", "ssl")
"""What asyncio imports at the first use of something."""
Work = Callable[[socket.socket], Coroutine[Any, Any, None]]


def fork(name: str, work: Work, fault: Callable[[str], object], held: int | None = None) -> tuple[int, socket.socket]:
    """Fork a process of this name, which does the work, without privileges. No thread may run. Returns its PID and our
    end of the socket that the work gets; the process ends when that is closed. fault: the packet that reports a fault
    of the work. held: a descriptor that it keeps: who waits for the lock of that waits for its end (flock(2))."""
    imports.load(*LATE_IMPORTS)
    ours, theirs = socket.socketpair()
    child = forking.fork()
    if child == 0:
        _serve(name, theirs, work, fault, held)
    theirs.close()
    return child, ours


def _serve(
    name: str, connected: socket.socket, work: Work, fault: Callable[[str], object], held: int | None
) -> NoReturn:
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it ends with the one that began it
            signal.signal(number, signal.SIG_IGN)
        keep_only(connected.fileno(), *(() if held is None else (held,)))
        name_process(name)
        loop = asyncio.new_event_loop()
        drop_but_connect()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(work(connected))
        code = 0
    except Gone:
        code = 0
    except BaseException as error:
        with contextlib.suppress(Gone):  # a fault of ours: it is said where it can be seen
            Packets(connected).send(fault(f"unexpected {type(error).__name__}: {error}"))
    os._exit(code)
