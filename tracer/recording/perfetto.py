"""A recorded source -> a trace for Perfetto (ui.perfetto.dev), by its own library. What is kept in memory are the
processes that live, no matter how long the recording is.

A lane (`tracer.stream.lanes`) is a track, in that of the namespace around it. The slices of its processes are on tracks
below it, all of one name, which Perfetto draws as one: slices of a track have to lie in each other, and processes
overlap. A slice is written when its process has ended and its command is known; Perfetto sorts what it reads.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import IO, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TracePacket, TrackEvent
from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder

from tracer.recording.filtered import LIVES, check_complete
from tracer.recording.source import RecordedSource
from tracer.stream.attribution import Attribution, fact_of
from tracer.stream.batch import Batch, of_kind, split_args
from tracer.stream.known import Known
from tracer.stream.lanes import Lanes
from tracer.stream.pidns import ProcId, chain_of
from tracer.stream.schema import ASIDE_KINDS, CONTAINER_KINDS, KINDS, NO_CPU, SHOWN_KINDS, Flag, Kind, Subject
from tracer.text.escape import command_line, safe, safe_text
from tracer.text.exec_errors import error_name
from tracer.text.wait_status import ending

MAX_LIVING = 262_144
_BOOTTIME, _REALTIME = 6, 1  # perfetto.protos.BuiltinClock
_SEQUENCE = 1
_MAX_NAME, _MAX_EARLY = 120, 4096
_LIFE_KINDS = tuple(kind for kind in SHOWN_KINDS if KINDS[kind].subject is Subject.PROCESS)
_LOSSES = "lost events"
_PROCESSES = "processes"


class _Life(msgspec.Struct, eq=False, gc=False):
    """A process that lives. track: its slice's; free_ns: since when that was free. flow: of its fork, 0: none."""

    lane: int
    track: int
    begin_ns: int
    comm: str
    facts: dict[str, Any]
    command: str = ""
    flow: int = 0


class _Early(NamedTuple):
    """What happened to a container of which no process was seen so far. label: of the container."""

    label: str
    ts_ns: int
    name: str
    facts: dict[str, Any]


class _Part:
    """A batch, with those of its columns as lists that are asked for row by row."""

    def __init__(self, batch: Batch) -> None:
        rows, known = batch.rows, Known(batch.rows)
        self._batch, self._comms = batch, rows["comm"].tolist()
        self.pair: list[int] = batch.pairs.of_row.tolist()
        self.kind, self.ts_ns, self.tgid, self.start_ns = _lists(rows, "kind", "ts_ns", "tgid", "start_ns")
        self.parent_tgid, self.parent_start_ns = _lists(rows, "parent_tgid", "parent_start_ns")
        self.status, self.level, self.flags = _lists(rows, "status", "level", "flags")
        self._ppid, self._ns_ppid, self._uid = (
            np.where(known(name), rows[field].astype(np.int64), -1).tolist()
            for name, field in (("ppid", "parent_tgid"), ("ns_ppid", "parent_vtgid"), ("uid", "uid"))
        )

    def comm(self, at: int) -> str:
        """Its name; "": not known."""
        return safe(self._comms[at])

    def exe(self, at: int) -> str | None:
        """The file; None: not known."""
        return safe(self._batch.payload(at).exe) or None

    def command(self, at: int) -> str:
        """The arguments as a shell accepts them; "": not known."""
        return _line(self._batch.payload(at).args) if self._batch.rows["args_len"][at] else ""

    def facts(self, at: int) -> dict[str, Any]:
        """What a process has from its beginning on."""
        chain, pid = chain_of(self._batch, at), self.tgid[at]
        numbers = [pid, *(number.nr for number in chain)] if self.level[at] else [pid]
        facts = {"pid": pid, "ns_pid": numbers[-1], "pids": numbers, "pidns": chain[-1].pidns.inum}
        facts |= {"level": self.level[at], "proc_id": str(ProcId(pid, self.start_ns[at]))}
        others = {"ppid": self._ppid[at], "ns_ppid": self._ns_ppid[at], "uid": self._uid[at]}
        return facts | {name: value for name, value in others.items() if value >= 0}

    def end(self, at: int) -> dict[str, Any]:
        """How a process ended."""
        if self.flags[at] & Flag.INFERRED:
            return {"ended": "not reported"}
        how = ending(self.status[at])
        lived = self.ts_ns[at] - self.start_ns[at]
        return {"exit_code": how.exit_code, "signal": how.signal, "duration_ns": lived}


def _lists(rows: NDArray[np.void], *names: str) -> Iterator[list[int]]:
    return (rows[name].tolist() for name in names)


class _Tracks:
    """The tracks of one lane, for slices that must not overlap."""

    def __init__(self, make: Callable[[], int]) -> None:
        self._make = make
        self._free: list[tuple[int, int]] = []

    def take(self, begin_ns: int) -> int:
        """One that is free from this time on."""
        if self._free and self._free[0][0] <= begin_ns:
            return heapq.heappop(self._free)[1]
        return self._make()

    def give_back(self, track: int, end_ns: int) -> None:
        """It is free again."""
        heapq.heappush(self._free, (end_ns, track))


class PerfettoTrace:
    """A file that receives the batches of a run. wall_offset_ns: wall clock minus boottime; host: its name."""

    def __init__(self, file: IO[bytes], wall_offset_ns: int, host: str) -> None:
        self._trace = StreamingTraceProtoBuilder(file)
        self._host = host
        self._lanes = Lanes()
        self._tracks: list[int] = []  # of lanes, by number
        self._slices: list[_Tracks] = []
        self._losses = 0
        self._last_uuid = self._last_flow = 0
        self._living: OrderedDict[tuple[int, int], _Life] = OrderedDict()
        self._end_ns = self.slices = 0
        self._early: dict[tuple[str, int], list[_Early]] = {}  # by id and life
        self._clock(wall_offset_ns)

    def _clock(self, wall_offset_ns: int) -> None:
        """Say which wall-clock time a boottime is."""
        packet = self._packet(0)
        packet.ClearField("timestamp")
        base_ns = max(0, -wall_offset_ns)
        for clock, ns in ((_BOOTTIME, base_ns), (_REALTIME, base_ns + wall_offset_ns)):
            packet.clock_snapshot.clocks.add(clock_id=clock, timestamp=ns)
        packet.clock_snapshot.primary_trace_clock = _BOOTTIME
        self._trace.write_packet(packet)

    def take(self, batch: Batch, attribution: Attribution) -> None:
        """The next rows, and what is known of containers there."""
        if not len(batch):
            return
        self._end_ns = max(self._end_ns, int(batch.rows["ts_ns"].max()))
        self._lanes.learn(batch, attribution)
        part = _Part(batch)
        lanes: dict[int, int] = {}
        for at in np.flatnonzero(of_kind(batch.rows, *_LIFE_KINDS, *ASIDE_KINDS)).tolist():
            if part.kind[at] in ASIDE_KINDS:
                self._aside(batch, at, attribution)
                continue
            pair = part.pair[at]
            if pair not in lanes:
                lanes[pair] = self._lane(batch, at, attribution)
            self._row(part, at, lanes[pair])

    def _row(self, part: _Part, at: int, lane: int) -> None:
        kind, ts_ns, proc = part.kind[at], part.ts_ns[at], (part.tgid[at], part.start_ns[at])
        life = self._living.get(proc) or self._begin(part, at, lane, proc)
        if kind == Kind.FORK:
            self._forked(part, at, life)
        elif kind == Kind.EXEC_FAILED:
            self._instant(
                life.track, ts_ns, "exec failed", {"file": part.exe(at), "error": error_name(part.status[at])}
            )
            return
        life.comm, life.command = part.comm(at) or life.comm, part.command(at) or life.command
        if kind == Kind.EXEC:
            self._instant(life.track, ts_ns, "exec", {"file": part.exe(at), "args": life.command})
        elif kind == Kind.EXIT:
            self._slice(life, ts_ns, part.end(at))
            del self._living[proc]

    def _begin(self, part: _Part, at: int, lane: int, proc: tuple[int, int]) -> _Life:
        ts_ns = part.ts_ns[at]
        if len(self._living) >= MAX_LIVING:
            _proc, oldest = self._living.popitem(last=False)
            self._slice(oldest, ts_ns, {"ended": "not known: too many processes live"})
        life = _Life(lane, self._slices[lane].take(ts_ns), ts_ns, part.comm(at), part.facts(at))
        self._living[proc] = life
        return life

    def _forked(self, part: _Part, at: int, life: _Life) -> None:
        """Join it with its parent, by an arrow from the moment of the fork."""
        parent = self._living.get((part.parent_tgid[at], part.parent_start_ns[at]))
        if parent is None or life.flow:
            return
        self._last_flow += 1
        life.flow = self._last_flow
        self._instant(parent.track, part.ts_ns[at], "fork", {"child": part.tgid[at]}, life.flow)

    def _slice(self, life: _Life, end_ns: int, end: dict[str, Any]) -> None:
        name = f"{life.facts['pid']} {life.command or life.comm}"[:_MAX_NAME]
        facts = life.facts | {"comm": life.comm, "args": life.command or None} | end
        self._event(life.track, life.begin_ns, TrackEvent.TYPE_SLICE_BEGIN, name, facts, life.flow)
        self._event(life.track, max(end_ns, life.begin_ns), TrackEvent.TYPE_SLICE_END)
        self._slices[life.lane].give_back(life.track, end_ns)
        self.slices += 1

    def _aside(self, batch: Batch, at: int, attribution: Attribution) -> None:
        """A row about no process: losses have a track of their own, unless a container's events were lost."""
        row, known = batch.rows[at], Known(batch.rows[at : at + 1])
        container = attribution.of_row(batch, at)
        lane = self._lanes.of_container(container)
        ts_ns, name = int(row["ts_ns"]), Kind(int(row["kind"])).name.lower()
        facts: dict[str, Any] = {"since_ns": int(row["start_ns"]) if known("since")[0] else None}
        if row["kind"] == Kind.GAP:
            facts |= {"lost": int(row["seq"]), "cpu": None if row["cpu"] == NO_CPU else int(row["cpu"])}
            name = f"{row['seq']} events lost"
        elif row["kind"] in CONTAINER_KINDS:
            name = f"{name} {fact_of(batch, at).action}"
            if lane is None and container:
                self._early.setdefault((container.id, container.incarnation), []).append(
                    _Early(container.label, ts_ns, name, facts)
                )
                if len(self._early) > _MAX_EARLY:
                    self._write_early(*next(iter(self._early)))
                return
        if lane is None and not self._losses:
            self._losses = self._track(_LOSSES)
        self._instant(self._losses if lane is None else self._tracks[lane], ts_ns, name, facts)

    def _write_early(self, container_id: str, incarnation: int, track: int = 0) -> None:
        """Write what happened to a container ahead of its first process. track: its lane's; 0: it has none."""
        for one in self._early.pop((container_id, incarnation), ()):
            track = track or self._track(safe_text(one.label))
            self._instant(track, one.ts_ns, one.name, one.facts)

    def _lane(self, batch: Batch, at: int, attribution: Attribution) -> int:
        number = self._lanes.number(batch, at, attribution)
        if number == len(self._tracks):
            lane = self._lanes.all[number]
            parent = self._lanes.parent(lane)
            label = f"pidns:{lane.pidns.inum}" if self._lanes.is_nested(lane) else lane.label
            label = f"{label} {self._host}" if lane.level == 0 and not lane.container else label
            track = self._track(safe_text(label), 0 if parent is None else self._tracks[parent])
            self._tracks.append(track)
            self._slices.append(_Tracks(lambda: self._track(_PROCESSES, track)))
            if lane.container:
                self._write_early(lane.container.id, lane.container.incarnation, track)
        return number

    def _track(self, name: str, parent: int = 0) -> int:
        """A new track. Gives its uuid."""
        self._last_uuid += 1
        packet = self._packet(0)
        packet.ClearField("timestamp")
        packet.track_descriptor.uuid, packet.track_descriptor.name = self._last_uuid, name
        if parent:
            packet.track_descriptor.parent_uuid = parent
        self._trace.write_packet(packet)
        return self._last_uuid

    def _packet(self, ts_ns: int) -> TracePacket:
        packet: TracePacket = self._trace.create_packet()
        packet.timestamp, packet.trusted_packet_sequence_id = ts_ns, _SEQUENCE
        return packet

    def _instant(self, track: int, ts_ns: int, name: str, facts: dict[str, Any], flow: int = 0) -> None:
        self._event(track, ts_ns, TrackEvent.TYPE_INSTANT, name, facts, flow)

    def _event(
        self, track: int, ts_ns: int, kind: int, name: str = "", facts: dict[str, Any] | None = None, flow: int = 0
    ) -> None:
        packet = self._packet(ts_ns)
        event = packet.track_event
        event.type, event.track_uuid = kind, track
        if name:
            event.name = name
        if flow:
            event.flow_ids.append(flow)
        for key, value in (facts or {}).items():
            _annotate(event.debug_annotations, key, value)
        self._trace.write_packet(packet)

    def close(self, end_ns: int = 0) -> None:
        """Write what still lives at the end of the recording. end_ns: when that was, if later than the last row."""
        last_ns = max(end_ns, self._end_ns)
        while self._living:
            _proc, life = self._living.popitem(last=False)
            self._slice(life, last_ns, {"ended": "lived at the end of the recording"})
        for early in list(self._early):
            self._write_early(*early)


def _annotate(annotations: Any, name: str, value: Any) -> None:
    """Add a debug annotation; none where the value is not known."""
    if value is None:
        return
    added = annotations.add(name=name)
    if isinstance(value, list):
        for one in value:
            added.array_values.add(int_value=one)
    elif isinstance(value, int):
        added.int_value = value
    else:
        added.string_value = value


@lru_cache(4096)
def _line(args: bytes) -> str:
    return command_line(split_args(args))


def write_trace(source: RecordedSource, file: IO[bytes]) -> int:
    """Write the trace of a run. Gives the number of its slices: of its processes. Raises NstraceError."""
    check_complete([source], LIVES)
    trace = PerfettoTrace(file, source.wall_offset_ns, safe_text(source.recordings[0].facts.host))
    for batch in source.batches(lambda: 0.0):
        trace.take(batch, source.attribution)
    trace.close(source.until_ns)
    file.flush()
    return trace.slices
