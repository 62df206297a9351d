"""translate --from: who it was, in recordings of real containers, against the kernel's own pairs and their times."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from capturing import live, stop
from commands import init
from conftest import wait_for
from oracle import SOCKET, WORKLOAD, Ledger, Pair, Receiver, pidns_inum

import tracer
from tracer.errors import ExitCode
from tracer.system.clock_offset import wall_offset_ns
from tracer.text.times import rfc3339

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
Run = Callable[..., Ledger]
SECOND_NS = 1_000_000_000


def wall(boottime_ns: int) -> str:
    return stamp(boottime_ns + wall_offset_ns())


def stamp(wall_ns: int) -> str:
    return f"@{wall_ns // SECOND_NS}.{wall_ns % SECOND_NS:09}"


def answer(recorded: Any, proc: str, moment: str) -> int | None:
    """The number that answers; None: not known. Says that there was nobody: an AssertionError."""
    try:
        (found,) = recorded.translate(proc, at=moment)
    except tracer.NstraceError as error:
        assert error.exit_code != ExitCode.NO_TARGET, f"{error.message} ({error.hint})"
        return None
    return int(found.result)


def test_a_name_means_who_had_it_then(tmp_path: Path, start_container: Start) -> None:
    old, lines = start_container(), tmp_path / "x.live"
    name, later = old.name, f"{old.name}-old"
    recording = live(tmp_path / "x.arrows", "all", "--json")
    moments = [time.time_ns()]
    old.rename(later)
    wait_for(lambda: b'"action":"renamed"' in lines.read_bytes())
    moments.append(time.time_ns())
    new = start_container(("sleep", "500"), name=name)
    wait_for(lambda: b'"args":["sleep","500"]' in lines.read_bytes())
    moments.append(time.time_ns())
    stop(recording)
    first, second = init(old), init(new)

    recorded = tracer.open(tmp_path / "x.arrows")
    wanted: dict[str, list[int | None]] = {
        name: [first, None, second],
        later: [first] * 3,
    }  # before its rename nobody else was called so
    for asked, found in wanted.items():
        assert [host_of(recorded, f"{asked}/1", stamp(moment)) for moment in moments] == found
    listed = nstrace("ps", "--json", "--from", str(tmp_path / "x.arrows"), "--at", stamp(moments[2]), name).stdout
    assert [json.loads(line)["pid"] for line in listed.splitlines()] == [second]
    log = tmp_path / "log.csv"
    rows = [f"{asked},1,{moment}" for asked in wanted for moment in moments]
    log.write_text("\n".join(["name,nr,time", *rows, ""]))
    options = ["--on", "name,nr", "--time-column", "time", "--lag", "0", "--json"]
    joined = nstrace("join", str(log), "--from", str(tmp_path / "x.arrows"), *options).stdout
    assert [json.loads(line)["process_pid"] for line in joined.splitlines()] == [*wanted[name], *wanted[later]]


def host_of(recorded: Any, proc: str, moment: str) -> int | None:
    """The PID that answers; None: nobody was there."""
    try:
        (found,) = recorded.translate(proc, at=moment)
    except tracer.NstraceError as error:
        assert error.exit_code == ExitCode.NO_TARGET
        return None
    return int(found.result)


@pytest.mark.parametrize("mode", ["seq", "burst"])
def test_every_process_at_its_moment(
    mode: str, tmp_path: Path, start_container: Start, run_ledger: Run, receiver: Receiver
) -> None:
    container = start_container(receiver=receiver)
    recording = live(tmp_path / "x.arrows", container.name)
    run_ledger(container, "pairs", SOCKET, 200, mode, 0)
    pairs = receiver.wait(200)
    stop(recording)
    recorded = tracer.open(tmp_path / "x.arrows")
    for pair in pairs:
        moment = wall(pair.boottime_ns)
        assert answer(recorded, f"{container.name}/{pair.ns_pid}", moment) == pair.host_tgid
        assert answer(recorded, f"pidns:{pair.pidns}/{pair.ns_pid}", moment) == pair.host_tgid
        assert answer(recorded, str(pair.host_tgid), moment) == pair.ns_pid
    argv = [sys.executable, "-m", "tracer", "translate", "-q", "--from", str(tmp_path / "x.arrows"), "--at"]
    argv += [wall(pairs[7].boottime_ns), f"{container.name}/{pairs[7].ns_pid}"]
    assert subprocess.run(argv, capture_output=True, check=True).stdout == b"%d\n" % pairs[7].host_tgid


@pytest.mark.parametrize("sharing", ["host", "container"])
def test_shared_namespaces(
    sharing: str, tmp_path: Path, start_container: Start, run_ledger: Run, receiver: Receiver
) -> None:
    owner = start_container()
    recording = live(tmp_path / "x.arrows", "all")
    guest = start_container(receiver=receiver, pid_mode="host" if sharing == "host" else f"container:{owner.id}")
    run_ledger(guest, "pairs", SOCKET, 20, "seq", 0)
    pairs = receiver.wait(20)
    wait_for(lambda: b" %d " % pairs[-1].host_tgid in (tmp_path / "x.live").read_bytes())
    stop(recording)
    recorded = tracer.open(tmp_path / "x.arrows")
    for pair in pairs:
        assert answer(recorded, f"{guest.name}/{pair.ns_pid}", wall(pair.boottime_ns)) == pair.host_tgid


def test_one_number_one_after_the_other(tmp_path: Path, start_container: Start, receiver: Receiver) -> None:
    gives = f"echo 99 >/mnt/sys/kernel/ns_last_pid; {WORKLOAD} pair {SOCKET} $i $i"
    script = (
        f"mkdir -p /mnt; busybox mount -t proc proc /mnt; read go; for i in 1 2 3 4 5 6; do {gives}; done; sleep 600"
    )
    container = start_container(["sh", "-c", script], receiver, cap_add=["SYS_ADMIN"], stdin_open=True)
    recording = live(tmp_path / "x.arrows", container.name)
    container.attach_socket(params={"stdin": 1, "stream": 1})._sock.send(b"\n")
    pairs = receiver.wait(6)
    wait_for(lambda: b"sleep 600" in (tmp_path / "x.live").read_bytes())
    stop(recording)
    recorded, proc = tracer.open(tmp_path / "x.arrows"), f"{container.name}/100"
    assert {pair.ns_pid for pair in pairs} == {100}
    assert [found.result for found in recorded.translate(proc)] == [pair.host_tgid for pair in pairs]
    for pair in pairs:
        assert answer(recorded, proc, wall(pair.boottime_ns)) == pair.host_tgid


def test_a_restart(tmp_path: Path, start_container: Start) -> None:
    container = start_container()
    recording = live(tmp_path / "x.arrows", container.name)
    first, inum, before = init(container), pidns_inum(init(container)), stamp(time.time_ns())
    container.restart(timeout=0)
    second, after = init(container), time.time_ns()
    wait_for(lambda: b" %d " % second in (tmp_path / "x.live").read_bytes())
    stop(recording)
    recorded = tracer.open(tmp_path / "x.arrows")
    procs = [f"{container.name}/1"] + ([f"pidns:{inum}/1"] if pidns_inum(second) == inum else [])
    for proc in procs:
        assert answer(recorded, proc, before) == first
        assert answer(recorded, proc, stamp(after)) == second  # no event told of it, and nothing was lost
        assert [found.result for found in recorded.translate(proc)] == [first, second]


def test_every_level(tmp_path: Path, start_container: Start, run_ledger: Run, receiver: Receiver) -> None:
    options: dict[str, Any] = {"cap_add": ["SYS_ADMIN"], "security_opt": ["seccomp=unconfined"]}
    container = start_container(receiver=receiver, **options)
    recording = live(tmp_path / "x.arrows", container.name)
    run_ledger(container, "nest", 31, SOCKET)
    pairs = receiver.wait(32)
    stop(recording)
    recorded, deepest = tracer.open(tmp_path / "x.arrows"), pairs[-1]
    moment = wall(deepest.boottime_ns)
    assert len(deepest.nspid) == 33
    for around, number in zip(pairs, deepest.nspid[1:], strict=True):
        assert answer(recorded, f"pidns:{around.pidns}/{number}", moment) == deepest.host_tgid
    (found,) = recorded.translate(str(deepest.host_tgid), at=moment)
    assert found.entry.numbers == deepest.nspid


def test_what_was_lost_is_not_known_and_never_wrong(
    tmp_path: Path, start_container: Start, run_ledger: Run, receiver: Receiver
) -> None:
    container = start_container(receiver=receiver)
    recording = live(tmp_path / "x.arrows", "--buffer-size", "0.25", container.name)

    def run(count: int) -> list[Pair]:
        known = len(receiver.pairs)
        run_ledger(container, "pairs", SOCKET, count, "seq", 0, "nowait")
        return receiver.wait(known + count)[known:]

    early = run(20)
    wait_for(lambda: b" %d " % early[-1].host_tgid in (tmp_path / "x.live").read_bytes())
    recording.send_signal(signal.SIGSTOP)  # a reader that cannot keep up
    unread = run(1500)
    recording.send_signal(signal.SIGCONT)
    wait_for(lambda: b" repair " in (tmp_path / "x.live").read_bytes())
    late = run(20)
    wait_for(lambda: b" %d " % late[-1].host_tgid in (tmp_path / "x.live").read_bytes())
    stop(recording)
    recorded = tracer.open(tmp_path / "x.arrows")

    def answers(pairs: list[Pair]) -> list[bool]:
        """Which of them are known; those are right."""
        known = []
        for pair in pairs:
            moment = wall(pair.boottime_ns)
            inside = answer(recorded, f"{container.name}/{pair.ns_pid}", moment)
            host = answer(recorded, str(pair.host_tgid), moment)
            assert inside in (pair.host_tgid, None)
            assert host in (pair.ns_pid, None)
            known.append(inside is not None and host is not None)
        return known

    assert all(answers(early)) and all(answers(late))
    assert 0 < sum(answers(unread)) < 1500


def test_a_zombie_from_before_had_ended_at_the_latest_when_it_was_listed(
    tmp_path: Path, start_container: Start
) -> None:
    container = start_container(["sh", "-c", "sleep 0 & exec sleep 600"])  # whose parent does not wait for it
    children = Path(f"/proc/{init(container)}/task/{init(container)}/children")
    wait_for(lambda: [state(int(tgid)) for tgid in children.read_text().split()] == ["Z"])
    (zombie,), before = children.read_text().split(), time.time_ns()
    stop(live(tmp_path / "x.arrows", container.name))
    argv = [sys.executable, "-m", "tracer", "translate", "--json", "--from", str(tmp_path / "x.arrows"), zombie]
    answer = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    assert (answer["pid"], answer["ended_at_the_latest"], answer["exit_code"]) == (int(zombie), True, None)
    assert answer["seen"] < rfc3339(before) < answer["ended"]  # nothing says that it lived when it was listed


def test_what_a_process_changes_without_an_event_is_as_of_its_last_one(
    tmp_path: Path, start_container: Start, holding_receiver: Receiver
) -> None:
    """A process is taken over by number 1 when its parent has ended, then takes another user and name, and waits."""
    container = start_container(receiver=holding_receiver)
    recording = live(tmp_path / "x.arrows", container.name)
    container.exec_run([WORKLOAD, "changes", SOCKET, "33", "worker"], detach=True)
    (pair,) = holding_receiver.wait(1)
    moment, first = time.time_ns(), init(container)
    status = Path(f"/proc/{pair.host_tgid}/status").read_text()
    assert all(line in status for line in ("Name:\tworker", f"PPid:\t{first}\n", "Uid:\t33\t"))
    holding_receiver.release()
    wait_for(lambda: any(b" exit " in line and b" %d " % pair.host_tgid in line
                         for line in (tmp_path / "x.live").read_bytes().splitlines()))  # fmt: skip
    stop(recording)

    file, at = str(tmp_path / "x.arrows"), stamp(moment)
    (answer,) = objects("translate", "--from", file, "--at", at, str(pair.host_tgid))
    assert (answer["ppid"], answer["ns_ppid"], answer["uid"], answer["comm"]) == (None, None, 0, "workload")
    assert answer["started"] <= answer["as_of"] < rfc3339(moment)
    last, changed = answer["last_parent"], answer["changed"]
    assert last["pid"] not in (first, pair.host_tgid) and answer["as_of"] <= last["ended_by"] < rfc3339(moment)
    assert changed.pop("by") > rfc3339(moment)
    assert changed.pop("parent_id").startswith(f"{first}-")
    assert changed == {"uid": 33, "comm": "worker", "ppid": first}
    (listed,) = (one for one in objects("ps", "--from", file, "--at", at) if one["pid"] == pair.host_tgid)
    assert {name: listed[name] for name in ("ppid", "uid", "last_parent")} == {
        name: answer[name] for name in ("ppid", "uid", "last_parent")
    }
    ps = nstrace("ps", "--from", file, "--at", at).stdout
    assert [line.split()[2:5] for line in ps.splitlines() if line.split()[0] == str(pair.host_tgid)] == [
        ["?", "?", "0?"]
    ]
    (at_the_end,) = objects("translate", "--from", file, str(pair.host_tgid))
    assert (at_the_end["ppid"], at_the_end["ns_ppid"], at_the_end["uid"]) == (first, 1, 33)


def nstrace(*args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tracer", *args]
    return subprocess.run(argv, capture_output=True, text=True, check=True)


def objects(*args: str) -> list[Any]:
    return [json.loads(line) for line in nstrace(*args, "--json").stdout.splitlines()]


def state(tgid: int) -> str:
    return Path(f"/proc/{tgid}/stat").read_text().rsplit(") ")[1][0]
