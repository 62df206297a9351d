"""Folders that are exported to: what another process puts in the place of a name meanwhile is not touched."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from recordings import facts, record, storm

from tracer.commands import export
from tracer.errors import NstraceError
from tracer.recording.files import create, created_whole
from tracer.recording.folder import Folder, created_folder
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
    with pytest.raises(NstraceError, match="not the one that is there now"):
        export._into_folder(lambda _write: None, "csv", shared / "out")
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
        export._into_folder(lambda _write: None, "csv", shared / "out")
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
    with created_folder(shared / "out") as folder:
        os.close(create_in(folder, "0.csv"))
        assert not (shared / "out").exists()
    assert [entry.name for entry in shared.iterdir()] == ["out"]
    assert (shared / "out").stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in (shared / "out").iterdir()] == ["0.csv"]


def test_of_a_folder_that_fails_nothing_is_left(shared: Path, victim: Path) -> None:
    with pytest.raises(ZeroDivisionError), created_folder(shared / "out") as folder:
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

    with pytest.raises(NstraceError, match="already exists"), created_folder(shared / "out"):
        occupy()
    with pytest.raises(NstraceError, match="already exists"), created_folder(shared / "out"):
        pytest.fail("it was there")
    assert [entry.name for entry in shared.iterdir()] == ["out"]


def test_a_file_that_is_replaced_while_it_is_written(shared: Path, victim: Path) -> None:
    with (
        pytest.raises(NstraceError, match="another process has replaced"),
        created_whole(shared / "x", force=False) as fd,
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


@pytest.mark.parametrize("args", [["csv"], ["parquet"], ["jsonl"], ["csv", "--partition"]], ids=" ".join)
def test_an_export_for_which_there_is_no_room(args: list[str], tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    record(path, [facts(), storm(1, 3000)])

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # EFBIG; Python ignores SIGXFSZ

    argv = [sys.executable, "-m", "tracer", "export", str(path), "--to", *args]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, preexec_fn=no_room, timeout=60)
    assert done.stderr == "nstrace: the output cannot be written: File too large\n"
    assert done.returncode == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.arrows"]
