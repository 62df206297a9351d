"""nstrace agent as a service runs it: what it keeps, what is asked of it, and what happens when it is ended."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from conftest import wait_for
from service import NSTRACE, Agent

from tracer.agent import lock

pytestmark = pytest.mark.kernel


OWN = f"own-{os.getpid()}"  # the host is everybody's: others may run the same tests


def run(*argv: str) -> tuple[int, int]:
    """A process that ends at once: its PID, and a moment at which it lived (wall clock, ns)."""
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout and process.stdin and process.stdout.read(1)
    lived_ns = time.time_ns()
    process.stdin.close()
    process.wait()
    return process.pid, lived_ns


def at(moment_ns: int) -> str:
    return f"@{moment_ns // 10**9}.{moment_ns % 10**9:09}"


@pytest.fixture
def make_agent(tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    made: list[Agent] = []

    def make(record: str = "", more: str = "") -> Agent:
        made.append(Agent(tmp_path, record, more))
        return made[-1]

    yield make
    for agent in made:
        agent.__exit__()


WAITING = ("sh", "-c", "echo; read x; : {}")


def test_questions_find_it_while_it_records(make_agent: Callable[..., Agent], tmp_path: Path) -> None:
    with make_agent() as agent:
        (pid, lived_ns) = run("sh", "-c", f"echo; read x; : {OWN}-mark-1")
        done = agent.ask("translate", "--at", at(lived_ns), str(pid))
        assert done.returncode == 0, done.stderr
        assert "mark-1" in done.stdout
        assert f"from the agent's recordings in {agent.store}" in done.stderr
        listed = agent.ask("ps", "-q", "--at", at(lived_ns), "host")
        assert str(pid) in listed.stdout.split(), listed.stderr
        (later, _lived) = run("sh", "-c", f"echo; read x; : {OWN}-mark-2")
        found = agent.rows(
            f"select pid, args[3] as said from events where event = 'exec' and args[3] like '%: {OWN}-mark-%'"
        )
        assert [(row["pid"], str(row["said"])[-6:]) for row in found] == [(pid, "mark-1"), (later, "mark-2")]
        shown = agent.ask("replay", "--since", at(lived_ns - 10**9), "--events", "exec", "host")
        assert [mark for mark in (1, 2) if f": {OWN}-mark-{mark}" in shown.stdout] == [1, 2], shown.stderr
        table = agent.ask("export", "--to", "csv", "--what", "processes", "--since", "1m", "-w", "-")
        assert "mark-1" in table.stdout, table.stderr
        page = agent.ask("timeline", "--since", "1m", "-w", str(tmp_path / "page.html"))
        assert page.returncode == 0, page.stderr
        log = tmp_path / "log.csv"
        log.write_text(f"pid,time\n{pid},{lived_ns}\n")
        for since in ((), ("--since", "1m")):
            joined = agent.ask("join", str(log), "--on", "pid", "--time-column", "time", "--json", *since)
            assert "mark-1" in joined.stdout, joined.stderr
        out = tmp_path / "last.arrows"
        assert agent.ask("dump", "--last", "1m", "-w", str(out)).returncode == 0
        assert agent.stop() == 0
        alone = agent.ask("replay", str(out)).stdout
        assert [mark for mark in (1, 2) if f": {OWN}-mark-{mark}" in alone] == [1, 2]
        assert agent.ask("replay", "--require-complete", str(agent.store)).returncode == 0


def test_requests_wait_until_it_listens(make_agent: Callable[..., Agent]) -> None:
    """Who asks finds its PID as soon as it has the folder; it is not ready for a while then, and does not end."""
    agent = make_agent()
    agent.store.mkdir()
    agent.process = subprocess.Popen([*NSTRACE, "agent"], env=agent.env, stderr=agent.stderr.open("ab"))
    while not (pid := lock.holder(agent.store)):
        assert agent.process.poll() is None
    assert pid == agent.process.pid
    os.kill(pid, signal.SIGUSR1)
    os.kill(pid, signal.SIGHUP)
    agent.hear("READY=1")
    wait_for(lambda: "was read again" in agent.said)
    assert agent.stop() == 0


def test_nobody_looked_between_two_runs(make_agent: Callable[..., Agent]) -> None:
    with make_agent() as agent:
        last_ns = time.time_ns()
        agent.stop()
        (pid, unseen_ns) = run(*WAITING)
        agent.start()
        (later, seen_ns) = run(*WAITING)
        agent.kill()
        (_lost, killed_ns) = run(*WAITING)
        agent.start()
        stopped, killed = agent.rows("select epoch_ns(since) as since, epoch_ns(time) as until from gaps order by time")
        assert as_int(stopped["since"]) >= last_ns
        for hole, inside_ns in ((stopped, unseen_ns), (killed, killed_ns)):
            assert as_int(hole["since"]) <= inside_ns <= as_int(hole["until"])
        assert as_int(stopped["until"]) <= seen_ns
        done = agent.ask("translate", "--at", at(unseen_ns), str(pid))
        assert done.returncode != 0 and done.stdout == ""
        assert "not known" in done.stderr
        assert "uncertain" in agent.ask("ps", "--at", at(killed_ns), "host").stderr
        if as_int(killed["since"]) > seen_ns:  # it was on the disk when all was killed
            assert agent.ask("translate", "-q", "--at", at(seen_ns), str(later)).stdout == f"{later}\n"


def as_int(value: object) -> int:
    assert isinstance(value, int)
    return value


def test_who_reads_holds_nothing_and_ends_with_the_agent(make_agent: Callable[..., Agent]) -> None:
    with make_agent() as agent:
        assert agent.process
        (recorder,) = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children").read_text().split()
        status = Path(f"/proc/{recorder}/status").read_text()
        assert "\nCapEff:\t0000000000000000\n" in status
        assert "\nSeccomp:\t2\n" in status
        children = agent.children()
        agent.process.kill()
        agent.process.wait()
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
        agent.start()  # the lock is free, and the recorder has closed its file
        assert agent.ask("replay", "--require-complete", f"{agent.store}/agent.000001.arrows").returncode == 0


def test_a_wrong_configuration_or_another_agent_leaves_what_is_there(make_agent: Callable[..., Agent]) -> None:
    with make_agent() as agent:
        assert agent.process
        recorder = agent.children()
        agent.config.write_text("[record]\nkeep = 3\n")
        agent.process.send_signal(signal.SIGHUP)
        wait_for(lambda: f"{agent.config}:2: record.keep: 3 is not valid; what was read before counts" in agent.said)
        agent.configure('keep = "5 GB"')
        agent.process.send_signal(signal.SIGHUP)
        wait_for(lambda: f"{agent.config} was read again" in agent.said)
        assert agent.children() == recorder
        agent.configure("threads = true")
        agent.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(list(agent.store.glob("*.arrows"))) == 3)  # the hole, and the file of the new run
        done = agent.ask("agent")
        assert done.returncode == 1
        assert f"an agent records to {agent.store} already: PID {agent.process.pid}" in done.stderr


def test_an_address_that_cannot_be_had_leaves_what_is_there(make_agent: Callable[..., Agent]) -> None:
    with make_agent() as agent, socket.create_server(("127.0.0.1", 0)) as taken:
        assert agent.process
        recorder = agent.children()
        agent.configure("", f'[metrics]\nlisten = "127.0.0.1:{taken.getsockname()[1]}"')
        agent.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "Address already in use" in agent.said)
        wait_for(lambda: "what was read before counts" in agent.said)
        assert agent.children() == recorder
        assert agent.stop() == 0


def test_it_waits_for_room_on_the_disk(make_agent: Callable[..., Agent]) -> None:
    agent = make_agent()
    agent.config.write_text(f'[record]\ntargets = "host"\nfolder = "{agent.store}"\nmin_free = "900000 TB"\n')
    with agent:  # which is ready: systemd does not wait
        assert agent.process
        assert "recording pauses" in agent.said
        assert (agent.children(), list(agent.store.glob("*.arrows"))) == ([], [])
        agent.configure("")
        agent.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "recording goes on" in agent.said)
        wait_for(lambda: any(path.stat().st_size for path in agent.store.glob("*.arrows")))
        assert agent.stop() == 0


def test_what_it_follows_goes_on_where_the_past_ends(make_agent: Callable[..., Agent], tmp_path: Path) -> None:
    with make_agent() as agent:
        before = [run("sh", "-c", f"echo; read x; : {OWN}-before-{number}")[0] for number in range(2)]
        out = tmp_path / "out"
        argv = [*NSTRACE, "follow", "--json", "--events", "exec,snapshot", "--since", "1m", "host"]
        with out.open("wb") as file:
            following = subprocess.Popen(argv, env=agent.env, stdout=file, stderr=subprocess.PIPE)
        ledger: list[int] = []
        while not any(f": {OWN}-while-{number}" in out.read_text() for number in ledger):
            ledger.append(len(ledger))
            run("sh", "-c", f"echo; read x; : {OWN}-while-{ledger[-1]}")
        following.send_signal(signal.SIGINT)
        _out, said = following.communicate(timeout=30)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        marks = [
            row["args"][2].split(f": {OWN}-")[1] for row in rows if row["event"] == "exec" and OWN in str(row["args"])
        ]
        wanted = [f"before-{number}" for number in range(2)] + [f"while-{number}" for number in ledger]
        assert marks == wanted[: len(marks)] and len(marks) >= len(wanted) - 1, said
        assert [row["pid"] for row in rows if f"{OWN}-before-" in str(row.get("args"))] == before


def test_what_nobody_recorded_is_a_gap_until_the_live_stream_goes_on(make_agent: Callable[..., Agent]) -> None:
    with make_agent() as agent:
        (_pid, seen_ns) = run(*WAITING)
        agent.stop()
        (_unseen, unseen_ns) = run(*WAITING)
        for since, words in (("1m", 1), (at(unseen_ns), 0)):
            argv = ("follow", "-q", "--json", "--events", "fork", "--since", since, "--duration", "1", "host")
            done = agent.ask(*argv)
            rows = [json.loads(line) for line in done.stdout.splitlines()]
            gaps = [number for number, row in enumerate(rows) if row["event"] == "gap"]
            assert len(gaps) == 1, done.stderr
            hole = rows[gaps[0]]
            assert seen_ns <= ns_of(hole["since"]) <= unseen_ns <= ns_of(hole["until"])
            assert (gaps[0] > 0) == bool(words)
            assert all(ns_of(row["time"]) >= ns_of(hole["until"]) for row in rows[gaps[0] :])


def ns_of(time_text: str) -> int:
    """A time of the JSON, by the wall clock."""
    seconds, fraction = time_text.removesuffix("Z").split(".")
    return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 10**9 + int(fraction)


def test_an_agent_that_is_behind_is_said_to_be(make_agent: Callable[..., Agent]) -> None:
    with make_agent() as agent:
        children = agent.children()
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        try:
            done = agent.ask("replay", "--since", "1m", "--require-complete", "host")
            assert "the agent has not written all until now" in done.stderr
            assert "closed" not in done.stderr and done.returncode == 5
        finally:
            for pid in children:
                os.kill(pid, signal.SIGCONT)
        assert agent.ask("replay", "--since", "1m", "--require-complete", "host").returncode == 0


@pytest.fixture
def told() -> Iterator[Path]:
    """A folder in which everybody may write; pytest's own is closed to others."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_a_trigger_keeps_its_window_and_runs_a_command(make_agent: Callable[..., Agent], told: Path) -> None:
    script = told / "tell"
    script.write_text(f'#!/bin/sh\nid -un >{told}/who; cat >{told}/recording; echo "$1" >{told}/name.new\n'
                      f"mv {told}/name.new {told}/name; exit 3\n")  # fmt: skip
    script.chmod(0o755)
    more = f"""
        [[trigger]]
        where = "event = 'exit' and exit_code = 77"
        before = "1m"
        after = "0s"
        run = ["{script}", "{{file}}"]
    """
    with make_agent(more=more) as agent:
        ended = subprocess.run(["sh", "-c", "exit 77"])
        assert ended.returncode == 77
        wait_for((told / "name").exists)
        (kept,) = (agent.store / "incidents").iterdir()
        assert kept.name.endswith("Z-host-exit-sh.arrows")
        assert (told / "name").read_text() == f"{kept}\n"
        assert (told / "who").read_text() == "nobody\n"
        assert (told / "recording").read_bytes() == kept.read_bytes()
        wait_for(lambda: f"{script} ended with 3" in agent.said)
        shown = subprocess.run([*NSTRACE, "replay", "--json", str(kept)], capture_output=True, text=True)
        codes = [json.loads(line).get("exit_code") for line in shown.stdout.splitlines()]
        assert codes.count(77) == 1
        assert "snapshot" in shown.stdout


def test_a_command_ends_with_all_that_it_has_left(make_agent: Callable[..., Agent], told: Path) -> None:
    lines = (
        f"setsid sh -c 'echo $$ >{told}/left.new; mv {told}/left.new {told}/left; exec sleep 3600' & exec sleep 3600"
    )
    (told / "stay").write_text(f"#!/bin/sh\n{lines}\n")
    (told / "stay").chmod(0o755)
    more = f"""
        [[trigger]]
        where = "event = 'exit' and exit_code = 77"
        after = "0s"
        run = ["{told}/stay"]
        timeout = "1h"

        [[trigger]]
        where = "event = 'exit' and exit_code = 78"
        after = "0s"
    """

    def left() -> bool:
        return Path(f"/proc/{(told / 'left').read_text().strip()}").exists()

    with make_agent(more=more) as agent:
        assert agent.process
        subprocess.run(["sh", "-c", "exit 77"])
        wait_for((told / "left").exists)
        subprocess.run(["sh", "-c", "exit 78"])  # is kept while the command runs
        wait_for(lambda: len(list((agent.store / "incidents").glob("*.arrows"))) == 2)
        assert left()
        assert agent.stop() == 0
        assert f"{told}/stay is killed: the agent ends" in agent.said
        assert not left()
        (told / "left").unlink()
        agent.start()
        subprocess.run(["sh", "-c", "exit 77"])
        wait_for((told / "left").exists)
        agent.process.kill()  # and nothing else
        agent.process.wait()
        assert agent.ask("dump", "-w", str(told / "dumped.arrows")).returncode == 0
        agent.start()
        wait_for(lambda: not left())


def fetched(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def test_metrics_count_what_is_recorded(make_agent: Callable[..., Agent]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with make_agent(more=f'[metrics]\nlisten = "127.0.0.1:{port}"') as agent:
        assert agent.process
        wait_for(lambda: fetched(port, "/readyz")[0] == 200)
        assert fetched(port, "/healthz")[0] == 200
        for code in (7, 7, 7):
            subprocess.run(["sh", "-c", f"exit {code}"])
        counted = re.compile(r'^nstrace_processes_failed_total{container="-"} (\d+)', re.M)

        def failed() -> int:
            found = counted.search(fetched(port, "/metrics")[1])
            return int(found[1]) if found else 0

        wait_for(lambda: failed() >= 3)
        first = int(Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children").read_text().split()[0])
        status = Path(f"/proc/{first}/status").read_text()  # the exporter is started first
        assert "\nCapEff:\t0000000000000000\n" in status and "\nSeccomp:\t2\n" in status
        open_files = {str(descriptor.readlink()) for descriptor in Path(f"/proc/{first}/fd").iterdir()}
        assert not {name for name in open_files if str(agent.store) in name}
        (row,) = agent.rows("select count(*) as failed from processes where exit_code <> 0 or signal is not null")
        assert isinstance(row["failed"], int) and row["failed"] >= 3
