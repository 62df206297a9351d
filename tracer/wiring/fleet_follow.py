"""nstrace fleet follow: a process with the network, and one that shows what that has received."""

from __future__ import annotations

import itertools
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tracer.errors import NstraceError
from tracer.text.escape import safe_text
from tracer.text.times import elapsed
from tracer.text.width import pad

if TYPE_CHECKING:
    from tracer.fleet.access import Access
    from tracer.fleet.hosts import Heard
    from tracer.fleet.merging import HostTarget, Merging, Shown
    from tracer.stream.schema import Kind
    from tracer.views.view import View

_TICK_S = 1.0
_LEAST_HOST = 8


def follow_hosts(
    access: Access,
    cluster: str,
    targets: Sequence[HostTarget],
    kinds: frozenset[Kind],
    *,
    as_json: bool,
    delay_s: float,
    say: Callable[[str], None],
) -> None:
    """Show what hosts publish from now on, until a signal ends it. Privileges are given up. Raises NstraceError."""
    from tracer.fleet import receiver
    from tracer.fleet.channel import Gone, Packets
    from tracer.fleet.merging import Merging
    from tracer.system import imports
    from tracer.system.privileges import drop

    connected = receiver.start(access, cluster)
    imports.load("tracer.views.jsonl", "tracer.views.lines", *imports.OF_READERS)
    drop()
    packets, merging = Packets(connected), Merging(targets, delay_s, cluster)
    screen, watch = _Screen(kinds, as_json), _Watch(merging, say)
    while True:
        if select.select([connected], [], [], min(_TICK_S, merging.due_in_s(time.monotonic())))[0]:
            try:
                packet = packets.receive(receiver.Packet)
            except Gone as error:
                raise NstraceError("the process that receives messages has ended", "start nstrace again") from error
            match packet:
                case receiver.Received():
                    for line in merging.take(packet.cluster, packet.host, packet.payload, time.monotonic()):
                        say(line)
                case receiver.Known():
                    watch.take(packet.hosts)
                case receiver.Trouble():
                    if packet.is_final:
                        raise NstraceError(packet.why, "check the address, the credentials and the certificates")
                    say(f"waiting: {packet.why}" if packet.why else "the server is there again")
        if shown := merging.due(time.monotonic()):
            screen.show(shown)


class _Watch:
    """Says which hosts are silent, and when they are heard again."""

    def __init__(self, merging: Merging, say: Callable[[str], None]) -> None:
        self._merging, self._say = merging, say
        self._silent: set[tuple[str, str]] = set()
        self._gaps: dict[tuple[str, str], int] = {}

    def take(self, hosts: Sequence[Heard]) -> None:
        """All hosts that the server knows."""
        now_ns = time.time_ns()
        for one in hosts:
            key = one.cluster, one.host
            if not self._merging.means(one.cluster, one.host):
                continue
            name = self._merging.labels.of(one.cluster, one.host)
            if one.is_silent(now_ns) and key not in self._silent:
                self._silent.add(key)
                heard = f"last heard {elapsed((now_ns - one.heard_ns) / 1e9)} ago" if one.heard_ns else "never heard"
                self._say(f"{name} is silent: {heard}")
            elif not one.is_silent(now_ns) and key in self._silent:
                self._silent.remove(key)
                self._say(f"{name} is heard again")
            if one.gaps > self._gaps.get(key, 0):
                self._say(f"{name} has lost events: its spool was too small")
            self._gaps[key] = one.gaps


class _Screen:
    """Writes the lines of all hosts, each with its host."""

    def __init__(self, kinds: frozenset[Kind], as_json: bool) -> None:
        self._kinds, self._as_json = kinds, as_json
        self._views: dict[tuple[str, str, str], View] = {}
        self._width, self._has_header = _LEAST_HOST, False

    def show(self, shown: Sequence[Shown]) -> None:
        """Write the lines of these rows, in order of time."""
        from tracer.fleet.merging import in_order

        texts = [text for one in shown for text in self._texts(one)]
        write(b"".join([texts[at] for at in in_order(shown).tolist()]))

    def _texts(self, shown: Shown) -> Iterator[bytes]:
        """The lines of each row: of a process one, or none where its kind is not shown; those of other rows that follow
        each other come with the first of them. All rows at once: a call of the view costs as much as many rows."""
        from tracer.stream.batch import of_kind
        from tracer.stream.schema import ASIDE_KINDS

        rows = shown.batch.rows
        is_aside, is_shown = of_kind(rows, *ASIDE_KINDS), of_kind(rows, *self._kinds)
        cuts = (np.flatnonzero(is_aside[1:] != is_aside[:-1]) + 1).tolist()
        for begin, end in itertools.pairwise([0, *cuts, len(rows)]):
            lines = self._lines(shown._replace(batch=shown.batch.part(begin, end)))
            if is_aside[begin]:
                yield b"".join(lines)
                yield from itertools.repeat(b"", end - begin - 1)
            else:
                each = iter(lines)
                yield from (next(each) if is_line else b"" for is_line in is_shown[begin:end].tolist())

    def _lines(self, shown: Shown) -> list[bytes]:
        key = shown.cluster, shown.host, shown.run
        if key not in self._views:
            self._views = {known: view for known, view in self._views.items() if known[:2] != key[:2]}
            self._views[key] = self._view(shown.wall_offset_ns)
        view = self._views[key]
        text = view.render(shown.batch, shown.containers) + view.rest()
        self._width = max(self._width, len(safe_text(shown.label)))
        mark = self._mark(shown)
        lines = text.split(b"\n")[:-1]
        return [b"{%b,%b\n" % (mark, line[1:]) if self._as_json else b"%b %b\n" % (mark, line) for line in lines]

    def _mark(self, shown: Shown) -> bytes:
        import msgspec

        if self._as_json:
            return msgspec.json.encode({"host": shown.host, "cluster": shown.cluster})[1:-1]
        return pad(safe_text(shown.label), self._width).encode()

    def _view(self, wall_offset_ns: int) -> View:
        if self._as_json:
            from tracer.views.jsonl import JsonLines

            return JsonLines(self._kinds, False, wall_offset_ns)
        from tracer.views.lines import Lines

        if not self._has_header:
            self._has_header = True
            header = Lines(self._kinds, False, False, wall_offset_ns).header
            write(f"{pad('HOST', self._width)} {header.rstrip()}\n".encode())
        return Lines(self._kinds, False, False, wall_offset_ns, titles=False)


def write(data: bytes) -> None:
    """Write to stdout, all of it."""
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]
