"""What the recording process and the agent's own say to each other: packets of numbers, so that who has privileges
reads nothing of a stranger's."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tracer.stream.batch import Batch
    from tracer.wiring.recorders import Recorder


EVERY_S = 5.0
_QUIET_NS = 60_000_000_000  # after so long a file says that it still goes on
_MAX_BYTES = 256  # of a packet
_BEAT, _REQUEST = struct.Struct("=5Q"), struct.Struct("=Q")


class Beat(NamedTuple):
    """at_ns: when it was said; settled_ns: all until then is on the disk, as far as a file was asked to say so (both
    boottime). rows, bytes: how much was recorded since the process began; lost: events."""

    at_ns: int
    settled_ns: int
    rows: int
    bytes: int
    lost: int


class Beats:
    """Passes batches on to a recorder, and says how it is doing every five seconds: each wait of the loop ends with a
    batch, and be it an empty one. Where it is asked to, it has the writer write all until then at once.

    settled_ns: until when everything was yielded (boottime); 0: that is not known now.
    """

    def __init__(self, channel: socket.socket, recorder: Recorder, settled_ns: Callable[[], int]) -> None:
        self._channel, self._recorder, self._settled = channel, recorder, settled_ns
        self._said_s = 0.0
        self._settled_ns = 0
        self._wanted_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)  # who lives now is on the disk soon
        self._rows, self._rows_ns = -1, 0  # how many there were, and since when

    def take(self, batch: Batch) -> None:
        """As `BatchSink.take`."""
        self._recorder.take(batch)
        self._hear()
        at_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        writer = self._recorder.writer
        if writer.rows != self._rows:
            self._rows, self._rows_ns = writer.rows, at_ns
        elif at_ns - max(self._rows_ns, self._settled_ns) >= _QUIET_NS:
            self._wanted_ns = self._wanted_ns or self._rows_ns
        if self._wanted_ns and (settled_ns := self._settled()) >= self._wanted_ns:
            self._recorder.quiet(settled_ns)
            self._settled_ns, self._wanted_ns, self._said_s = settled_ns, 0, 0.0
        if (now_s := time.monotonic()) - self._said_s >= EVERY_S:
            self._said_s = now_s
            beat = Beat(at_ns, self._settled_ns, writer.rows, writer.bytes, writer.lost)
            with contextlib.suppress(BlockingIOError, ConnectionError):  # more comes, or the agent has ended
                self._channel.send(_BEAT.pack(*beat))

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while len(packet := self._channel.recv(_REQUEST.size)) == _REQUEST.size:
                (self._wanted_ns,) = _REQUEST.unpack(packet)


def channel() -> tuple[socket.socket, socket.socket]:
    """The two ends: the agent's own, and the recorder's. Neither waits."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def listen(channel: socket.socket, hear: Callable[[Beat], None], hear_other: Callable[[bytes], None]) -> None:
    """Hear what has come. hear_other: called with a packet that is no beat."""
    with contextlib.suppress(BlockingIOError, ConnectionResetError):
        while packet := channel.recv(_MAX_BYTES):
            if len(packet) == _BEAT.size:
                hear(Beat(*_BEAT.unpack(packet)))
            else:
                hear_other(packet)


def ask_to_write(channel: socket.socket) -> None:
    """Have the recorder write all until now at once; a beat says when it is done."""
    with contextlib.suppress(OSError):  # there is no recorder now, or it has been asked often
        channel.send(_REQUEST.pack(time.clock_gettime_ns(time.CLOCK_BOOTTIME)))
