"""Two recorders at one time: what both have recorded is one event of one process, in tables and in logs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import wait_for

pytestmark = pytest.mark.kernel
DEADLINE_S = 60
COUNT = 20
SCRIPT = f"for i in $(seq {COUNT}); do /bin/true two-recorders & echo $!; wait; done"


def nstrace(*words: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tracer", *map(str, words)]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=DEADLINE_S, check=True)


def record(path: Path) -> subprocess.Popen[bytes]:
    """A recorder that has written the processes that were there."""
    argv = [sys.executable, "-m", "tracer", "record", "-q", "-w", str(path), "host"]
    process = subprocess.Popen(argv)
    wait_for(lambda: path.exists() and path.stat().st_size > 0)
    header = path.stat().st_size
    wait_for(lambda: path.stat().st_size > header)
    return process


def test_what_both_have_seen_is_one(tmp_path: Path) -> None:
    recorders = [record(tmp_path / name) for name in ("a.arrows", "b.arrows")]
    pids = list(map(int, subprocess.run(["sh", "-c", SCRIPT], capture_output=True, check=True).stdout.split()))
    for recorder in recorders:
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(DEADLINE_S) == 0
    mine = "args[2] = 'two-recorders'"
    execs = f"select count(*) from events where event = 'exec' and {mine}"
    query = f"select pid, commands, proc_id, ended, ({execs}) as execs from processes where {mine} order by began"
    for path in (tmp_path / "a.arrows", tmp_path / "b.arrows", tmp_path):
        rows = [json.loads(line) for line in nstrace("sql", "--json", path, query).stdout.splitlines()]
        assert [row["pid"] for row in rows] == pids, path
        assert {len(row["commands"]) for row in rows} == {1} and {row["execs"] for row in rows} == {COUNT}, path
    log = "".join(f"{row['ended']} {row['pid']} ends\n" for row in rows)
    words = ["--from", tmp_path, "--on", "pid", "--time-column", "time", "--json"]
    table = log.replace(" ends", "").replace(" ", ",")
    joined = map(json.loads, nstrace("join", "-", *words, stdin=f"time,pid\n{table}").stdout.splitlines())
    assert [line["process_id"] for line in joined] == [row["proc_id"] for row in rows]
    done = nstrace("translate", "--to-container", "--from", tmp_path, "-", stdin=log)
    assert f"{COUNT} lines, {COUNT} numbers translated" in done.stderr
