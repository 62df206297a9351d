"""nstrace translate in a real engine, every direction and level against the kernel's own pairs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for
from oracle import SOCKET, WORKLOAD, Pair, Receiver, nspid, pidns_inum

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
NSTRACE = [sys.executable, "-m", "tracer"]


def run(*args: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*NSTRACE, "translate", *map(str, args)], input=stdin, capture_output=True, timeout=60)


def translate(*procs: object) -> list[dict[str, Any]]:
    """One answer for each PROC."""
    done = run("--json", *procs)
    assert done.returncode == 0, done.stderr.decode()
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["asked"] for answer in answers] == [str(proc) for proc in procs]
    return answers


def results(*procs: object) -> list[int]:
    return [answer["result"] for answer in translate(*procs)]


def refused(*procs: object) -> str:
    """What is said of a PROC that is not there."""
    done = run(*procs)
    assert (done.returncode, done.stdout) == (3, b""), done
    return done.stderr.decode()


def init(container: Any) -> int:
    container.reload()
    return int(container.attrs["State"]["Pid"])


def test_both_ways(start_container: Start, holding_receiver: Receiver) -> None:
    container = start_container([WORKLOAD, "pairs", SOCKET, "20", "burst"], holding_receiver)
    pairs = holding_receiver.wait(20)
    first, inum = init(container), pidns_inum(init(container))
    hosts, insides = [pair.host_tgid for pair in pairs], [pair.ns_pid for pair in pairs]
    assert results(*hosts) == insides
    for where in (container.name, f"/{container.name}", container.id[:20], f"pidns:{inum}", f"pid:{first}"):
        assert results(*(f"{where}/{nr}" for nr in insides)) == hosts
    for answer, pair in zip(translate(*hosts), pairs, strict=True):
        assert tuple(answer["pids"]) == pair.nspid
        assert (answer["pidns"], answer["level"], answer["ppid"], answer["ns_ppid"]) == (pair.pidns, 1, first, 1)
        assert [answer["container"]["id"], answer["container"]["name"]] == [container.id, container.name]
        assert answer["containers"] == [None, answer["container"]]
        assert answer["args"][0] == WORKLOAD


def test_numbers_alone_and_text(start_container: Start) -> None:
    container = start_container()
    name, tgid = container.name, init(container)
    assert run("-q", f"{name}/1", tgid).stdout.decode() == f"{tgid}\n1\n"
    text = run(f"{name}/1", tgid).stdout.decode().splitlines()
    assert text[0] == f"{name}/1 is PID {tgid} on the host: sleep 600"
    assert text[2].split() == [str(tgid), "4026531836", "-"]
    assert text[3].split() == ["1", str(pidns_inum(tgid)), name]
    assert text[5] == f"{tgid} is PID 1 in {name}: sleep 600"


@pytest.mark.parametrize("sharing", ["host", "container"])
def test_shared_namespaces(sharing: str, start_container: Start, holding_receiver: Receiver) -> None:
    owner = start_container()
    guest = start_container(
        [WORKLOAD, "pairs", SOCKET, "5", "burst"],
        holding_receiver,
        pid_mode="host" if sharing == "host" else f"container:{owner.id}",
    )
    pairs = holding_receiver.wait(5)
    for answer, pair in zip(translate(*(f"{guest.name}/{pair.ns_pid}" for pair in pairs)), pairs, strict=True):
        assert (answer["result"], tuple(answer["pids"])) == (pair.host_tgid, pair.nspid)
        assert answer["container"]["name"] == guest.name
    if sharing == "container":  # the owner sees the same numbers
        assert results(*(f"{owner.name}/{pair.ns_pid}" for pair in pairs)) == [pair.host_tgid for pair in pairs]


@pytest.mark.parametrize("depth", [1, 31])
def test_every_level(depth: int, start_container: Start, holding_receiver: Receiver) -> None:
    nest = [WORKLOAD, "nest", str(depth), SOCKET]
    options = {"cap_add": ["SYS_ADMIN"], "security_opt": ["seccomp=unconfined"]}
    container = start_container(nest, holding_receiver, **options)
    pairs = holding_receiver.wait(depth + 1)
    asked: dict[str, int] = {}
    for pair in pairs:
        asked |= {f"{container.name}/{pair.nspid[1]}": pair.host_tgid, str(pair.host_tgid): pair.ns_pid}
    for around, number in zip(pairs, pairs[-1].nspid[1:], strict=True):
        asked[f"pidns:{around.pidns}/{number}"] = pairs[-1].host_tgid
    assert len(pairs[-1].nspid) == depth + 2
    for answer, (_asked, result) in zip(translate(*asked), asked.items(), strict=True):
        assert answer["result"] == result
    deepest = translate(pairs[-1].host_tgid)[0]
    assert (tuple(deepest["pids"]), deepest["level"]) == (pairs[-1].nspid, depth + 1)
    assert deepest["pidns_chain"][1:] == [pair.pidns for pair in pairs]
    assert {owner["name"] for owner in deepest["containers"] if owner} == {container.name}
    # web/1 is not every first process in web
    first, last = pairs[0], pairs[-1]
    marked = run("--to-container", "-", stdin=b"%d %d" % (first.host_tgid, last.host_tgid)).stdout.decode()
    assert marked == f"{first.host_tgid}[{container.name}/1] {last.host_tgid}[pidns:{last.pidns}/1]"


def test_docker_in_docker(inner_engine: Any, receiver: Receiver) -> None:
    receiver.hold()
    inner = inner_engine.workload("pairs", SOCKET, 5, "burst")
    outer = inner_engine.outer.name
    pairs = receiver.wait(5)
    for pair in pairs:
        assert len(pair.nspid) == 3
        asked = [pair.host_tgid, f"{outer}/{pair.nspid[1]}", f"{inner.id[:12]}/{pair.ns_pid}"]
        answers = translate(*asked)
        assert [answer["result"] for answer in answers] == [pair.ns_pid, pair.host_tgid, pair.host_tgid]
        for answer in answers:
            assert tuple(answer["pids"]) == pair.nspid
            owners = [owner and (owner["name"] or owner["id"]) for owner in answer["containers"]]
            assert owners == [None, outer, inner.id]


def test_a_restarted_container_is_another(start_container: Start) -> None:
    container = start_container()
    before, inum = init(container), pidns_inum(init(container))
    container.restart(timeout=0)
    after = init(container)
    assert results(f"{container.name}/1", after) == [after, 1]
    assert f"no process {before} on the host" in refused(before)
    if pidns_inum(after) == inum:  # it is given again at once
        assert results(f"pidns:{inum}/1") == [after]


def test_a_number_that_was_given_away(start_container: Start) -> None:
    script = "mount -t proc proc /mnt; while :; do echo 99 >/mnt/sys/kernel/ns_last_pid; sleep 600 & wait $!; done"
    container = start_container(["sh", "-c", f"mkdir -p /mnt; busybox {script}"], cap_add=["SYS_ADMIN"])
    proc, children = f"{container.name}/100", Path(f"/proc/{init(container)}/task/{init(container)}/children")

    def owner() -> int:
        """The sleep; before it there were others."""
        wait_for(lambda: [nspid(int(tgid))[1:] for tgid in children.read_text().split()] == [[100]])
        return int(children.read_text())

    first = owner()
    assert nspid(first) == [first, 100]
    assert results(proc, first) == [first, 100]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: nspid(first) == [])
    second = owner()
    assert nspid(second) == [second, 100]
    assert results(proc, second) == [second, 100]
    refused(first)


def test_a_zombie_keeps_its_numbers(start_container: Start) -> None:
    container = start_container(["sh", "-c", "sleep 0 & exec sleep 600"])
    first = init(container)
    children = Path(f"/proc/{first}/task/{first}/children")
    wait_for(lambda: [state(int(tgid)) for tgid in children.read_text().split()] == ["Z"])
    tgid = int(children.read_text())
    (answer,) = translate(tgid)
    assert (answer["state"], answer["ppid"], answer["comm"]) == ("Z", first, "sleep")
    assert results(f"{container.name}/{answer['ns_pid']}") == [tgid]
    text = run(tgid).stdout.decode()
    assert "zombie" in text and f"not reaped by its parent {first}" in text


def state(tgid: int) -> str:
    return Path(f"/proc/{tgid}/stat").read_text().rsplit(") ")[1][0]


def test_what_is_not_there(start_container: Start) -> None:
    container = start_container()
    name, tgid = container.name, init(container)
    said = refused(f"{name}/4000000")
    assert f"no process 4000000 in {name}" in said and "PIDs in use there: 1\n" in said
    # The host gives numbers below 300 once, at its start (RESERVED_PIDS, kernel/pid.c).
    free = next(nr for nr in range(299, 100, -1) if not Path(f"/proc/{nr}").exists())
    sets = f"mkdir -p /mnt; busybox mount -t proc proc /mnt; echo {free - 1} >/mnt/sys/kernel/ns_last_pid; sleep 600"
    other = start_container(["sh", "-c", sets], cap_add=["SYS_ADMIN"])
    wait_for(lambda: f"in containers: {other.name}/{free}" in refused(free))
    assert f"did you mean {name}" in refused(f"{name[:-1]}_/1")
    assert "no process in PID namespace 7\n" in refused("pidns:7/1")
    container.stop(timeout=0)
    assert f"{name} is not running" in refused(f"{name}/1")
    assert f"no process {tgid} on the host" in refused(tgid)
    other = start_container()
    done = run("-q", f"{name}/1", f"{other.name}/1")  # what is found is printed all the same
    assert (done.returncode, done.stdout.decode()) == (3, f"{init(other)}\n")


def test_a_stream_of_pids(start_container: Start, holding_receiver: Receiver) -> None:
    container = start_container([WORKLOAD, "pairs", SOCKET, "10", "burst"], holding_receiver)
    pairs = holding_receiver.wait(10)
    name = container.name

    def lines(form: Callable[[Pair], str]) -> bytes:
        return (
            "".join(f"\x1b[31mé pid={form(pair)}: 0x1f 08:15:19 4000000 " for pair in pairs).encode() + b"\xff\n\0end"
        )

    host, inside = lines(lambda pair: str(pair.host_tgid)), lines(lambda pair: str(pair.ns_pid))
    marked = run("--to-container", "-", stdin=host)
    assert marked.stdout == lines(lambda pair: f"{pair.host_tgid}[{name}/{pair.ns_pid}]")
    assert run("--to-container", "--replace", "-", stdin=host).stdout == lines(lambda pair: f"{name}/{pair.ns_pid}")
    marked = run("--to-host", "--in", name, "-", stdin=inside)
    assert marked.stdout == lines(lambda pair: f"{pair.ns_pid}[host:{pair.host_tgid}]")
    assert run("--to-host", "--in", name, "--replace", "-", stdin=inside).stdout == host
    assert (marked.returncode, marked.stderr) == (0, b"")


def test_a_stream_is_not_held_back_and_never_stale(start_container: Start) -> None:
    container = start_container()
    name, before = container.name, init(container)
    argv = [*NSTRACE, "translate", "--to-host", "--in", name, "-"]
    stream = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ)
    assert stream.stdin and stream.stdout

    def ask(text: bytes) -> bytes:
        assert stream.stdin and stream.stdout
        os.write(stream.stdin.fileno(), text)
        return stream.stdout.readline()

    assert ask(b"pid 1\n") == b"pid 1[host:%d]\n" % before
    container.stop(timeout=0)
    assert ask(b"pid 1\n") == b"pid 1\n"
    container.start()
    after = init(container)
    wait_for(lambda: ask(b"pid 1\n") == b"pid 1[host:%d]\n" % after)
    stream.stdin.close()
    assert stream.wait(timeout=30) == 0


def test_a_reader_that_goes_is_no_error(start_container: Start) -> None:
    start_container()
    done = subprocess.run(
        f"yes 1 | {' '.join(NSTRACE)} translate --to-container - | head -n 1",
        shell=True,
        capture_output=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (b"1\n", b"")
