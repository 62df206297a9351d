"""Full speed on all cores: nothing lost with the ring that is the default, every pair right, the table as /proc."""

from __future__ import annotations

import os
import time
from collections import Counter
from functools import partial
from pathlib import Path

import figures
import numpy as np
import pytest
from oracle import Ledger, Receiver
from stack import Space, Stack, eventually, identities, numbers_of_proc, size

from tracer.kernel.trace import now_ns
from tracer.stream.schema import PROCESS_KINDS, Kind
from tracer.stream.table import Table

pytestmark = pytest.mark.kernel
CPUS = os.cpu_count() or 1
CPUS_APART_NS = 50_000_000


def is_hidden(stack: Stack, tgid: int) -> bool:
    """Whether the kernel's iterator over tasks leaves it out."""
    return tgid not in stack.trace.snapshot().batch.rows["tgid"]


def has_told(stack: Stack, rows: int) -> bool:
    return len(stack.batch) > rows


def is_past(moment_ns: int) -> bool:
    return now_ns() > moment_ns


def finish(stack: Stack, space: Space) -> bytes:
    """Read until it has ended and the table knows; what it printed."""
    stack.read(space.has_ended)
    stack.read(lambda: not stack.numbers(space.inum))
    eventually(space.is_empty)
    return space.line()


@pytest.mark.parametrize(("count", "how"), [(size(5000, 300_000), "exec"), (50_000, "fork")])
def test_nothing_is_lost(count: int, how: str, workload: Path) -> None:
    with Stack("all", "host") as stack:
        began = time.monotonic()
        storm = Space(workload, "storm", count, CPUS, how)
        ledger = Ledger.parse(finish(stack, storm))
        seconds = time.monotonic() - began
        stack.read_until_as_proc()
        stack.stop()
        forks, execs, exits = (stack.rows(storm, kind) for kind in (Kind.FORK, Kind.EXEC, Kind.EXIT))
    told = len(forks) + len(execs) + len(exits)
    wrong = abs(len(forks) - ledger.forks - 1) + abs(len(execs) - ledger.execs - 2) + abs(len(exits) - ledger.forks - 1)
    what = "spawn storm, all CPUs" if how == "exec" else f"burst of {figures.count(2 * count)} events"
    done = f"{figures.count(ledger.forks)} processes in {seconds:.0f} s"
    rate = f"{figures.count(int(told / seconds))} events a second; table as /proc"
    lost = sum(count for loser, count in stack.account.losses.items() if loser.pair and loser.pair[0] == storm.inum)
    others = f"; {figures.count(stack.trace.lost - lost)} lost of others on this machine" * (stack.trace.lost > lost)
    figures.note(what, done, told=told, lost=lost, wrong=wrong, more=rate + others)
    assert lost == 0
    assert stack.account.differences() == []
    assert len(forks) == ledger.forks + 1  # the storm itself
    assert len(execs) == ledger.execs + 2
    assert Counter(identities(forks)) == Counter(identities(exits)), "one exit for each"
    statuses = Counter((exits["status"][exits["tgid"] != forks["tgid"][0]] >> 8).tolist())
    assert statuses == ledger.exits


def test_every_pair_is_right_in_a_storm(workload: Path, receiver: Receiver) -> None:
    count = size(2000, 50_000)
    with Stack() as stack:
        noise = Space(workload, "storm", 1_000_000, CPUS)
        pairs = Space(workload, "pairs", receiver.path, count, "seq", 0, "nowait")
        stack.read(pairs.has_ended)
        noise.kill()
        stack.stop()
        forks = stack.rows(pairs, Kind.FORK)[1:]
    assert stack.trace.lost == 0
    truth = [(pair.host_tgid, pair.ns_pid, pair.ns_ppid) for pair in receiver.wait(count)]
    columns = (forks["tgid"], forks["chain"]["nr"][:, 0], forks["parent_vtgid"])
    told = list(zip(*(column.tolist() for column in columns), strict=True))
    figures.note(
        "every pair, beside a storm",
        f"{figures.count(count)} processes",
        told=len(told),
        lost=stack.trace.lost,
        wrong=figures.differing(told, truth),
        more="each against the kernel's own (SCM_CREDENTIALS)",
    )
    assert told == truth


def test_a_fork_bomb_beside_a_quiet_one(workload: Path, small_cgroup: Path, receiver: Receiver) -> None:
    count = size(20, 1000)
    with Stack() as stack:
        bomb = Space("sh", "-c", f"echo 0 > {small_cgroup}/cgroup.procs; exec {workload} bomb")
        stack.read(lambda: len(stack.numbers(bomb.inum)) > 4)
        quiet = Space(workload, "pairs", receiver.path, count, "exec", 0, "nowait")
        stack.read(quiet.has_ended)
        bomb.kill()
        stack.read(lambda: not stack.numbers(bomb.inum))
        stack.stop()
        forks, exits = (identities(stack.rows(bomb, kind)) for kind in (Kind.FORK, Kind.EXIT))
        told = stack.rows(quiet, Kind.FORK)[1:]
    assert stack.trace.lost == 0
    assert Counter(forks) == Counter(exits)
    truth = [(pair.host_tgid, pair.ns_pid) for pair in receiver.wait(count)]
    pairs = list(zip(told["tgid"].tolist(), told["chain"]["nr"][:, 0].tolist(), strict=True))
    figures.note(
        "fork bomb under pids.max beside a quiet one",
        f"{figures.count(len(forks))} forks beside {count} processes",
        told=len(forks) + len(exits) + len(pairs),
        lost=stack.trace.lost,
        wrong=figures.differing(pairs, truth),
        more="the quiet one is complete",
    )
    assert pairs == truth


def test_attached_in_the_middle_nobody_is_missing_and_nobody_is_there_twice(workload: Path) -> None:
    crowd = Space(workload, "crowd", size(2000, 5000))
    storm = Space(workload, "storm", 1_000_000, CPUS)
    assert crowd.line()
    with Stack() as stack:
        before = len(stack.batch)
        stack.read(lambda: len(stack.batch) > before + 10_000)
        storm.kill()
        stack.read(lambda: not stack.numbers(storm.inum))
        truth = numbers_of_proc(crowd.inum)
        alive = stack.numbers(crowd.inum)
        stack.stop()
        figures.note(
            "attached amid a storm",
            f"{figures.count(len(truth))} processes alive",
            told=len(stack.rows(storm, Kind.FORK, Kind.EXIT)),
            lost=stack.trace.lost,
            wrong=len(alive.items() ^ truth.items()),
            more="none missing, none twice",
        )
        assert alive == truth
        assert len(truth) == size(2000, 5000) + 1
        for space in (crowd, storm):
            appeared = Counter(identities(stack.rows(space, Kind.FORK, Kind.SNAPSHOT)))
            ended = Counter(identities(stack.rows(space, Kind.EXIT)))
            assert {*appeared.values(), *ended.values()} <= {1}
    crowd.kill()


def test_the_stream_is_in_order_from_its_first_row_to_its_last(workload: Path) -> None:
    """Begun and ended amid a storm, again and again: each story has a beginning, and nothing stands behind its end."""
    storm = Space(workload, "storm", 1_000_000, CPUS, "exec")
    for _ in range(size(5, 50)):
        with Stack("all", "host") as stack:
            stack.read(partial(has_told, stack, 5000))
            hides_init = is_hidden(stack, 1)
            rows = stack.stop().rows
        assert not stack.account.differences()
        rows = rows[np.isin(rows["kind"], list(PROCESS_KINDS))]
        # a kernel that hides process 1 from BPF does not tell of its forks either
        hidden = set(identities(rows[rows["parent_tgid"] == 1])) if hides_init else set()
        stories: dict[tuple[int, int], list[int]] = {}
        for process, kind in zip(identities(rows), rows["kind"].tolist(), strict=True):
            stories.setdefault(process, []).append(kind)
        for process, story in stories.items():
            assert story[0] in (Kind.FORK, Kind.SNAPSHOT) or process in hidden
            assert not {Kind.FORK, Kind.SNAPSHOT} & {*story[1:]}
            assert Kind.EXIT not in story[:-1]
        back_ns = -int(np.diff(rows["ts_ns"].astype(np.int64)).min())
        assert back_ns < CPUS_APART_NS, "a CPU takes its place in the ring first, and then the time"
    storm.kill()


def test_whose_fork_is_told_at_the_start_is_told_to_end(workload: Path) -> None:
    storm = Space(workload, "storm", 1_000_000, CPUS)
    attached, stale = size(10, 50), 0
    for _ in range(attached):
        with Stack() as stack:
            since_ns = now_ns()
            stack.read(partial(is_past, since_ns + 100_000_000))
            there = set(numbers_of_proc(storm.inum).values())
            asked_ns = now_ns()
            stack.read(partial(is_past, asked_ns + 100_000_000))  # whoever had gone has been told
            alive = [process for process in stack.table.living() if process.path[-1].inum == storm.inum]
            stale += sum(process.start_ns < since_ns and process.tgid not in there for process in alive)
            stack.stop()
    storm.kill()
    figures.note("attached amid a storm, again and again", f"{attached} times", told=0, lost=0, wrong=stale)
    assert stale == 0


def test_two_at_once_tell_the_same(workload: Path) -> None:
    with Stack() as one, Stack() as other:
        storm = Space(workload, "storm", size(2000, 50_000), CPUS)

        def has_ended() -> bool:
            other.read(lambda: True)
            return storm.has_ended()

        one.read(has_ended)
        ledger = Ledger.parse(finish(one, storm))
        other.read(lambda: not other.numbers(storm.inum))
        told = []
        for stack in (one, other):
            stack.stop()
            told.append([sorted(identities(stack.rows(storm, kind))) for kind in (Kind.FORK, Kind.EXEC, Kind.EXIT)])
    figures.note(
        "two nstrace at once",
        f"{figures.count(ledger.forks)} processes",
        told=sum(map(len, told[0])),
        lost=one.trace.lost + other.trace.lost,
        wrong=sum(figures.differing(mine, others) for mine, others in zip(*told, strict=True)),
        more="both tell the same",
    )
    assert told[0] == told[1]
    assert list(map(len, told[0])) == [ledger.forks + 1, 2, ledger.forks + 1]


def test_a_table_that_is_too_small_forgets_and_says_so(workload: Path) -> None:
    with Stack(table=Table(300)) as stack:
        crowd = Space(workload, "crowd", 500)
        assert crowd.line()
        stack.read(lambda: stack.table.evicted_living >= 200)
        assert len(stack.table) == 300
        truth = numbers_of_proc(crowd.inum)
        assert stack.numbers(crowd.inum).items() <= truth.items()
        crowd.kill()
