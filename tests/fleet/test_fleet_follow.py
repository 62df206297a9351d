"""nstrace fleet follow: hosts merged by time, targets with patterns, and what is said of silence and holes."""

# ruff: noqa: F811 - fixtures
from __future__ import annotations

import json
import math
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from completions import bash
from conftest import wait_for
from engine_processes import children, name_of
from publishing import Bench, Memory, Recorder
from recordings import WALL_NS, facts, storm
from servers import Nats, Process, nats, needs_server  # noqa: F401 - a fixture

from tracer.errors import NstraceError
from tracer.fleet.envelope import Origin, passed_on, sealed
from tracer.fleet.hosts import Heard
from tracer.fleet.merging import Merging, Shown, host_target, in_order
from tracer.fleet.nats_client import Connection
from tracer.fleet.publisher import Whose
from tracer.recording.metadata import of_this_host
from tracer.stream.schema import EVENT_NAMES, Kind
from tracer.wiring import fleet_follow
from tracer.wiring.fleet_follow import _Watch

KINDS = frozenset(Kind[name.upper()] for name in EVENT_NAMES)


def messages(folder: Path, host: str, starts: range, cluster: str = "test") -> list[bytes]:
    """What a host publishes of a storm; each message has the processes from one of these numbers on."""
    folder.mkdir()
    bench = Bench(folder, Memory())
    publisher = bench.start()
    publisher._whose = Whose(cluster, host)
    recorder = Recorder(bench.spool)
    recorder.take(facts())
    for first in starts:
        recorder.take(storm(first, 10))
        bench.publish()
    return [message.payload for message in bench.server.messages]


def times(shown: list[Shown]) -> list[int]:
    """When the rows were, in the order in which they are shown."""
    whole = np.concatenate([one.times_ns for one in shown])
    return [int(time_ns) for time_ns in whole[in_order(shown)]]


def take(merging: Merging, host: str, payload: bytes, now: float) -> list[str]:
    return list(merging.take("test", host, payload, now))


def test_hosts_are_merged_by_time(tmp_path: Path) -> None:
    one = messages(tmp_path / "one", "web1", range(1, 100, 20))
    two = messages(tmp_path / "two", "web2", range(11, 100, 20))
    merging, shown = Merging([], 1.0), list[list[Shown]]()
    for at in range(len(one)):
        assert take(merging, "web2", two[at], at) == take(merging, "web1", one[at], at + 0.5) == []
        shown.append(merging.due(at + 0.6))
    shown.append(merging.due(100.0))
    assert {each.host for due in shown for each in due} == {"web1", "web2"}
    found = [time_ns for due in shown if due for time_ns in times(due)]
    assert found == sorted(found)
    assert len(found) == 2 * (5 * 30 + 1)
    assert not merging.due(1000.0)


def test_merging_says_when_something_is_due(tmp_path: Path) -> None:
    (_facts, payload) = messages(tmp_path / "one", "web1", range(1, 10, 10))
    merging = Merging([], 1.0)
    assert merging.due_in_s(0.0) == math.inf
    take(merging, "web1", payload, 5.0)
    assert merging.due_in_s(5.25) == 0.75
    assert merging.due_in_s(7.0) == 0.0


@pytest.mark.parametrize("as_json", [True, False])
def test_each_line_of_several_hosts_stands_at_its_time(
    as_json: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merging, lines = Merging([], 0.0), list[bytes]()
    monkeypatch.setattr(fleet_follow, "write", lines.append)
    for host, starts in (("web1", range(1, 100, 20)), ("web2", range(11, 100, 20)), ("web3", range(1, 100, 20))):
        for payload in messages(tmp_path / host, host, starts):
            take(merging, host, payload, 0.0)
    together = merging.due(1.0)
    fleet_follow._Screen(KINDS, as_json).show(together)
    whole = b"".join(lines)
    lines.clear()
    screen, whose = fleet_follow._Screen(KINDS, as_json), np.repeat(np.arange(len(together)), sizes(together))
    first = np.cumsum([0, *sizes(together)])
    for at in in_order(together).tolist():  # row by row
        one = together[whose[at]]
        screen.show([one._replace(batch=one.batch.part(at - first[whose[at]], at - first[whose[at]] + 1))])
    assert whole == b"".join(lines)
    assert whole.count(b"\n") == 3 * 5 * 30 + (not as_json)


def sizes(shown: list[Shown]) -> list[int]:
    return [len(one.batch) for one in shown]


def test_nobody_waits_longer_than_the_delay(tmp_path: Path) -> None:
    (_facts, payload) = messages(tmp_path / "one", "web1", range(1, 10, 10))
    merging = Merging([], 1.0)
    take(merging, "web1", payload, 5.0)
    assert not merging.due(5.9)
    assert len(times(merging.due(6.0))) == 30


@pytest.mark.parametrize(
    ("typed", "count"),
    [
        ("web1", 30),
        ("web*", 30),
        ("web*:we*", 30),
        ("web1:label:tier=front", 30),
        ("web1:db", 0),
        ("db*", 0),
        ("web1:host", 0),
    ],
)
def test_targets(typed: str, count: int, tmp_path: Path) -> None:
    merging = Merging([host_target(typed)], 0.0)
    for payload in messages(tmp_path / "one", "web1", range(1, 10, 10)):
        assert take(merging, "web1", payload, 0.0) == []
    kinds = [kind for one in merging.due(1.0) for kind in one.batch.rows["kind"].tolist() if kind != 8]
    assert len(kinds) == count


@pytest.mark.parametrize("typed", [":web", "web1:pid:7", "web1:label:", ""])
def test_what_is_no_target(typed: str) -> None:
    with pytest.raises(NstraceError) as caught:
        host_target(typed)
    assert caught.value.exit_code == 2 and caught.value.hint


def test_what_is_missing_or_wrong_is_said(tmp_path: Path) -> None:
    payloads = messages(tmp_path / "one", "web1", range(1, 60, 10))
    merging = Merging([], 0.0)
    assert take(merging, "web1", payloads[0], 0.0) == []
    assert take(merging, "web1", payloads[3], 0.0) == ["web1: 2 messages are missing"]
    assert take(merging, "web1", payloads[3], 0.0) == []
    assert len(take(merging, "web1", b"nothing", 0.0)) == len(take(merging, "web2", payloads[4], 0.0)) == 1
    assert {one.host for one in merging.due(1.0)} == {"web1"}


def test_a_name_in_two_clusters_is_two_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clusters, lines = ("eu", "us"), list[bytes]()
    monkeypatch.setattr(fleet_follow, "write", lines.append)
    sent = {one: messages(tmp_path / one, "web1", range(1, 60, 10), one) for one in clusters}
    merging, only = Merging([], 0.0), Merging([], 0.0, "us")
    for pair in zip(*sent.values(), strict=True):
        for cluster, payload in zip(clusters, pair, strict=True):
            assert list(merging.take(cluster, "web1", payload, 0.0)) == []
            assert list(only.take(cluster, "web1", payload, 0.0)) == []
    shown = merging.due(1.0)
    assert {(one.cluster, one.label) for one in shown[1:]} == {("eu", "eu/web1"), ("us", "us/web1")}
    assert {(one.cluster, one.label) for one in only.due(1.0)} == {("us", "web1")}
    fleet_follow._Screen(KINDS, as_json=True).show(shown)
    found = [json.loads(line) for line in b"".join(lines).splitlines()]
    assert [sum(one["cluster"] == cluster for one in found) for cluster in clusters] == [6 * 30, 6 * 30]
    lines.clear()
    fleet_follow._Screen(KINDS, as_json=False).show(shown)
    assert b"".join(lines).count(b"HOST ") == 1


@pytest.mark.parametrize(("boots", "who"), [("ab", "two machines"), ("aa", "two publishers of this machine")])
def test_two_that_publish_under_one_name_are_said_once(boots: str, who: str) -> None:
    def payload(run: int, sequence: int) -> bytes:
        batch = storm(1 + 10 * sequence, 10)
        said = passed_on(of_this_host(WALL_NS, ["nstrace", "record"]))
        origin = Origin("test", "web1", boots[run], f"s{run}-00000001", sequence, 1, 0, len(batch))
        return sealed(origin, said, facts(), batch)

    merging = Merging([], 0.0)
    said = [
        take(merging, "web1", payload(run, sequence), 0.0)
        for run, sequence in ((0, 1), (0, 2), (1, 7), (0, 3), (1, 8), (1, 8), (1, 10))
    ]
    line = f"web1: {who} publish under this name: each needs one of its own, or events are taken for those of the other"
    assert said == [[], [], [], [line], [], [], ["web1: 1 message is missing"]]
    assert sum(map(sum, [sizes([one]) for one in merging.due(1.0)])) >= 6 * 30


def test_silence_is_said() -> None:
    said: list[str] = []
    watch = _Watch(Merging([host_target("web*")], 0.0), said.append)
    heard = Heard("test", "web1", 1, 30.0, 0, 5, 0, 0)
    watch.take([heard, heard._replace(host="db1"), heard._replace(host="web2", heard_ns=None)])
    _Watch(Merging([], 0.0, "eu"), said.append).take([heard])  # of another cluster
    watch.take([heard])
    assert (
        len(said) == 2 and said[0].startswith("web1 is silent: last heard") and said[1] == "web2 is silent: never heard"
    )
    watch.take([heard._replace(heard_ns=1 << 62, gaps=1)])
    assert said[2:] == ["web1 is heard again", "web1 has lost events: its spool was too small"]


@pytest.fixture
def processes(tmp_path: Path, nats: Nats) -> Iterator[list[Process]]:
    made = []
    for name in ("web1", "web2"):
        (tmp_path / name).mkdir()
        line = ("fleet", "publish", "--nats", nats.urls, "--from", str(tmp_path / name), "--host", name)
        made.append(Process(tmp_path / f"{name}.log", *line))
    made.append(Process(tmp_path / "follow.log", "fleet", "follow", "--json", "--nats", nats.urls, "web*"))
    try:
        yield made
    finally:
        for process in made:
            process.close()


@needs_server
def test_hosts_of_a_server_are_completed(tmp_path: Path, nats: Nats, processes: list[Process]) -> None:
    for process in processes[:2]:
        process.start()
    line = f"nstrace fleet follow --nats {nats.urls}"
    wait_for(lambda: bash(f"{line} we") == ["web1", "web2"])
    assert bash(f"{line} --cluster de") == ["default"]
    nats.kill(0)
    assert bash(f"{line} we") == []


@needs_server
def test_one_host_cannot_silence_the_others(tmp_path: Path, nats: Nats, processes: list[Process]) -> None:
    """Who publishes writes the headers: a message that looks like a word of the server's is one of its host's, bad."""
    publisher, _other, follow = processes
    follow.start()
    publisher.start()
    recorder = Recorder(tmp_path / "web1")
    said = {"Status": "100", "Description": "Idle Heartbeat", "Nats-Consumer-Stalled": "elsewhere"}

    async def lie(connection: Connection) -> None:
        async with connection.jetstream() as stream:
            await stream.publish("nstrace.v1.default.web2.events", b"", headers=said)

    def shown() -> set[int]:
        return {event["pid"] for event in follow.events()}

    first = 1
    while not shown() and first < 3000:  # until it follows
        recorder.take(storm(first, 10))
        first += 10
        wait_for(lambda: len(nats.messages()) >= 1, 60)
    nats.ask(lie)
    recorder.take(storm(5001, 10))
    wait_for(lambda: 6010 in shown(), 20)


@needs_server
def test_two_hosts_and_a_server_that_restarts(tmp_path: Path, nats: Nats, processes: list[Process]) -> None:
    *publishers, follow = processes
    recorders = [Recorder(tmp_path / name) for name in ("web1", "web2")]
    follow.start()
    for process in publishers:
        process.start()

    def shown(count: int) -> bool:
        hosts = [line["host"] for line in follow.events()]
        return hosts.count("web1") >= count and hosts.count("web2") >= count

    first = 1
    while not shown(30) and first < 3000:  # until it follows
        for recorder in recorders:
            recorder.take(storm(first, 10))
        first += 10
        wait_for(lambda: len(nats.messages()) >= 2, 60)
    before = min(sum(line["host"] == name for line in follow.events()) for name in ("web1", "web2"))
    nats.kill(0)
    nats.start(0)
    for recorder in recorders:
        recorder.take(storm(first, 10))
    wait_for(lambda: shown(before + 30), 60)
    assert all(line["container"] is None for line in follow.events())  # without the facts that say whose
    assert follow.end(signal.SIGTERM) == 0, follow.said()
    assert "Traceback" not in follow.said() and "missing" not in follow.said()


@needs_server
def test_what_receives_ends_with_it(nats: Nats, processes: list[Process]) -> None:
    follow = processes[-1]
    follow.start()
    wait_for(lambda: "nstrace-receive" in map(name_of, children(follow.pid)))
    nats.kill(0)
    wait_for(lambda: "waiting: " in follow.said())
    receiver = next(pid for pid in children(follow.pid) if name_of(pid) == "nstrace-receive")
    follow.end(signal.SIGKILL)
    wait_for(lambda: name_of(receiver) != "nstrace-receive")  # though it waits for the server
