"""Filters of system calls, run by an interpreter of our own over the calls of each architecture."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
from pathlib import Path

import pytest

from tracer.system import reader_calls
from tracer.system.reader_calls import reader_filter
from tracer.system.seccomp import (
    ALLOW,
    INSN_BYTES,
    KILL_PROCESS,
    NOT_IMPLEMENTED,
    NOT_PERMITTED,
    SyscallRule,
    filter_of,
)
from tracer.system.syscalls import MACHINES, NUMBERS

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
    **{"execve": (59, 221), "execveat": (322, 281), "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203)},
    **{"bind": (49, 200), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271)},
    **{"pidfd_getfd": (438, 438), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282)},
    **{"io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427)},
    **{"memfd_create": (319, 279), "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51)},
    **{"pivot_root": (155, 41), "mount": (165, 40), "umount2": (166, 39), "move_mount": (429, 429)},
    **{"open_tree": (428, 428), "mount_setattr": (442, 442), "fsopen": (430, 430), "fsconfig": (431, 431)},
    **{"fsmount": (432, 432), "fspick": (433, 433), "open_by_handle_at": (304, 265), "add_key": (248, 217)},
    **{"request_key": (249, 218), "keyctl": (250, 219), "kexec_load": (246, 104), "kexec_file_load": (320, 294)},
    **{"init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "clone": (56, 220)},
    **{"setuid": (105, 146), "capset": (126, 91), "tkill": (200, 130), "pidfd_send_signal": (424, 424)},
    **{"unlinkat": (263, 35), "mkdirat": (258, 34), "renameat2": (316, 276), "linkat": (265, 37)},
    **{"symlinkat": (266, 36), "fchmod": (91, 52), "fchown": (93, 55), "utimensat": (280, 88)},
    **{"a call of a later kernel": (4711, 4711)},
}
FORK, VFORK = 57, 58  # on x86_64 alone
# read, write, munmap, futex, exit_group
NEEDED = {"x86_64": (0, 1, 11, 202, 231), "aarch64": (63, 64, 215, 98, 94)}
OPENAT, MMAP = {"x86_64": 257, "aarch64": 56}, {"x86_64": 9, "aarch64": 222}
MPROTECT, IOCTL = {"x86_64": 10, "aarch64": 226}, {"x86_64": 16, "aarch64": 29}
KILL, TGKILL = {"x86_64": 62, "aarch64": 129}, {"x86_64": 234, "aarch64": 131}
MKDIRAT = {"x86_64": 258, "aarch64": 34}
TIOCGWINSZ, TIOCSTI, TIOCLINUX = 0x5413, 0x5412, 0x541C


@pytest.mark.parametrize("machine", list(ARCH))
def test_what_a_reader_may_not_do(machine: str) -> None:
    program, arch = reader_filter(machine=machine), ARCH[machine]
    for name, numbers in REFUSED.items():
        assert answer(program, arch, numbers[list(ARCH).index(machine)]) == NOT_PERMITTED, name
    for number in NEEDED[machine]:
        assert answer(program, arch, number) == ALLOW, number
    assert answer(program, arch, 435) == NOT_IMPLEMENTED  # clone3
    if machine == "x86_64":
        assert answer(program, arch, FORK) == answer(program, arch, VFORK) == NOT_PERMITTED


@pytest.mark.parametrize("machine", list(ARCH))
def test_a_reader_opens_nothing_to_be_written(machine: str) -> None:
    program, arch = reader_filter(machine=machine), ARCH[machine]
    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY):
        assert answer(program, arch, OPENAT[machine], 3, 0, flags) == ALLOW
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_TMPFILE | os.O_RDWR):
        assert answer(program, arch, OPENAT[machine], 3, 0, flags) == NOT_PERMITTED, flags
        assert answer(reader_filter(may_write=True, machine=machine), arch, OPENAT[machine], 3, 0, flags) == ALLOW
    assert answer(reader_filter(may_write=True, machine=machine), arch, MKDIRAT[machine]) == ALLOW


@pytest.mark.parametrize("machine", list(ARCH))
def test_a_reader_makes_no_memory_executable(machine: str) -> None:
    program, arch = reader_filter(machine=machine), ARCH[machine]
    for number in (MMAP[machine], MPROTECT[machine]):
        assert answer(program, arch, number, 0, 4096, 3) == ALLOW
        assert answer(program, arch, number, 0, 4096, 5) == answer(program, arch, number, 0, 4096, 7) == NOT_PERMITTED


@pytest.mark.parametrize("machine", list(ARCH))
def test_a_reader_types_into_no_terminal_and_signals_nobody(machine: str) -> None:
    program, arch = reader_filter(machine=machine), ARCH[machine]
    assert answer(program, arch, IOCTL[machine], 1, TIOCGWINSZ) == ALLOW
    for command in (TIOCSTI, TIOCLINUX):
        assert answer(program, arch, IOCTL[machine], 1, command) == NOT_PERMITTED
    for number in (KILL[machine], TGKILL[machine]):
        assert answer(program, arch, number, os.getpid(), 15) == ALLOW
        for other in (1, 0, 0xFFFFFFFF, os.getpid() + 1):
            assert answer(program, arch, number, other, 9) == NOT_PERMITTED


CLONE, SOCKET, CONNECT = {"x86_64": 56, "aarch64": 220}, {"x86_64": 41, "aarch64": 198}, {"x86_64": 42, "aarch64": 203}
FCNTL, BIND, EXECVE = {"x86_64": 72, "aarch64": 25}, {"x86_64": 49, "aarch64": 200}, {"x86_64": 59, "aarch64": 221}
THREAD, CLONE_NEWUSER, AF_UNIX, AF_PACKET = 0x3D0F00, 0x10000000, 1, 17


@pytest.mark.parametrize("machine", list(ARCH))
def test_who_speaks_to_a_server_connects_by_ip_and_makes_threads(machine: str) -> None:
    program, arch = reader_filter(may_connect=True, machine=machine), ARCH[machine]
    for family in (socket.AF_INET, socket.AF_INET6):
        assert answer(program, arch, SOCKET[machine], family, socket.SOCK_STREAM) == ALLOW
    for other in (AF_UNIX, AF_PACKET, int(socket.AF_NETLINK)):
        assert answer(program, arch, SOCKET[machine], other, socket.SOCK_STREAM) == NOT_PERMITTED
    assert answer(program, arch, CONNECT[machine], 3) == answer(program, arch, CLONE[machine], THREAD) == ALLOW
    for flags in (0, signal.SIGCHLD, THREAD | CLONE_NEWUSER):
        assert answer(program, arch, CLONE[machine], flags) == NOT_PERMITTED
    assert answer(program, arch, FCNTL[machine], 3, 4, os.O_NONBLOCK) == ALLOW  # F_SETFL
    assert answer(program, arch, FCNTL[machine], 3, 4, os.O_ASYNC) == NOT_PERMITTED
    assert answer(program, arch, BIND[machine], 3) == answer(program, arch, EXECVE[machine]) == NOT_PERMITTED
    assert answer(program, arch, OPENAT[machine], 3, 0, os.O_WRONLY) == NOT_PERMITTED


HEADERS = {"x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "/usr/include/asm-generic/unistd.h"}


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_those_of_the_headers(machine: str) -> None:
    header = Path(HEADERS[machine])
    if not header.exists():
        pytest.skip("the kernel's headers for programs are not installed (linux-libc-dev)")
    found: dict[str, str] = dict(re.findall(r"#define (__NR\w+) (\w+)$", header.read_text(), re.MULTILINE))
    for name, number in NUMBERS[machine].items():
        text = found[f"__NR_{name}"]
        assert int(found.get(text, text)) == number, name


def test_every_call_that_a_filter_names_has_a_number() -> None:
    """A rule for a call without a number is left out: where a machine does not have it, not where it is misspelt."""
    text = Path(reader_calls.__file__).read_text()
    named = set(re.findall(r'SyscallRule\("(\w+)"', text)) | set(reader_calls._NEW_CALLS)
    named |= {
        word
        for group in re.findall(r'^_[A-Z]+ = "(?:"")?([a-z0-9_\s]+)"', text, re.MULTILINE)
        for word in group.split()
    }
    assert named <= set(NUMBERS["x86_64"])
    assert len(named) > 100
