"""Filters of system calls, run by an interpreter of our own over the calls of each architecture."""

from __future__ import annotations

import struct

import pytest

from tracer.system.privileges import forbidden
from tracer.system.seccomp import (
    ALLOW,
    INSN_BYTES,
    KILL_PROCESS,
    NOT_IMPLEMENTED,
    NOT_PERMITTED,
    SyscallRule,
    filter_of,
)

ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
WRITE = {"x86_64": 1, "aarch64": 64}
RULES = [SyscallRule("write", ((0, 1),)), SyscallRule("fcntl", ((0, 1), (1, 8))), SyscallRule("getpid")]


def answer(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """What a filter says of a call, by classic BPF as far as filters use it."""
    data = struct.pack("=iIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    insns = list(struct.iter_unpack("=HBBI", program))
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, operand = insns[at]
        at += 1
        match code:
            case 0x20:
                loaded = struct.unpack_from("=I", data, operand)[0]
            case 0x15:
                at += if_true if loaded == operand else if_false
            case 0x45:
                at += if_true if loaded & operand else if_false
            case 0x35:
                at += if_true if loaded >= operand else if_false
            case 0x06:
                return int(operand)


@pytest.mark.parametrize("machine", list(ARCH))
def test_only_what_the_rules_mean(machine: str) -> None:
    program = filter_of(RULES, ALLOW, NOT_PERMITTED, machine)
    assert len(program) % INSN_BYTES == 0
    arch, write, fcntl = ARCH[machine], WRITE[machine], {"x86_64": 72, "aarch64": 25}[machine]
    assert answer(program, arch, write, 1) == ALLOW
    assert answer(program, arch, write, 2) == NOT_PERMITTED
    assert answer(program, arch, fcntl, 1, 8, 4711) == ALLOW
    assert answer(program, arch, fcntl, 1, 9) == answer(program, arch, fcntl, 2, 8) == NOT_PERMITTED
    assert answer(program, arch, 999) == NOT_PERMITTED


@pytest.mark.parametrize("machine", list(ARCH))
def test_another_way_into_the_kernel_has_other_numbers(machine: str) -> None:
    program = filter_of(RULES, NOT_PERMITTED, ALLOW, machine)
    assert answer(program, ARCH[machine], WRITE[machine], 1) == NOT_PERMITTED
    assert answer(program, ARCH[machine], 0x40000000 | WRITE[machine], 1) == KILL_PROCESS
    assert answer(program, 0x40000003, WRITE[machine], 1) == KILL_PROCESS  # i386


# What a reader may not do, by the numbers of x86_64 and aarch64: the kernel's unistd_64.h and asm-generic/unistd.h.
REFUSED = {
    **{"execve": (59, 221), "execveat": (322, 281), "socket": (41, 198), "socketpair": (53, 199)},
    **{"ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271)},
    **{"pidfd_getfd": (438, 438), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282)},
    **{"io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427)},
    **{"memfd_create": (319, 279), "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51)},
    **{"pivot_root": (155, 41), "mount": (165, 40), "umount2": (166, 39), "move_mount": (429, 429)},
    **{"open_tree": (428, 428), "mount_setattr": (442, 442), "fsopen": (430, 430), "fsconfig": (431, 431)},
    **{"fsmount": (432, 432), "fspick": (433, 433), "open_by_handle_at": (304, 265), "add_key": (248, 217)},
    **{"request_key": (249, 218), "keyctl": (250, 219), "kexec_load": (246, 104), "kexec_file_load": (320, 294)},
    **{"init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106)},
}
# read, write, mmap, munmap, futex, openat, fork (x86_64 alone), exit_group
NEEDED = {"x86_64": (0, 1, 9, 11, 202, 257, 57, 231), "aarch64": (63, 64, 222, 215, 98, 56, 94)}
CLONE = {"x86_64": 56, "aarch64": 220}
A_THREAD, A_CHILD = 0x3D0F00, 0x01200011  # flags with which the C library makes them


@pytest.mark.parametrize("machine", list(ARCH))
def test_what_a_reader_may_not_do(machine: str) -> None:
    program, arch = forbidden(machine), ARCH[machine]
    for name, numbers in REFUSED.items():
        assert answer(program, arch, numbers[list(ARCH).index(machine)]) == NOT_PERMITTED, name
    for number in NEEDED[machine]:
        assert answer(program, arch, number) == ALLOW, number


@pytest.mark.parametrize("machine", list(ARCH))
def test_a_reader_makes_threads_and_children_but_no_namespaces(machine: str) -> None:
    program, arch = forbidden(machine), ARCH[machine]
    assert answer(program, arch, CLONE[machine], A_THREAD) == answer(program, arch, CLONE[machine], A_CHILD) == ALLOW
    for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(program, arch, CLONE[machine], flag | 17) == NOT_PERMITTED, hex(flag)
    assert answer(program, arch, 435) == NOT_IMPLEMENTED  # clone3
