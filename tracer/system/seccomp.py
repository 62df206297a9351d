"""Filters of system calls for seccomp(2): which calls are allowed, by name and by arguments."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from typing import NamedTuple

# include/uapi/linux/seccomp.h; a filter's answer to a system call
ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000
NOT_PERMITTED = 0x00050001  # the call fails with EPERM

NOT_IMPLEMENTED = 0x00050026  # with ENOSYS, as if the kernel had no such call

# arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h
_MACHINES = ("x86_64", "aarch64")
_OF_EACH = {
    **{"read": (0, 63), "write": (1, 64), "getpid": (39, 172), "socket": (41, 198), "socketpair": (53, 199)},
    **{"clone": (56, 220), "clone3": (435, 435), "execve": (59, 221), "execveat": (322, 281), "fcntl": (72, 25)},
    **{"exit_group": (231, 94), "seccomp": (317, 277), "ptrace": (101, 117), "process_vm_readv": (310, 270)},
    **{"process_vm_writev": (311, 271), "pidfd_getfd": (438, 438), "bpf": (321, 280)},
    **{"perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425)},
    **{"io_uring_enter": (426, 426), "io_uring_register": (427, 427), "memfd_create": (319, 279)},
    **{"unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51), "pivot_root": (155, 41)},
    **{"mount": (165, 40), "umount2": (166, 39), "move_mount": (429, 429), "open_tree": (428, 428)},
    **{"fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433)},
    **{"mount_setattr": (442, 442), "open_by_handle_at": (304, 265), "add_key": (248, 217)},
    **{"request_key": (249, 218), "keyctl": (250, 219), "kexec_load": (246, 104), "kexec_file_load": (320, 294)},
    **{"init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106)},
}
_NUMBERS = {machine: {name: numbers[at] for name, numbers in _OF_EACH.items()} for at, machine in enumerate(_MACHINES)}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # include/uapi/linux/audit.h
_X32_BIT = 0x40000000  # of the numbers of x86-64's other ABI; no other architecture has numbers that large

_INSN = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, operand
INSN_BYTES = _INSN.size
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _JUMP_IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR_AT, _ARCH_AT, _ARGS_AT, _ARG_BYTES = 0, 4, 16, 8  # struct seccomp_data


class SyscallRule(NamedTuple):
    """A system call. arguments: the required low halves of some of its arguments, by their position. bits: the position
    of an argument, and bits of its low half of which at least one is required. answer: if not that of the filter."""

    name: str
    arguments: tuple[tuple[int, int], ...] = ()
    bits: tuple[int, int] | None = None
    answer: int | None = None


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
    if rule.bits:
        place, mask = rule.bits
        checks += [
            _INSN.pack(_LOAD, 0, 0, _ARGS_AT + place * _ARG_BYTES),
            _INSN.pack(_JUMP_IF_ANY_BIT, 1, 0, mask),
            _INSN.pack(_RETURN, 0, 0, other),
        ]
    return [*checks, _INSN.pack(_RETURN, 0, 0, answer if rule.answer is None else rule.answer)]
