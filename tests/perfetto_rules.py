"""What a trace of track events has to keep to, so that Perfetto shows it as it was meant. The rules are those of
perfetto.dev/docs/reference/synthetic-track-event and of the comments in track_event.proto and track_descriptor.proto:
what its trace_processor reads with an error, or shows as something else, is broken here. (PyPI's perfetto has no
trace_processor in it: it would load one from a network.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

BEGIN, END, INSTANT = TrackEvent.TYPE_SLICE_BEGIN, TrackEvent.TYPE_SLICE_END, TrackEvent.TYPE_INSTANT
_MAX_NS = (1 << 63) - 1


def broken(trace: Trace) -> list[str]:
    """What is wrong with it, a sentence each."""
    events = [(at, packet) for at, packet in enumerate(trace.packet) if packet.HasField("track_event")]
    return [*_of_packets(trace), *_of_tracks(trace), *_of_slices(events), *_of_flows(events), *_of_facts(events)]


def _of_packets(trace: Trace) -> Iterator[str]:
    clocks = [packet.clock_snapshot for packet in trace.packet if packet.HasField("clock_snapshot")]
    known = {clock.clock_id for snapshot in clocks for clock in snapshot.clocks}
    for at, packet in enumerate(trace.packet):
        if not packet.trusted_packet_sequence_id:
            yield f"packet {at} is of no sequence"
        if packet.HasField("track_event") and not (packet.HasField("timestamp") and packet.timestamp <= _MAX_NS):
            yield f"event {at} has no time that can be shown"
        if packet.HasField("timestamp_clock_id") and packet.timestamp_clock_id not in known:
            yield f"packet {at} is of a clock that no snapshot has"
    yield from (f"clock {each.primary_trace_clock} is not in its snapshot" for each in clocks if
                each.primary_trace_clock not in known)  # fmt: skip


def _of_tracks(trace: Trace) -> Iterator[str]:
    """A track is described once, ahead of its events and of the tracks below it."""
    seen: set[int] = set()
    for at, packet in enumerate(trace.packet):
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            if not track.uuid or track.uuid in seen:
                yield f"track {track.uuid} is described twice, or is the one by default"
            if track.HasField("parent_uuid") and track.parent_uuid not in seen:
                yield f"track {track.uuid} is in track {track.parent_uuid}, which nothing before has described"
            if not track.name:
                yield f"track {track.uuid} has no name"
            seen.add(track.uuid)
        elif packet.HasField("track_event") and packet.track_event.track_uuid not in seen:
            yield f"event {at} is on track {packet.track_event.track_uuid}, which nothing before has described"


def _in_order(events: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """As they are sorted when they are read: by time, and where that is the same by their place."""
    return sorted(events, key=lambda each: (each[1].timestamp, each[0]))


def _of_slices(events: list[tuple[int, Any]]) -> Iterator[str]:
    """Slices of a track lie in each other: an end is of the one that began last, and each has one."""
    open_ones: dict[int, list[int]] = defaultdict(list)
    for at, packet in _in_order(events):
        event = packet.track_event
        if event.type == BEGIN:
            open_ones[event.track_uuid].append(at)
        elif event.type == END:
            if not open_ones[event.track_uuid]:
                yield f"end {at} is of no slice"
            else:
                open_ones[event.track_uuid].pop()
        elif event.type != INSTANT:
            yield f"event {at} is of type {event.type}"
    yield from (f"slice {at} on track {track} never ends" for track, left in open_ones.items() for at in left)


def _of_flows(events: list[tuple[int, Any]]) -> Iterator[str]:
    """An arrow goes from one event to one that is later: here from a fork to the slice that begins then."""
    ends: dict[int, list[Any]] = defaultdict(list)
    for _at, packet in _in_order(events):
        for flow in packet.track_event.flow_ids:
            ends[flow].append(packet)
    for flow, found in ends.items():
        kinds = [packet.track_event.type for packet in found]
        if not flow or kinds != [INSTANT, BEGIN]:
            yield f"flow {flow} goes through {kinds}"
        elif found[0].timestamp > found[1].timestamp:
            yield f"flow {flow} goes back in time"


def _of_facts(events: list[tuple[int, Any]]) -> Iterator[str]:
    for at, packet in events:
        event = packet.track_event
        if event.type in (BEGIN, INSTANT) and not event.name:
            yield f"event {at} has no name"
        names = [each.name for each in event.debug_annotations]
        if len(set(names)) < len(names) or "" in names:
            yield f"event {at} has facts with no name, or with one name: {names}"
        for each in event.debug_annotations:
            if each.WhichOneof("value") is None and not each.array_values:
                yield f"event {at} has nothing in {each.name}"
