"""Filters of system calls for seccomp(2): which calls are allowed, by name and by arguments."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from typing import NamedTuple

# include/uapi/linux/seccomp.h; a filter's answer to a system call
ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000
NOT_PERMITTED = 0x00050001  # the call fails with EPERM

# arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h
_NUMBERS = {
    "x86_64": {
        **{"read": 0, "write": 1, "getpid": 39, "socket": 41, "clone": 56, "execve": 59, "fcntl": 72, "ptrace": 101},
        **{"pivot_root": 155, "exit_group": 231, "seccomp": 317, "bpf": 321, "execveat": 322},
    },
    "aarch64": {
        **{"read": 63, "write": 64, "getpid": 172, "socket": 198, "clone": 220, "execve": 221, "fcntl": 25},
        **{"ptrace": 117, "pivot_root": 41, "exit_group": 94, "seccomp": 277, "bpf": 280, "execveat": 281},
    },
}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # include/uapi/linux/audit.h
_X32_BIT = 0x40000000  # of the numbers of x86-64's other ABI; no other architecture has numbers that large

_INSN = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, operand
INSN_BYTES = _INSN.size
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NR_AT, _ARCH_AT, _ARGS_AT, _ARG_BYTES = 0, 4, 16, 8  # struct seccomp_data


class SyscallRule(NamedTuple):
    """A system call. arguments: the required low halves of some of its arguments, by their position."""

    name: str
    arguments: tuple[tuple[int, int], ...] = ()


def number(name: str) -> int | None:
    """The number of a system call on this machine; None: its architecture is not known here."""
    return _NUMBERS.get(os.uname().machine, {}).get(name)


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
        body = _body(rule, answer, other)
        parts += [_INSN.pack(_JUMP_IF_EQUAL, 0, len(body), _NUMBERS[machine][rule.name]), *body]
    return b"".join([*parts, _INSN.pack(_RETURN, 0, 0, other)])


def _body(rule: SyscallRule, answer: int, other: int) -> list[bytes]:
    """The instructions for a call of this name."""
    checks: list[bytes] = []
    for place, value in rule.arguments:
        checks += [
            _INSN.pack(_LOAD, 0, 0, _ARGS_AT + place * _ARG_BYTES),
            _INSN.pack(_JUMP_IF_EQUAL, 1, 0, value),
            _INSN.pack(_RETURN, 0, 0, other),
        ]
    return [*checks, _INSN.pack(_RETURN, 0, 0, answer)]
