"""Logs joined with a recording: who wrote a line is asked by its number and its time, while numbers are reused.

The truth is the kernel's: each process sends its number inside and the time, and the kernel adds its PID on the host.
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
from pathlib import Path

import pytest
from logs import NR, Log, nstrace, recorded
from oracle import Pair, Receiver
from stack import Space, eventually, numbers_of_proc, size

pytestmark = pytest.mark.kernel
EACH = size(5000, 20_000)
STALLED, READING = 1500, 1000  # lines that are written while the recorder stands still, and while it does not


def next_space(inums: list[int], *argv: object) -> Space:
    """A namespace with the same inode number as the ones before: the kernel gives the lowest away that is free."""
    others: list[Space] = []
    space = Space(*argv, go=False)
    while inums not in ([], [space.inum]) and len(others) < 20:
        others.append(space)  # it holds a lower number meanwhile
        space = Space(*argv, go=False)
    for other in others:
        other.kill()
    return space


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory, workload: Path) -> Log:
    """Two namespaces one after the other, in which one number is given away again and again."""
    arrows = tmp_path_factory.mktemp("logs") / "x.arrows"
    inums: list[int] = []
    with Receiver() as receiver, recorded(arrows):
        for _life in range(2):
            space = next_space(inums, workload, "reuse", receiver.path, EACH, NR)
            inums.append(space.inum)
            space.go()
            space.process.wait(60)
            space.kill()
        pairs = receiver.wait(2 * EACH)
    assert inums[0] == inums[1], "the inode number was not reused"
    return Log(arrows, pairs, f"pidns:{inums[0]}")


def test_each_line_is_given_to_the_process_that_wrote_it(log: Log) -> None:
    assert log.translated(log.lines(), "--lag", "0") == log.truth


@pytest.mark.parametrize("lag", ["1ms", "100ms"])
def test_a_time_that_several_processes_may_mean_is_no_answer(log: Log, lag: str) -> None:
    for found, truth in zip(log.translated(log.lines(), "--lag", lag), log.truth, strict=True):
        assert found in (None, truth)


@pytest.mark.parametrize("digits", [0, 3, 6])
def test_a_time_with_fewer_digits_is_never_another_process(log: Log, digits: int) -> None:
    lines = []
    for pair in log.pairs:
        second, rest = divmod(log.written_ns(pair), 10**9)
        fraction = f".{rest:09}"[: digits + 1] if digits else ""
        lines.append(f"{second}{fraction} worker[{NR}]: line {pair.index}\n")
    found = log.translated(lines, "--lag", "0")
    assert all(one in (None, truth) for one, truth in zip(found, log.truth, strict=True))
    assert digits < 6 or sum(one is not None for one in found) > len(found) * 0.9


def test_lines_of_json(log: Log) -> None:
    lines = [json.dumps({"at": log.written_ns(pair), "who": {"pid": NR}, "n": pair.index}) + "\n" for pair in log.pairs]
    keys = ["--ns-pid-key", "who.pid", "--in", log.where, "--time-key", "at"]
    shown = nstrace("translate", "--from", log.arrows, *keys, "--lag", "0", "-", stdin="".join(lines))
    for line, before, host in zip(shown.splitlines(), lines, log.truth, strict=True):
        said = json.loads(line)
        assert line.startswith(before.rstrip("}\n"))
        assert said["process"]["pid"] == host
        assert said["process"]["pids"] == [host, NR]


def test_a_table_is_joined_with_the_processes_that_wrote_it(log: Log) -> None:
    rows = log.joined("--on", "nr", "--in", log.where)
    assert [(row["process_pids"], row["process_unknown"]) for row in rows] == [([host, NR], None) for host in log.truth]


def test_where_events_were_lost_a_line_has_its_writer_or_none(
    tmp_path: Path, workload: Path, receiver: Receiver
) -> None:
    """The recorder stands still again and again, and its ring overflows meanwhile: forks, exits and whole lives of
    processes with the number are missing, and others with the same number go on."""
    arrows, count = tmp_path / "x.arrows", 2 * EACH
    with recorded(arrows, "--buffer-size", "0.25") as recorder:
        space = Space(workload, "reuse", receiver.path, count, NR)
        written = 0
        while written < count:
            for number, lines in ((signal.SIGSTOP, STALLED), (signal.SIGCONT, READING)):
                recorder.send_signal(number)
                written = min(count, written + lines)
                receiver.wait(written)
        space.kill()
    log = Log(arrows, receiver.pairs, f"pidns:{space.inum}")
    assert log.lost() > 1000
    for found in (
        log.translated(log.lines(), "--lag", "0"),
        [row["process_pid"] for row in log.joined("--on", "nr", "--in", log.where)],
    ):
        wrong = [(one, truth) for one, truth in zip(found, log.truth, strict=True) if one not in (None, truth)]
        assert wrong == []
        assert 1000 < found.count(None) < count - 1000


def test_a_line_of_the_kernels_log_is_given_to_who_wrote_it(tmp_path: Path) -> None:
    """dmesg counts seconds since boot by another clock than that of events; with -T it adds two times in whole seconds,
    so that what it shows may be too early."""
    kmsg, word = Path("/dev/kmsg"), f"nstrace-test-{secrets.token_hex(4)}"
    if not kmsg.exists():
        pytest.skip("this host has no /dev/kmsg")
    write = f"echo {NR - 1} >/proc/sys/kernel/ns_last_pid; sh -c 'echo \"{word}[$$]: x\" >{kmsg}; read end' & wait"
    with recorded(tmp_path / "x.arrows"):
        space = Space("sh", "-c", f"exec 3<&0; {write.replace('read end', 'read end <&3')}")
        eventually(lambda: word in dmesg())
        (host,) = [tgid for nr, tgid in numbers_of_proc(space.inum).items() if nr == NR]
        lines = [line + "\n" for text in (dmesg(), dmesg("-T")) for line in text.splitlines() if word in line]
        space.kill()
    assert len(lines) == 2
    pair = Pair(host, NR, 1, 0, 0, (), space.inum)
    log = Log(tmp_path / "x.arrows", [pair], f"pidns:{space.inum}")
    since_boot, by_the_wall = log.translated(lines)
    assert since_boot == host
    assert by_the_wall in (None, host)


def dmesg(*options: str) -> str:
    return subprocess.run(["dmesg", *options], capture_output=True, text=True, check=True).stdout
