"""Folders that are exported to: what another process puts in the place of a name meanwhile is not touched."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from recordings import facts, record, storm

from tracer.commands import export
from tracer.errors import NstraceError
from tracer.recording import folder as folders
from tracer.recording.files import create, created, errors_of
from tracer.recording.folder import Folder
from tracer.recording.limits import MAX_NAME_BYTES
from tracer.system import privileges


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    folder = tmp_path / "victim"
    folder.mkdir(mode=0o700)
    (folder / "secret").write_bytes(b"precious")
    return folder


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


def stranger(shared: Path, victim: Path, kind: str) -> None:
    """Replace the only entry of the folder."""
    (name,) = shared.iterdir()
    name.rename(shared / "moved")
    if kind == "link":
        name.symlink_to(victim)
    elif kind == "folder":
        name.mkdir(mode=0o700)
        (name / "strangers").touch()
    elif kind == "open":
        name.mkdir()
        name.chmod(0o777)


def note_owners(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is given an owner from now on: names, and the inodes of descriptors."""
    given: list[object] = []
    monkeypatch.setattr(os, "chown", lambda name, *_args, **_kw: given.append(str(name)))
    monkeypatch.setattr(os, "fchown", lambda fd, *_args: given.append(os.fstat(fd).st_ino))
    return given


@pytest.mark.parametrize("kind", ["link", "folder", "open", "nothing"])
def test_a_folder_that_is_replaced_as_soon_as_it_is_made(
    kind: str, shared: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def made_and_replaced(*args: object, **options: object) -> None:
        mkdir(*args, **options)  # type: ignore[arg-type]
        monkeypatch.setattr(os, "mkdir", mkdir)
        stranger(shared, victim, kind)

    given, worked = note_owners(monkeypatch), []
    monkeypatch.setattr(privileges, "in_child", lambda _work, folder: worked.append(folder))
    monkeypatch.setattr(os, "mkdir", made_and_replaced)
    with pytest.raises(NstraceError, match="its folder was replaced by another process"):
        export._into_folder(lambda _write: "", "csv", shared / "out")
    assert (given, worked) == ([], [])
    assert [(entry.name, entry.read_bytes()) for entry in victim.iterdir()] == [("secret", b"precious")]
    assert not (shared / "out").exists()


@pytest.mark.parametrize("kind", ["link", "folder", "nothing"])
def test_a_folder_that_is_replaced_while_it_is_written(
    kind: str, shared: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(_work: object, folder: int) -> None:
        os.close(create_in(folder, "0.csv"))
        stranger(shared, victim, kind)

    given = note_owners(monkeypatch)
    monkeypatch.setattr(privileges, "in_child", work)
    with pytest.raises(NstraceError, match="another process has replaced"):
        export._into_folder(lambda _write: "", "csv", shared / "out")
    inode = (shared / "moved").stat().st_ino
    assert {name for name in given if isinstance(name, int)} == {inode}
    assert list((shared / "moved").iterdir()) == []
    assert [(entry.name, entry.read_bytes()) for entry in victim.iterdir()] == [("secret", b"precious")]
    assert not (shared / "out").exists()
    if kind == "folder":
        assert len(list(shared.glob(".out.*/strangers"))) == 1


def create_in(folder: int, name: str) -> int:
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=folder)


def test_a_folder_has_its_name_when_it_is_complete(shared: Path) -> None:
    with Folder(shared).created_folder("out") as folder:
        os.close(create_in(folder, "0.csv"))
        assert not (shared / "out").exists()
    assert [entry.name for entry in shared.iterdir()] == ["out"]
    assert (shared / "out").stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in (shared / "out").iterdir()] == ["0.csv"]


def test_of_a_folder_that_fails_nothing_is_left(shared: Path, victim: Path) -> None:
    with pytest.raises(ZeroDivisionError), Folder(shared).created_folder("out") as folder:
        os.close(create_in(folder, "0.csv"))
        os.mkdir("date=1", dir_fd=folder)
        os.close(create_in(folder, "date=1/0.csv"))
        os.symlink(victim, "link", dir_fd=folder)
        raise ZeroDivisionError
    assert list(shared.iterdir()) == []
    assert (victim / "secret").read_bytes() == b"precious"


@pytest.mark.parametrize("kind", ["folder", "file", "dangling"])
def test_nothing_is_replaced_by_a_folder(kind: str, shared: Path) -> None:
    def occupy() -> None:
        if kind == "folder":
            (shared / "out").mkdir()
        elif kind == "file":
            (shared / "out").touch()
        else:
            (shared / "out").symlink_to("nowhere")

    with pytest.raises(FileExistsError), Folder(shared).created_folder("out"):
        occupy()
    with pytest.raises(FileExistsError), Folder(shared).created_folder("out"):
        pytest.fail("it was there")
    assert [entry.name for entry in shared.iterdir()] == ["out"]


def test_a_file_that_is_replaced_while_it_is_written(shared: Path, victim: Path) -> None:
    with (
        pytest.raises(NstraceError, match="another process has replaced"),
        created(shared / "x", force=False, is_whole=True) as fd,
    ):
        os.close(fd)
        stranger(shared, victim, "link")
    assert not (shared / "x").exists()
    assert (victim / "secret").read_bytes() == b"precious"


def test_a_folder_that_is_renamed_is_still_the_folder(shared: Path, victim: Path) -> None:
    folder = Folder(shared)
    shared.rename(shared.with_name("renamed"))
    shared.symlink_to(victim)
    os.close(create(shared / "secret", force=False, folder=folder))
    assert folder.names() == ["secret"]
    folder.remove("secret")
    assert (folder.names(), (victim / "secret").read_bytes()) == ([], b"precious")


@pytest.mark.parametrize("mask", [0, 0o22, 0o777])
def test_what_is_made_is_ours_alone_whatever_the_umask(mask: int, shared: Path) -> None:
    before = os.umask(mask)
    try:
        folder = Folder(shared)
        fd = folder.create("file")
        inner = folder.create_folder("folder").create_folder("inner")
        with created(shared / "whole", force=False, is_whole=True) as whole:
            os.close(whole)
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (*shared.rglob("*"),)}
    assert modes == {"file": 0o600, "folder": 0o700, "inner": 0o700, "whole": 0o600}
    assert inner.names() == []
    os.write(fd, b"seen")
    assert os.pread(fd, 9, 0) == b"seen"  # to read again, without its name
    os.close(fd)


@pytest.mark.parametrize("mask", [0, 0o777])
def test_folders_of_a_partitioned_export_are_ours_alone(mask: int, tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    record(path, [facts(), storm(1, 30)])
    argv = [sys.executable, "-m", "tracer", "export", str(path), "--to", "parquet", "--partition", "-w"]
    done = subprocess.run([*argv, str(tmp_path / "out")], capture_output=True, timeout=60, umask=mask)
    assert done.returncode == 0, done.stderr
    made = list((tmp_path / "out").rglob("*"))
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (tmp_path / "out", *made)}
    assert (modes, len(made)) == ({(True, 0o700), (False, 0o600)}, 3)
    assert {path.stat().st_uid for path in made} == {os.geteuid()}


@pytest.mark.parametrize("host", ["..", "a/../../b", "\u00e9" * 200])
def test_a_host_of_a_partitioned_export_is_no_path(host: str, tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    record(path, [facts(), storm(1, 3)], host=host)
    argv = [sys.executable, "-m", "tracer", "export", str(path), "--to", "csv", "--partition", "-w"]
    done = subprocess.run([*argv, str(tmp_path / "out")], capture_output=True, text=True, timeout=60)
    if len(host) < 200:
        (file,) = (tmp_path / "out").rglob("*.csv")
        assert [part.split("=")[0] for part in file.relative_to(tmp_path).parts] == ["out", "date", "host", "0.csv"]
    else:
        why = (
            "cannot be written: File name too long\n" if len(host) <= MAX_NAME_BYTES else "its host is not plausible\n"
        )
        assert why in done.stderr
        assert (len(done.stderr.splitlines()), done.returncode) == (2, 1)
    assert {entry.name for entry in tmp_path.iterdir()} == {"x.arrows", *(["out"] if len(host) < 200 else [])}


@pytest.mark.parametrize("can", [True, False], ids=["renameat2", "a file system without it"])
def test_a_name_that_something_gets_meanwhile_is_not_replaced(
    can: bool, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can:

        def refused(*_args: object) -> None:
            raise OSError(errno.EINVAL, "renameat2: Invalid argument")

        monkeypatch.setattr(folders, "call", refused)
    with created(shared / "new", force=False, is_whole=True) as fd:
        os.write(fd, b"ours")
        os.close(fd)
    with pytest.raises(NstraceError, match="already exists"), created(shared / "x", False, is_whole=True) as fd:
        os.close(fd)
        (shared / "x").write_bytes(b"precious")
    folder = Folder(shared)
    with pytest.raises(FileExistsError), folder.created("x", replaces=False) as fd:  # not looked at before
        os.close(fd)
    with created(shared / "x", force=True, is_whole=True) as fd:
        os.write(fd, b"forced")
        os.close(fd)
    assert {path.name: path.read_bytes() for path in shared.iterdir()} == {"new": b"ours", "x": b"forced"}


def test_names_that_are_swapped_all_the_time(shared: Path, victim: Path) -> None:
    """Who owns the folder puts links to another's files in the place of all names, as fast as possible."""
    swapping = subprocess.Popen([sys.executable, "-c", SWAPPER, str(shared), str(victim)])
    before = (victim / "secret").stat()
    outcomes = set()
    try:
        for number in range(200):
            name = f"out{number % 5}"
            for make in (_at_once, _whole, _partitioned):
                try:
                    make(shared / name)
                    outcomes.add("made")
                except NstraceError as error:
                    outcomes.add("refused")
                    assert "\n" not in error.message
    finally:
        swapping.kill()
        swapping.wait()
    after = (victim / "secret").stat()
    assert [(entry.name, entry.read_bytes()) for entry in victim.iterdir()] == [("secret", b"precious")]
    assert (after.st_uid, after.st_mode, after.st_ino) == (before.st_uid, before.st_mode, before.st_ino)
    assert outcomes == {"made", "refused"}


SWAPPER = """
import os, sys
os.chdir(sys.argv[1])
number = 0
while True:
    number += 1
    for name in os.listdir("."):
        if not name.startswith("moved"):
            try:
                os.rename(name, f"moved{number}")
                os.symlink(sys.argv[2] + ("/secret" if number % 2 else ""), name)
            except OSError:
                pass
"""


def _at_once(path: Path) -> None:
    os.close(create(path, force=True))


def _whole(path: Path) -> None:
    with created(path, force=True, is_whole=True) as fd:
        os.write(fd, b"ours")
        os.close(fd)


def _partitioned(path: Path) -> None:
    with errors_of(path), Folder(path.parent).created_folder(path.name) as folder:
        os.close(create_in(folder, "0.csv"))
        os.fchown(folder, 65534 if os.geteuid() == 0 else -1, -1)


def test_a_child_that_leaves_links_gets_no_others_files(shared: Path, tmp_path: Path) -> None:
    """What the child of an export has made becomes ours, nothing else that stands there."""
    if os.geteuid():
        pytest.skip("changes owners: needs root")
    others, childs = tmp_path / "others", shared / "childs"
    for path, uid in ((others, 12345), (childs, 65534)):
        path.write_bytes(b"x")
        os.chown(path, uid, uid)
    (shared / "hard").hardlink_to(others)
    (shared / "soft").symlink_to(others)
    os.mkfifo(shared / "fifo")
    fd = os.open(shared, os.O_RDONLY | os.O_DIRECTORY)
    export._own(fd, 65534)
    os.close(fd)
    assert (others.stat().st_uid, childs.stat().st_uid) == (12345, 0)


@pytest.mark.parametrize("args", [["csv"], ["parquet"], ["jsonl"], ["csv", "--partition"]], ids=" ".join)
def test_an_export_for_which_there_is_no_room(args: list[str], tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    record(path, [facts(), storm(1, 3000)])

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # EFBIG; Python ignores SIGXFSZ

    argv = [sys.executable, "-m", "tracer", "export", str(path), "--to", *args]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, preexec_fn=no_room, timeout=60)
    assert done.stderr.splitlines()[0] == "nstrace: the output cannot be written: File too large"
    assert done.returncode == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.arrows"]
