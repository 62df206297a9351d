"""Leaves nstrace agent alone beside churn, and looks whether anything grows.

  scripts/soak --agent                five minutes
  scripts/soak --agent --minutes 60   an hour

Short-lived processes in PID namespaces and, where there is a container engine (scripts/engine), containers that come
and go. Memory and descriptors of all its processes and the disk have to be flat after the first third; what the metrics
have counted has to be what the recordings hold; each process of the ledger has to be in them once. Exit code 1:
something was wrong.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

from service import Agent
from soak import IMAGE, engine

from tracer.agent.lock import have_written

EVERY_S = 2.0
KEEP_BYTES, ROTATE_BYTES = 24_000_000, 1_000_000
SLACK_KB, SLACK_FDS = 15_000, 4
MOST_KB = 150_000  # DESIGN: of all processes together
PORT = 19470
MARK = "soak-mark-"


class Sample(NamedTuple):
    """All processes of the agent together: proportional memory, descriptors; and what is kept."""

    kb: int
    descriptors: int
    kept_bytes: int

    @classmethod
    def of(cls, agent: Agent) -> Sample:
        assert agent.process
        kb = descriptors = 0
        for pid in (agent.process.pid, *agent.children()):
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                descriptors += len(list(Path(f"/proc/{pid}/fd").iterdir()))
            except OSError:  # it has ended
                continue
            found = re.search(r"^Pss: +(\d+) kB", rollup, re.M)
            kb += int(found[1]) if found else 0
        return cls(kb, descriptors, sum(path.stat().st_size for path in agent.store.glob("*.arrows")))


def churn(number: int, address: str | None) -> None:
    """Processes that end at once, one of them marked, in a PID namespace; now and then a container."""
    subprocess.run(
        ["unshare", "--pid", "--fork", "sh", "-c", f": {MARK}{number}; for i in 1 2 3 4 5 6 7 8 9; do /bin/true; done"],
        check=True,
    )
    if address and number % 20 == 0:
        subprocess.run(
            ["docker", "-H", address, "run", "--rm", "--network=none", IMAGE, "true"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def counted(name: str) -> int:
    """A metric without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    return int(float(found[1])) if found else -1


def kept(agent: Agent, query: str) -> int:
    (row,) = agent.rows(query)
    (value,) = row.values()
    assert isinstance(value, int)
    return value


class Churn:
    """Rounds of work, and what was seen of the agent meanwhile."""

    def __init__(self, agent: Agent, address: str | None) -> None:
        self.agent, self._address = agent, address
        self.number, self.samples, self._due = 0, [], 0.0  # type: int, list[Sample], float

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.number += 1
            churn(self.number, self._address)
            if time.monotonic() >= self._due:
                self.samples.append(Sample.of(self.agent))
                self._due = time.monotonic() + EVERY_S
            time.sleep(0.05)

    def execs(self) -> tuple[int, int]:
        """How many the metrics have counted when that did not change for three seconds, and a moment amid these."""
        assert have_written(self.agent.store)
        seen = [-1, -2]
        while seen[-1] != seen[-2]:
            time.sleep(1.5)  # the recorder says it once a second
            amid_ns = time.time_ns()
            time.sleep(1.5)
            seen.append(counted('nstrace_events_total{kind="exec"}'))
        return seen[-1], amid_ns


def soak(agent: Agent, minutes: float, address: str | None) -> tuple[list[str], list[str]]:
    """What is to be said, and what was wrong."""
    work, began_cpu = Churn(agent, address), cpu_s(agent)
    work.run(60 * minutes * 0.9)
    before, since_ns = work.execs()
    work.run(60 * minutes * 0.1)
    after, until_ns = work.execs()
    in_metrics, used_s = after - before, cpu_s(agent) - began_cpu
    between = f"epoch_ns(time) between {since_ns} and {until_ns}"
    in_recordings = kept(agent, f"select count(*) from events where event = 'exec' and {between}")
    wrong = growth(work.samples)
    if in_metrics != in_recordings:
        wrong.append(f"{in_metrics} execs were counted, {in_recordings} recorded")
    agent.stop()
    marks = [int(found) for found in re.findall(rf": {MARK}(\d+);", marked(agent))]
    lost = kept(agent, "select coalesce(sum(lost), 0)::int from gaps")
    if not lost and marks != list(range(marks[0], work.number + 1)):
        wrong.append(f"the ledger has {marks[0]} to {work.number}, the recordings {len(marks)} of these")
    highest = max(sample.kb for sample in work.samples)
    if highest > MOST_KB:
        wrong.append(f"{highest / 1000:.0f} MB of memory, of {MOST_KB / 1000:.0f}")
    kept_bytes = max(sample.kept_bytes for sample in work.samples)
    if kept_bytes > KEEP_BYTES + 8 * ROTATE_BYTES:
        wrong.append(f"{kept_bytes} bytes were kept, of {KEEP_BYTES}")
    last = work.samples[-1]
    return [
        f"{minutes:g} minutes, {work.number} rounds, containers: {'yes' if address else 'no'}, {lost} events lost",
        f"memory of all its processes (PSS): {highest / 1000:.0f} MB at most, {last.kb / 1000:.0f} MB at the end",
        f"descriptors: {last.descriptors}; disk: {kept_bytes / 1e6:.1f} MB at most, of {KEEP_BYTES / 1e6:.0f}",
        f"CPU: {used_s:.1f} s, {used_s / (60 * minutes) * 100:.1f} % of one; {in_metrics} execs counted and recorded",
    ], wrong


def marked(agent: Agent) -> str:
    """The marked command lines that are kept, in order."""
    query = f"select args[3] from events where event = 'exec' and args[3] like ': {MARK}%' order by time"
    done = agent.ask("sql", "--csv", query)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cpu_s(agent: Agent) -> float:
    """What all processes of the agent have used, those that live, in s."""
    assert agent.process
    ticks = 0
    for pid in (agent.process.pid, *agent.children()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def growth(samples: list[Sample]) -> list[str]:
    """What is higher in the last third than in the second one: means of memory, most descriptors."""
    third = len(samples) // 3
    if not third:
        return ["too short to say what grows"]
    middle, last = samples[third : 2 * third], samples[2 * third :]
    kb = [sum(one.kb for one in part) / len(part) for part in (middle, last)]
    descriptors = [max(one.descriptors for one in part) for part in (middle, last)]
    wrong = []
    if kb[1] > kb[0] + SLACK_KB:
        wrong.append(f"memory grows: {kb[0]:.0f} kB, then {kb[1]:.0f} kB")
    if descriptors[1] > descriptors[0] + SLACK_FDS:
        wrong.append(f"descriptors grow: {descriptors[0]}, then {descriptors[1]}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    args = parser.parse_args()
    if os.geteuid():
        sys.exit("soak: needs root: sudo scripts/soak --agent")
    record = f'keep = "{KEEP_BYTES}B"\nrotate_size = "{ROTATE_BYTES}B"\nrotate_interval = "30s"'
    with tempfile.TemporaryDirectory(prefix="nstrace-soak-") as name, engine(Path(name) / "engine") as address:
        folder = Path(name) / "agent"
        folder.mkdir()
        if address:
            os.environ["DOCKER_HOST"] = address  # which the agent asks
        with Agent(folder, record, f'[metrics]\nlisten = "127.0.0.1:{PORT}"', targets="all") as agent:
            lines, wrong = soak(agent, args.minutes, address)
    for line in [*lines, *(f"WRONG: {line}" for line in wrong), f"{len(wrong)} wrong"]:
        print(f"soak: {line}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
