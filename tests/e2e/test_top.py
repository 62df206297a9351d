"""nstrace top on a real terminal (tmux), with a real container: what it shows is what the kernel says, and the terminal
is as it was, however it ends."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from builders import WEB, batch, cgroup
from conftest import ROOT, wait_for
from oracle import nspid
from recordings import record, storm
from screens import Terminal

pytest.importorskip("textual", reason="needs textual: scripts/setup")

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
NOBODY = 65534
WORKLOAD = "sleep 600 & sleep 601 & while true; do sleep 0.2; sh -c 'exit 3'; done"
ZOMBIE = ["sh", "-c", "sleep 2 & exec sleep 602"]  # whose parent does not wait for it
REAPED = "(sleep 2 & exec sleep 602) & while :; do sleep 0.2; done"  # as soon as its parent ends


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if not shutil.which("tmux"):
        pytest.skip("needs tmux: apt-get install tmux")
    found = Terminal(tmp_path / "tmux", tmp_path, 100, 30)
    yield found
    found.close()


def begin(terminal: Terminal, *args: str) -> None:
    """Run nstrace top in it."""
    command = shlex.join([sys.executable, "-m", "tracer", "top", *args])
    terminal.type(
        f"clear; stty -a | md5sum >before; PYTHONPATH={ROOT} {command}; echo ended $?; stty -a | md5sum >after"
    )


def processes(name: str) -> dict[str, int]:
    """Those of the nstrace top of this container: the one that began, the one that reads, the one that draws."""
    parents, uids = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            words = (status.parent / "cmdline").read_bytes().split(b"\0")
            if words[1:4] == [b"-m", b"tracer", b"top"] and name.encode() in words:
                facts = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
                pid = int(status.parent.name)
                parents[pid], uids[pid] = int(facts["PPid"]), int(facts["Uid"].split()[0])
    began = [pid for pid, parent in parents.items() if parent not in parents]
    children = [pid for pid, parent in parents.items() if parent in began]
    return {
        **dict(zip(["began"], began, strict=False)),
        **{"draws" if uids[pid] == NOBODY else "reads": pid for pid in children},
    }


def is_as_before(folder: Path) -> bool:
    """Whether the settings of the terminal are those from before."""
    return (folder / "before").read_text() == (folder / "after").read_text() != ""


def test_it_shows_what_the_kernel_says(start_container: Start, terminal: Terminal, tmp_path: Path) -> None:
    container = start_container(["sh", "-c", WORKLOAD])
    begin(terminal, container.name)
    terminal.await_text(r"(?s)short-lived.*root +S [^\n]*sh -c.*root +S [^\n]*sleep 600.*root +S [^\n]*sleep 601")
    rows = re.findall(r"^ +(\d+) +(\d+) \S+ +S .*?(sleep 60[01]|sh -c)", terminal.screen(), re.MULTILINE)
    assert {command for *_numbers, command in rows} == {"sleep 600", "sleep 601", "sh -c"}
    for host, inside, _command in rows:
        assert nspid(int(host)) == [int(host), int(inside)]
    shown = subprocess.run(
        [sys.executable, "-m", "tracer", "ps", "-q", container.name],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert {host for host, *_others in rows} <= set(shown.stdout.split())
    terminal.key("q")
    terminal.await_text("ended 0")
    terminal.await_prompt()
    assert is_as_before(tmp_path)


def test_a_zombie_says_so(start_container: Start, terminal: Terminal) -> None:
    container = start_container(ZOMBIE)
    begin(terminal, container.name)
    terminal.await_text(r"Z .*\[.*not reaped by \d+\]")
    container.reload()
    assert f"not reaped by {container.attrs['State']['Pid']}]" in terminal.screen()
    terminal.key("q")
    terminal.await_text("ended 0")


def test_a_zombie_that_is_reaped_is_gone_soon(start_container: Start, terminal: Terminal) -> None:
    container = start_container(["sh", "-c", REAPED])
    begin(terminal, container.name)
    terminal.await_text(r"Z .*\[.*not reaped by \d+\]")
    ((host, parent),) = re.findall(r"^ +(\d+) +\d+ \S+ +Z .*reaped by (\d+)", terminal.screen(), re.MULTILINE)
    os.kill(int(parent), signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{host}").exists())
    gone_s = time.monotonic()
    wait_for(lambda: "not reaped" not in terminal.screen())
    print(f"shown for {time.monotonic() - gone_s:.1f} s after it was reaped")
    terminal.key("q")
    terminal.await_text("ended 0")


@pytest.mark.parametrize(("who", "number", "code"), [
    ("began", signal.SIGTERM, 0), ("draws", signal.SIGTERM, 0), ("draws", signal.SIGKILL, 1),
    ("draws", signal.SIGSEGV, 1), ("reads", signal.SIGKILL, 1),
])  # fmt: skip
def test_however_it_ends_the_terminal_is_as_it_was(
    who: str, number: int, code: int, start_container: Start, terminal: Terminal, tmp_path: Path
) -> None:
    container = start_container()
    begin(terminal, container.name)
    terminal.await_text("1 living")
    found = processes(container.name)
    assert set(found) == {"began", "reads", "draws"}
    os.kill(found[who], number)
    terminal.await_text(f"ended {code}")
    terminal.await_prompt()
    assert is_as_before(tmp_path)
    wait_for(lambda: not processes(container.name))


def test_of_the_first_process_that_is_killed_the_screen_clears_up(start_container: Start, terminal: Terminal) -> None:
    """Nobody else can: the shell has its own settings of the terminal, but knows no screen, mouse or cursor."""
    container = start_container()
    begin(terminal, container.name)
    terminal.await_text("1 living")
    assert terminal.modes() == (True, True, False)
    os.kill(processes(container.name)["began"], signal.SIGKILL)
    wait_for(lambda: not processes(container.name))
    wait_for(lambda: terminal.modes() == (False, False, True))
    terminal.type("echo $((6 * 7)) is typed")
    terminal.await_text("42 is typed")


def test_a_renamed_container_has_its_new_name(start_container: Start, terminal: Terminal) -> None:
    container = start_container()
    begin(terminal, container.name)
    terminal.await_text(f"{container.name}  .*1 living")
    container.rename(f"{container.name}-b")  # in which nothing happens
    terminal.await_text(f"(?m)^{container.name}-b  .*1 living.*container renamed")
    terminal.key("q")
    terminal.await_text("ended 0")


def test_recording_and_inspecting(start_container: Start, terminal: Terminal, tmp_path: Path) -> None:
    container = start_container(["sh", "-c", WORKLOAD])
    begin(terminal, container.name)
    terminal.await_text("sleep 600")
    terminal.key("Down")
    terminal.key("Enter")
    terminal.await_text("(?s)PIDs, host first.*nstrace inspect")
    terminal.key("Escape")
    terminal.await_text("short-lived")  # Escape and a key at once would be one key, with Alt
    terminal.key("w")
    terminal.await_text("recording to ")
    wait_for(lambda: any(path.stat().st_size > 4000 for path in tmp_path.glob("*.arrows")))
    time.sleep(1)
    terminal.key("w")
    terminal.await_text(r"wrote .*arrows: \d+ rows")
    (file,) = tmp_path.glob("*.arrows")
    terminal.key("w")
    terminal.await_text("recording to ")
    wait_for(lambda: any(path.stat().st_size > 4000 for path in tmp_path.glob("*.arrows") if path != file))
    terminal.key("q")
    terminal.await_text(r"(?s)nstrace: wrote .*arrows: \d+ rows.*ended 0")
    terminal.await_prompt()
    begin(terminal, "--from", file.name)
    terminal.await_text("(?s)●.*sleep 601")
    terminal.key("q")
    terminal.await_text("ended 0")


def test_errors_are_said_on_a_plain_terminal(terminal: Terminal) -> None:
    begin(terminal, "nobody-here")
    terminal.await_text("no container named 'nobody-here'")
    terminal.await_text("ended 3")


def test_a_filter_that_is_typed(start_container: Start, terminal: Terminal) -> None:
    container = start_container(["sh", "-c", WORKLOAD])
    begin(terminal, container.name)
    terminal.await_text(r"sleep 600")
    terminal.key("F")
    terminal.type("comn = 'sleep'")
    terminal.await_text("there is no column comn, at character 1: comn = 'sleep'; did you mean comm")
    terminal.key("C-u")
    terminal.type("comm = 'sleep' and args[2] like '60%' and user = 'root' and state = 'S'")
    terminal.await_text("filter: comm = ")
    terminal.await_text(r"(?s)living.*sleep 600\s.*sleep 601\s*\n\s*\n")
    assert "sh -c" not in terminal.screen()
    terminal.key("Escape")
    terminal.await_text("sh -c")
    terminal.key("q")
    terminal.await_text("ended 0")


def test_a_target_that_means_nothing_is_said(terminal: Terminal, start_container: Start) -> None:
    start_container()  # so that there is an engine
    begin(terminal, "nobody-is-called-so")
    terminal.await_text(r"(?s)no container named 'nobody-is-called-so'.*nstrace follow -F waits for it.*ended 3")
    begin(terminal, "nobody-is-called-s*")
    terminal.await_text("no running container matches nobody-is-called-s")
    terminal.key("q")
    terminal.await_text("ended 0")


def test_a_target_that_is_not_in_a_recording_is_said(terminal: Terminal, tmp_path: Path) -> None:
    record(tmp_path / "web.arrows", [batch(cgroup(7, WEB)), storm(1, 100)])
    begin(terminal, "--from", "web.arrows", "nobody")
    terminal.await_text(r"(?s)no process in web.arrows matches nobody.*containers in it: 'web'.*ended 3")


def test_a_brief_process_that_nobody_reaps(start_container: Start, terminal: Terminal) -> None:
    container = start_container(["sh", "-c", "sleep 8; true & true & exec sleep 603"])
    begin(terminal, container.name)
    terminal.await_text("sleep 8")
    terminal.await_text(r"(?s)short-lived.*Z [^\n]*exit 0, not reaped by \d+\]\n.*Z [^\n]*not reaped by \d+\]")
    container.reload()
    init = container.attrs["State"]["Pid"]
    rows = re.findall(r"^ +(\d+) +(\d+) \S+ +Z .*not reaped by (\d+)\]", terminal.screen(), re.MULTILINE)
    assert len(rows) == 2
    for host, inside, parent in rows:
        assert (nspid(int(host)), int(parent)) == ([int(host), int(inside)], init)
        assert "Z (zombie)" in Path(f"/proc/{host}/status").read_text()
    terminal.key("q")
    terminal.await_text("ended 0")
