"""Who is taken for the user who called sudo, by an environment that anybody may have written."""

from __future__ import annotations

import errno
import os
import select
import signal
from pathlib import Path

import pytest

from tracer.errors import ExitCode, NstraceError
from tracer.system import privileges

NOBODY_CALLED = [
    *(("0", "0"), ("1234", "0"), ("0", "2345"), ("-1", "-1"), ("4294967295", "2345"), ("1234", "4294967295")),
    *(("99999999999", "99999999999"), ("9" * 5000, "1"), ("0" * 12, "1"), ("1e3", "0x10"), (" 1", "1"), ("", "")),
    *(("\u0661", "\u0661"), ("1234", ""), ("root", "root"), ("web", "web")),
]


@pytest.mark.parametrize(("uid", "gid"), NOBODY_CALLED, ids=lambda text: text[:11])
def test_never_root_nor_what_is_no_user(uid: str, gid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", uid)
    monkeypatch.setenv("SUDO_GID", gid)
    assert privileges.caller() is None
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert privileges.lesser_user() == (65534, 65534)


@pytest.mark.parametrize("user", [(1234, 2345), (1, 1), (4294967294, 4294967294)])
def test_any_other_user(user: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", str(user[0]))
    monkeypatch.setenv("SUDO_GID", str(user[1]))
    assert privileges.caller() == user


def test_without_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)
    assert privileges.caller() is None


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL])
def test_a_kernel_that_has_no_filters(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "_seccomp", lambda _number, program: number if program is None else 1 / 0)
    privileges._forbid(lambda: bytes(8))


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.ENOMEM, errno.ESRCH, errno.EINVAL])
def test_a_filter_that_is_refused_for_another_reason(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "_seccomp", lambda _number, program: number if program else errno.EFAULT)
    with pytest.raises(NstraceError, match="rejects the system call filter") as failure:
        privileges._forbid(lambda: bytes(8))
    assert failure.value.exit_code == ExitCode.NOT_PERMITTED


@pytest.mark.parametrize("permitted", ["0000000000000000", "0000000000000004"])
def test_a_thread_that_keeps_capabilities(permitted: str, tmp_path: Path) -> None:
    for thread, mask in (("7", "0" * 16), ("8", permitted)):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "status").write_text(f"Name:\tx\nCapInh:\t{'0' * 16}\nCapPrm:\t{mask}\nCapEff:\t{mask}\n")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        if int(permitted, 16):
            with pytest.raises(NstraceError, match="a thread of a library keeps capabilities"):
                privileges._check_threads(folder)
        else:
            privileges._check_threads(folder)
    finally:
        os.close(folder)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_child_that_cannot_write(number: int) -> None:
    def work() -> None:
        raise OSError(number, "whatever a library says")

    with pytest.raises(NstraceError, match=r"^the output cannot be written: ") as failure:
        privileges.in_child(work)
    assert (bool(failure.value.hint), failure.value.exit_code) == (True, 1)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full", "/a/file"), OSError(errno.EBADF, "bad"), KeyError("x")]
)
def test_a_child_that_fails_otherwise(error: Exception) -> None:
    def work() -> None:
        raise error

    with pytest.raises(NstraceError, match=f"^unexpected {type(error).__name__}: "):
        privileges.in_child(work)


def test_a_child_ends_with_its_parent() -> None:
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:

        def work() -> None:
            os.write(writing, b"begun")
            signal.pause()

        privileges.in_child(work)
    os.close(writing)
    assert os.read(reading, 5) == b"begun"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert select.select([reading], [], [], 20)[0]
    assert os.read(reading, 1) == b""  # nobody has the other end any more
    os.close(reading)
