"""What is left of a recording when the recorder dies, or the disk is full. NSTRACE_LONG=1 kills it 200 times."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import polars
import pytest
from conftest import wait_for

pytestmark = pytest.mark.kernel
NSTRACE = [sys.executable, "-m", "tracer"]
KILLS = 200 if os.environ.get("NSTRACE_LONG") == "1" else 6
FLUSH_NS = 1_000_000_000  # the interval; as much again for a machine that is busy
STORM = "i=0; while :; do /bin/echo storm-$i; i=$((i+1)); done"  # its output is the ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Path]:
    """A storm of processes that write, each, its own line when it runs."""
    path = tmp_path / "ledger"
    with path.open("wb") as out:
        shell = subprocess.Popen(["sh", "-c", STORM], stdout=out)
    yield path
    shell.kill()
    shell.wait()


def numbers_of(events: polars.DataFrame) -> list[int]:
    """The numbers in the arguments of the storm's echoes, in order."""
    execs = events.filter(polars.col("event") == "exec")["args"].to_list()
    return [int(found[1]) for args in execs if (found := re.fullmatch(rb"/bin/echo\0storm-(\d+)\0", args))]


def replay(path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NSTRACE, "replay", str(path), *args], capture_output=True, text=True, timeout=60)


def has_begun(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 10_000


@pytest.mark.timeout(30 * KILLS)
def test_kill_9_loses_no_more_than_the_last_interval(ledger: Path, tmp_path: Path) -> None:
    for number in range(KILLS):
        path = tmp_path / f"{number}.arrows"
        recorder = subprocess.Popen([*NSTRACE, "record", "-q", "-w", path, "host"])
        wait_for(partial(has_begun, path))
        time.sleep(random.uniform(0, 1.5))  # a random moment is what is tested
        killed_ns = time.time_ns()
        recorder.kill()
        assert recorder.wait() == -signal.SIGKILL
        assert numbers_lost(path, ledger, killed_ns) == []
        done = replay(path, "--json", "--require-complete")
        assert "was not closed cleanly" in done.stderr
        assert done.returncode == 5
        assert done.stdout.count("\n") > 0
        path.unlink()


def numbers_lost(path: Path, ledger: Path, killed_ns: int) -> list[int]:
    """Of the storm's processes those that ran long enough before the kill and are not in the recording."""
    with path.open("rb") as file:
        events = polars.concat(list(whole_batches(file.read())))
    told = numbers_of(events)
    assert told == list(range(told[0], told[-1] + 1))
    last_ns = events["time"].cast(polars.Int64).max()
    assert isinstance(last_ns, int)
    assert killed_ns - last_ns < 2 * FLUSH_NS
    written = {int(line[6:]) for line in ledger.read_bytes().split()[:-1]}
    return [number for number in range(told[0], told[-1]) if number not in written]


def whole_batches(data: bytes) -> Iterator[polars.DataFrame]:
    """As any reader of Arrow gets them: until the stream breaks off."""
    import pyarrow

    reader = pyarrow.ipc.open_stream(data)
    while True:
        try:
            yield polars.from_arrow(reader.read_next_batch())  # type: ignore[misc]
        except (StopIteration, pyarrow.ArrowInvalid, OSError):
            return


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_ends_the_recording_not_the_view(ledger: Path, small_disk: Path, tmp_path: Path) -> None:
    path, live = small_disk / "host.arrows", tmp_path / "live.jsonl"
    argv = [*NSTRACE, "follow", "--json", "-w", str(path), "host"]
    said = tmp_path / "said"
    with live.open("wb") as out, said.open("wb") as err:
        following = subprocess.Popen(argv, stdout=out, stderr=err)
    wait_for(lambda: "No space left on device" in said.read_text() or following.poll() is not None)
    shown = live.stat().st_size
    wait_for(lambda: live.stat().st_size > shown + 10_000 or following.poll() is not None)
    following.send_signal(signal.SIGINT)
    assert following.wait(30) == 1
    assert f"nstrace: recording to {path} ends here: No space left on device" in said.read_text()
    done = replay(path, "--json")
    assert done.returncode == 0
    assert "was not closed cleanly" in done.stderr
    assert live.read_text().startswith(done.stdout)
    assert done.stdout.count("\n") > 100


def test_a_full_disk_is_the_end_of_record(ledger: Path, small_disk: Path) -> None:
    path = small_disk / "host.arrows"
    done = subprocess.run([*NSTRACE, "record", "-w", path, "host"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"nstrace: recording to {path} ends here: No space left on device" in done.stderr
    assert replay(path).returncode == 0
