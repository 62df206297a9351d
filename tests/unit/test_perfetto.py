"""A recording as a trace for Perfetto, read back by its own protobuf."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from agreement import source
from builders import PIDNS, SECOND_NS, WEB, batch, cgroup, exits, fork, gap, life, row
from crowd import crowd
from measuring import measured
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackDescriptor, TrackEvent
from perfetto_rules import BEGIN, END, INSTANT, broken
from recordings import WALL_NS, record

from tracer.recording import perfetto
from tracer.recording.perfetto import write_trace
from tracer.stream.batch import Batch
from tracer.stream.schema import Flag, Kind

OUTER: list[tuple[int, ...]] = [(PIDNS, 15)]
DEEP = [(PIDNS, 20), (PIDNS + 1, 1)]
MS = 1_000_000


class Slice(NamedTuple):
    name: str
    begin_ns: int
    end_ns: int
    lane: str
    facts: dict[str, Any]
    flows: list[int]


class Instant(NamedTuple):
    name: str
    ts_ns: int
    lane: str
    facts: dict[str, Any]
    flows: list[int]


class Read:
    """What a trace says."""

    def __init__(self, data: bytes) -> None:
        self.trace = Trace.FromString(data)
        assert broken(self.trace) == []
        tracks = [packet.track_descriptor for packet in self.trace.packet if packet.HasField("track_descriptor")]
        self.tracks = {track.uuid: track for track in tracks}
        found = [(packet.timestamp, packet.track_event) for packet in self.trace.packet if packet.track_event.type]
        self.instants = [
            Instant(event.name, ts_ns, self.path(event.track_uuid), facts_of(event), list(event.flow_ids))
            for ts_ns, event in found
            if event.type == TrackEvent.TYPE_INSTANT
        ]
        self.slices = sorted(self._slices(found), key=lambda each: each.begin_ns)

    def path(self, uuid: int) -> str:
        """The names of a track and those around it."""
        track = self.tracks[uuid]
        own = track.name
        return f"{self.path(track.parent_uuid)}/{own}" if track.HasField("parent_uuid") else own

    def _slices(self, found: list[tuple[int, Any]]) -> Iterator[Slice]:
        """As Perfetto does it: sorted by time, those of a track in each other; an end is of the last that began."""
        open_ones: dict[int, list[tuple[int, Any]]] = {}
        kinds = (TrackEvent.TYPE_SLICE_BEGIN, TrackEvent.TYPE_SLICE_END)
        for ts_ns, event in sorted((each for each in found if each[1].type in kinds), key=lambda each: each[0]):
            stack = open_ones.setdefault(event.track_uuid, [])
            if event.type == kinds[0]:
                assert not stack, "slices of processes never lie in each other"
                stack.append((ts_ns, event))
            else:
                begin_ns, begun = stack.pop()
                lane = self.path(begun.track_uuid).removesuffix("/processes")
                yield Slice(begun.name, begin_ns, ts_ns, lane, facts_of(begun), list(begun.flow_ids))
        assert not any(open_ones.values())


def facts_of(event: Any) -> dict[str, Any]:
    """The debug annotations."""
    return {each.name: value_of(each) for each in event.debug_annotations}


def value_of(annotation: Any) -> Any:
    if annotation.array_values:
        return [each.int_value for each in annotation.array_values]
    return annotation.string_value if annotation.HasField("string_value") else annotation.int_value


def read_back(tmp_path: Path, *batches: Batch) -> Read:
    record(tmp_path / "x.arrows", batches)
    with (tmp_path / "x.pftrace").open("wb") as file:
        write_trace(source(tmp_path / "x.arrows"), file)
    return Read((tmp_path / "x.pftrace").read_bytes())


def story() -> Batch:
    """A process and its child in a nested namespace, an exec, one that failed, ends, and a gap."""
    web: dict[str, Any] = {"start_ns": SECOND_NS, "cgroup_id": 7}
    child: dict[str, Any] = {"start_ns": SECOND_NS + 100 * MS, "cgroup_id": 7, "parent_tgid": 4711}
    child |= {"parent_start_ns": SECOND_NS}
    return batch(
        cgroup(7, WEB),
        fork(4711, OUTER, **web),
        row(
            Kind.EXEC, 4711, OUTER, exe=b"/bin/make", args=[b"make", b"a b"], comm=b"make", ts_ns=SECOND_NS + MS, **web
        ),
        fork(4720, DEEP, **child),
        row(Kind.EXEC_FAILED, 4720, DEEP, exe=b"/none", status=2, ts_ns=SECOND_NS + 150 * MS, **child),
        exits(4720, DEEP, status=9, ts_ns=SECOND_NS + 200 * MS, **child),
        gap(1234, SECOND_NS + 210 * MS, SECOND_NS + 220 * MS),
        exits(4711, OUTER, status=3 << 8, comm=b"make", ts_ns=2 * SECOND_NS, **web),
        fork(4730, start_ns=2 * SECOND_NS + MS),
    )


def first(trace: Trace, kind: int) -> Any:
    return next(packet for packet in trace.packet if packet.track_event.type == kind)


def without(trace: Trace, unwanted: Any) -> None:
    del trace.packet[next(at for at, packet in enumerate(trace.packet) if packet is unwanted or packet == unwanted)]


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (lambda trace: without(trace, first(trace, END)), "never ends"),
        (lambda trace: without(trace, first(trace, BEGIN)), "is of no slice"),
        (lambda trace: first(trace, END).ClearField("timestamp"), "no time"),
        (lambda trace: trace.packet[-1].ClearField("trusted_packet_sequence_id"), "of no sequence"),
        (lambda trace: setattr(first(trace, INSTANT).track_event, "track_uuid", 99), "nothing before has described"),
        (lambda trace: setattr(trace.packet[-1].track_event, "type", 0), "of type 0"),
        (lambda trace: trace.packet.add(trusted_packet_sequence_id=1).track_descriptor.MergeFrom(
            TrackDescriptor(uuid=98, parent_uuid=97, name="x")), "in track 97"),
        (lambda trace: trace.packet.add(trusted_packet_sequence_id=1).track_descriptor.MergeFrom(
            TrackDescriptor(uuid=1, name="x")), "described twice"),
        (lambda trace: without(trace, next(each for each in trace.packet if each.track_event.flow_ids)), "flow 1 goes"),
        (lambda trace: first(trace, BEGIN).track_event.flow_ids.append(7), "flow 7 goes"),
        (lambda trace: first(trace, BEGIN).track_event.debug_annotations.add(name="empty"), "has nothing in empty"),
        (lambda trace: first(trace, BEGIN).track_event.ClearField("name"), "has no name"),
    ],
)  # fmt: skip
def test_the_rules_notice_what_breaks_them(breaks: Callable[[Trace], Any], said: str, tmp_path: Path) -> None:
    trace = read_back(tmp_path, story()).trace
    breaks(trace)
    assert any(said in line for line in broken(trace))


def test_what_happens_to_a_container_ahead_of_its_first_process_is_in_its_track(tmp_path: Path) -> None:
    other = WEB.__class__("b" * 64, "docker", "never", "busybox")
    told = read_back(tmp_path, batch(
        life("created", WEB, said_by="engine"), life("created", other, said_by="engine"), cgroup(7, WEB),
        fork(60, OUTER, cgroup_id=7, start_ns=3 * SECOND_NS), life("removed", other, said_by="engine"),
    ))  # fmt: skip
    lanes = [(each.lane, each.name) for each in told.instants]
    assert lanes == [("web", "container created"), ("never", "container created"), ("never", "container removed")]


def test_slices_are_processes_with_both_pids(tmp_path: Path) -> None:
    make, child, alive = read_back(tmp_path, story()).slices
    assert (make.name, make.lane, make.begin_ns, make.end_ns) == ("4711 make 'a b'", "web", SECOND_NS, 2 * SECOND_NS)
    assert make.facts["pid"] == 4711
    assert make.facts["ns_pid"] == 15
    assert make.facts["pids"] == [4711, 15]
    assert make.facts["exit_code"] == 3
    assert make.facts["duration_ns"] == SECOND_NS
    assert "signal" not in make.facts
    assert (child.facts["pids"], child.facts["signal"], child.lane) == (
        [4720, 20, 1],
        "SIGKILL",
        f"web/pidns:{PIDNS + 1}",
    )
    assert alive.facts["ended"] == "lived at the end of the recording"
    assert alive.lane.startswith("host ")


def test_a_fork_is_an_arrow_from_parent_to_child(tmp_path: Path) -> None:
    told = read_back(tmp_path, story())
    child = told.slices[1]
    (forked,) = (each for each in told.instants if each.name == "fork")
    assert forked.flows == child.flows != []
    assert (forked.ts_ns, forked.facts) == (child.begin_ns, {"child": 4720})
    assert forked.lane == "web/processes"


def test_instants_are_execs_and_gaps(tmp_path: Path) -> None:
    told = {each.name: each for each in read_back(tmp_path, story()).instants}
    assert told["exec"].facts == {"file": "/bin/make", "args": "make 'a b'"}
    assert told["exec failed"].facts == {"file": "/none", "error": "ENOENT"}
    lost = told["1234 events lost"]
    assert (lost.lane, lost.ts_ns) == ("lost events", SECOND_NS + 220 * MS)
    assert lost.facts == {"since_ns": SECOND_NS + 210 * MS, "lost": 1234, "cpu": 0}


def test_the_wall_clock_is_told(tmp_path: Path) -> None:
    (clocks,) = (each for each in read_back(tmp_path, story()).trace.packet if each.HasField("clock_snapshot"))
    boot, wall = clocks.clock_snapshot.clocks
    assert (boot.clock_id, wall.clock_id, wall.timestamp - boot.timestamp) == (6, 1, WALL_NS)
    assert clocks.clock_snapshot.primary_trace_clock == 6


def test_an_inferred_end_says_not_how(tmp_path: Path) -> None:
    (only,) = read_back(tmp_path, batch(fork(60), exits(60, flags=Flag.INFERRED, status=1 << 8))).slices
    assert only.facts["ended"] == "not reported"
    assert "exit_code" not in only.facts


def test_rows_out_of_order_do_not_lie_in_each_other(tmp_path: Path) -> None:
    told = read_back(tmp_path, batch(
        fork(60, start_ns=10), exits(60, start_ns=10, ts_ns=100),
        fork(61, start_ns=99), exits(61, start_ns=99, ts_ns=300),
    ))  # fmt: skip
    assert [each.end_ns for each in told.slices] == [100, 300]


def test_what_a_stranger_wrote_is_text(tmp_path: Path) -> None:
    evil = row(Kind.EXEC, 60, exe=b"/\xff", args=[b"\x1b[31m\xff", b"\xe2\x80\xae"], comm=b"\x07")
    (only,) = read_back(tmp_path, batch(evil)).slices
    assert only.facts["args"] == "'\\x1b[31m\\xff' '\\u202e'"
    assert only.facts["comm"] == "\\x07"


def test_more_processes_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perfetto, "MAX_LIVING", 3)
    told = read_back(tmp_path, batch(*(fork(60 + n, start_ns=10 + n) for n in range(5))))
    assert Counter(each.facts["ended"].split(":")[0] for each in told.slices) == {
        "not known": 2,
        "lived at the end of the recording": 3,
    }


def test_many_processes_are_all_there(tmp_path: Path) -> None:
    told = read_back(tmp_path, *crowd(3000, containers=4))
    assert Counter(each.lane for each in told.slices) == {f"c{number}": 750 for number in range(4)}
    assert len({each.facts["proc_id"] for each in told.slices}) == 3000


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    peaks = []
    for count in (40_000, 120_000):  # of several batches, both
        file = tmp_path / f"{count}.arrows"
        record(file, crowd(count, containers=4, span_s=count / 1000, longest_s=0.1))
        done = measured("export", file, "--to", "perfetto", "-w", tmp_path / f"{count}.pftrace", "-q")
        assert done.exit_code == 0, done.stderr
        peaks.append(done.peak_bytes)
    assert peaks[1] < 1.15 * peaks[0]


def test_without_the_library_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    record(tmp_path / "x.arrows", [story()])
    hidden = "import sys; sys.modules['perfetto'] = None; from tracer.cli import main; main()"
    argv = [sys.executable, "-c", hidden, "export", "--to", "perfetto", "x.arrows"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=None)
    assert done.returncode == 1
    assert "nstrace[perfetto]" in done.stderr
