"""The notes of the programs about who has sent a signal -> what rows of exits say of it, and what that says. Pure.

A sender's container is the one that it was in when it sent, by the name that it has when the exit is read: so the note
is replaced as soon as it is read. It carries no arguments.
"""

from __future__ import annotations

import signal
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from tracer.stream.attribution import Attribution
from tracer.stream.batch import KILLER, Batch, with_killers
from tracer.stream.metadata import Killer
from tracer.stream.pidns import Number, PidnsId, ProcId
from tracer.stream.schema import Sender

_NUMBERS_AT = KILLER.fields["numbers"][1] if KILLER.fields else 0
_SI_TIMER = -2  # include/uapi/asm-generic/siginfo.h
OOM = "oom"
_BY_SENDER = {
    Sender.OOM: OOM,
    Sender.PIDNS_ENDED: "pidns_ended",
    Sender.PARENT_ENDED: "parent_ended",
    Sender.PARENT_THREAD_ENDED: "parent_thread_ended",
}
_FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
_SYS_SECCOMP = 1
_BY_SIGNAL: dict[int, str] = {
    **dict.fromkeys((signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF), "timer"),
    **dict.fromkeys((signal.SIGINT, signal.SIGQUIT, signal.SIGHUP), "terminal"),
    signal.SIGXCPU: "cpu_limit",
}
"""Why the kernel sends these signals of its own accord without any siginfo (SEND_SIG_PRIV). With one it is for I/O
(F_SETSIG), for a child (the exit signal of clone(2)) and the like."""


@lru_cache(1024)
def killer_in(raw: bytes) -> Killer:
    """What the killer of a payload says. Raises msgspec.MsgspecError, ValueError or RecursionError where it cannot be
    read: a reader of recordings has checked it before."""
    return msgspec.json.decode(raw, type=Killer)


def killer_object(killer: Killer) -> dict[str, Any]:
    """The killer as it is in JSON: all its members; null is what is not known."""
    return {name: getattr(killer, name) for name in killer.__struct_fields__}


def is_oom(killer: Killer | None) -> bool:
    """Whether it was killed because memory ran out."""
    return killer is not None and killer.reason == OOM


def with_names(part: Batch, attribution: Attribution) -> Batch:
    """The part (`Attribution.split_and_learn`) with JSON of `Killer` in place of the programs' notes; a note that is
    not whole is left out."""
    at = part.killed.tolist()
    if not at:
        return part
    known: dict[tuple[bytes, int], bytes] = {}
    killers = []
    for index in at:
        key = part.payload(index).killer, int(part.rows["status"][index]) & 0x7F
        if key not in known:
            killer = killer_of(*key, attribution)
            known[key] = msgspec.json.encode(killer) if killer else b""
        killers.append(known[key])
    return with_killers(part, at, killers)


def killer_of(note: bytes, number: int, attribution: Attribution) -> Killer | None:
    """What a note (struct killer, as far as it was reported) says of the sender of the signal with this number; None:
    it is not whole."""
    raw = np.zeros(1, KILLER)
    raw.view(np.uint8)[: len(note)] = np.frombuffer(note, np.uint8)[: KILLER.itemsize]
    found = raw[0]
    if len(note) != _NUMBERS_AT + 4 * int(found["level"]):
        return None
    sender = Sender(int(found["sender"]))
    by_kernel = sender is not Sender.PROCESS
    reason = _BY_SENDER.get(sender) or (_reason(number, found) if sender is Sender.KERNEL else None)
    if sender in (Sender.KERNEL, Sender.AT_EXIT) or not found["tgid"]:  # a thread of the kernel has run out of memory
        return Killer(kernel=True, reason=reason)
    process = ProcId(int(found["tgid"]), int(found["start_ns"]))
    inside = found["numbers"][: int(found["level"])].tolist()
    innermost = Number(PidnsId(int(found["inum"]), int(found["gen"])), [process.tgid, *inside][-1])
    container = attribution.container((innermost,), int(found["cgroup_id"]))
    return Killer(
        process.tgid,
        [process.tgid, *inside],
        bytes(found["comm"]).decode("utf-8", "backslashreplace"),
        container.label if container else None,
        by_kernel,
        reason,
        str(process),
    )


def _reason(number: int, note: np.void) -> str | None:
    """Why the kernel has sent it, as far as its siginfo shows; None: that is not certain."""
    code, is_forced = int(note["code"].astype(np.int32)), note["thread"] != 0  # force_sig_info(), kernel/signal.c
    if code == _SI_TIMER:
        return "timer"
    if code == 0:
        return _BY_SIGNAL.get(number)
    if is_forced and number in _FAULTS:
        return "fault"
    return "seccomp" if is_forced and (number, code) == (signal.SIGSYS, _SYS_SECCOMP) else None
