"""Finds and reads config.toml, before privileges are given up.

Under sudo it is the file of the user who called sudo, as if nstrace had been called without. A file counts only if it
belongs to whoever runs nstrace, to the caller of sudo, or to root: no other user chooses what root does.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tracer import settings
from tracer.errors import ExitCode, NstraceError

VARIABLE = "NSTRACE_CONFIG"
_MAX_BYTES = 1 << 16
_NO_FILE = f"{VARIABLE}= (empty) reads no file"


def path() -> Path | None:
    """Where the file is, or would be; None: none is read. NSTRACE_CONFIG names it; else it is nstrace/config.toml in
    XDG_CONFIG_HOME, or in .config of the home directory."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    if folder.startswith("/"):  # relative ones do not count: XDG Base Directory Specification
        return Path(folder) / "nstrace/config.toml"
    home = _home()
    return home / ".config/nstrace/config.toml" if home else None


def _home() -> Path | None:
    from tracer.system.privileges import caller

    user = caller() if os.geteuid() == 0 else None
    if user is None and os.environ.get("HOME", "").startswith("/"):
        return Path(os.environ["HOME"])
    import pwd

    try:
        return Path(pwd.getpwuid(user[0] if user else os.geteuid()).pw_dir)
    except KeyError:
        return None


def read() -> dict[settings.Setting, settings.Set]:
    """Every setting with its value, from the file and the environment. Raises NstraceError."""
    where = path()
    table = _table(where) if where else {}
    return settings.effective(table, str(where), os.environ)


def _table(where: Path) -> dict[str, object]:
    try:
        return _parsed(read_trusted(where, _NO_FILE), where)
    except (FileNotFoundError, NotADirectoryError):
        return {}


def read_trusted(where: Path, hint: str) -> bytes:
    """What a file holds that belongs to whoever may say what we do. hint: what to do where it cannot be read. Raises
    FileNotFoundError, NotADirectoryError where there is none; NstraceError."""
    try:
        with _checked(where, hint) as file:
            return file.read(_MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:
        raise NstraceError(f"{where} cannot be read: {getattr(error, 'strerror', error)}", hint) from error


@contextlib.contextmanager
def _checked(where: Path, hint: str) -> Iterator[IO[bytes]]:
    """The file, opened to be read after it was checked: to open a device may be an act in itself (O_PATH, open(2)). A
    folder that is closed to us, such as root's where HOME is still root's, has none for us."""
    try:
        found = os.open(where, os.O_PATH | os.O_CLOEXEC)
    except PermissionError as error:
        if VARIABLE in os.environ:
            raise
        raise FileNotFoundError from error
    try:
        _check(os.fstat(found), where, hint)
        with Path(f"/proc/self/fd/{found}").open("rb") as file:
            yield file
    finally:
        os.close(found)


def _check(found: os.stat_result, where: Path, hint: str) -> None:
    """Raises NstraceError where this file is none that we read."""
    from tracer.system.privileges import caller

    if not stat.S_ISREG(found.st_mode):
        raise NstraceError(f"{where} is not a regular file", hint)
    if found.st_size > _MAX_BYTES:
        raise NstraceError(f"{where} is longer than {_MAX_BYTES} bytes", hint)
    trusted = {0, os.geteuid(), *(caller() or ())[:1]}
    if found.st_uid not in trusted or found.st_mode & stat.S_IWOTH:
        why = "can be written by everyone" if found.st_mode & stat.S_IWOTH else f"belongs to user {found.st_uid}"
        raise NstraceError(f"{where} {why}: it is not read", hint, ExitCode.NOT_PERMITTED)


def _parsed(text: bytes, where: Path) -> dict[str, object]:
    import tomllib

    try:
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise NstraceError(
            f"{where} is not valid TOML: {why}", 'for example: color = "never"', ExitCode.USAGE
        ) from error
