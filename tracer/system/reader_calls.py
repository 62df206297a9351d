"""The system calls of a process that reads strangers' data: what is not listed here, the kernel refuses to it.

It reads and writes what is open already, waits, and manages its memory. It executes, connects, loads and mounts
nothing, opens nothing to be written, makes no process and no thread, and signals nobody but itself.
"""

from __future__ import annotations

import os

from tracer.system.seccomp import ALLOW, NOT_IMPLEMENTED, NOT_PERMITTED, SyscallRule, filter_of

_DESCRIPTORS = """
read write readv writev pread64 pwrite64 preadv pwritev lseek close close_range dup dup2 dup3
fsync fdatasync ftruncate fadvise64 fallocate copy_file_range sendfile
poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd2 pipe2
sendto recvfrom sendmsg recvmsg shutdown getsockopt getsockname getpeername
"""
_FILES = """
fstat stat lstat newfstatat statx statfs fstatfs access faccessat readlink readlinkat getdents64 getcwd umask
"""
_MEMORY = "munmap mremap madvise brk membarrier mincore msync"
_THREADS = "futex set_robust_list rseq sched_yield sched_getaffinity getcpu arch_prctl"
_SIGNALS = """
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack restart_syscall
"""
_TIME = """
nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time setitimer getitimer alarm pause times
"""
_PROCESSES = """
wait4 waitid exit exit_group pidfd_open getpid getppid gettid getpgrp getpgid getsid
getuid geteuid getgid getegid getgroups getresuid getresgid capget
getrandom uname sysinfo getrusage getpriority
"""
_CONNECTING = "connect setsockopt sendmmsg recvmmsg epoll_create"
_WRITING = "rename renameat renameat2 unlink unlinkat rmdir"

_PROT_EXEC = 4
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_MAKING = (("open", 2), ("openat", 3), ("mkdir", 1), ("mkdirat", 2))  # what makes files and folders: where the mode is
_SPECIAL_BITS = 0o7000  # set-user-ID, set-group-ID, sticky
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ; not F_SETOWN and F_SETSIG, which let
# the kernel send any signal to any process of the same user, nor F_SETFL: with O_ASYNC a terminal signals its whole
# foreground group
_FCNTLS = (0, 1, 2, 3, 1030, 1031, 1032)
# TCGETS, TIOCGPGRP, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, TCGETS2; not TIOCSTI, which types into a terminal
_IOCTLS = (0x5401, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x802C542A)
# NS_GET_PARENT, NS_GET_ID, NS_GET_PID_FROM_PIDNS, NS_GET_TGID_FROM_PIDNS, NS_GET_TGID_IN_PIDNS: ioctl_nsfs(2)
_OF_NAMESPACES = (0xB702, 0x8008B70D, 0x8004B706, 0x8004B707, 0x8004B709)
_PR_SET_NAME, _PR_SET_VMA = 15, 0x53564D41
_INTERNET = (2, 10)  # AF_INET, AF_INET6
_F_SETFL = 4
# As pthread_create(3) of the C library makes threads, and nothing else: CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND,
# CLONE_THREAD, CLONE_SYSVSEM, CLONE_SETTLS, CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID
_THREAD = 0x3D0F00
_NEW_CALLS = ("clone3", "openat2", "faccessat2")  # the C library has older ones for where these are missing


def reader_filter(
    may_write: bool = False,
    may_look: bool = False,
    may_connect: bool = False,
    may_serve: bool = False,
    machine: str = os.uname().machine,
) -> bytes:
    """The instructions of the filter for this process: struct sock_filter, one after the other. may_write: it may also
    create, rename and remove files. may_look: it may also ask about namespaces. may_connect: it may also connect to
    servers by IP, and make threads, by which libraries look up names. may_serve: it may accept connections on
    a socket that listens. Raises KeyError for a machine that is not known."""
    calls = " ".join((_DESCRIPTORS, _FILES, _MEMORY, _THREADS, _SIGNALS, _TIME, _PROCESSES)).split()
    own = os.getpid()
    rules = [
        *map(SyscallRule, calls),
        SyscallRule("mmap", without=(2, _PROT_EXEC)),
        SyscallRule("mprotect", without=(2, _PROT_EXEC)),
        SyscallRule("fcntl", one_of=(1, _FCNTLS)),
        SyscallRule("ioctl", one_of=(1, _IOCTLS + (_OF_NAMESPACES if may_look else ()))),
        SyscallRule("kill", ((0, own),)),
        SyscallRule("tgkill", ((0, own),)),
        SyscallRule("prctl", one_of=(0, (_PR_SET_NAME, _PR_SET_VMA))),
        SyscallRule("prlimit64", ((0, 0),)),  # 0: its own
        SyscallRule("setpriority", ((0, 0), (1, 0))),  # its own, and without CAP_SYS_NICE only a lower one
        *(SyscallRule(name, answer=NOT_IMPLEMENTED) for name in _NEW_CALLS),
    ]
    if may_connect:
        rules += map(SyscallRule, _CONNECTING.split())
        rules += [SyscallRule("socket", one_of=(0, _INTERNET)), SyscallRule("clone", ((0, _THREAD),))]
        rules.remove(SyscallRule("fcntl", one_of=(1, _FCNTLS)))
        rules.append(SyscallRule("fcntl", one_of=(1, (*_FCNTLS, _F_SETFL)), without=(2, os.O_ASYNC)))
    if may_serve:
        rules.append(SyscallRule("accept4"))
    if may_write:
        rules += map(SyscallRule, _WRITING.split())
        rules += [SyscallRule(name, without=(place, _SPECIAL_BITS)) for name, place in _MAKING]
    else:
        rules += [SyscallRule("open", without=(1, _TO_WRITE)), SyscallRule("openat", without=(2, _TO_WRITE))]
    return filter_of(rules, ALLOW, NOT_PERMITTED, machine)
