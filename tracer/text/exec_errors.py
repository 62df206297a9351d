"""Why an exec failed, as text: the errors that execve(2) lists, in the words of errno(3)."""

from __future__ import annotations

from errno import errorcode

_WORDS = {
    "E2BIG": "arguments and environment are too long",
    "EACCES": "permission denied",
    "EAGAIN": "too many processes of this user",
    "EBADF": "bad file descriptor",
    "EFAULT": "bad address",
    "EINVAL": "invalid argument",
    "EIO": "input/output error",
    "EISDIR": "is a directory",
    "ELIBBAD": "its interpreter is corrupted",
    "ELOOP": "too many symbolic links",
    "EMFILE": "too many open files",
    "ENAMETOOLONG": "file name too long",
    "ENFILE": "too many open files in system",
    "ENOENT": "no such file or directory, or no such interpreter",
    "ENOEXEC": "not a program that can be run",
    "ENOMEM": "out of memory",
    "ENOTDIR": "not a directory",
    "EPERM": "operation not permitted",
    "ETXTBSY": "file is being written",
}


def error_name(number: int) -> str:
    """The name, such as ENOENT; where it has none, the number."""
    return errorcode.get(number, str(number))


def error_words(number: int) -> str:
    """The name, and words where execve(2) lists it: ENOENT (no such file or directory ...)."""
    name = error_name(number)
    return f"{name} ({_WORDS[name]})" if name in _WORDS else name
