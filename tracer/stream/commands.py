"""What living processes run, kept for their end: file name and arguments. Bounded. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

MAX_BYTES = 16 << 20
_OVERHEAD_BYTES = 300  # of the objects around a command, about


class Command(NamedTuple):
    """A file name and arguments. raw: both, joined, as the kernel reported them; the first exe_len bytes are the name.

    args_total: how many bytes the arguments had. is_cut: they, or the file name, were longer than the limit.
    """

    raw: bytes
    exe_len: int
    args_total: int
    is_cut: bool


class Heard(NamedTuple):
    """What is said that a process runs. since_ns: 0, or where it was read from /proc, when (boottime): before that the
    process may have run something else."""

    command: Command
    since_ns: int


class Shared(msgspec.Struct, eq=False, gc=False):
    """A command that processes run, one object for all of them. holders: how many; command: None once evicted."""

    command: Command | None
    holders: int = 0


class Commands:
    """The commands of living processes, equal ones once. One that no process runs any more is forgotten. max_bytes
    bounds all of them: beyond that the one that appeared longest ago is evicted first; it is not known any more, and
    counted in `evicted`."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.bytes = self.evicted = 0
        self._max_bytes = max_bytes
        self._shared: dict[Command, Shared] = {}

    def __len__(self) -> int:
        return len(self._shared)

    def hold(self, command: Command) -> Shared:
        """Note that one more process runs this."""
        shared = self._shared.get(command)
        if shared is None:
            shared = self._shared[command] = Shared(command)
            self.bytes += _size(command)
        shared.holders += 1
        while self.bytes > self._max_bytes:
            self._evict()
        return shared

    def release(self, shared: Shared) -> None:
        """Note that a process does not run it any more."""
        shared.holders -= 1
        if not shared.holders and shared.command is not None:
            self._forget(shared.command)

    def _evict(self) -> None:
        command, shared = next(iter(self._shared.items()))
        self._forget(command)
        shared.command = None
        self.evicted += 1

    def _forget(self, command: Command) -> None:
        del self._shared[command]
        self.bytes -= _size(command)


def _size(command: Command) -> int:
    return len(command.raw) + _OVERHEAD_BYTES
