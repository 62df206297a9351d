"""The check at every start: a process with known PIDs is traced, and what the programs report is compared with /proc.

A wrong offset silently reads another field; a wrong PID is worse than none. So nstrace refuses to run when any of this
differs.
"""

from __future__ import annotations

import os
from typing import Self

import numpy as np

from tracer.errors import ExitCode, NstraceError
from tracer.kernel.operations import END_SUBJECT, START_SUBJECT
from tracer.kernel.subject import KILLED_BY, Facts, facts_of
from tracer.kernel.trace import Trace
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, split_args
from tracer.stream.decoding import Decoded
from tracer.stream.killers import killer_of
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId, chain_of
from tracer.stream.schema import Kind
from tracer.stream.selection import Decision

_ATTEMPTS = 5
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def check(trace: Trace) -> Decoded:
    """Compare, and return what else was reported meanwhile. Raises NstraceError with the differences.

    Where events are lost meanwhile, ours may be among them: then other processes are traced, in a PID namespace of
    their own, and all that were reported so far are kept out of the ring until that is done.
    """
    reported: list[Decoded] = []
    with _Quiet(trace) as quiet:
        for _attempt in range(_ATTEMPTS):
            refused = trace.refused
            expected, decoded = _trace_one(trace, quiet.is_possible and len(reported) > 0)
            mine = np.isin(decoded.batch.rows["tgid"], list(expected))
            shell, _inner = expected
            if not trace.loaded.sees_killers:
                for facts in expected.values():
                    del facts[KILLED_BY]
            reported.append(decoded._replace(batch=decoded.batch.select(~mine)))
            try:
                for pid, facts in expected.items():
                    _compare(facts, _facts_of_events(decoded.batch, pid, shell))
                return Decoded.concat(reported)
            except NstraceError:
                if trace.refused == refused:
                    raise
            quiet.ignore(decoded.batch)
            reported.append(trace.drain())  # the ring is empty when the next processes begin
    raise NstraceError(
        f"the self-check could not be done: in {_ATTEMPTS} attempts its own events were lost, {trace.refused} in all",
        "use a larger buffer (--buffer-size 64MiB), or start when this host is less busy",
        ExitCode.NOT_PERMITTED,
    )


class _Quiet:
    """Keeps others out of the ring. What they do meanwhile counts as filtered; a gap has been reported, so a repair
    finds what became of them. is_possible: whether the PID namespace distinguishes our own processes from all
    others."""

    def __init__(self, trace: Trace) -> None:
        self.is_possible = trace.may_unshare
        self._maps = trace.maps
        self._ignored: set[Decision] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._maps.forget(self._ignored)

    def ignore(self, reported: Batch) -> None:
        """Ignore all that were reported, and those that are known to have lost events."""
        for row in reported.rows[["chain", "cgroup_id"]]:
            inum, _nr, gen = row["chain"][0].tolist()
            if inum and (self.is_possible or inum != INITIAL_PIDNS.inum):
                self._ignored.add(Decision(PidnsId(inum, gen), int(row["cgroup_id"]), follow=False))
        self._maps.decide(self._ignored)


def _trace_one(trace: Trace, apart: bool) -> tuple[dict[int, Facts], Decoded]:
    """What /proc reports of two processes, by PID, and all events until their end. apart: in a new PID namespace."""
    parts: list[Decoded] = []

    def meanwhile() -> None:
        parts.append(trace.poll(0.001))

    try:
        try:
            started = trace.maps.privileged.ask(START_SUBJECT, bytes([apart]), meanwhile)
        finally:
            trace.maps.privileged.ask(END_SUBJECT, b"", meanwhile)
    except OSError as error:
        raise NstraceError(
            f"the self-check's process cannot be started: {error.strerror}",
            "is /proc mounted, is /bin/sh there, and room for a process?",
        ) from error
    # the kernel reports an exit before a wait can return it
    return facts_of(started.data), Decoded.concat([*parts, trace.drain()])


def _facts_of_events(batch: Batch, pid: int, shell: int) -> Facts:
    """The facts that the programs reported. The inner process does no exec: its arguments are the shell's."""
    rows = batch.rows
    mine = np.flatnonzero(rows["tgid"] == pid).tolist()
    execs = np.flatnonzero((rows["kind"] == Kind.EXEC) & (rows["tgid"] == shell)).tolist()
    if not mine or not execs or rows["kind"][mine[-1]] != Kind.EXIT:
        kinds = [Kind(int(rows["kind"][index])).name.lower() for index in mine]
        raise _mismatch(f"the programs reported {', '.join(kinds) or 'nothing'} for process {pid}")
    last = rows[mine[-1]]
    killer = killer_of(batch.payload(mine[-1]).killer, int(last["status"]) & 0x7F, Attribution())
    chain = chain_of(batch, mine[-1])
    inside = [number.nr for number in chain] if last["level"] else []
    return {
        "PIDs": [int(last["tgid"]), *inside],
        "PID namespace": chain[-1].pidns.inum,
        "parent": int(rows["parent_tgid"][mine[0]]),
        "uid": int(last["uid"]),
        "start time (ticks)": int(last["start_ns"]) // _TICK_NS,
        "command name": bytes(last["comm"]),
        "arguments": split_args(batch.payload(execs[-1]).args),
        "exit code": os.waitstatus_to_exitcode(int(last["status"])),
        KILLED_BY: killer.pids if killer and not killer.kernel else [],
    }


def _compare(proc: Facts, events: Facts) -> None:
    wrong = [f"{fact}: {events[fact]}, but the kernel says {proc[fact]}" for fact in proc if events[fact] != proc[fact]]
    if wrong:
        raise _mismatch("; ".join(wrong))


def _mismatch(what: str) -> NstraceError:
    return NstraceError(
        f"self-check failed, so nstrace's answers could not be trusted here: {what}",
        "please report it with the output of uname -r",
        ExitCode.NOT_PERMITTED,
    )
