"""Filters of system calls for seccomp(2): which calls are allowed, by name and by arguments."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from typing import NamedTuple

from tracer.system.syscalls import NUMBERS

# include/uapi/linux/seccomp.h; a filter's answer to a system call
ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000
NOT_PERMITTED = 0x00050001  # the call fails with EPERM

NOT_IMPLEMENTED = 0x00050026  # with ENOSYS, as if the kernel had no such call

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # include/uapi/linux/audit.h
_X32_BIT = 0x40000000  # of the numbers of x86-64's other ABI; no other architecture has numbers that large

_INSN = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, operand
INSN_BYTES = _INSN.size
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _JUMP_IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR_AT, _ARCH_AT, _ARGS_AT, _ARG_BYTES = 0, 4, 16, 8  # struct seccomp_data


class SyscallRule(NamedTuple):
    """A system call. arguments: the required low halves of some of its arguments, by their position. one_of: the
    position of an argument, and the values of which its low half must be one. without: the position of an argument, and
    the bits of its low half that must not be set. answer: if not that of the filter."""

    name: str
    arguments: tuple[tuple[int, int], ...] = ()
    one_of: tuple[int, tuple[int, ...]] | None = None
    without: tuple[int, int] | None = None
    answer: int | None = None


def number(name: str) -> int | None:
    """The number of a system call on this machine; None: its architecture is not known here."""
    return NUMBERS.get(os.uname().machine, {}).get(name)


def filter_of(rules: Iterable[SyscallRule], answer: int, other: int, machine: str = os.uname().machine) -> bytes:
    """The instructions of a filter: struct sock_filter, one after the other. answer: for the calls that the rules name;
    other: for all others, and for one that a rule names but whose arguments differ. Raises KeyError for a machine that
    is not known."""
    parts = [
        _INSN.pack(_LOAD, 0, 0, _ARCH_AT),
        _INSN.pack(_JUMP_IF_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        _INSN.pack(_RETURN, 0, 0, KILL_PROCESS),
        _INSN.pack(_LOAD, 0, 0, _NR_AT),
        _INSN.pack(_JUMP_IF_AT_LEAST, 0, 1, _X32_BIT),
        _INSN.pack(_RETURN, 0, 0, KILL_PROCESS),
    ]
    for rule in rules:
        if (called := NUMBERS[machine].get(rule.name)) is not None:
            body = _body(rule, answer, other)
            parts += [_INSN.pack(_JUMP_IF_EQUAL, 0, len(body), called), *body]
    return b"".join([*parts, _INSN.pack(_RETURN, 0, 0, other)])


def _body(rule: SyscallRule, answer: int, other: int) -> list[bytes]:
    """The instructions for a call of this name."""
    checks: list[bytes] = []
    refuse = _INSN.pack(_RETURN, 0, 0, other)
    for place, value in rule.arguments:
        checks += [_loaded(place), _INSN.pack(_JUMP_IF_EQUAL, 1, 0, value), refuse]
    if rule.one_of:
        place, values = rule.one_of
        jumps = [_INSN.pack(_JUMP_IF_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
        checks += [_loaded(place), *jumps, refuse]
    if rule.without:
        place, mask = rule.without
        checks += [_loaded(place), _INSN.pack(_JUMP_IF_ANY_BIT, 0, 1, mask), refuse]
    return [*checks, _INSN.pack(_RETURN, 0, 0, answer if rule.answer is None else rule.answer)]


def _loaded(place: int) -> bytes:
    return _INSN.pack(_LOAD, 0, 0, _ARGS_AT + place * _ARG_BYTES)
