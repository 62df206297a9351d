"""A recording's files by way of a broker: as in the folder itself, and no other file of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tracer.errors import NstraceError
from tracer.recording.brokered_folder import BrokeredFolder, FolderOperations
from tracer.recording.files import AlreadyThere, create, discard_parts, parts_of
from tracer.recording.folder import Folder, is_null
from tracer.system.broker import Broker, Local, Privileged

OWN = ["web.arrows", "web.000001.arrows", "web.1234567.arrows", ".web.arrows.0123abcd", ".web.000002.arrows.00000000"]
OTHERS = [
    *(
        "passwd",
        "web.arrows~",
        "web.1.arrows",
        "web2.arrows",
        ".web.arrows",
        ".web.arrows.0123abcg",
        ".arrows",
        "",
        ".",
    ),
    *(
        "..",
        "../web.arrows",
        "sub/web.arrows",
        "/etc/passwd",
        "web.arrows/..",
        "web.arrows\n",
        "web.\u0661234567.arrows",
    ),
]


@pytest.fixture(params=["broker", "local"])
def privileged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Privileged]:
    allowed = FolderOperations(Folder(tmp_path), tmp_path / "web.arrows")
    operations = allowed.operations()
    with closing(Broker(operations, allowed.descriptors) if request.param == "broker" else Local(operations)) as made:
        yield made


@pytest.fixture
def folder(privileged: Privileged, tmp_path: Path) -> BrokeredFolder:
    return BrokeredFolder(tmp_path, privileged)


@pytest.mark.parametrize("name", OWN)
def test_its_own_files(name: str, folder: BrokeredFolder, tmp_path: Path) -> None:
    assert folder.status(name) is None
    fd = folder.create(name)
    os.write(fd, b"x")
    assert not os.get_inheritable(fd)
    made = os.fstat(fd)
    os.close(fd)
    found = folder.status(name)
    assert found and (found.st_mode, found.st_size, found.st_uid) == (0o100600, 1, os.geteuid())
    assert folder.holds(name, made)
    with pytest.raises(FileExistsError):
        folder.create(name)
    folder.remove(name, made)
    assert list(tmp_path.iterdir()) == []
    folder.remove(name, made)


@pytest.mark.parametrize("name", OTHERS)
def test_no_other_file(name: str, folder: BrokeredFolder, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("mine")
    (tmp_path / "sub").mkdir()
    made = (tmp_path / "passwd").stat()
    fd = folder.create(".web.arrows.0123abcd")
    ours = os.fstat(fd)
    os.close(fd)
    for forbidden in (
        lambda: folder.status(name),
        lambda: folder.create(name),
        lambda: folder.open_null(name),
        lambda: folder.remove(name),
        lambda: folder.remove(name, made),
        lambda: folder.rename(".web.arrows.0123abcd", name, ours),
        lambda: folder.rename(name, "web.arrows", made),
    ):
        with pytest.raises(PermissionError):
            forbidden()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".web.arrows.0123abcd", "passwd", "sub"]
    assert (tmp_path / "passwd").read_text() == "mine"
    assert folder.names() == []


def test_a_name_that_is_too_long(folder: BrokeredFolder) -> None:
    with pytest.raises(OSError) as failure:
        folder.create("web.arrows" + 300 * "x")
    assert failure.value.errno == errno.ENAMETOOLONG


def test_a_file_is_replaced_as_in_the_folder_itself(folder: BrokeredFolder, tmp_path: Path) -> None:
    (tmp_path / "web.arrows").write_text("old")
    with pytest.raises(AlreadyThere):
        create(tmp_path / "web.arrows", force=False, folder=folder)
    assert (tmp_path / "web.arrows").read_text() == "old"
    os.close(create(tmp_path / "web.arrows", force=True, folder=folder))
    assert (tmp_path / "web.arrows").read_text() == ""
    with pytest.raises(RuntimeError), folder.created("web.arrows", replaces=True) as fd:
        os.close(fd)
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["web.arrows"]


def test_a_temporary_name_that_somebody_took(folder: BrokeredFolder, tmp_path: Path) -> None:
    with pytest.raises(NstraceError, match="another process has replaced"), folder.created("web.arrows", True) as fd:
        os.close(fd)
        (temporary,) = tmp_path.iterdir()
        (tmp_path / "other").write_text("a stranger's")
        (tmp_path / "other").rename(temporary)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["a stranger's"]


def test_parts_go_and_nothing_else(folder: BrokeredFolder, tmp_path: Path) -> None:
    for name in ("web.000001.arrows", "web.000002.arrows", "web.arrows", "web.1.arrows", "other"):
        (tmp_path / name).touch()
    discard_parts(tmp_path / "web.arrows", "web.000002.arrows", folder)
    assert [path.name for path in parts_of(tmp_path / "web.arrows")] == ["web.000002.arrows"]
    assert len(list(tmp_path.iterdir())) == 4


def test_the_null_device() -> None:
    allowed = FolderOperations(Folder(Path("/dev")), Path("/dev/null"))
    folder = BrokeredFolder(Path("/dev"), Local(allowed.operations()))
    found = folder.status("null")
    assert found and is_null(found)
    fd = create(Path("/dev/null"), force=False, folder=folder)
    os.write(fd, b"x")
    os.close(fd)
