"""Lets nstrace follow storms, churn and reuse for a while, and holds what it tells against what was done.

  scripts/soak                 five minutes
  scripts/soak --minutes 600   a night
  scripts/soak --long          the long forms of the stress tests first (a quarter of an hour)
  scripts/soak --long --write  and put the figures of both into docs/stress.md
  scripts/soak --long --resume of the long forms only those that have failed the last time; the others' figures stay
  scripts/soak -- ARG...       options for nstrace follow, such as --buffer-size 0.25

Storms run in namespaces of their own; beside them containers of a real engine (scripts/engine) are started, killed,
restarted and removed, with processes put into them, and held against what the engine itself says. Prints the account,
memory, descriptors and lag at the end. Exit code 1: something was wrong.
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import figures
from lives import Life, Stream, lives_of_one, missing_of, wrong_about
from oracle import WORKLOAD, WORKLOAD_SOURCE, Ledger, Receiver, compile_static
from stack import Space, eventually

from bench import page, report

ROOT = Path(__file__).resolve().parents[1]
SAMPLE_EVERY = 64  # lines, for the lag
KEPT_LAGS = 1_000_000
KEPT_EVENTS = 100_000  # of containers
IMAGE = "nstrace-soak"
SLACK_KB = 40_000  # memory may grow so much after the first minute: tables that fill, an allocator's rest


class Told:
    """What nstrace tells: counts by PID namespace, who lives, and how late each line is."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self.events = Counter[str]()
        self.forks, self.exits = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
        self.tgids: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self.visitors: set[str] = set()  # put into a namespace from outside, by other tools on this machine
        self.lost = 0
        self.lags_ms: deque[float] = deque(maxlen=KEPT_LAGS)
        self.of_containers: deque[dict[str, Any]] = deque(maxlen=KEPT_EVENTS)
        self._thread = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._thread.start()

    def _read(self, lines: Iterator[bytes]) -> None:
        for number, line in enumerate(lines):
            event = json.loads(line)
            kind = event["event"]
            self.events[kind] += 1
            if number % SAMPLE_EVERY == 0 and kind in ("fork", "exec", "exit") and not event.get("inferred"):
                self.lags_ms.append((time.clock_gettime_ns(time.CLOCK_BOOTTIME) - event["ts_ns"]) / 1e6)
            if event.get("container"):
                self.of_containers.append(event)
            if kind == "gap":
                self.lost += event["lost"]
            elif kind in ("fork", "exit"):
                if kind == "fork" and event["ns_pid"] != 1 and event["ns_ppid"] == 0:
                    self.visitors.add(event["proc_id"])
                if event["proc_id"] in self.visitors:
                    continue
                where = (event["pidns"], event["pidns_gen"])
                (self.forks if kind == "fork" else self.exits)[where] += 1
                if kind == "fork":
                    self.tgids.setdefault(where, []).append((event["pid"], event["ns_pid"]))

    def join(self) -> None:
        self._thread.join()

    def space_of(self, space: Space) -> tuple[int, int] | None:
        """The namespace with its generation; None: its first process has not been told yet."""
        return next(
            (where for where in list(self.forks) if where[0] == space.inum and (space.init, 1) in self.tgids[where]),
            None,
        )

    def forget(self, where: tuple[int, int]) -> None:
        for counts in (self.forks, self.exits, self.tgids):
            counts.pop(where, None)


class Soak:
    """Rounds of work, each checked when nstrace has told its end."""

    def __init__(self, workload: Path, told: Told) -> None:
        self.workload, self.told = workload, told
        self.rounds = Counter[str]()
        self.wrong: list[str] = []

    def one(self) -> None:
        what = random.choice(
            [self.storm, self.storm_of_forks, self.crowd, self.round, self.pairs, self.threads, self.churn]
        )
        what()
        self.rounds[what.__name__] += 1

    def storm(self) -> None:
        self._checked(Space(self.workload, "storm", 2000, os.cpu_count() or 1, "exec"))

    def storm_of_forks(self) -> None:
        self._checked(Space(self.workload, "storm", 10_000, os.cpu_count() or 1))

    def round(self) -> None:
        self._checked(Space(self.workload, "round", 2000))

    def threads(self) -> None:
        self._checked(Space(self.workload, "threads-storm", 200, 8))

    def crowd(self) -> None:
        space = Space(self.workload, "crowd", 1000)
        forks = Ledger.parse(space.line()).forks
        os.kill(space.init, signal.SIGKILL)  # the first process, with a thousand alive
        space.kill()
        self._check(space, forks)

    def pairs(self) -> None:
        """Every pair of PIDs, against the kernel's own."""
        with Receiver() as receiver:
            space = Space(self.workload, "reuse", receiver.path, 500, 777)
            forks = Ledger.parse(space.line()).forks
            truth = [(pair.host_tgid, pair.ns_pid) for pair in receiver.wait(500)]
        where = self._ended(space)
        if where and not self.told.lost and self.told.tgids[where][1:] != truth:
            self.wrong.append("pairs: a PID was told that is not the kernel's")
        self._compare("pairs", where, forks)

    def churn(self) -> None:
        with Receiver() as receiver:
            subprocess.run([self.workload, "churn", receiver.path, "50"], check=True, stdout=subprocess.DEVNULL)

    def _checked(self, space: Space) -> None:
        forks = Ledger.parse(space.line()).forks
        eventually(space.has_ended)
        self._check(space, forks)

    def _check(self, space: Space, forks: int) -> None:
        self._compare(" ".join(map(str, space.process.args[8:])), self._ended(space), forks)  # type: ignore[index]

    def _ended(self, space: Space) -> tuple[int, int] | None:
        """Wait until as many have ended as were born, or something was lost."""
        told, lost = self.told, self.told.lost

        def is_over() -> bool:
            where = told.space_of(space)
            return told.lost > lost or (where is not None and told.exits[where] == told.forks[where])

        with contextlib.suppress(AssertionError):
            eventually(is_over)
        return told.space_of(space)

    def _compare(self, what: str, where: tuple[int, int] | None, forks: int) -> None:
        told = self.told
        if not told.lost and (where is None or not told.forks[where] == told.exits[where] == forks + 1):
            counts = (told.forks[where], told.exits[where]) if where else None
            self.wrong.append(f"{what}: {forks + 1} lives, told: {counts}")
        if where:
            told.forget(where)


class Containers:
    """Lives of containers of a real engine, one after the other beside the rest, until told to stop."""

    def __init__(self, address: str, workload: Path, told: Told, wrong: list[str]) -> None:
        import docker

        self.lives, self.bombs = 0, 0
        self._engine = docker.DockerClient(address)
        self._workload, self._told, self._wrong = workload, told, wrong
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._engine.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._told.of_containers.clear()
                for life in lives_of_one(self._engine, IMAGE, self._workload):
                    self._check(life)
                self._bomb()
            except Exception as error:  # a thread that dies says nothing
                self._wrong.append(f"containers: {type(error).__name__}: {error}")
                return

    def _check(self, life: Life) -> None:
        def stream() -> Stream:
            return Stream(list(self._told.of_containers))

        lost = self._told.lost
        with contextlib.suppress(AssertionError):
            eventually(lambda: not missing_of(life, stream()) or self._told.lost > lost, every_s=0.1)
        if (missing := missing_of(life, stream())) and not self._told.lost:
            self._wrong.append(f"containers: {missing} events of {life.name} were not told")
        self._wrong.extend(f"containers: {line}" for line in wrong_about(life, stream()))
        self.lives += 1

    def _bomb(self) -> None:
        """A fork bomb for a second, with little room."""
        told, lost = self._told, self._told.lost
        volumes = [f"{self._workload}:{WORKLOAD}:ro"]
        container = self._engine.containers.run(
            IMAGE, [WORKLOAD, "bomb"], detach=True, pids_limit=16, network_mode="none", volumes=volumes
        )
        try:
            container.reload()
            init = container.attrs["State"]["Pid"]
            inum = int(Path(f"/proc/{init}/ns/pid").readlink().name.strip("pid:[]"))
            self._stopping.wait(1)
        finally:
            container.remove(force=True)

        def wheres() -> list[tuple[int, int]]:
            return [where for where in list(told.forks) if where[0] == inum]

        def where() -> tuple[int, int] | None:  # not an earlier namespace with this number: a gap may be in its events
            return next((where for where in wheres() if (init, 1) in told.tgids[where]), None)

        def is_over() -> bool:
            found = where()
            return told.lost > lost or (found is not None and told.exits[found] == told.forks[found])

        with contextlib.suppress(AssertionError):
            eventually(is_over, every_s=0.1)
        if not is_over():
            found = where()
            counts = (told.forks[found], told.exits[found]) if found else "none reported"
            self._wrong.append(f"bomb: forks and exits differ: {counts}")
        for known in wheres():
            told.forget(known)
        self.bombs += 1


@contextlib.contextmanager
def engine(folder: Path) -> Iterator[str | None]:
    """The address of a container engine with our image; None where there is none to be had."""
    started = subprocess.run([ROOT / "scripts/engine", "start", folder], stdout=subprocess.PIPE, text=True, check=False)
    if started.returncode:
        yield None
        return
    address = started.stdout.strip()
    environment = {**os.environ, "DOCKER_HOST": address}
    try:
        subprocess.run([ROOT / "scripts/image", IMAGE], check=True, env=environment)
        yield address
    finally:
        subprocess.run(["docker", "image", "rm", "-f", IMAGE], env=environment, capture_output=True, check=False)
        subprocess.run([ROOT / "scripts/engine", "stop", folder], check=False)


def status_kb(pid: int, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(found[1]) if found else 0


def percentile(values: list[float], part: float) -> float:
    return values[min(len(values) - 1, int(len(values) * part))] if values else float("nan")


def soak(minutes: float, options: list[str], folder: Path, address: str | None) -> tuple[list[str], list[str]]:
    """What there is to say about it, and what of it was wrong."""
    argv = [
        sys.executable,
        "-m",
        "tracer",
        "follow",
        "--json",
        "--stats",
        "-w",
        str(folder / "soak.arrows"),
        *options,
        "all",
    ]
    environment = {**os.environ, **({"DOCKER_HOST": address} if address else {})}
    workload = compile_static(WORKLOAD_SOURCE, folder)
    resident = Space(workload, "crowd", 1)  # someone who is there from the beginning
    assert resident.line()
    with (folder / "stderr").open("wb") as stderr:
        follow = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=stderr, cwd=ROOT, env=environment)
    assert follow.stdout
    told = Told(iter(follow.stdout.readline, b""))
    run, containers = Soak(workload, told), None
    memory_kb: list[int] = []
    descriptors: list[int] = []
    try:
        eventually(lambda: told.events["snapshot"] > 0 or follow.poll() is not None)
        containers = Containers(address, workload, told, run.wrong) if address else None
        until, settled = time.monotonic() + minutes * 60, time.monotonic() + min(60, minutes * 20)
        while time.monotonic() < until and follow.poll() is None:
            run.one()
            if time.monotonic() > settled or not memory_kb:
                memory_kb.append(status_kb(follow.pid, "VmRSS"))
                descriptors.append(len(list(Path(f"/proc/{follow.pid}/fd").iterdir())))
    except BaseException:
        follow.kill()
        raise
    finally:
        if containers:
            containers.stop()
        resident.kill()
    if follow.poll() is not None:
        return [], [f"nstrace ended by itself:\n{(folder / 'stderr').read_text()}"]
    follow.send_signal(signal.SIGINT)
    told.join()
    follow.wait()
    said = (folder / "stderr").read_text()
    lags = sorted(told.lags_ms)
    counts = ", ".join(f"{count} {name}" for name, count in sorted(run.rounds.items()))
    lines = [f"{minutes:g} minutes, {run.rounds.total()} rounds: {counts}"]
    if containers:
        lines.append(f"beside them {containers.lives} lives of containers and {containers.bombs} fork bombs in some")
    lines += [line.removeprefix("nstrace: ") for line in said.splitlines() if line.startswith("nstrace:")]
    if told.visitors:
        lines.append(f"left out: {len(told.visitors)} that other tools have put into our namespaces")
    first, most, last = (kb / 1024 for kb in (memory_kb[0], max(memory_kb), memory_kb[-1]))
    lines.append(f"memory {first:.0f} MiB at first, {most:.0f} at most, {last:.0f} at the end")
    lines.append(f"descriptors {descriptors[0]} at first, {max(descriptors)} at most, {descriptors[-1]} at the end")
    median, late, latest = (percentile(lags, part) for part in (0.5, 0.99, 1))
    lines.append(f"lag of a line {median:.1f} ms median, {late:.1f} ms p99, {latest:.0f} ms at most")
    wrong = run.wrong
    if "does not add up" in said or follow.returncode:
        wrong.append(f"the account does not add up, or the exit code is not 0: {follow.returncode}")
    alone = re.search(r"(\d+) events are in the recording alone", said)  # we were too slow, and the pipe was full
    if f", {told.lost - (int(alone[1]) if alone else 0)} lost" not in said:
        wrong.append(f"{told.lost} lost by the stream, and the summary says otherwise")
    if len(memory_kb) > 1 and memory_kb[-1] > memory_kb[1] + SLACK_KB:
        wrong.append("memory grows")
    if descriptors[-1] > descriptors[0] + 2:  # one to the container engine comes and goes
        wrong.append("descriptors grow")
    return lines, wrong


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def long_forms(address: str | None, file: Path, resume: bool) -> tuple[bool, list[list[str]]]:
    """Whether all were right, and a row of figures for each. file: keeps them."""
    before = rows_of(file) if resume else []
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    environment = {**os.environ, "NSTRACE_STRESS": "long", "NSTRACE_REQUIRE": "1", "NSTRACE_FIGURES": str(file)}
    tests = [*(ROOT / "tests/kernel").glob("test_stress_*.py"), ROOT / "tests/kernel/test_trace.py"]
    if address:
        environment |= {"DOCKER_HOST": address, "NSTRACE_TEST_IMAGE": IMAGE}
        tests.append(ROOT / "tests/e2e/test_stress_containers.py")
    argv = [sys.executable, "-m", "pytest", "-v", "--timeout=1800", *sorted(map(str, tests))]
    done = subprocess.run([*argv, *(LAST_FAILED if resume else ())], cwd=ROOT, env=environment, check=False)
    again = rows_of(file)
    known = {row["test"] for row in again}
    rows = [*(row for row in before if row["test"] not in known), *again]
    rows.sort(key=lambda row: row["test"].partition("[")[0])
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return done.returncode in (0, *((NOTHING_TO_DO,) if resume else ())), [
        [row["what"], row["done"], *(figures.count(row[name]) for name in ("told", "lost", "wrong")), row["more"]]
        for row in rows
    ]


LAST_FAILED, NOTHING_TO_DO = ("--last-failed", "--last-failed-no-failures=none"), 5  # of pytest
HEADER = ["what", "how much", "events reported", "lost, and reported", "wrong", "and"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("options", nargs="*")
    args = parser.parse_args()
    if os.geteuid():
        sys.exit("soak: needs root: sudo scripts/soak")
    if (args.write or args.resume) and not args.long:
        parser.error("--write and --resume want --long")
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))  # with all that is to be cleaned up
    origin = page.origin(f"scripts/soak --long --minutes {args.minutes:g}")
    if args.resume:
        origin += " What was right in the run before, of an earlier commit, was not done again."
    rows: list[list[str]] = []
    right = True
    with tempfile.TemporaryDirectory(prefix="nstrace-soak-") as name, engine(Path(name) / "engine") as address:
        if address is None:
            print("soak: no container engine: what needs one is left out")
        if args.long:
            right, rows = long_forms(address, ROOT / "build/soak/figures.jsonl", args.resume)
        lines, wrong = soak(args.minutes, args.options, Path(name), address)
    for line in [*lines, *(f"WRONG: {line}" for line in wrong), f"{len(wrong)} wrong"]:
        print(f"soak: {line}")
    right = right and not wrong
    if args.write and right:
        told = "\n".join(f"- {line.replace(f'{name}/', '')}" for line in [*lines, f"{len(wrong)} wrong"])
        page.put(ROOT / "docs/stress.md", f"{origin}\n\n{report.table(HEADER, rows)}\n\nThe soak behind it:\n\n{told}")
    return int(not right)


if __name__ == "__main__":
    sys.exit(main())
