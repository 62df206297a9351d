"""Filters of system calls, run by an interpreter of our own over the calls of each architecture."""

from __future__ import annotations

import struct

import pytest

from tracer.system.seccomp import ALLOW, INSN_BYTES, KILL_PROCESS, NOT_PERMITTED, SyscallRule, filter_of

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
