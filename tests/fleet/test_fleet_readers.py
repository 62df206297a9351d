"""Commands that ask an archive: what a stranger can do inside of them, and where they put what has no room."""

# ruff: noqa: F811 - fixtures
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import trespass
from conftest import ROOT
from publishing import Bench, Memory
from servers import archive  # noqa: F401 - a fixture
from test_archive import publish, write

from tracer.fleet.archive_store import store_of

pytestmark = pytest.mark.kernel
REFUSED = {"EPERM", "EACCES", "ENOENT", "ENOTDIR", "EBADF", "EAGAIN"}
ANYONE_MAY = {"read a file of everyone", "leave by a descriptor", "read a file by another way", "list the processes"}
LOOK = ("tracer.fleet.archived_recording", "", "content")
READERS = {
    "ps --at 1700000001.0300015": LOOK,
    "translate web1:web/30": LOOK,
    "why web1:web/30": LOOK,
    "summary web1": LOOK,
    "summary --json": ("tracer.views.summary", "", "summary_object"),
    "ps --json --at 1700000001.0300015": ("tracer.views.objects", "", "process_object"),
}
AS_OWNER = {
    "sql QUERY": ("tracer.fleet.archive_query", "ArchiveQuery", "answer"),
    "join LOG --on host,pid --time-column time": ("tracer.fleet.log_rows", "LogRows", "joined"),
    "hosts": ("tracer.fleet.hosts", "", "_missing"),
}
ITS_FILES = {"write a file", "write any file", "make a folder", "make a thread"}  # as far as the archive's owner may
QUERY = "select count(*) from events"


@pytest.fixture
def filled(tmp_path: Path, archive: Path) -> Path:
    """An archive of one host with a storm."""
    write(store_of(str(archive)), publish(Bench(tmp_path, Memory()), 8))
    return archive


def trespassing(command: str, filled: Path, log: Path, where: tuple[str, str, str]) -> dict[str, str]:
    log.write_text("host,pid,time\nweb1,1030,1700000001.0300015\n")
    words = [{"QUERY": QUERY, "LOG": str(log)}.get(word, word) for word in command.split()]
    line = trespass.command("fleet", words[0], "--from", str(filled), *words[1:], where=where)
    outside = os.open("/", os.O_RDONLY)
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=100, pass_fds=[outside])
    os.close(outside)
    assert done.returncode == 0, done.stderr
    return trespass.results(done.stderr)


@pytest.mark.parametrize("command", READERS)
def test_who_looks_into_messages_can_do_nothing(command: str, filled: Path, tmp_path: Path) -> None:
    found = trespassing(command, filled, tmp_path / "log.csv", READERS[command])
    assert {name for name, what in found.items() if what not in REFUSED} <= ANYONE_MAY
    assert found["read a file of root"] in REFUSED and len(found) > 20


@pytest.mark.parametrize("command", AS_OWNER)
def test_who_reads_the_tables_is_not_root(command: str, filled: Path, tmp_path: Path) -> None:
    found = trespassing(command, filled, tmp_path / "log.csv", AS_OWNER[command])
    assert {name for name, what in found.items() if what not in REFUSED} <= ANYONE_MAY | ITS_FILES
    assert found["read a file of root"] in REFUSED and len(found) > 20


_LARGE = "select count(*) from (select md5(i::varchar) m from range({}) t(i), batches order by m offset 0)"


@pytest.mark.parametrize("owner", [65534, 1234])
def test_what_has_no_room_in_memory_goes_to_a_folder(owner: int, filled: Path) -> None:
    """Of who owns the archive; nobody else sees it, and nothing stays in it."""
    for folder, _folders, files in os.walk(filled):
        for name in (folder, *(os.path.join(folder, file) for file in files)):  # noqa: PTH118
            os.chown(name, owner, owner)
    with tempfile.TemporaryDirectory(prefix="nstrace-test-") as name:
        Path(name).chmod(0o711)
        line = [sys.executable, "-m", "tracer", "fleet", "sql", "--csv", "--from", str(filled)]
        env = os.environ | {"TMPDIR": name}

        def asked(memory: str, query: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*line, "--memory", memory, query], capture_output=True, text=True, cwd=ROOT, env=env, timeout=100
            )

        spilled = asked("64MiB", _LARGE.format(100_000))
        assert spilled.returncode == 0, spilled.stderr
        assert spilled.stdout.split()[1] == "900000"
        assert not list(Path(name).iterdir())


def test_no_more_memory_than_is_given(filled: Path) -> None:
    line = [sys.executable, "-m", "tracer", "fleet", "sql", "--from", str(filled), "--memory", "64MiB"]
    done = subprocess.run(
        [*line, "select length(string_agg(i::varchar, ' ')) from range(20000000) t(i)"],
        capture_output=True, text=True, cwd=ROOT, timeout=100,
    )  # fmt: skip
    assert done.returncode == 1 and "more memory than the query may take" in done.stderr
