"""Compiled programs and the maps that they use, as BCC made them, and a store of them on disk.

Compiling takes longer than all else at a start, and has the same result for the same source, constants and structures
of the kernel: so it is done once. The store belongs to root alone; the self-check at every start also checks programs
from the store.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

STORE = Path("/var/cache/nstrace")
_MAX_STORED = 16
INSN_BYTES = 8  # struct bpf_insn, include/uapi/linux/bpf.h


class MapObject(NamedTuple):
    """A map to create: bpf(2), BPF_MAP_CREATE."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int


class ProgramObject(NamedTuple):
    """A program to load. insns: its instructions; maps: (index of an instruction that names a map, the map's)."""

    name: str
    insns: bytes
    maps: tuple[tuple[int, int], ...]

    def linked(self, map_fds: list[int]) -> bytes:
        """The instructions with the maps' descriptors in their places."""
        code = bytearray(self.insns)
        for insn, index in self.maps:
            at = insn * INSN_BYTES + 4
            code[at : at + 4] = map_fds[index].to_bytes(4, "little")
        return bytes(code)


class CompiledPrograms(NamedTuple):
    """All maps and programs of one compilation, in the order in which they were made."""

    maps: tuple[MapObject, ...]
    programs: tuple[ProgramObject, ...]

    def encode(self) -> bytes:
        """The content of a file that `decode` reads: a checksum, and JSON."""
        programs = [
            program._asdict() | {"insns": base64.b64encode(program.insns).decode()} for program in self.programs
        ]
        body = json.dumps({"maps": [one._asdict() for one in self.maps], "programs": programs}).encode()
        return b"%s\n%s" % (_checksum(body), body)

    @staticmethod
    def decode(raw: bytes) -> CompiledPrograms:
        """What `encode` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        checksum, _, body = raw.partition(b"\n")
        if checksum != _checksum(body):
            raise ValueError("damaged")
        stored = json.loads(body)
        programs = (
            ProgramObject(one["name"], base64.b64decode(one["insns"]), tuple((insn, nr) for insn, nr in one["maps"]))
            for one in stored["programs"]
        )
        return CompiledPrograms(tuple(MapObject(**one) for one in stored["maps"]), tuple(programs))


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def key_of(*inputs: str) -> str:
    """The name under which the compilation of these inputs is stored."""
    return hashlib.sha256("\0".join(inputs).encode()).hexdigest()


class Store:
    """Compilations in a directory. No method raises: whatever is wrong with the store, there is a compiler."""

    def __init__(self, path: Path = STORE) -> None:
        self._path = path

    def get(self, key: str) -> CompiledPrograms | None:
        """What was stored under this key; None: nothing, or nothing that only root could have written."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            fd = os.open(self._path / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(fd, "rb") as file:
                if _is_private(self._path.stat()) and _is_private(os.fstat(fd)):
                    return CompiledPrograms.decode(file.read())
        return None

    def put(self, key: str, objects: CompiledPrograms) -> None:
        """Store a compilation, in place of the oldest where there are many."""
        if os.geteuid() != 0:
            return
        with contextlib.suppress(OSError):
            self._path.mkdir(mode=0o700, exist_ok=True)
            if not _is_private(self._path.stat()):
                return
            self._write(self._path / key, objects.encode())
            stored = sorted(self._path.iterdir(), key=lambda path: path.stat().st_mtime)
            for path in stored[:-_MAX_STORED]:
                path.unlink()

    def _write(self, path: Path, content: bytes) -> None:
        made = path.with_name(f"{path.name}.{os.getpid()}")
        made.unlink(missing_ok=True)  # of a process that was killed
        try:
            with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            made.rename(path)
        except OSError:
            made.unlink(missing_ok=True)
            raise


def _is_private(status: os.stat_result) -> bool:
    return status.st_uid == 0 and not status.st_mode & 0o022
