"""Who is taken for the user who called sudo, by an environment that anybody may have written."""

from __future__ import annotations

import pytest

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
