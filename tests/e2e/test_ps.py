"""ps, tree, containers, inspect and verify on real containers, against the engine, /proc and the kernel's pairs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import init, objects, run
from conftest import wait_for
from lying import run_lying
from oracle import SOCKET, WORKLOAD, Receiver, nspid, pidns_inum

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
Object = dict[str, Any]
ZOMBIE = ["sh", "-c", "sleep 0.1 & exec sleep 600"]  # whose parent does not wait for it


def test_ps_is_what_the_engine_and_proc_say(start_container: Start, holding_receiver: Receiver) -> None:
    container = start_container([WORKLOAD, "pairs", SOCKET, "20", "burst"], holding_receiver)
    pairs = {pair.host_tgid: pair for pair in holding_receiver.wait(20)}
    shown = {process["pid"]: process for process in objects("ps", container.name)}
    top = container.top()
    assert {int(row[top["Titles"].index("PID")]) for row in top["Processes"]} == set(shown)
    assert set(pairs) | {init(container)} == set(shown)
    for tgid, pair in pairs.items():
        process = shown[tgid]
        assert process["pids"] == nspid(tgid) == [tgid, pair.ns_pid]
        assert (process["ns_ppid"], process["ppid"]) == (pair.ns_ppid, init(container))
        assert process["pidns_chain"][-1] == process["pidns"] == pair.pidns
        assert process["container"]["name"] == container.name
        assert process["args"] == Path(f"/proc/{tgid}/cmdline").read_text().split("\0")[:-1]


def test_columns_and_all_numbers_of_nested_namespaces(start_container: Start, holding_receiver: Receiver) -> None:
    options = {"cap_add": ["SYS_ADMIN"], "security_opt": ["seccomp=unconfined"]}
    container = start_container([WORKLOAD, "nest", "2", SOCKET], holding_receiver, **options)
    pairs = holding_receiver.wait(3)
    table, tree = run("ps", "--pids", container.name), run("tree", container.name)
    assert table.stdout.split()[:5] == ["PID", "NSPID", "PPID", "NSPPID", "PIDS"]
    for pair in pairs:
        numbers = ">".join(map(str, pair.nspid))
        assert f" {numbers} " in table.stdout
        assert f" {numbers} " in tree.stdout
    branches = [line for line in tree.stdout.splitlines() if "pidns:" in line]
    assert [branch.split("pidns:")[1].split(",")[0].strip(")") for branch in branches] == [
        str(pair.pidns) for pair in pairs
    ]


def test_a_zombie_names_who_does_not_reap_it(start_container: Start) -> None:
    container = start_container(ZOMBIE)
    parent = init(container)
    wait_for(lambda: any(process["state"] == "Z" for process in objects("ps", container.name)))
    assert f"zombie [sleep] not reaped by {parent}>1 sleep" in run("ps", container.name).stdout
    zombie = next(process for process in objects("ps", container.name) if process["state"] == "Z")
    assert f"└─ {zombie['pid']}>{zombie['ns_pid']} [sleep] zombie" in run("tree", container.name).stdout
    assert f"{parent}>1 sleep has not reaped it" in run("inspect", zombie["pid"]).stdout


def test_containers_are_what_the_engine_says(start_container: Start) -> None:
    plain, of_host = start_container(), start_container(pid_mode="host")
    guest = start_container(pid_mode=f"container:{plain.id}")
    listed = {one["id"]: one for one in objects("containers")}
    for container in (plain, of_host, guest):
        one = listed[container.id]
        assert (one["name"], one["image"]) == (container.name, container.attrs["Config"]["Image"])
        assert one["init_pid"] == init(container)
        assert one["pidns"] == pidns_inum(init(container))
        assert one["level"] == len(nspid(init(container))) - 1
        assert one["processes"] == len(container.top()["Processes"])


@pytest.fixture
def plain_namespace() -> Iterator[int]:
    """The host PID of number 1 in a PID namespace that no engine knows."""
    argv = ["unshare", "--fork", "--pid", "--kill-child", "sleep", "600"]
    child = subprocess.Popen(argv)
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    wait_for(lambda: bool(children.read_text().split()))
    yield int(children.read_text())
    child.kill()
    child.wait()


def test_what_no_engine_knows(plain_namespace: int, start_container: Start) -> None:
    container = start_container()
    inum = pidns_inum(plain_namespace)
    without = run("containers", "--json", DOCKER_HOST="unix:///nowhere/sock")
    listed = [json.loads(line) for line in without.stdout.splitlines()]
    assert {"id": None, "init_pid": plain_namespace, "pidns": inum}.items() <= next(
        one for one in listed if one["pidns"] == inum
    ).items()
    known = next(one for one in listed if one["id"] == container.id)
    assert (known["name"], known["runtime"], known["init_pid"]) == (None, "docker", init(container))
    assert "no container names" in without.stderr
    by_id = run("ps", "--json", container.id[:12], DOCKER_HOST="unix:///nowhere/sock")
    assert [json.loads(line)["pid"] for line in by_id.stdout.splitlines()] == [init(container)]


def test_inspect_is_what_proc_says(start_container: Start) -> None:
    secret = {"TOKEN": "hunter2", "PLAIN": "x"}
    container = start_container(user="1234:5678", working_dir="/tmp", environment=secret)
    tgid = init(container)
    (told,) = objects("inspect", f"{container.name}/1", "--env")
    assert (told["pid"], told["ns_pid"], told["result"]) == (tgid, 1, tgid)
    assert told["namespaces"] == {path.name: path.stat().st_ino for path in Path(f"/proc/{tgid}/ns").iterdir()}
    assert (told["cwd"], told["uid"], told["gids"][0]) == ("/tmp", 1234, 5678)
    assert told["cgroup"].endswith(container.id)
    env = {variable["name"]: variable["value"] for variable in told["env"]}
    assert (env["TOKEN"], env["PLAIN"]) == ("****", "x")
    assert "hunter2" not in run("inspect", tgid, "--env").stdout
    assert "TOKEN=hunter2" in run("inspect", tgid, "--env", "--show-secrets").stdout
    parents = [tgid]
    while parents[-1]:
        parents.append(int(Path(f"/proc/{parents[-1]}/stat").read_text().rsplit(") ")[1].split()[1]))
    assert [parent["pid"] for parent in told["parents"]] == parents[1:-1]


def test_verify_agrees_with_the_kernels_pairs(start_container: Start, holding_receiver: Receiver) -> None:
    container = start_container([WORKLOAD, "pairs", SOCKET, "20", "burst"], holding_receiver)
    pairs = {pair.host_tgid: pair.ns_pid for pair in holding_receiver.wait(20)} | {init(container): 1}
    findings = objects("verify", "--live", "0.2", container.name)
    assert all(finding["ok"] for finding in findings)
    for source in ("nspid", "inside", "events"):
        assert {finding["pid"]: finding[source] for finding in findings} == pairs
    assert {finding["engine_pid"] for finding in findings} == {init(container), None}


def test_verify_while_processes_come_and_go(start_container: Start) -> None:
    container = start_container(["sh", "-c", "while :; do for i in 1 2 3 4 5 6; do sleep 0.01 & done; wait; done"])
    done = run("verify", container.name, "--live", "1", "--explain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all sources agree" in done.stderr
    assert "F_SETOWN" in done.stdout


LIES = [
    ("tracer.host.inside_operations.numbers_inside", "lambda _fd, _highest: {}", "INSIDE: nobody"),
    ("tracer.host.nsfs.number_in", "lambda _fd, _tgid: 4711", "IOCTL: 4711"),
    ("tracer.containers.engine.Engine.init_tgid", "lambda _self, _id, _until_s: 4711", "the engine has 4711"),
]


@pytest.mark.parametrize(("source", "lie", "said"), LIES, ids=[source for source, _lie, _said in LIES])
def test_verify_is_red_when_a_source_lies(source: str, lie: str, said: str, start_container: Start) -> None:
    done = run_lying({source: lie}, "verify", start_container().name)
    assert done.returncode == 1
    assert "DIFFERS" in done.stdout and said in done.stdout
    assert "sources differ on 1 of 1 line" in done.stderr


def test_verify_says_whose_process_the_engine_has(start_container: Start) -> None:
    container, other = start_container(), start_container()
    reported = init(other)
    done = run_lying({"tracer.containers.engine.Engine.init_tgid": f"lambda *_: {reported}"}, "verify", container.name)
    assert done.returncode == 1
    assert f"the engine has {reported} for it, a process in the cgroup of {other.name}" in done.stdout


NONSENSE = [{"Pid": -1}, {"Pid": 1 << 62}, {"Pid": "1"}, {"Pid": True}, {"Pid": [1]}, {"Pid": 0}, {"Pid": None}, {}]


@pytest.mark.parametrize("state", NONSENSE, ids=str)
def test_an_engine_that_answers_nonsense_does_not_agree(state: Object, start_container: Start) -> None:
    container = start_container()
    lie = f"lambda *_: {json.dumps({'State': state}).encode()!r}"
    where = f"pidns:{pidns_inum(init(container))}"
    done = run_lying({"tracer.containers.http_api.HttpApi.inspect_container": lie}, "verify", where)
    assert done.returncode == 1
    assert "all sources agree" not in done.stderr
    assert f"ENGINE of {container.name} is not known" in done.stderr
    assert done.stdout.splitlines()[1].split()[2] == "?"


def test_an_engine_that_does_not_answer_keeps_nobody_waiting(start_container: Start) -> None:
    containers = [start_container(labels={"quiet": "yes"}) for _ in range(5)]
    lies = {
        "tracer.containers.engine.Engine.init_tgid": "lambda *_: time.sleep(600)",
        "tracer.containers.channel.Channel.ask_first": "lambda *args: (sys.stderr.write('asked\\n'), right(*args))[1]",
    }
    done = run_lying(lies, "verify", "label:quiet=yes")
    assert done.returncode == 1
    assert 1 <= done.stderr.splitlines().count("asked") <= 3
    assert done.stdout.count("?") == len(containers)


def test_verify_is_red_when_the_table_of_events_is_wrong(start_container: Start) -> None:
    lie = "property(lambda self: [number._replace(nr=number.nr + 1) for number in right.fget(self)])"
    lies = {"tracer.stream.table.Process.chain": lie}
    done = run_lying(lies, "verify", "--live", "0.1", start_container().name)
    assert done.returncode == 1
    assert "EVENTS: 2" in done.stdout


def test_what_is_not_there(start_container: Start) -> None:
    container = start_container()
    container.kill()
    container.wait()
    for verb in ("ps", "tree", "containers", "verify"):
        done = run(verb, container.name)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"no process in {container.name}" in done.stderr
    assert run("ps", "pidns:1").returncode == 3


def test_docker_in_docker(inner_engine: Any) -> None:
    inner = inner_engine.containers.create(inner_engine.image, ["sleep", "600"], network_mode="none")
    inner.start()
    listed = {one["id"]: one for one in objects("containers")}
    outer, nested = listed[inner_engine.outer.id], listed[inner.id]
    numbers = nspid(nested["init_pid"])
    assert (outer["level"], nested["level"], nested["runtime"], len(numbers)) == (1, 2, "docker", 3)
    assert nested["pidns"] == pidns_inum(nested["init_pid"])
    (process,) = objects("ps", inner.id)
    assert (process["pids"], process["args"]) == (numbers, ["sleep", "600"])
    assert nested["init_pid"] in {process["pid"] for process in objects("ps", inner_engine.outer.name)}
    assert run("ps", "--no-header", inner.id).stdout.split()[:2] == [str(numbers[0]), f"{numbers[1]}>{numbers[2]}"]
    findings = objects("verify", inner.id)
    assert {(finding["pidns"], finding["inside"]) for finding in findings if finding["ok"]} == {
        (outer["pidns"], numbers[1]),
        (nested["pidns"], numbers[2]),
    }


def test_the_shell_completes_running_containers_and_numbers_inside(start_container: Start) -> None:
    container = start_container(labels={"tier": "db", "evil": "$(reboot)"})

    def offered(line: str) -> list[str]:
        environment = {"COMP_LINE": line, "COMP_BREAKS": ":=", "_NSTRACE_COMPLETE": "bash_complete"}
        done = run(**environment)
        assert done.stderr == ""
        return [found.removeprefix("plain,") for found in done.stdout.split()]

    assert offered(f"nstrace ps {container.name[:-1]}") == [container.name]
    assert offered("nstrace ps label:tier=d") == ["db"]
    assert offered("nstrace ps label:e") == []
    assert offered(f"nstrace inspect {container.name}/") == [f"{container.name}/1"]


def test_a_moment_of_a_recording_is_what_was_live_then(
    tmp_path: Path, start_container: Start, holding_receiver: Receiver
) -> None:
    """Who is held alive at the moment is in both; who comes later, and who has ended, is not."""
    arrows, shown = tmp_path / "run.arrows", tmp_path / "shown"
    options = {"cap_add": ["SYS_ADMIN"], "security_opt": ["seccomp=unconfined"]}
    container = start_container([WORKLOAD, "nest", "1", SOCKET], holding_receiver, **options)
    before = holding_receiver.wait(2)
    argv = [sys.executable, "-m", "tracer", "follow", "--no-header", "-w", str(arrows), container.name]
    following = subprocess.Popen(argv, stdout=shown.open("w"), stderr=subprocess.DEVNULL)
    wait_for(lambda: len(shown.read_text().splitlines()) >= len(before))
    container.exec_run(["true"])
    container.exec_run(["sleep", "600"], detach=True)
    wait_for(lambda: shown.read_text().rstrip().endswith("sleep 600"))
    live = {process["pid"]: process for process in objects("ps", container.name)}
    moment_ns = time.time_ns()
    holding_receiver.release()
    container.wait(timeout=60)
    following.send_signal(signal.SIGINT)
    following.wait(timeout=60)

    at = f"@{moment_ns / 1e9:.6f}"
    recorded = {process["pid"]: process for process in objects("ps", "--from", arrows, "--at", at, container.name)}
    assert set(recorded) == set(live) and len(live) == 3
    for tgid, process in recorded.items():
        for name in ("pids", "pidns_chain", "pidns_gen", "args", "comm", "uid", "ns_ppid", "container"):
            assert process[name] == live[tgid][name], name
        assert process["ppid"] in (None, live[tgid]["ppid"])
    for pair in before:
        assert recorded[pair.host_tgid]["pids"] == list(pair.nspid)
    tree = run("tree", "--from", arrows, "--at", at).stdout
    assert all(f" {'>'.join(map(str, pair.nspid))} " in tree for pair in before)
    assert run("ps", "--from", arrows, container.name).returncode == 3  # in the end nobody was there
    assert run("ps", "--from", arrows, "--at", "@1").returncode == 2
