"""Who is taken for the user who called sudo, by an environment that anybody may have written."""

from __future__ import annotations

import errno

import pytest

from tracer.errors import NstraceError
from tracer.system import privileges

NOBODY_CALLED = [
    *(("0", "0"), ("1234", "0"), ("0", "2345"), ("-1", "-1"), ("4294967295", "2345"), ("1234", "4294967295")),
    *(("99999999999", "99999999999"), ("9" * 5000, "1"), ("0" * 12, "1"), ("1e3", "0x10"), (" 1", "1"), ("", "")),
    *(("\u0661", "\u0661"), ("1234", "")),
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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_child_that_cannot_write(number: int) -> None:
    def work() -> None:
        raise OSError(number, "whatever a library says")

    with pytest.raises(NstraceError, match=r"^the output cannot be written: ") as failure:
        privileges.in_child(work)
    assert (failure.value.hint, failure.value.exit_code) == ("", 1)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full", "/a/file"), OSError(errno.EBADF, "bad"), KeyError("x")]
)
def test_a_child_that_fails_otherwise(error: Exception) -> None:
    def work() -> None:
        raise error

    with pytest.raises(NstraceError, match=f"^unexpected {type(error).__name__}: "):
        privileges.in_child(work)
