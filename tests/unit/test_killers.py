"""A note of the programs becomes what an exit says of who sent the signal."""

from __future__ import annotations

import signal
from typing import Any

import builders
import msgspec
import numpy as np
import pytest

from tracer.stream.attribution import Attribution
from tracer.stream.batch import KILLER, Batch, with_killers
from tracer.stream.killers import killer_of, with_names
from tracer.stream.metadata import Container, Killer
from tracer.stream.pidns import chain_of
from tracer.stream.schema import Kind, Sender

WEB = Container("a" * 64, "docker", "web")


def note(sender: Sender = Sender.PROCESS, inside: tuple[int, ...] = (), **fields: Any) -> bytes:
    """A struct killer, as far as the programs report it."""
    row = np.zeros(1, KILLER)
    row["sender"], row["level"], row["tgid"], row["start_ns"], row["comm"] = sender, len(inside), 40, 7, b"runc"
    row["numbers"][0, : len(inside)] = inside
    for name, value in fields.items():
        row[name] = value
    return row.tobytes()[: KILLER.fields["numbers"][1] + 4 * len(inside)]  # type: ignore[index]


def exits(*notes: bytes, status: int = signal.SIGKILL) -> Batch:
    batch = builders.batch(*(builders.exits(50 + at, [(9, 1)], status=status) for at in range(len(notes))))
    return with_killers(batch, range(len(notes)), notes)


def test_a_process_with_all_its_numbers() -> None:
    found = killer_of(note(inside=(17, 5)), signal.SIGTERM, Attribution())
    assert found == Killer(40, [40, 17, 5], "runc", proc_id="40-7")


def test_its_container_by_the_name_that_it_has_then() -> None:
    attribution = Attribution()
    (_,) = attribution.split_and_learn(builders.batch(builders.cgroup(77, WEB)))
    found = killer_of(note(cgroup_id=77), signal.SIGTERM, attribution)
    assert found
    assert found.container == "web"


KERNEL = Sender.KERNEL


@pytest.mark.parametrize(
    ("number", "code", "thread", "reason"),
    [
        (signal.SIGSEGV, 1, 50, "fault"),
        (signal.SIGSEGV, 0x80, 50, "fault"),
        (signal.SIGSEGV, 1, 0, None),  # the exit signal of a child
        (signal.SIGALRM, 0, 0, "timer"),
        (signal.SIGUSR1, -2, 0, "timer"),
        (signal.SIGINT, 0, 0, "terminal"),
        (signal.SIGINT, 1, 0, None),  # for I/O (F_SETSIG)
        (signal.SIGSYS, 1, 50, "seccomp"),
        (signal.SIGSYS, 2, 50, None),
        (signal.SIGKILL, 0, 0, None),
        (signal.SIGRTMAX, 0, 0, None),
    ],
)
def test_the_kernel_names_nobody_and_perhaps_why(number: int, code: int, thread: int, reason: str | None) -> None:
    found = killer_of(note(KERNEL, code=code & 0xFFFFFFFF, thread=thread), number, Attribution())
    assert found == Killer(kernel=True, reason=reason)


@pytest.mark.parametrize(
    ("sender", "reason"),
    [
        (Sender.OOM, "oom"),
        (Sender.PIDNS_ENDED, "pidns_ended"),
        (Sender.PARENT_ENDED, "parent_ended"),
        (Sender.PARENT_THREAD_ENDED, "parent_thread_ended"),
    ],
)
def test_the_kernel_for_somebody_names_whom(sender: Sender, reason: str) -> None:
    found = killer_of(note(sender), signal.SIGKILL, Attribution())
    assert found == Killer(40, [40], "runc", kernel=True, reason=reason, proc_id="40-7")


def test_a_hang_up_when_a_process_ended_may_be_of_its_terminal_or_of_who_was_stopped() -> None:
    assert killer_of(note(Sender.AT_EXIT), signal.SIGHUP, Attribution()) == Killer(kernel=True)


def test_out_of_memory_in_a_kernel_thread_names_nobody() -> None:
    assert killer_of(note(Sender.OOM, tgid=0), 9, Attribution()) == Killer(kernel=True, reason="oom")


@pytest.mark.parametrize("cut", [1, 4, 64, 70])
def test_a_note_that_is_not_whole_names_nobody(cut: int) -> None:
    assert killer_of(note(inside=(17, 5))[:-cut], signal.SIGTERM, Attribution()) is None


def test_each_exit_has_its_own_and_nothing_else_changes() -> None:
    batch = exits(note(), b"", note(KERNEL), note()[:-1])
    named = with_names(batch, Attribution())
    assert [named.payload(at).killer for at in range(4)] == [
        msgspec.json.encode(Killer(40, [40], "runc", proc_id="40-7")),
        b"",
        b'{"kernel":true}',
        b"",
    ]
    assert [chain_of(named, at) for at in range(4)] == [chain_of(batch, at) for at in range(4)]
    assert named.rows["deep_len"].tolist() == named.rows["killer_len"].tolist()


def test_where_nobody_is_noted_the_part_stays_as_it_is() -> None:
    batch = builders.batch(builders.exits(50), builders.fork(51))
    assert with_names(batch, Attribution()) is batch


def test_a_name_with_bytes_that_are_no_text() -> None:
    found = killer_of(note(comm=b"\xff\x1b"), 9, Attribution())
    assert found
    assert found.comm == "\\xff\x1b"


def test_the_deep_chain_stays_ahead_of_the_killer() -> None:
    deep = builders.batch(builders.exits(50, [(9, 1), (9, 2), (9, 3), (9, 4), (9, 5)], status=9))
    named = with_names(with_killers(deep, [0], [note()]), Attribution())
    assert chain_of(named, 0) == chain_of(deep, 0)
    assert named.rows["kind"].tolist() == [Kind.EXIT]
