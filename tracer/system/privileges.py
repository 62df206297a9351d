"""Gives up root before untrusted data is parsed."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import signal
import stat
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tracer.errors import ExitCode, NstraceError, lacking, unwritable
from tracer.system import imports, landlock, seccomp
from tracer.system.descriptors import blind
from tracer.system.libc import call
from tracer.system.reader_calls import reader_filter

_NOBODY = (65534, 65534)
_MAX_ID = 0xFFFFFFFE  # the one above means "leave it as it is": setresuid(2)
FIRST_UID = 0x70000000
"""From here on no uids are assigned to anybody, for more than there are PIDs, which have 22 bits (systemd,
UIDS-GIDS.md); user namespaces of containers are given others (Podman's from 2147483647 on)."""
_EMPTY_ROOTS = ("/run", "/dev/shm", "/tmp")  # where a folder can be made and removed that becomes the root directory
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 8, 24, 38
_CAP_SYS_CHROOT, _CAP_SYS_PTRACE = 18, 19
_CAPABILITY_VERSION_3 = 0x20080522
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, _SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1, 1, 4


GiveUp = Callable[[Callable[[], None]], None]


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
    return caller() or _NOBODY if is_root() else (os.geteuid(), os.getegid())


def drop(folder: int | None = None, begin_threads: Callable[[], None] = lambda: None, may_serve: bool = False) -> None:
    """Give up everything that a reader of strangers' data does not need, permanently: another user that nobody else is,
    no capability, an empty root directory, no further process or thread, and no system call but those of
    `tracer.system.reader_calls`. Open and import what is needed before.

    folder: the descriptor of the one folder in which files may be created, which becomes the root directory; the user
    is its owner then, or nobody. begin_threads: called when there are no privileges, and threads can still be made.
    Raises NstraceError where root cannot be given up: then nothing untrusted may be parsed.
    """
    imports.seal()
    _blind_folders(folder)
    threads = os.open("/proc/self/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    has_root = False
    with _not_given_up():
        if is_root():
            user = (FIRST_UID + os.getpid(),) * 2 if folder is None else _owner(folder)
            has_root = _change_root(folder)
            _become_first([user, _NOBODY])
        renounce()
    _check_threads(threads)
    os.close(threads)
    if folder is not None and not has_root and landlock.is_there():
        with _not_given_up():
            landlock.confine(folder)
    begin_threads()
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    _forbid(lambda: reader_filter(may_write=folder is not None, may_serve=may_serve))


def drop_but_serve() -> None:
    """As `drop`, for a process that answers on a socket that listens already: it may accept connections. Raises
    NstraceError."""
    drop(may_serve=True)


def drop_but_look() -> None:
    """As `drop`, for a command that reads the living host: it keeps CAP_SYS_PTRACE if it has it, without which
    namespaces and executables of other users' processes cannot be read, and what everyone may read can still be opened.
    Processes can be looked at, and neither traced nor signalled. Raises NstraceError."""
    imports.seal()
    with _not_given_up():
        if is_root():
            call("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0)
            _become_first([(FIRST_UID + os.getpid(),) * 2, _NOBODY])
        keep(1 << _CAP_SYS_PTRACE)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    _forbid(lambda: reader_filter(may_look=True))


def drop_but_connect() -> None:
    """As `drop`, for a process that speaks to a server: it may connect by IP, and make threads; what everyone may read
    can still be opened, by which names of servers are looked up. No thread may run. Raises NstraceError."""
    imports.seal()
    _blind_folders(None)
    with _not_given_up():
        if is_root():
            _become_first([(FIRST_UID + os.getpid(),) * 2, _NOBODY])
        renounce()
    _forbid(lambda: reader_filter(may_connect=True))


def drop_but_files(begin_threads: Callable[[], None] = lambda: None) -> None:
    """As `drop_but_connect`, for a process that reads an archive, and is already the user who may: files can also be
    made and removed, as far as that user may. begin_threads: as for `drop`. Raises NstraceError."""
    with _not_given_up():
        renounce()
    begin_threads()
    _forbid(lambda: reader_filter(may_write=True, may_connect=True))


@contextlib.contextmanager
def _not_given_up() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NstraceError(
            f"root's privileges cannot be given up: {error.strerror}",
            "run it as another user; a container needs --cap-add SETUID --cap-add SETGID, or --user 65534",
            ExitCode.NOT_PERMITTED,
        ) from error


def is_root() -> bool:
    """Whether we are root, and somebody else could be."""
    return os.geteuid() == 0 and not _is_root_here_alone()


def _become_first(users: Sequence[tuple[int, int]]) -> None:
    """Become the first of these users that there is: in a user namespace only a few numbers are users. Raises
    OSError."""
    for uid, gid in users[:-1]:
        with contextlib.suppress(OSError):
            become(uid, gid)
            return
    become(*users[-1])


def _owner(folder: int) -> tuple[int, int]:
    """uid and gid of who owns a folder; nobody's in place of root's."""
    found = os.fstat(folder)
    return (found.st_uid, found.st_gid) if found.st_uid and found.st_gid else _NOBODY


def _blind_folders(but: int | None) -> None:
    """Put /dev/null in the place of every descriptor of a folder, ours and inherited ones: by ".." each of them leads
    out of an empty root directory. but: one that stays."""
    nowhere = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for fd in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208
        if fd != but and _is_folder(fd):
            blind(fd, nowhere)
    os.close(nowhere)


def _is_folder(fd: int) -> bool:
    try:
        return stat.S_ISDIR(os.fstat(fd).st_mode)
    except OSError:  # the descriptor that read the list
        return False


def can_confine() -> bool:
    """Whether `drop` keeps a process that may create files within their folder."""
    return landlock.is_there() or can_change_root()


def can_change_root() -> bool:
    """Whether `drop` changes the root directory."""
    return is_root() and bool(_permitted() & 1 << _CAP_SYS_CHROOT)


def _change_root(folder: int | None) -> bool:
    """Make the folder the root directory, or one that is empty and has been removed: nothing can be made in it. Returns
    whether that was done: without CAP_SYS_CHROOT the root directory stays."""
    for parent in _EMPTY_ROOTS if folder is None else ("",):
        with contextlib.suppress(OSError):
            root = _removed_folder(parent) if folder is None else os.dup(folder)
            os.fchdir(root)
            os.chroot(".")
            os.close(root)
            return True
    return False


def _removed_folder(parent: str) -> int:
    name = Path(f"{parent}/.nstrace-{os.urandom(8).hex()}")
    name.mkdir(0o700)
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    finally:
        name.rmdir()


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
    _set_capabilities(0)
    gain_nothing()


def keep(capabilities: int) -> None:
    """Keep these capabilities, a bit each (capabilities(7)), as far as this thread has them; gain none. Raises
    OSError."""
    _set_capabilities(capabilities & _permitted())
    gain_nothing()


def _permitted() -> int:
    """The permitted capabilities of this thread, a bit each."""
    with open("/proc/thread-self/status") as file:  # noqa: PTH123
        return int(file.read().split("\nCapPrm:")[1].split()[0], 16)


def _set_capabilities(mask: int) -> None:
    """Make these the permitted and effective ones of this thread, which has them; none is inherited, and so none is
    ambient: capabilities(7). Raises OSError."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    call("capset", header, (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0))  # effective, permitted, inheritable


def gain_nothing() -> None:
    """Gain no privilege by an exec any more. Raises OSError."""
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


def _check_threads(folder: int) -> None:
    """Raise NstraceError where another thread still has capabilities: capset(2) is of one thread, while a change of the
    user is of all. A thread that a library has begun is one only for a user who has capabilities without being root;
    cli.py keeps libraries from beginning any. folder: a descriptor of /proc/self/task."""
    for thread in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            with open(os.open(f"{thread}/status", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)) as file:  # noqa: PTH123
                status = file.read()
            if int(status.split("\nCapPrm:")[1].split()[0], 16):
                raise NstraceError(
                    "privileges cannot be given up: a thread of a library keeps capabilities",
                    "run it as a user without capabilities",
                    ExitCode.NOT_PERMITTED,
                )


def _forbid(build: Callable[[], bytes]) -> None:
    """Make the kernel, where it has such filters, refuse to all threads what this one refuses; threads that libraries
    have begun get no_new_privs by this too (seccomp(2), SECCOMP_FILTER_FLAG_TSYNC). Raises NstraceError."""
    number = seccomp.number("seccomp")
    if number is None or _seccomp(number, None) in (errno.ENOSYS, errno.EINVAL):  # it would be EFAULT
        return
    instructions = build()
    program = _Program(len(instructions) // seccomp.INSN_BYTES, instructions)
    if failure := _seccomp(number, ctypes.byref(program)):
        raise NstraceError(
            f"the kernel rejects the system call filter (seccomp) of nstrace: {os.strerror(failure)}",
            "a container's seccomp profile has to permit seccomp(2)",
            ExitCode.NOT_PERMITTED,
        )


def _seccomp(number: int, program: object) -> int:
    """Set a filter for all threads. Returns 0, or the errno; ESRCH where a thread has a filter that is not ours.

    SPEC_ALLOW: before Linux 5.16 a filter made a process slower, to keep code that it runs for others from reading its
    memory by speculation (2f46993d83ff); a reader runs no such code."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _SECCOMP_FILTER_FLAG_TSYNC | _SECCOMP_FILTER_FLAG_SPEC_ALLOW
    result = libc.syscall(number, _SECCOMP_SET_MODE_FILTER, flags, program)
    return ctypes.get_errno() if result < 0 else errno.ESRCH if result else 0


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))  # struct sock_fprog


def in_child(
    work: Callable[[], str | None],
    folder: int | None = None,
    begin_threads: Callable[[], None] = lambda: None,
    give_up: GiveUp | None = None,
) -> str:
    """Call work in a child without privileges, which shares our descriptors and ends with us. Gives what work does; it
    is as little to be trusted as what the child has read. folder, begin_threads: as for `drop`; the folder is the
    child's working directory. give_up: gives up what the child does not need, in place of `drop`: it calls what it is
    given when it is the user that it stays. Raises the child's NstraceError."""
    reader, writer = os.pipe()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        _work(work, folder, begin_threads, give_up, writer, parent)
    os.close(writer)
    try:
        with open(reader, "rb") as answer:  # noqa: PTH123 - a descriptor
            answered = answer.read()
    except BaseException:  # a signal: the child does not go on alone
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    _pid, status = os.waitpid(child, 0)
    answer = json.loads(answered or '""')
    if not isinstance(answer, str):
        message, hint, code, detail = answer
        raise NstraceError(message, hint, ExitCode(code), detail)
    if status:
        raise NstraceError(
            f"the process that reads the recording ended with {os.waitstatus_to_exitcode(status)}", "please report it"
        )
    return answer


def _work(
    work: Callable[[], str | None],
    folder: int | None,
    begin_threads: Callable[[], None],
    give_up: GiveUp | None,
    writer: int,
    parent: int,
) -> None:
    def begin() -> None:
        end_with(parent)
        begin_threads()

    try:
        if folder is not None:
            os.fchdir(folder)
        if give_up is None:
            drop(folder, begin_threads=begin)
        else:
            give_up(begin)
        os.write(writer, json.dumps(work() or "").encode())
        os._exit(0)
    except NstraceError as error:
        failure = (error.message, error.hint, int(error.exit_code), error.detail)
    except KeyboardInterrupt:
        os._exit(130)
    except BaseException as error:
        known = unwritable(error) or lacking(error) if isinstance(error, OSError) else None
        hint = "run nstrace --debug ... for a report"
        known = known or NstraceError(f"unexpected {type(error).__name__}: {error}", hint)
        failure = (known.message, known.hint, int(known.exit_code), traceback.format_exc())
    os.write(writer, json.dumps(failure).encode()[:65536])
    os._exit(1)


def end_with(parent: int, number: int = signal.SIGKILL) -> None:
    """End, by this signal, when this process, our parent, has ended. A change of the user undoes it: commit_creds(),
    kernel/cred.c."""
    call("prctl", _PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
