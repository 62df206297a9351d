"""nstrace follow on real containers, held against pairs that the kernel made (SCM_CREDENTIALS)."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ENGINE
from following import Event, Following
from oracle import SOCKET, WORKLOAD, Ledger, Receiver

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
Run = Callable[..., Ledger]


def by_pid(events: list[Event], kind: str) -> dict[int, Event]:
    found = {event["pid"]: event for event in events if event["event"] == kind}
    assert len(found) == sum(event["event"] == kind for event in events), f"a PID with two {kind} events"
    return found


@pytest.mark.parametrize(("mode", "count"), [("seq", 100), ("exec", 100), ("burst", 300)])
def test_every_pair_is_right(
    mode: str, count: int, start_container: Start, run_ledger: Run, receiver: Receiver
) -> None:
    container = start_container(receiver=receiver)
    with Following(container.name) as follow:
        follow.ready()
        ledger = run_ledger(container, "pairs", SOCKET, count, mode, 0)
        pairs = receiver.wait(count)
        events = follow.stop()
    forks, exits = by_pid(events, "fork"), by_pid(events, "exit")
    for pair in pairs:
        fork = forks[pair.host_tgid]
        assert (fork["ns_pid"], fork["ns_ppid"]) == (pair.ns_pid, ledger.vtgid)
        assert fork["pids"] == [pair.host_tgid, pair.ns_pid]
        assert fork["pidns"] == pair.pidns
        assert fork["container"]["name"] == container.name
        assert exits[pair.host_tgid]["exit_code"] == pair.index % 200
        assert exits[pair.host_tgid]["proc_id"] == fork["proc_id"]
    if mode == "exec":
        executed = by_pid([event for event in events if "pair" in (event.get("args") or [])], "exec")
        assert {pair.host_tgid for pair in pairs} <= set(executed)
    assert not [event for event in events if event["event"] == "gap"]
    assert "0 lost" in follow.stderr


@pytest.mark.parametrize("depth", [1, 2, 31])
def test_nested_namespaces(depth: int, start_container: Start, run_ledger: Run, receiver: Receiver) -> None:
    container = start_container(receiver=receiver, cap_add=["SYS_ADMIN"], security_opt=["seccomp=unconfined"])
    with Following(container.name) as follow:
        follow.ready()
        run_ledger(container, "nest", depth, SOCKET)
        pairs = receiver.wait(depth + 1)
        events = follow.stop()
    forks = by_pid(events, "fork")
    for pair in pairs:
        fork = forks[pair.host_tgid]
        assert tuple(fork["pids"]) == pair.nspid
        assert (fork["pidns"], fork["level"]) == (pair.pidns, len(pair.nspid) - 1)


def test_docker_in_docker_shows_all_three_numbers(inner_engine: Any, receiver: Receiver) -> None:
    with Following(inner_engine.outer.name) as follow:
        follow.ready()
        inner = inner_engine.workload("pairs", SOCKET, 20, "seq")
        pairs = receiver.wait(20)
        assert inner.wait(timeout=20)["StatusCode"] == 0
        events = follow.stop()
    forks = by_pid(events, "fork")
    for pair in pairs:
        fork = forks[pair.host_tgid]
        assert tuple(fork["pids"]) == pair.nspid
        assert (fork["level"], fork["ns_pid"], fork["ns_ppid"]) == (2, pair.ns_pid, pair.ns_ppid)
        assert fork["container"]["id"] == inner.id


def test_docker_exec_has_no_parent_inside(start_container: Start) -> None:
    container = start_container()
    with Following(container.name) as follow:
        follow.ready()
        inside = int(container.exec_run(["sh", "-c", "echo $$"]).output)
        events = follow.stop()
    execs = [event for event in events if event["event"] == "exec" and event["args"][:2] == ["sh", "-c"]]
    assert [(event["ns_pid"], event["ns_ppid"], event["level"]) for event in execs] == [(inside, 0, 1)]
    assert execs[0]["parent_id"] is not None


def test_a_container_that_starts_later_is_there_from_its_first_process(start_container: Start) -> None:
    first = start_container()
    with Following("all") as follow:
        follow.ready()
        second = start_container()
        name = second.name
        events = follow.until(lambda seen: any(e["event"] == "exec" and _runs_sleep_in(e, name) for e in seen))
        follow.stop()
    mine = [
        event for event in events if event["container"] and event["container"]["name"] == name and event.get("level")
    ]
    assert (mine[0]["event"], mine[0]["ns_pid"]) == ("fork", 1)
    assert first.name != name


def _runs_sleep_in(event: Event, name: str) -> bool:
    return bool(event["args"][:1] == ["sleep"] and event["container"] and event["container"]["name"] == name)


@pytest.mark.parametrize("sharing", ["host", "container"])
def test_shared_pid_namespaces_are_told_apart_by_cgroup(
    sharing: str, start_container: Start, run_ledger: Run, receiver: Receiver
) -> None:
    owner = start_container()
    guest = start_container(receiver=receiver, pid_mode="host" if sharing == "host" else f"container:{owner.id}")
    with Following(owner.name) as follow_owner, Following(guest.name) as follow_guest:
        follow_owner.ready()
        follow_guest.ready()
        run_ledger(guest, "pairs", SOCKET, 20, "seq", 0)
        pairs = receiver.wait(20)
        of_owner, of_guest = follow_owner.stop(), follow_guest.stop()
    forks = by_pid(of_guest, "fork")
    for pair in pairs:
        assert forks[pair.host_tgid]["ns_pid"] == pair.ns_pid
        assert forks[pair.host_tgid]["container"]["name"] == guest.name
    assert not {pair.host_tgid for pair in pairs} & {event.get("pid") for event in of_owner}


ZOO = [
    (("thread-exec", WORKLOAD, "noop"), 0),
    (("vfork-exec", WORKLOAD, "noop"), 0),
    (("exec-fail",), 9),
    (("leader-first", "7"), 7),
    (("threads-exit", "8", "3"), None),
]


@pytest.mark.parametrize(("args", "code"), ZOO, ids=[args[0] for args, _code in ZOO])
def test_one_exit_per_process(args: tuple[str, ...], code: int | None, start_container: Start) -> None:
    container = start_container()
    with Following(container.name) as follow:
        follow.ready()
        status = container.exec_run([WORKLOAD, *args]).exit_code
        events = follow.stop()
    main = next(event for event in events if event["event"] == "exec" and event["args"] == [WORKLOAD, *args])
    exits = by_pid(events, "exit")  # asserts that no PID has two
    assert exits[main["pid"]]["exit_code"] == status
    assert code is None or status == code
    born = {event["proc_id"] for event in events if event["event"] == "fork" and event["level"]}
    assert born <= {event["proc_id"] for event in events if event["event"] == "exit"}


def test_arguments_of_every_kind(start_container: Start) -> None:
    container = start_container()
    with Following(container.name) as follow:
        follow.ready()
        container.exec_run([WORKLOAD, "noop", "a b", "", "new\nline", "\x1b[31mred", "é"])
        container.exec_run([WORKLOAD, "args-big", "100000"])
        container.exec_run(["sh", "-c", f"exec {WORKLOAD} noop $(printf '\\377\\376')"])
        events = follow.stop()
    noops = [event for event in events if event["event"] == "exec" and event["args"][1:2] == ["noop"]]
    assert noops[0]["args"] == [WORKLOAD, "noop", "a b", "", "new\nline", "\x1b[31mred", "é"]
    assert noops[0]["args_truncated"] is False
    assert noops[1]["args_truncated"] is True
    assert noops[1]["args"][2:7] == ["with some spaces", "new\nline", "\x1b[31mred\x1b[0m", "\\xff\\xfe\\x80", ""]
    assert noops[2]["args"] == [WORKLOAD, "noop", "\\xff\\xfe"]


def test_a_script_is_its_interpreter(start_container: Start) -> None:
    container = start_container()
    with Following(container.name) as follow:
        follow.ready()
        container.exec_run(["sh", "-c", "printf '#!/bin/sh -e\\nexit 4\\n' >/tmp/x; chmod +x /tmp/x; /tmp/x a"])
        events = follow.stop()
    script = [event for event in events if event["event"] == "exec"][-1]
    assert (script["exe"], script["args"], script["comm"]) == ("/tmp/x", ["/bin/sh", "-e", "/tmp/x", "a"], "x")


def test_equal_numbers_inside_and_outside_are_still_inside(start_container: Start) -> None:
    container = start_container()
    container.reload()
    init = container.attrs["State"]["Pid"]
    last_pid = Path("/proc/sys/kernel/ns_last_pid")  # of the namespace that the writer is in
    loop = f"while read nr; do echo $nr >{last_pid}; /bin/true; done"
    enter = ["nsenter", "--target", str(init), "--pid", "sh", "-c", loop]
    with (
        Following(container.name) as follow,
        subprocess.Popen(enter, stdin=subprocess.PIPE, text=True, bufsize=1) as inside,
    ):
        follow.ready()
        assert inside.stdin
        for _attempt in range(300):  # someone else may fork in between
            number = int(last_pid.read_text()) + 10
            last_pid.write_text(str(number))
            inside.stdin.write(f"{number}\n")
            time.sleep(0.01)
            if same := [event for event in follow.events() if "pid" in event and event["pid"] == event["ns_pid"]]:
                break
        inside.stdin.close()
    assert same[0]["pids"] == [same[0]["pid"]] * 2
    assert (same[0]["level"], same[0]["container"]["name"]) == (1, container.name)


def test_comm_and_arguments_cannot_act_on_a_terminal(start_container: Start) -> None:
    container = start_container()
    with subprocess.Popen(
        [sys.executable, "-m", "tracer", "follow", "--color", "never", container.name],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as follow:
        assert follow.stdout
        assert follow.stdout.readline().startswith(b"TIME")
        assert b"snapshot" in follow.stdout.readline()
        container.exec_run(
            ["sh", "-c", "cp /bin/busybox '/tmp/\x1b]0;x\x07'; '/tmp/\x1b]0;x\x07' true '\x1b[2J\x9b' '\u202e'"]
        )
        container.kill()
        out = follow.stdout.read()
    assert rb"\x1b]0;x\x07" in out
    assert rb"\u202e" in out
    assert all(byte == 10 or (byte >= 32 and byte != 127) for byte in out)
    assert out.decode().replace("\n", "").isprintable()


def test_the_end_of_the_container_is_the_end(start_container: Start) -> None:
    container = start_container()
    with Following(container.name) as follow:
        follow.ready()
        container.kill()
        stderr = follow.process.communicate(timeout=30)[1].decode()
        assert follow.process.returncode == 0
        events = follow.events()
    *_, last, end = [event for event in events if event.get("said_by") != "engine"]
    assert (last["event"], last["ns_pid"], last["signal"]) == ("exit", 1, "SIGKILL")
    assert (end["event"], end["action"], end["signal"]) == ("container", "stopped", "SIGKILL")
    assert "0 lost" in stderr


def test_an_engine_that_answers_late_still_names_its_containers(
    start_container: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = start_container("sh -c 'while true; do sleep 0.2; done'")
    socket = tmp_path / "sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{socket}")
    with Following("all") as follow:
        follow.until(lambda seen: container.id in {(event["container"] or {}).get("id") for event in seen})
        assert container.name not in {(event["container"] or {}).get("name") for event in follow.events()}
        socket.symlink_to(ENGINE.removeprefix("unix://"))
        follow.until(lambda seen: any((e["container"] or {}).get("name") == container.name for e in seen))
        follow.stop()


def test_no_such_container_names_those_near(start_container: Start) -> None:
    container = start_container()
    with Following(container.name[:-1] + "_") as follow:
        stderr = follow.process.communicate(timeout=30)[1].decode()
    assert follow.process.returncode == 3
    assert "no container named" in stderr
    assert container.name in stderr


def test_nothing_is_forked_beside_a_thread(start_container: Start) -> None:
    """A thread may be amid an import when the process is copied, or hold a lock that nobody gives back in the copy."""
    threads = "lambda: os.write(2, b'forked: %d threads\\n' % threading.active_count())"
    words = ["nstrace", "follow", "--duration", "0.1", start_container().name]
    code = f"import os, sys, threading; os.register_at_fork(before={threads}); sys.argv = {words}; main()"
    run = [sys.executable, "-c", f"from tracer.__main__ import main; {code}"]
    said = subprocess.run(run, check=True, capture_output=True, text=True, timeout=60).stderr
    assert {line for line in said.splitlines() if line.startswith("forked")} == {"forked: 1 threads"}
