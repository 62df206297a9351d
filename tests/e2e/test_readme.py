"""What README says to type is typed, line by line, as it is printed there: with sudo, and Docker on its own socket."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import ENGINE, ROOT
from engine_processes import children
from oracle import DEADLINE_S

pytestmark = pytest.mark.e2e
BLOCK = re.compile(r"^( *)```(sh|console)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
# In a mount namespace of its own: what is written into these folders, and Docker's socket, is there for the test alone.
PLACE = """
set -e
for over in "$3" /usr/local/bin /run; do
    mkdir -p "$1$over/upper" "$1$over/work"
    mount -t overlay overlay -o "lowerdir=$over,upperdir=$1$over/upper,workdir=$1$over/work" "$over"
done
rm -f /run/docker.sock
ln -s "$2" /run/docker.sock
exec sleep infinity
"""


def blocks() -> list[tuple[str, str, bool]]:
    """Kind, text, and whether the line above says how it is ended, for each block of commands in README."""
    text = (ROOT / "README.md").read_text()
    found = []
    for match in BLOCK.finditer(text):
        indent, kind, inside = match.groups()
        above = text[: match.start()].rstrip().rpartition("\n")[2]
        found.append((kind, re.sub(f"^{indent}", "", inside, flags=re.MULTILINE), "Ctrl-C" in above))
    return found


class Shell:
    """Runs lines as bash does in the checkout, in the place that was made. pid: of a process in there."""

    def __init__(self, pid: int) -> None:
        enter = ["nsenter", "-t", str(pid), "-m", f"--wdns={ROOT}"]
        self._argv = [*enter, "env", "-u", "DOCKER_HOST", "bash", "-c"]

    def run(self, line: str) -> str:
        """What a line prints. It has to succeed."""
        done = self.tried(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def tried(self, line: str) -> subprocess.CompletedProcess[str]:
        """How a line ends."""
        return subprocess.run([*self._argv, line], capture_output=True, text=True, timeout=120, check=False)

    def run_until(self, line: str, shown: str) -> str:
        """What a line prints that runs until Ctrl-C, which comes when it has printed this."""
        argv = [*self._argv, line]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
            assert process.stdout
            printed = ""
            while shown not in printed:
                printed += process.stdout.readline() or pytest.fail(f"{line}\n{printed}")
            os.killpg(process.pid, signal.SIGINT)
            printed += process.stdout.read()
        assert process.returncode == 0
        return printed


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    subprocess.run([ROOT / "scripts/image", "busybox"], check=True)
    argv = ["unshare", "-m", "sh", "-c", PLACE, "sh", str(tmp_path), ENGINE.removeprefix("unix://"), str(ROOT)]
    with subprocess.Popen(argv) as place:
        try:
            until = time.monotonic() + DEADLINE_S
            while Path(f"/proc/{place.pid}/comm").read_text() != "sleep\n":
                assert place.poll() is None and time.monotonic() < until
                time.sleep(0.01)
            yield Shell(place.pid)
        finally:
            place.kill()
            subprocess.run(["docker", "rm", "-f", "web"], capture_output=True, check=False)


def without_numbers(text: str) -> list[str]:
    """Lines in which every number is one, and so is every space."""
    return [re.sub(r" +", " ", re.sub(r"\d+", "0", line)).strip() for line in text.splitlines()]


def numbers_of_children(init: int) -> list[int]:
    """The numbers that the children of a container's first process have inside."""
    found = []
    for child in children(init):
        with suppress(FileNotFoundError, ProcessLookupError):
            status = Path(f"/proc/{child}/status").read_text()
            found.append(int(status.split("NSpid:")[1].split("\n")[0].split()[-1]))
    return found


def give_number(number: int, shell: Shell) -> None:
    """Let a process in web have this number, which lives for a second."""
    init = shell.run("docker inspect -f '{{.State.Pid}}' web").strip()
    last = f"echo {number - 1} >/proc/sys/kernel/ns_last_pid"  # of the writer's namespace
    until = time.monotonic() + DEADLINE_S
    while number not in numbers_of_children(int(init)):
        assert time.monotonic() < until
        subprocess.run(["nsenter", "-t", init, "-p", "sh", "-c", last], check=True)
        time.sleep(0.05)


def check_console(shell: Shell, text: str) -> None:
    """The command prints what stands below it, but for the numbers."""
    command, printed = text.removeprefix("$ ").split("\n", 1)
    for _ in range(10):
        give_number(int(command.rpartition("/")[2]), shell)
        done = shell.tried(command)
        if not done.stderr.startswith("nstrace: no process"):  # it has ended meanwhile
            break
    assert done.returncode == 0, done.stderr
    assert without_numbers(done.stdout) == without_numbers(printed)


def test_every_block_does_what_it_says(shell: Shell) -> None:
    printed: dict[str, str] = {}
    for kind, text, is_endless in blocks():
        if kind == "console":
            check_console(shell, text)
        elif is_endless:
            printed[text.strip()] = shell.run_until(text.strip(), " exec ")
        else:
            printed |= {line: shell.run(line) for line in text.splitlines()}
    assert any(" exec " in text for line, text in printed.items() if "replay" in line)
    host = printed["sudo nstrace translate web/1"].split(" is PID ")[1].split()[0]
    assert f"{host} is PID 1 in web" in next(text for line, text in printed.items() if "State.Pid" in line)
    assert f"web/1 was PID {host} " in printed["nstrace translate --from web.arrows --at -1s web/1"]
    check_answers(printed)


def check_answers(printed: dict[str, str]) -> None:
    """What the section Ask says that its commands show."""
    asked = {
        line.split("nstrace ")[1].split(" web.arrows")[0]: text for line, text in printed.items() if "nstrace " in line
    }
    header, *execs = asked["""follow --where "event = 'exec' and args like 'sleep%'" web"""].splitlines()
    assert header.startswith("TIME") and execs and all(" exec " in line and " sleep " in line for line in execs)
    header, *slow = asked['replay --where "duration_ns > 1e9" --fields time,pids,comm,duration_ns'].splitlines()
    assert header.split() == ["TIME", "PIDS", "COMM", "DURATION_NS"]
    assert slow and all(int(line.split()[-1]) > 10**9 for line in slow)
    _header, first, *more = asked["replay --tree --time relative"].splitlines()
    assert first.split()[:2] == ["0.000000", "snapshot"]
    assert any(" fork " in line and line.endswith("   sh") for line in more)  # below its parent
    log = next(text for line, text in printed.items() if line.startswith("docker logs -t"))
    assert re.search(r"Z started \d+\[host:\d+\]$", log, re.MULTILINE), log
    assert "web" in asked["summary"] and "sleep" in asked["summary"]
    assert "sleep" in next(text for line, text in asked.items() if line.startswith("sql"))


def test_there_are_as_many_commands_as_it_says() -> None:
    lines = [line for kind, text, _endless in blocks() for line in text.splitlines() if kind == "sh"]
    assert {"follow", "ps", "translate", "record", "replay", "run"} <= {
        line.split("nstrace ")[1].split()[0] for line in lines if "nstrace " in line
    }
