"""Where an archive is: a folder, or a bucket of S3, by pyarrow's file systems. A file is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as fs

from tracer.errors import ExitCode, NstraceError

_TEMPORARY = ".tmp"
_STALE_S = 3600.0


class Store:
    """The files of an archive, by their paths in it, with / between folders. Everything raises OSError.

    system: pyarrow's; root: the archive's path there.
    """

    def __init__(self, system: fs.FileSystem, root: str, name: str) -> None:
        self._system, self._root, self.name = system, root.rstrip("/"), name
        self._is_local = isinstance(system, fs.LocalFileSystem)

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    def write(self, path: str, data: bytes | memoryview) -> None:
        """Write a whole file; one that has this path is replaced, in one step. Returns when it is on the disk."""
        with self.writing(path) as file:
            file.write(data)

    @contextlib.contextmanager
    def writing(self, path: str) -> Iterator[Any]:
        """A file to write to, which has its path when the block is left; where the block fails, nothing is left."""
        folder, _slash, name = self._path(path).rpartition("/")
        temporary = f"{folder}/.{name}.{secrets.token_hex(4)}{_TEMPORARY}"
        self._system.create_dir(folder, recursive=True)
        try:
            if self._is_local:
                with open(temporary, "xb") as file:  # noqa: PTH123
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(temporary, f"{folder}/{name}")  # noqa: PTH104
                _sync_folder(folder)
            else:
                with self._system.open_output_stream(temporary) as file:
                    yield file
                self._system.move(temporary, f"{folder}/{name}")
        except BaseException:
            with contextlib.suppress(OSError):
                self._system.delete_file(temporary)
            raise

    def reading(self, path: str) -> IO[bytes]:
        """A file to read from. Raises FileNotFoundError."""
        file: IO[bytes] = self._system.open_input_file(self._path(path))
        return file

    def dataset(self, paths: Sequence[str], schema: pa.Schema) -> ds.Dataset:
        """Parquet files as one table."""
        names = [self._path(path) for path in paths]
        return ds.dataset(names, schema=schema, format="parquet", filesystem=self._system)

    def sizes(self, folder: str) -> dict[str, int]:
        """The names of the files in a folder, and how many bytes each has."""
        return {info.base_name: info.size for info in self._infos(folder) if _is_file(info)}

    def folders(self, table: str) -> list[str]:
        """The folders below one that have files, in order."""
        found = set()
        for info in self._infos(table, recursive=True):
            if _is_file(info):
                found.add(info.path.rpartition("/")[0][len(self._root) :].strip("/"))
        return sorted(found)

    def _infos(self, folder: str, recursive: bool = False) -> list[fs.FileInfo]:
        selector = fs.FileSelector(self._path(folder), allow_not_found=True, recursive=recursive)
        infos: list[fs.FileInfo] = self._system.get_file_info(selector)
        return infos

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._system.delete_file(self._path(path))

    def close(self) -> None:
        """Read and write nothing any more. The threads of S3's library end: it waits for them when the process ends,
        and for ever where it may not do that any more."""
        if not self._is_local:
            fs.finalize_s3()

    def remove_stale(self, folder: str) -> None:
        """Remove what was begun in a folder and never finished: its writer was killed."""
        before = time.time() - _STALE_S
        for info in self._infos(folder):
            if info.base_name.endswith(_TEMPORARY) and info.mtime and info.mtime.timestamp() < before:
                self.remove(f"{folder}/{info.base_name}")


def _is_file(info: fs.FileInfo) -> bool:
    return info.type == fs.FileType.File and not info.base_name.endswith(_TEMPORARY)


def _sync_folder(folder: str) -> None:
    """The name of a file is on the disk when its folder is: fsync(2)."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def store_of(where: str) -> Store:
    """The archive at DIR or s3://BUCKET/PATH. Raises NstraceError."""
    if "://" not in where:
        return Store(fs.LocalFileSystem(), str(Path(where).resolve()), where)
    try:
        parts = urlsplit(where)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme != "s3" or not parts.hostname:
        raise NstraceError(f"{where} is no place for an archive", "DIR, or s3://BUCKET/PATH", ExitCode.USAGE)
    if parts.username is not None or parts.password is not None:
        hint = "everyone can read it there: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a profile"
        raise NstraceError("a secret does not belong on a command line", hint, ExitCode.USAGE)
    try:
        system, root = fs.FileSystem.from_uri(where)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise NstraceError(f"{where} cannot be used: {str(error).splitlines()[0]}", "s3://BUCKET/PATH") from error
    return Store(system, root, where)
