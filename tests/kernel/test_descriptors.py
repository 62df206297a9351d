"""Nobody but the reader holds the ring, a map, a program or a link: not what it starts, and not what it forks."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from conftest import wait_for
from engine_processes import children, name_of

from tracer.kernel.loader_client import Loading
from tracer.kernel.options import LoadOptions
from tracer.kernel.trace import Trace

pytestmark = pytest.mark.kernel
NSTRACE = [sys.executable, "-m", "tracer"]
STDIO = {0, 1, 2}


def descriptors(pid: int) -> dict[int, str]:
    """What a process holds: descriptor -> what it leads to."""
    held = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            held[int(entry.name)] = str(entry.readlink())
    return held


def inheritable(pid: int) -> dict[int, str]:
    """Those of them that a program which the process starts would have as well."""
    found = {}
    for fd, leads_to in descriptors(pid).items():
        with suppress(FileNotFoundError):
            words = Path(f"/proc/{pid}/fdinfo/{fd}").read_text().split()
            if not int(words[words.index("flags:") + 1], 8) & os.O_CLOEXEC:
                found[fd] = leads_to
    return found


def maps_of_bpf(pid: int) -> list[str]:
    """The mappings of a process that show a map of eBPF: the ring."""
    return [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "bpf-map" in line]


@contextmanager
def running(*argv: str) -> Iterator[int]:
    """nstrace with these arguments; its PID."""
    process = subprocess.Popen([*NSTRACE, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: bool(maps_of_bpf(process.pid)))
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_a_command_has_what_its_user_passed_and_nothing_of_ours(tmp_path: Path) -> None:
    """As under a shell; so has a process that the command starts."""
    passed = tmp_path / "passed"
    passed.write_text("hello")
    with passed.open() as file:
        script = f"ls -l /proc/self/fd; (ls -l /proc/self/fd; :); cat /proc/self/fd/{file.fileno()}"
        done = subprocess.run(
            [*NSTRACE, "run", "-q", "--to", str(tmp_path / "events"), "--", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            pass_fds=(file.fileno(),),
            timeout=60,
        )
        held = [
            (int(fd), leads_to)
            for fd, leads_to in re.findall(r"(\d+) -> (.+)", done.stdout)
            if not re.fullmatch(r"/proc/\d+/fd", leads_to)  # of ls itself
        ]
        assert done.stdout.endswith("hello"), done.stderr
        assert Counter(fd for fd, _ in held) == dict.fromkeys(STDIO | {file.fileno()}, 2)
        assert [leads_to for fd, leads_to in held if fd == file.fileno()] == 2 * [str(passed)]


def test_the_first_process_of_a_namespace_holds_nothing_of_ours(tmp_path: Path) -> None:
    with running("run", "--to", str(tmp_path / "events"), "--", "sleep", "600") as nstrace:
        wait_for(lambda: [name_of(child) for pid in children(nstrace) for child in children(pid)] == ["sleep"])
        (init,) = (child for child in children(nstrace) if children(child))
        (command,) = children(init)
        assert set(descriptors(init)) == set(descriptors(command)) == STDIO
        assert not maps_of_bpf(init)
        assert not inheritable(nstrace).keys() - STDIO


@pytest.mark.parametrize("verb", ["follow", "record"])
def test_all_that_a_reader_opens_is_close_on_exec(verb: str, tmp_path: Path) -> None:
    more = ("-w", str(tmp_path / "run.arrows")) if verb == "record" else ("--json",)
    with running(verb, *more, "all") as nstrace:
        wait_for(lambda: any("eventpoll" in leads_to for leads_to in descriptors(nstrace).values()))
        assert inheritable(nstrace).keys() == STDIO
        assert sum("bpf" in leads_to for leads_to in descriptors(nstrace).values()) > 8


def test_all_that_the_loader_opens_is_close_on_exec() -> None:
    """Looked at when it has loaded everything and waits for our answer."""
    options = LoadOptions()
    loading = Loading(options)
    select.select([loading._ours], [], [], 60)
    held, left = descriptors(loading._child.pid), inheritable(loading._child.pid)
    with closing(Trace(loading.wait(), options)):
        assert sum("bpf" in leads_to for leads_to in held.values()) > 8
        assert left.keys() == STDIO
