"""nstrace fleet ps, translate, why and summary: an archive says what one-host commands say of recordings."""

# ruff: noqa: F811 - fixtures
from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import batch, row
from completions import bash
from conftest import ROOT
from logs import recorded
from publishing import Bench, Memory, Recorder
from recordings import storm
from servers import archive, bucket  # noqa: F401 - a fixture
from test_archive import message_from, publish, sources, write
from test_life_rows import OTHER_CGROUP
from test_why import told

from tracer.fleet.archive_store import store_of
from tracer.fleet.archived_host import About, ArchivedHost
from tracer.fleet.compaction import compact
from tracer.fleet.decoder import Delivery
from tracer.stream.schema import Kind

HOSTS = ("db1", "web1", "web2")


def nstrace(*words: object, code: int = 0) -> tuple[str, str]:
    """What a command writes to stdout and to stderr."""
    line = [sys.executable, "-m", "tracer", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout, done.stderr


def archived(bench: Bench, archive: Path) -> None:
    """Put what is in a publisher's folder into an archive, in many files of which some were made one."""
    bench.publish()
    assert isinstance(bench.server, Memory)
    store = store_of(str(archive))
    for number, message in enumerate(bench.server.messages):
        write(store, [Delivery("test", bench.host, message.payload)])
        if number == 5:
            compact(store)


class Both:
    """A host's own recordings, and an archive of them."""

    def __init__(self, recordings: object, archive: Path, host: str) -> None:
        self._recordings, self._archive, self._host = recordings, archive, host

    def same(self, verb: str, what: str, *words: str, code: int = 0) -> str:
        """Both give the same; what that is. what: a TARGET or PROC, "": none."""
        whose = f"{self._host}:{what}" if what else self._host
        if verb == "summary":
            alone, _notes = nstrace(verb, "-q", *words, self._recordings, *([what] if what else []), code=code)
        else:
            alone, _notes = nstrace(verb, *words, "--from", self._recordings, *([what] if what else []), code=code)
        found, _notes = nstrace("fleet", verb, *words, "--from", self._archive, whose, code=code)
        if "--json" in words:
            texts = [[json.loads(line) for line in text.splitlines()] for text in (alone, found)]
            for item in texts[0] + texts[1]:
                item.pop("host", None)
                item.pop("cluster", None)
            key = str if verb == "ps" else len
            assert sorted(texts[1], key=key) == sorted(texts[0], key=key), (verb, what, words)
        else:
            lines = [line.removeprefix(self._host).removeprefix(" ") for line in found.splitlines()]
            assert lines == [line.rstrip() for line in alone.splitlines()], (verb, what, words)
        return alone


@pytest.fixture
def storms(tmp_path: Path, archive: Path) -> Iterator[dict[str, Bench]]:
    """Three hosts, each with a storm."""
    found = {}
    for host in HOSTS:
        (tmp_path / host).mkdir()
        found[host] = Bench(tmp_path / host, Memory(), host)
        publish(found[host], 8)
        archived(found[host], archive)
    yield found


MOMENT = "1700000001.0300015"
"""When process 30 of the storms lives."""


def test_a_host_answers_as_its_own_recordings(storms: dict[str, Bench], archive: Path) -> None:
    both = Both(storms["web1"].spool, archive, "web1")
    assert "ls" in both.same("ps", "web", "--json", "--at", MOMENT)
    both.same("ps", "web", "--at", "1700000001.0300025", code=3)
    assert "PID 1030" in both.same("translate", "web/30", "--at", MOMENT)
    both.same("translate", "1031", "--json")
    both.same("translate", "web/31", "--at", MOMENT, code=3)
    both.same("why", "web/30")
    both.same("why", "web", "--json")
    both.same("why", "nobody", code=3)
    both.same("summary", "web", "--json", "--since", MOMENT, "--until", "+10ms")
    assert "80" in both.same("summary", "")


def test_patterns_of_hosts(storms: dict[str, Bench], archive: Path) -> None:
    found, notes = nstrace("fleet", "ps", "--from", archive, "--at", MOMENT, "web*:w*", "db1:nobody")
    header, *lines = found.splitlines()
    assert header.split()[:3] == ["HOST", "CONTAINER", "PID"]
    assert [line.split()[:4] for line in lines] == [["web1", "web", "1030", "30"], ["web2", "web", "1030", "30"]]
    assert "db1: no process in nobody" in notes
    found, _notes = nstrace("fleet", "translate", "--json", "--from", archive, "--at", MOMENT, "*:web/30")
    assert [json.loads(line)["host"] for line in found.splitlines()] == list(HOSTS)
    _found, notes = nstrace("fleet", "ps", "--from", archive, "mail*", code=3)
    assert "no host 'mail*'" in notes and "db1" in notes
    _found, notes = nstrace("fleet", "translate", "--from", archive, "web1", code=2)
    assert "says nothing about whom" in notes


def test_what_is_missing_is_said(tmp_path: Path, archive: Path) -> None:
    bench = Bench(tmp_path, Memory())
    deliveries = publish(bench, 8)
    write(store_of(str(archive)), [*deliveries[:2], *deliveries[5:]])
    found, notes = nstrace("fleet", "ps", "--from", archive, "--at", MOMENT, code=0)
    assert "3 messages of it are not in the archive" in notes and "uncertain" in notes
    found, notes = nstrace("fleet", "translate", "--from", archive, "--at", MOMENT, "web1:web/30", code=1)
    assert not found and "not known: events were lost" in notes
    _found, notes = nstrace("fleet", "ps", "--from", archive)
    assert "web1: as of 2023-11-14" in notes
    _found, notes = nstrace("fleet", "summary", "--from", archive)
    assert "web1: until 2023-11-14" in notes


@pytest.mark.parametrize(("boots", "first", "are_several"), [("ab", 5, True), ("ab", 50, False), ("aa", 5, False)])
def test_several_machines_of_one_name(boots: str, first: int, are_several: bool, archive: Path) -> None:
    """A machine has one boot at a time."""
    for boot, start in zip(boots, (1, first), strict=True):
        write(store_of(str(archive)), [message_from("web1", storm(start, 10), boot=boot)])
    _found, notes = nstrace("fleet", "translate", "--from", archive, f"web1:{1000 + first}")
    assert ("web1: several machines are called so" in notes) == are_several


def test_a_name_in_two_clusters_is_two_hosts(archive: Path) -> None:
    for cluster, boot in (("eu", "a"), ("us", "b")):
        write(store_of(str(archive)), [message_from("web1", storm(5, 10), boot=boot, cluster=cluster)])
    found, notes = nstrace("fleet", "translate", "--from", archive, "web1:1007")
    assert {line.split()[0] for line in found.splitlines()} == {"eu/web1", "us/web1"}
    assert "several machines" not in notes
    found, _notes = nstrace("fleet", "translate", "--json", "--from", archive, "--cluster", "us", "web1:1007")
    assert [(one["cluster"], one["host"]) for one in map(json.loads, found.splitlines())] == [("us", "web1")]
    found, _notes = nstrace("fleet", "summary", "--json", "--from", archive, "web1")
    assert [json.loads(line)["cluster"] for line in found.splitlines()] == ["eu", "us"]
    found, _notes = nstrace("fleet", "hosts", "--no-header", "--cluster", "eu", "--from", archive)
    assert [line.split()[:2] for line in found.splitlines()] == [["web1", "eu"]]
    _found, notes = nstrace("fleet", "ps", "--from", archive, "--cluster", "mars", code=3)
    assert "none of these hosts is of the cluster 'mars'" in notes


def test_why_reads_what_is_about_the_container(tmp_path: Path, archive: Path) -> None:
    """Two lives of web, among many messages about others, and a run that has nothing of it."""
    bench, first = Bench(tmp_path, Memory()), Recorder(tmp_path / "spool")
    for number, part in enumerate(told()):
        first.take(part)
        bench.publish()
        for other in range(40):
            tgid = 5000 + 100 * number + other
            at_ns = int(part.rows["ts_ns"].max()) + other
            first.take(batch(row(Kind.EXEC, tgid, cgroup_id=OTHER_CGROUP, start_ns=at_ns, ts_ns=at_ns)))
            bench.publish()
    first.close()
    archived(bench, archive)
    both = Both(bench.spool, archive, "web1")
    for text in ("web", "web#1", "name:web", "label:tier=front", "a" * 12, "web/7", "100"):
        both.same("why", text)
    for text in ("job", "nobody", "web#3"):
        both.same("why", text, code=3)
    both.same("why", "", "--all")
    host = ArchivedHost(store_of(str(archive)), "web1")
    (run,) = host.runs()
    ids = frozenset(one.id for one in host.containers() if "web" in one.names)
    assert len(host.recording(run, About(containers=ids))._payloads) < run.messages // 10


def test_hosts_and_their_containers_are_completed(tmp_path: Path, archive: Path) -> None:
    for host, boot in (("web1", "a"), ("web2", "b"), ("db1", "c")):
        write(store_of(str(archive)), [message_from(host, storm(5, 10), boot=boot)])
    assert bash(f"nstrace fleet ps --from {archive} w") == ["web1", "web2"]
    assert bash(f"nstrace fleet why --from {archive} ") == ["db1:", "web1:", "web2:"]
    assert bash(f"nstrace fleet translate --from {archive} web1:w") == ["web"]  # bash keeps what stands before the :
    assert bash(f"nstrace fleet ps --from {tmp_path}/none w") == bash("nstrace fleet ps w") == []


def test_an_archive_in_s3(tmp_path: Path, bucket: tuple[str, Any]) -> None:
    """The library of S3 has threads: the command ends all the same."""
    where, _client = bucket
    write(store_of(where), publish(Bench(tmp_path, Memory()), 2))
    found, _notes = nstrace("fleet", "translate", "--from", where, "web1:web/10")
    assert "web1 web/10 was PID 1010" in found
    found, _notes = nstrace("fleet", "sql", "--json", "--from", where, "select distinct host from processes")
    assert json.loads(found) == {"host": "web1"}
    assert "web1" in nstrace("fleet", "hosts", "--from", where)[0]


@pytest.mark.e2e
def test_what_really_happened(tmp_path: Path, archive: Path, start_container: Callable[..., Any]) -> None:
    """Containers that live, are killed, are started again and run out of names: the archive tells it as the recording
    does, at any moment."""
    bench = Bench(tmp_path, Memory(1 << 14))
    arrows = bench.spool / "x.arrows"
    with recorded(arrows):
        script = "for n in 1 2 3 4 5; do sh -c 'sleep 0.2; exit 3' & sleep 0.1; done; wait; sleep 1000"
        killed, quick = start_container(["sh", "-c", script]), start_container(["sh", "-c", "sleep 0.3; exit 7"])
        quick.wait()
        quick.start()
        assert killed.exec_run(["sh", "-c", "sleep 0.1; true"]).exit_code == 0
        quick.wait()
        killed.kill()
        killed.wait()
    archived(bench, archive)
    both = Both(arrows, archive, "web1")
    (source,) = sources(bench)
    span = source.span()
    for percent in (40, 60, 80, 95):
        moment_ns = span.begin_ns + (span.end_ns - span.begin_ns) * percent // 100
        moment = f"{moment_ns // 10**9}.{moment_ns % 10**9:09}"
        lived = [json.loads(line) for line in both.same("ps", "all", "--json", "--at", moment).splitlines()]
        inside = [one for one in lived if len(one["pids"]) > 1]  # without the runtime, which has no number there yet
        for one in [one for one in inside if one["container"] and one["container"]["name"]][:3]:
            both.same("translate", f"{one['container']['name']}/{one['ns_pid']}", "--json", "--at", moment)
            both.same("translate", str(one["pid"]), "--at", moment)
    assert "SIGKILL" in both.same("why", killed.name)
    both.same("why", f"{quick.name}/1", "--json")
    both.same("why", "", "--all", "--json")
    both.same("summary", killed.name, "--json", "--since", moment, "--until", "+200ms")
