"""nstrace fleet archive with real servers: a folder and S3, several archivers, privileges, what is no message."""

# ruff: noqa: F811 - fixtures
from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for
from nats.js.api import AckPolicy, ConsumerConfig
from publishing import Bench, Memory, Recorder
from recordings import facts, storm
from servers import Nats, Process, archive, bucket, nats, needs_server  # noqa: F401 - a fixture
from test_archive import places, read
from test_publisher import rows_of

from tracer.fleet.archive_names import BATCHES, EVENTS, blocks
from tracer.fleet.archive_store import Store, store_of
from tracer.fleet.nats_client import Connection

pytestmark = needs_server


@pytest.fixture
def messages(tmp_path: Path, nats: Nats) -> Bench:
    """A storm in the server."""
    bench = Bench(tmp_path, Memory())
    recorder = Recorder(bench.spool)
    recorder.take(facts())
    for first in range(1, 200, 10):
        recorder.take(storm(first, 10))
        bench.publish()
    recorder.close()
    bench.publish()

    async def work(connection: Connection) -> None:
        async with connection.jetstream() as stream:
            for message in bench.server.messages:
                await stream.publish(
                    "nstrace.v1.test.web1.events", message.payload, headers={"Nats-Msg-Id": message.id}
                )
            await stream.publish("nstrace.v1.test.web1.events", b"no recording")

    nats.ask(work)
    return bench


@pytest.fixture
def archiver(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def make(urls: str, where: str, *words: str) -> Process:
        log = tmp_path / f"archive{len(started)}.log"
        started.append(Process(log, "fleet", "archive", "--nats", urls, "--to", where, "--every", "0.5s", *words))
        started[-1].start()
        return started[-1]

    yield make
    for process in started:
        process.close()


def test_two_archivers(archive: Path, nats: Nats, messages: Bench, archiver: Callable[..., Process]) -> None:
    both = [archiver(nats.urls, str(archive), "--until-done") for _number in range(2)]
    assert [process.wait() for process in both] == [0, 0], [process.said() for process in both]
    store = store_of(str(archive))
    wanted = sorted((part, row) for part, row in rows_of(messages.spool))[1:]
    assert [(part, row) for _run, part, row in places(read(store, EVENTS))] == wanted
    assert sorted(read(store, BATCHES)["message"].to_pylist()) == list(range(1, len(messages.server.messages) + 1))
    assert [path.read_bytes() for path in (archive / "rejected").iterdir()] == [b"no recording"]
    assert "cannot be archived" in "".join(process.said() for process in both)


def test_messages_of_many_hosts_share_files(
    tmp_path: Path, archive: Path, nats: Nats, archiver: Callable[..., Process]
) -> None:
    """A second of all hosts after the other, as they come: more than are decoded at once."""
    seconds, benches = 44, []
    for number in range(12):
        (tmp_path / f"host{number}").mkdir()
        bench = Bench(tmp_path / f"host{number}", Memory(), f"web{number}")
        recorder = Recorder(bench.spool)
        recorder.take(facts())
        for second in range(seconds):
            recorder.take(storm(1 + second, 1))
            bench.publish()
        recorder.close()
        benches.append(bench)

    async def work(connection: Connection) -> None:
        async with connection.jetstream() as stream:
            for at in range(seconds):
                for bench in benches:
                    message = bench.server.messages[at]
                    headers = {"Nats-Msg-Id": message.id, **message.headers}
                    await stream.publish(f"nstrace.v1.test.{bench.host}.events", message.payload, headers=headers)

    nats.ask(work)
    process = archiver(nats.urls, str(archive), "--every", "60s", "--until-done")
    assert process.wait() == 0, process.said()
    store = store_of(str(archive))
    files = store.folders(BATCHES)
    assert sorted(files) == sorted(f"batches/host=web{number}" for number in range(12))
    for bench, number in zip(benches, range(12), strict=True):
        numbers = [int(message.headers["Nstrace-Sequence"]) for message in bench.server.messages[:seconds]]
        run = bench.server.messages[0].headers["Nstrace-Run"]
        wanted = sorted(block.file for block in blocks(run, numbers))
        assert sorted(path.name for path in (archive / f"batches/host=web{number}").iterdir()) == wanted
    assert sorted(read(store, BATCHES)["message"].to_pylist()) == sorted([*range(1, seconds + 1)] * 12)


def test_archivers_of_a_cluster(archive: Path, nats: Nats, messages: Bench, archiver: Callable[..., Process]) -> None:
    """They do what is their cluster's, and leave the others' to others."""
    process = archiver(nats.urls, str(archive), "--cluster", "other.one", "--until-done")
    assert process.wait() == 0, process.said()
    assert not store_of(str(archive)).folders(BATCHES)
    process = archiver(nats.urls, str(archive), "--cluster", "test", "--until-done")
    assert process.wait() == 0, process.said()
    found = sorted(read(store_of(str(archive)), BATCHES)["message"].to_pylist())
    assert found == list(range(1, len(messages.server.messages) + 1))


def test_headers_that_lie(archive: Path, nats: Nats, messages: Bench, archiver: Callable[..., Process]) -> None:
    """Headers are what whoever has published them says: none is a word of the server's, or keeps others waiting."""

    async def work(connection: Connection) -> None:
        async with connection.jetstream() as stream:
            for number, status in enumerate(("100", "404", "408", "409", "503")):
                said = {"Status": status, "Description": "Idle Heartbeat", "Nats-Consumer-Stalled": "elsewhere"}
                await stream.publish("nstrace.v1.test.web3.events", b"%d" % number, headers=said)
            run, messages_of = f"{'a' * 32}-{'0' * 8}", {"Nstrace-Sequence": "7"}
            for number in range(5, 9):
                said = {"Nstrace-Run": run, **messages_of}
                await stream.publish("nstrace.v1.test.web3.events", b"%d" % number, headers=said)

    nats.ask(work)
    process = archiver(nats.urls, str(archive), "--until-done")
    assert process.wait(20) == 0, process.said()  # nothing was left for the server to deliver again, after 30 s
    rejected = sorted(path.read_bytes() for path in (archive / "rejected").iterdir())
    assert rejected == [*(b"%d" % number for number in range(9)), b"no recording"]
    found = sorted(read(store_of(str(archive)), BATCHES)["message"].to_pylist())
    assert found == list(range(1, len(messages.server.messages) + 1))


def test_a_server_that_waits_for_answers(
    archive: Path, nats: Nats, messages: Bench, archiver: Callable[..., Process]
) -> None:
    """It gives no more messages before some are acknowledged: nobody waits for those next to them then."""

    async def limited(connection: Connection) -> None:
        async with connection.jetstream() as stream:
            config = ConsumerConfig(durable_name="nstrace-archive", ack_policy=AckPolicy.EXPLICIT, max_ack_pending=4)
            await stream.add_consumer("nstrace-events", config)

    nats.ask(limited)
    process = archiver(nats.urls, str(archive), "--every", "1h")
    wanted = list(range(1, len(messages.server.messages) + 1))
    store = store_of(str(archive))
    wait_for(lambda: len(wanted) - 4 <= len(numbers_in(store)), 60)
    assert process.end(signal.SIGTERM) == 0
    assert len(wanted) > 12 and set(numbers_in(store)) <= set(wanted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_another_one_has_at_once_what_one_held_that_is_stopped(
    number: signal.Signals, archive: Path, nats: Nats, messages: Bench, archiver: Callable[..., Process]
) -> None:
    """And not when the server takes it for dead, which is an hour here."""

    async def patient(connection: Connection) -> None:
        async with connection.jetstream() as stream:
            config = ConsumerConfig(durable_name="nstrace-archive", ack_policy=AckPolicy.EXPLICIT, ack_wait=3600)
            await stream.add_consumer("nstrace-events", config)

    async def held(connection: Connection) -> tuple[int, int]:
        async with connection.jetstream() as stream:
            info = await stream.consumer_info("nstrace-events", "nstrace-archive")
            return info.num_pending or 0, info.num_ack_pending or 0

    nats.ask(patient)
    count = len(messages.server.messages) + 1
    one = archiver(nats.urls, str(archive), "--every", "1h")
    wait_for(lambda: nats.ask(held) == (0, count), 60)
    assert one.end(number) == 0
    assert one.said() == ""
    assert not numbers_in(store_of(str(archive)))
    (archive / "batches").touch()  # no folder, so nothing can be written
    impatient = archiver(nats.urls, str(archive), "--until-done")
    wait_for(lambda: "cannot be written" in impatient.said(), 60)
    assert impatient.end(number) == 1
    assert "nstrace: it was stopped before every message was archived" in impatient.said()
    (archive / "batches").unlink()
    other = archiver(nats.urls, str(archive), "--until-done")
    assert other.wait(100) == 0, other.said()
    assert numbers_in(store_of(str(archive))) == list(range(1, count))


@pytest.mark.parametrize(("words", "code"), [((), 0), (("--until-done",), 1)], ids=["", "until done"])
def test_it_ends_where_what_it_writes_to_says_nothing(
    words: tuple[str, ...],
    code: int,
    nats: Nats,
    messages: Bench,
    archiver: Callable[..., Process],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S3 takes the request, and never answers."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "tests")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(60)
        where = f"s3://traces/x?endpoint_override=127.0.0.1:{mute.getsockname()[1]}&scheme=http&region=us-east-1"
        process = archiver(nats.urls, where, *words)
        connected, _address = mute.accept()
        with connected:
            assert process.end(signal.SIGTERM) == code
    assert process.said() == ("nstrace: it was stopped before every message was archived\n" if code else "")


def numbers_in(store: Store) -> list[int]:
    """The messages that are archived."""
    return sorted(read(store, BATCHES)["message"].to_pylist()) if store.folders(BATCHES) else []


def test_nobody_has_what_it_does_not_need(
    archive: Path,
    nats: Nats,
    messages: Bench,
    archiver: Callable[..., Process],
) -> None:
    process = archiver(nats.urls, str(archive))
    wait_for(lambda: len(store_of(str(archive)).folders(BATCHES)) > 0)
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert Path(f"/proc/{child}/comm").read_text().strip() == "nstrace-decoder"
    for pid in (str(process.pid), child):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert int(status["CapEff"], 16) == 0 and status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == ("2" if pid == child else "0")
        if os.geteuid() == 0:
            assert "0" not in status["Uid"].split()
    assert process.end(signal.SIGTERM) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who is refused")
def test_root_is_not_needed(tmp_path: Path, archiver: Callable[..., Process]) -> None:
    (tmp_path / "archive").mkdir()
    process = archiver("nats://127.0.0.1:1", str(tmp_path / "archive"))
    assert process.wait() == 4
    assert "belongs to root" in process.said() and "Traceback" not in process.said()


def test_s3(
    nats: Nats,
    messages: Bench,
    archiver: Callable[..., Process],
    bucket: tuple[str, Any],
) -> None:
    where, client = bucket
    process = archiver(nats.urls, where, "--until-done")
    assert process.wait() == 0, process.said()
    store = store_of(where)
    before = places(read(store, EVENTS))
    assert [(part, row) for _run, part, row in before] == sorted(rows_of(messages.spool))[1:]
    from tracer.fleet.compaction import compact

    assert compact(store) > 0
    assert places(read(store, EVENTS)) == before
    names = [one["Key"] for one in client.list_objects_v2(Bucket="traces")["Contents"]]
    assert not [name for name in names if name.endswith(".tmp")]


def test_a_full_disk(archive: Path, nats: Nats, messages: Bench, archiver: Callable[..., Process]) -> None:
    """Nothing is acknowledged that is not there; it goes on when it can."""
    (archive / "processes").touch()  # no folder can be made
    process = archiver(nats.urls, str(archive), "--until-done")
    wait_for(lambda: "cannot be written" in process.said())
    (archive / "processes").unlink()
    assert process.wait() == 0, process.said()
    store = store_of(str(archive))
    assert sorted(read(store, BATCHES)["message"].to_pylist()) == list(range(1, len(messages.server.messages) + 1))
