"""Wiring of translate as a filter: stdin through an annotator to stdout, every piece as it arrives.

The text comes from strangers: what reads it has given up its privileges before, and asks a child that keeps them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tracer.errors import ReaderGone
from tracer.interrupt import arrived
from tracer.text.escape import decode, safe_lines

if TYPE_CHECKING:
    from tracer.containers.names import Names
    from tracer.host.numbers import ToContainer, ToHost

_STDIN, _STDOUT = 0, 1
_PIECE_BYTES = 1 << 16


def to_container(replace: bool) -> None:
    """Translate PIDs of the host in the text to container and number inside."""
    from tracer.host.numbers import ToContainer
    from tracer.wiring.looking import prepared
    from tracer.wiring.printing import note

    note("nstrace: PID namespaces of other users' processes are not visible: run it with sudo", quiet=os.geteuid() == 0)
    lookup = prepared(())
    _filter(ToContainer(lookup.host), lookup.names, replace)


def to_host(where: str, replace: bool) -> None:
    """Translate numbers of one PID namespace in the text to PIDs on the host. Raises NstraceError if there is none."""
    from tracer.host.numbers import ToHost
    from tracer.typed.processes import parse_space
    from tracer.wiring.looking import prepared

    lookup, space = prepared(()), parse_space(where)
    prefix = b"" if replace else b"host:"
    _filter(ToHost(lookup.host, lambda: lookup.opened_pidns(*space), prefix), lookup.names, replace)


def _filter(numbers: ToContainer | ToHost, names: Names, replace: bool) -> None:
    from tracer.system.privileges import drop
    from tracer.text.annotate import Annotator
    from tracer.wiring.answering import answered_elsewhere

    annotator = Annotator(answered_elsewhere(numbers), replace)
    numbers.close()
    names.leave()  # the child alone asks the engine
    drop()
    try:
        while piece := os.read(_STDIN, _PIECE_BYTES):
            write_shown(annotator.take(piece))
        write_shown(annotator.finish())
    except KeyboardInterrupt:
        arrived()
        write_shown(annotator.finish())


def write_shown(text: bytes) -> None:
    """Write to stdout, safe for a terminal where it is one. Raises ReaderGone."""
    _write(_shown(text) if os.isatty(_STDOUT) else text)


def _shown(text: bytes) -> bytes:
    """Whole lines for a terminal: the text is a stranger's, and a terminal obeys it."""
    return safe_lines(decode(text).replace("\r\n", "\n")).encode()


def _write(text: bytes) -> None:
    try:
        while text:
            text = text[os.write(_STDOUT, text) :]
    except BrokenPipeError as error:
        raise ReaderGone from error
