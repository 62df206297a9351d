"""Gives up root before untrusted data is parsed."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path

from tracer.errors import ExitCode, NstraceError, unwritable
from tracer.system import imports, seccomp
from tracer.system.libc import call

_NOBODY = (65534, 65534)
_MAX_ID = 0xFFFFFFFE  # the one above means "leave it as it is": setresuid(2)
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: clone(2)
# What starts programs, connects to others, reads other processes, or is a large or privileged part of the kernel.
_FORBIDDEN = (
    *("execve", "execveat", "socket", "socketpair"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd"),
    *("bpf", "perf_event_open", "userfaultfd", "memfd_create", "io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("unshare", "setns", "chroot", "pivot_root", "mount", "umount2", "move_mount", "open_tree", "mount_setattr"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "open_by_handle_at", "add_key", "request_key", "keyctl"),
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module"),
)

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_CAPABILITY_VERSION_3 = 0x20080522
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1


def caller() -> tuple[int, int] | None:
    """uid and gid of the user who called sudo, by SUDO_UID and SUDO_GID. None where they name no such user, or root:
    anyone may have set them to anything."""
    uid, gid = (_lesser_id(os.environ.get(name, "")) for name in ("SUDO_UID", "SUDO_GID"))
    return (uid, gid) if uid and gid else None


def _lesser_id(text: str) -> int | None:
    """The id of a user or group; None where the text is none, or root's."""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(_MAX_ID))):
        return None
    return int(text) if 0 < int(text) <= _MAX_ID else None


def more_rights(capabilities: str) -> str:
    """The hint where an operation was not permitted for lack of these capabilities."""
    if os.geteuid() != 0:
        return "run it with sudo"
    return f"root lacks {capabilities} here (a container needs --privileged), or the kernel is locked down"


def lesser_user() -> tuple[int, int]:
    """uid and gid to run as: the user who called sudo, else nobody; our own where we are not root."""
    if os.geteuid() != 0 or _is_root_here_alone():
        return os.geteuid(), os.getegid()
    return caller() or _NOBODY


def drop() -> None:
    """Become the lesser user permanently, without capabilities, and execute nothing any more. Open and import what is
    needed before. Raises NstraceError where root cannot be given up: then nothing untrusted may be parsed."""
    imports.seal()
    try:
        if lesser_user() != (os.geteuid(), os.getegid()):
            become(*lesser_user())
        renounce()
    except OSError as error:
        raise NstraceError(
            f"root's privileges cannot be given up: {error.strerror}",
            "run it as another user; a container needs --cap-add SETUID --cap-add SETGID, or --user 65534",
            ExitCode.NOT_PERMITTED,
        ) from error
    _check_threads()
    _forbid()


def become(uid: int, gid: int) -> None:
    """Become this user permanently, in all threads, in no group but this one, and with an empty bounding set. Raises
    OSError."""
    with contextlib.suppress(PermissionError):  # without CAP_SETPCAP; no_new_privs does as much
        _empty_bounding_set()
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def renounce() -> None:
    """Drop this thread's capabilities, and gain none by an exec. Raises OSError."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    call("capset", header, (ctypes.c_uint32 * 6)())  # ambient ones go with inheritable ones: capabilities(7)
    call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _empty_bounding_set() -> None:
    try:
        for capability in range(64):
            call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
    except OSError as error:
        if error.errno != errno.EINVAL:  # which means that the kernel has no such capability: all are dropped
            raise


def _is_root_here_alone() -> bool:
    """Whether we are in a user namespace that one user has made: root is a name of that user there, and no other user
    exists (user_namespaces(7))."""
    inside, outside, count = Path("/proc/self/uid_map").read_text().split()[:3]
    return inside == "0" and outside != "0" and count == "1"


def _check_threads() -> None:
    """Raise NstraceError where another thread still has capabilities: capset(2) is of one thread, while a change of the
    user is of all. A thread that a library has begun is one only for a user who has capabilities without being root;
    cli.py keeps libraries from beginning any."""
    for status in Path("/proc/self/task").glob("*/status"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            if int(status.read_text().split("\nCapPrm:")[1].split()[0], 16):
                raise NstraceError(
                    "privileges cannot be given up: a thread of a library keeps capabilities",
                    "run it as a user without capabilities",
                    ExitCode.NOT_PERMITTED,
                )


def forbidden(machine: str = os.uname().machine) -> bytes:
    """The instructions of the filter that refuses what no reader needs. Processes and threads can be made, but not in
    new namespaces; a filter cannot see the flags of clone3, and without it the C library makes threads by clone."""
    rules = [seccomp.SyscallRule(name) for name in _FORBIDDEN]
    rules.append(seccomp.SyscallRule("clone", bits=(0, _NEW_NAMESPACES)))
    rules.append(seccomp.SyscallRule("clone3", answer=seccomp.NOT_IMPLEMENTED))
    return seccomp.filter_of(rules, seccomp.NOT_PERMITTED, seccomp.ALLOW, machine)


def _forbid() -> None:
    """Make the kernel, where it has such filters, refuse to all threads what no reader needs; threads that libraries
    have begun get no_new_privs by this too (seccomp(2), SECCOMP_FILTER_FLAG_TSYNC). Raises NstraceError."""
    number = seccomp.number("seccomp")
    if number is None or _seccomp(number, None) in (errno.ENOSYS, errno.EINVAL):  # it would be EFAULT
        return
    instructions = forbidden()
    program = _Program(len(instructions) // seccomp.INSN_BYTES, instructions)
    if failure := _seccomp(number, ctypes.byref(program)):
        raise NstraceError(
            f"the kernel refuses the filter of system calls that readers run under: {os.strerror(failure)}",
            "a container's seccomp profile has to permit seccomp(2)",
            ExitCode.NOT_PERMITTED,
        )


def _seccomp(number: int, program: object) -> int:
    """Set a filter for all threads. Returns 0, or the errno; ESRCH where a thread has a filter that is not ours."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(number, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, program)
    return ctypes.get_errno() if result < 0 else errno.ESRCH if result else 0


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))  # struct sock_fprog


def in_child(work: Callable[[], None], folder: int | None = None) -> None:
    """Call work in a child without privileges, which shares our descriptors. folder: the descriptor of its working
    directory, which it may be unable to reach by a path. Raises the child's NstraceError."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _work(work, folder, writer)
    os.close(writer)
    with open(reader, "rb") as answer:  # noqa: PTH123 - a descriptor
        answered = answer.read()
    _pid, status = os.waitpid(child, 0)
    if answered:
        message, hint, code, detail = json.loads(answered)
        raise NstraceError(message, hint, ExitCode(code), detail)
    if status:
        raise NstraceError(f"the child that reads ended with {os.waitstatus_to_exitcode(status)}", "please report it")


def _work(work: Callable[[], None], folder: int | None, writer: int) -> None:
    try:
        if folder is not None:
            os.fchdir(folder)
        drop()
        work()
        os._exit(0)
    except NstraceError as error:
        failure = (error.message, error.hint, int(error.exit_code), error.detail)
    except KeyboardInterrupt:
        os._exit(130)
    except BaseException as error:
        known = unwritable(error) if isinstance(error, OSError) else None
        hint = "run nstrace --debug ... for a report"
        known = known or NstraceError(f"unexpected {type(error).__name__}: {error}", hint)
        failure = (known.message, known.hint, int(known.exit_code), traceback.format_exc())
    os.write(writer, json.dumps(failure).encode()[:65536])
    os._exit(1)
