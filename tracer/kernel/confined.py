"""Programs without any privileges: what a child gives up before it executes one."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
from collections.abc import Sequence
from typing import IO, NoReturn

from tracer.kernel.namespaces import CLONE_NEWNS, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_REC
from tracer.system import seccomp
from tracer.system.libc import call
from tracer.system.privileges import FIRST_UID, become, renounce

_MFD_CLOEXEC, _MFD_ALLOW_SEALING, _MFD_EXEC = 1, 2, 16
_F_ADD_SEALS, _ALL_SEALS = 1033, 0xF
_CLONE_NEWCGROUP, _CLONE_NEWUTS, _CLONE_NEWIPC, _CLONE_NEWNET = 0x02000000, 0x04000000, 0x08000000, 0x40000000
_MS_RDONLY, _MNT_DETACH = 1, 2
_MAX_PROCESSES, _MAX_CPU_S = 2, 4


def file_of(program: bytes) -> IO[bytes]:
    """An unnamed file that holds a program, is executable, and cannot be changed by anyone. Raises OSError."""
    flags = _MFD_CLOEXEC | _MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create("nstrace", flags | _MFD_EXEC)
    except OSError:  # before Linux 6.3 all such files are executable
        fd = os.memfd_create("nstrace", flags)
    file = os.fdopen(fd, "wb", buffering=0)
    file.write(program)
    fcntl.fcntl(file, _F_ADD_SEALS, _ALL_SEALS)
    return file


def execute(program: int, name: str, descriptors: Sequence[int]) -> NoReturn:
    """Execute the program of this descriptor, with these descriptors as 0, 1, ... and no other. Raises OSError.

    It is a user that nobody else is, and with it no more than two processes (a process that takes it over cannot
    multiply further), without capabilities; it is in an empty root directory, in namespaces of its own except those of
    users, time and PIDs.
    """
    call("unshare", CLONE_NEWNS | _CLONE_NEWCGROUP | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWNET)
    _empty_root()
    program = _keep_only(program, descriptors)
    for limit, most in (
        (resource.RLIMIT_NPROC, _MAX_PROCESSES),
        (resource.RLIMIT_CPU, _MAX_CPU_S),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    become(FIRST_UID + os.getpid(), FIRST_UID + os.getpid())
    renounce()
    os.execve(program, [name], {})


def _empty_root() -> None:
    """Make an empty file system the root, and unmount all others: pivot_root(2), "pivot_root(".", ".")". This starts at
    the namespace's own root, so that nothing is left of it where we run in a chroot. Where that is the first file
    system (an initramfs), which cannot be unmounted, it fails."""
    pivot_root = seccomp.number("pivot_root")
    with open("/proc/self/ns/mnt", "rb") as own:  # noqa: PTH123
        call("setns", own.fileno(), CLONE_NEWNS)  # which goes to its root: mntns_install(), fs/namespace.c
    call("mount", b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None)
    flags = _MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
    call("mount", b"nothing", b"/proc", b"tmpfs", ctypes.c_ulong(flags), b"mode=0555,nr_inodes=1")
    os.chdir("/proc")
    call("syscall", pivot_root, b".", b".")
    call("umount2", b".", _MNT_DETACH)
    os.chdir("/")


def _keep_only(program: int, descriptors: Sequence[int]) -> int:
    """Make the descriptors 0, 1, ..., the program's the next, which is closed at the exec, and close all others."""
    count = len(descriptors) + 1
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, count) for fd in (*descriptors, program)]
    for target, fd in enumerate(high):
        os.dup2(fd, target, inheritable=target < count - 1)
    os.closerange(count, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    return count - 1
