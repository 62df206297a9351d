"""Colors of text: by meaning, and one for each container. Pure.

Only colors of a terminal's own 16, and of these such as can be read on light and dark backgrounds: no yellow, white or
black. Red is a failure and nothing else.
"""

from __future__ import annotations

from zlib import crc32

from tracer.stream.schema import Kind

RESET = "\x1b[0m"
FAILED = "\x1b[31m"
OF_KIND = {
    Kind.FORK: "\x1b[32m",
    Kind.THREAD_FORK: "\x1b[32m",
    Kind.EXEC: "\x1b[36m",
    Kind.EXIT: "\x1b[2m",
    Kind.EXEC_FAILED: FAILED,
    Kind.THREAD_EXIT: "\x1b[2m",
    Kind.GAP: "\x1b[1;35m",
    Kind.REPAIR: "\x1b[1;35m",
    Kind.CONTAINER: "\x1b[1m",
}
_OF_CONTAINERS = (
    "\x1b[36m",
    "\x1b[35m",
    "\x1b[32m",
    "\x1b[34m",
    "\x1b[4;36m",
    "\x1b[4;35m",
    "\x1b[4;32m",
    "\x1b[4;34m",
)
_MAX_NAMES = 4096


def painted(text: str, code: str) -> str:
    """The text in a color; what fills its column stays as it is."""
    letters = text.rstrip(" ")
    return f"{code}{letters}{RESET}{text[len(letters) :]}"


class ContainerColors:
    """A color for each name, in the order in which they appear; the same for all lives of a container. Bounded: what is
    named after very many others has a color by its name."""

    def __init__(self) -> None:
        self._of_name: dict[str, str] = {}

    def of(self, name: str) -> str:
        """The color of this name."""
        if name not in self._of_name:
            at = len(self._of_name)
            if at >= _MAX_NAMES:
                return _OF_CONTAINERS[crc32(name.encode("utf-8", "backslashreplace")) % len(_OF_CONTAINERS)]
            self._of_name[name] = _OF_CONTAINERS[at % len(_OF_CONTAINERS)]
        return self._of_name[name]
