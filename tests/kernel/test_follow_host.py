"""nstrace follow where no container engine is needed: privileges, closed pipes, memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from following import Following

from tracer.wiring.streaming import NICE

pytestmark = pytest.mark.kernel
FOLLOW = [sys.executable, "-m", "tracer", "follow"]
TWO = "-all,+bpf,+perfmon"
AS_ROOT = ["setpriv", f"--inh-caps={TWO}", f"--bounding-set={TWO}"]
TWO_CAPABILITIES = [*AS_ROOT, "--reuid=1234", "--regid=1234", "--clear-groups", f"--ambient-caps={TWO}"]


# The checkout, which others may be unable to enter, in a place where they can.
BOUND = 'mount --bind "$1" "$2" && cd "$2" && shift 2 && exec "$@"'


@pytest.fixture
def everyones() -> Iterator[list[str]]:
    """A command line that runs what is behind it in the checkout, as it is for everyone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield ["unshare", "--mount", "sh", "-euc", BOUND, "sh", str(ROOT), folder]


def test_two_capabilities_suffice(everyones: list[str]) -> None:
    executable = Path(sys.executable)
    python = executable.relative_to(ROOT) if executable.is_relative_to(ROOT) else executable
    argv = [*everyones, *TWO_CAPABILITIES, str(python), *FOLLOW[1:], "--json", "host"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follow:
        assert follow.stdout
        assert any(json.loads(line)["event"] == "snapshot" for line in follow.stdout)  # what began ahead of it is ahead
        child = subprocess.run(["sh", "-c", "exit 7"], check=False)
        for line in follow.stdout:
            event = json.loads(line)
            if event["event"] == "exit" and event["exit_code"] == child.returncode:
                break
        assert event["uid"] == 0
        follow.send_signal(signal.SIGINT)
        stderr = follow.communicate(timeout=30)[1]
    assert "0 lost" in stderr
    assert stderr.count("without CAP_SYS_PTRACE") == 1
    assert follow.returncode == 0


def test_root_that_cannot_become_another_user_reads_nothing() -> None:
    done = subprocess.run([*AS_ROOT, *FOLLOW, "--json", "host"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (4, "")
    assert "root's privileges cannot be given up" in done.stderr
    assert "run it as another user" in done.stderr


def test_a_closed_pipe_is_a_quiet_end() -> None:
    with subprocess.Popen([*FOLLOW, "host"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follow:
        assert follow.stdout
        follow.stdout.readline()
        follow.stdout.close()
        while follow.poll() is None:
            subprocess.run(["true"], check=True)
        assert follow.stderr
        assert follow.stderr.read() == ""
    assert follow.returncode == 0


def test_memory_is_as_the_readme_says() -> None:
    with subprocess.Popen([*FOLLOW, "-q", "host"], stdout=subprocess.PIPE, text=True) as follow:
        assert follow.stdout
        follow.stdout.readline()
        for _ in range(200):
            subprocess.run(["true"], check=True)
        status = Path(f"/proc/{follow.pid}/status").read_text()
        follow.terminate()
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    assert peak_kib < 60 * 1024


def test_the_traced_go_first_where_cpus_are_scarce() -> None:
    with Following("host") as follow:
        follow.ready()
        assert os.getpriority(os.PRIO_PROCESS, follow.process.pid) == os.getpriority(os.PRIO_PROCESS, 0) + NICE
        follow.stop()
