"""--where on real containers: what passes live, in a replay, in an export and in SQL is what a plain loop over the JSON
of everything finds; and a recording of what passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import KINDS, asked, exported, key, replayed
from capturing import DEADLINE_S, live, stop
from conftest import wait_for
from expressions import Its, always, passing, read, table
from oracle import SOCKET, WORKLOAD, Ledger, Receiver, pidns_inum, pids_hierarchy

from tracer.ask.event_filter import EventFilter
from tracer.kernel.options import LoadOptions
from tracer.recording.files import create
from tracer.recording.metadata import of_this_host
from tracer.recording.writer import FileSink, Writer
from tracer.stream.batch import Batch
from tracer.stream.table import MAX_PROCESSES
from tracer.views.jsonl import JsonLines
from tracer.wiring.following import followed
from tracer.wiring.live import LiveSource
from tracer.wiring.session import Limits, Session

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
Run = Callable[..., Ledger]
Line = dict[str, Any]
HAPPENS = ("fork", "exec", "exit")
WHERE: dict[str, Callable[[Line], Any]] = {
    "event = 'exit' and (exit_code <> 0 or signal is not null)": lambda e: (
        e["event"] == "exit" and (e["exit_code"] or e["signal"])
    ),
    "event = 'exec' and args like '%noop a b%'": lambda e: (
        e["event"] == "exec" and "noop a b" in " ".join(e["args"] or [])
    ),
    "ns_ppid > 0 and comm <> 'sh'": lambda e: (e["ns_ppid"] or 0) > 0 and e["comm"] != "sh",
}


def replay(arrows: Path, *args: str) -> bytes:
    env = {"PATH": os.environ["PATH"], "DOCKER_HOST": "unix:///nowhere"}
    argv = [sys.executable, "-m", "tracer", "replay", "-q", str(arrows), *args]
    return subprocess.run(argv, check=True, capture_output=True, env=env, timeout=DEADLINE_S).stdout


def happened(lines: bytes) -> list[Line]:
    return [line for line in map(json.loads, lines.splitlines()) if line["event"] in HAPPENS]


def act(container: Any, run_ledger: Run, receiver: Receiver) -> None:
    run_ledger(container, "pairs", SOCKET, 20, "exec", 0)
    receiver.wait(20)
    container.exec_run([WORKLOAD, "noop", "a b", "x"])
    container.exec_run([WORKLOAD, "signal", "9"])
    container.exec_run(["sh", "-c", "exit 3"])


@pytest.mark.parametrize("where", WHERE)
def test_live_is_as_a_loop_and_as_its_recording(
    where: str, tmp_path: Path, start_container: Start, run_ledger: Run, receiver: Receiver
) -> None:
    container = start_container(receiver=receiver)
    everything, filtered = tmp_path / "all.arrows", tmp_path / "some.arrows"
    shown = f"event = 'snapshot' or ({where})"  # so that a line says that it has begun
    runs = [live(everything, "--json", container.name), live(filtered, "--json", "--where", shown, container.name)]
    act(container, run_ledger, receiver)
    for run in runs:
        stop(run)
    seen = filtered.with_suffix(".live").read_bytes()
    loop = [line for line in happened(replay(everything, "--json")) if WHERE[where](line)]
    key = lambda e: (e["proc_id"], e["event"])  # noqa: E731 - each run has times of its own
    assert loop and list(map(key, happened(seen))) == list(map(key, loop))
    assert replay(filtered, "--json", "--where", shown) == seen
    kept = [line for line in replay(filtered, "--json").splitlines() if b'"event":"session"' not in line]
    assert kept == seen.splitlines()  # and without the condition, but for what names the sessions
    assert list(map(key, happened(replay(everything, "--json", "--where", where)))) == list(map(key, loop))


class Shared:
    """A live source that several sessions have in common: each takes every batch."""

    def __init__(self, source: LiveSource) -> None:
        self._source, self.batch = source, Batch(Batch.concat([]).rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        while timeout_s() is not None:
            yield self.batch


class Watched:
    """A session of `nstrace follow --json` on a shared source: with a condition, or of everything."""

    def __init__(self, source: Shared, where: str | None, recorder: Writer | None = None) -> None:
        limits, self.text = Limits(), b""
        if where is not None:
            found = EventFilter(where)
            found.add_run(source.attribution, source.wall_offset_ns, os.uname().nodename)
            limits.passing = found.passing
        view = JsonLines(KINDS, threads=True, wall_offset_ns=source.wall_offset_ns)
        self.session = Session(source, view, KINDS, limits, recorder)
        self.steps = self.session.steps(self._write)

    def _write(self, text: bytes) -> None:
        self.text += text


SCRIPT = r"""
cd /tmp; for name in job init "$(printf '\377')" "$(printf '/bin/\351')"; do cp /workload "$name"; done; PATH=/tmp:$PATH
job --debug 'a b'; init; "$(printf '\377')" noop; "$(printf '/bin/\351')" noop
/workload noop --debug 'A B' é "x'y"; /workload noop 'and a b'
/workload signal 11; /workload signal 9; /workload core; /workload exec-fail; /workload threads-exit 3
/workload thread-exec /workload noop; /workload args-big 20000; /workload nest 2 /oracle/sock
sleep 1.1; sh -c '/workload noop; exit 4'
"""
NEVER = {
    *("level = 0", "inferred", "carried or inferred", "incarnation = 1"),  # on the host, after losses, in a second life
    *("true", "null", "until is null and lost is null"),
}
UNSEEN = {"error = 'ENOENT'", "errno = 2"}  # on kernels that do not report failed execs


def work(container: Any, other: Any, its: Its) -> None:
    """What makes conditions true of some rows, and false of others."""
    container.exec_run(["sh", "-c", SCRIPT])
    other.exec_run([WORKLOAD, "noop", "init"], user="1000")
    wait_for(lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) > its.ts_ns + 10**9)  # the other one has whole seconds
    other.exec_run([WORKLOAD, "noop", "the last"])


def facts_of(container: Any) -> Its:
    """What conditions ask for; the moment is now."""
    container.reload()
    init = container.attrs["State"]["Pid"]
    its = Its(
        pid=init,
        ns_pid=15,
        pidns=pidns_inum(init) or 0,
        cgroup_id=next(pids_hierarchy().glob(f"**/*{container.id}*")).stat().st_ino,
        parent=int(Path(f"/proc/{init}/stat").read_text().rpartition(")")[2].split()[1]),
        name=container.name[:9],
        time="",
        ts_ns=0,
    )
    return at_moment(its, 0)


def at_moment(its: Its, later_s: int) -> Its:
    """The same, with a moment that is so much later than now."""
    wall = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + later_s))
    return its._replace(time=wall, ts_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME) + later_s * 10**9)


def test_the_table_live_and_recorded(tmp_path: Path, start_container: Start, receiver: Receiver) -> None:
    nesting = {"cap_add": ["SYS_ADMIN"], "security_opt": ["seccomp=unconfined"]}
    container, other = start_container(receiver=receiver, **nesting), start_container()
    its, file = facts_of(container), tmp_path / "all.arrows"
    targets = [container.name, other.name]
    with followed(targets, LoadOptions(threads=True), MAX_PROCESSES, lambda _line: None) as (
        source,
        _lifetime,
        _engines,
    ):
        shared = Shared(source)
        sees_failures = source.trace.loaded.sees_failed_execs
        writer = Writer(
            FileSink(create(file, force=False), file.name), of_this_host(source.wall_offset_ns, ["nstrace"])
        )
        everything = Watched(shared, None, writer)
        made = {where: Watched(shared, where) for where in table(its)}  # takes some seconds
        loops = table(its := at_moment(its, 5))  # during the work
        watched = {where: made.get(where) or Watched(shared, where) for where in loops}
        has_worked, until = False, time.monotonic() + DEADLINE_S
        for batch in source.batches(lambda: 0.1):
            shared.batch = batch
            for one in (everything, *watched.values()):
                next(one.steps)
            if everything.text.count(b'"snapshot"') == len(targets) and not has_worked:
                work(container, other, its)
                has_worked = True
            elif b'"the last"' in everything.text and not len(batch):
                break
            assert time.monotonic() < until
        writer.close()
    lines = read(everything.text)
    assert replayed(file) == lines
    for where, loop in loops.items():
        wanted = passing(lines, loop)
        assert read(watched[where].text) == wanted, where
        assert replayed(file, where) == wanted, where
        assert exported(file, where) == Counter(map(key, wanted)), where
        if "until" not in where:  # which is in JSON alone
            assert Counter(asked(file, where)) == Counter(key(line) for line in wanted if not always(line)), where
    alike = {where for where, loop in loops.items() if len({bool(loop(line)) for line in lines}) < 2}
    assert alike == (NEVER if sees_failures else NEVER | UNSEEN)
