"""What inspect shows of one process. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tracer.answers.census import Entry
from tracer.answers.translation import Translation


@dataclass(frozen=True, slots=True)
class Details:
    """What /proc reports of a process beyond `LivingProcess`. Empty where it cannot be read.

    main_has_ended: its main thread has, and others run. namespaces: inode numbers by the names of ns/. uids, gids:
    real, effective, saved and of the file system, in the initial user namespace. ns_uid: the real one in its user
    namespace, None where it has no number there.
    environ: as it was at the exec, each NAME=value ended by a NUL; None: it may not be read; environ_truncated: there
    is more of it.
    """

    cwd: bytes
    root: bytes
    threads: int
    uids: tuple[int, ...]
    gids: tuple[int, ...]
    ns_uid: int | None
    namespaces: Mapping[str, int]
    environ: bytes | None
    environ_truncated: bool = False
    main_has_ended: bool = False


@dataclass(frozen=True)
class Inspection:
    """age_ns: how long it has lived. parents: of the process, the nearest first. cgroups: its paths. shared: names of
    the namespaces that it shares with the host. env: NAME=value; None: not requested,
    or not readable, which env_unreadable tells. env_truncated: there are more.
    masked_args: how many secrets were masked in the arguments."""

    translation: Translation
    age_ns: int
    details: Details
    parents: Sequence[Entry]
    cgroups: Sequence[str]
    shared: frozenset[str]
    env: Sequence[bytes] | None
    env_unreadable: bool = False
    env_truncated: bool = False
    masked_args: int = 0

    @property
    def entry(self) -> Entry:
        """The process itself."""
        return self.translation.entry
