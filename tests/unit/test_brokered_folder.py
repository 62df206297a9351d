"""A recording's files by way of a broker: as in the folder itself, and no other file of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tracer.errors import NstraceError
from tracer.recording.brokered_folder import BrokeredFolder, FolderOperations
from tracer.recording.files import AlreadyThere, create, discard_parts, parts_of
from tracer.recording.folder import Folder
from tracer.system.broker import Broker, Local, Privileged

OWN = ["web.arrows", ".web.arrows.0123abcd"]
PARTS = ["web.000001.arrows", "web.1234567.arrows", ".web.000002.arrows.00000000"]
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
        "web.20261129.arrows",
        "web.0123456.arrows",
    ),
]


@pytest.fixture(params=["broker", "local"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., BrokeredFolder]]:
    """Makes folders, for a recording of one file or in parts."""
    with ExitStack() as stack:

        def folder(rotates: bool = False, force: bool = False) -> BrokeredFolder:
            allowed = FolderOperations(Folder(tmp_path), tmp_path / "web.arrows", rotates, force)
            operations, is_broker = allowed.operations(), request.param == "broker"
            made: Privileged = Broker(operations, allowed.descriptors) if is_broker else Local(operations)
            stack.callback(made.close)
            return BrokeredFolder(tmp_path, made)

        yield folder


@pytest.fixture
def folder(opened: Callable[..., BrokeredFolder]) -> BrokeredFolder:
    return opened()


@pytest.mark.parametrize("name", [*OWN, *PARTS])
def test_its_own_files(name: str, opened: Callable[..., BrokeredFolder], tmp_path: Path) -> None:
    folder = opened(rotates=name in PARTS)
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


@pytest.mark.parametrize("name", [*OTHERS, *PARTS])
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


@pytest.mark.parametrize("name", ["web.20261129.arrows", "web.0123456.arrows"])
def test_what_is_no_part_is_left_even_by_force(
    name: str, opened: Callable[..., BrokeredFolder], tmp_path: Path
) -> None:
    (tmp_path / name).write_text("dated")
    with pytest.raises(PermissionError):
        opened(rotates=True, force=True).remove(name)


def test_a_file_that_is_no_more_is_forgotten(tmp_path: Path) -> None:
    """Another one gets its inode number."""
    allowed = FolderOperations(Folder(tmp_path), tmp_path / "web.arrows", rotates=False, force=False)
    folder = BrokeredFolder(tmp_path, Local(allowed.operations()))
    for _ in range(3):
        os.close(folder.create("web.arrows"))
        with folder.created("web.arrows", replaces=True) as fd:
            os.close(fd)
        folder.remove("web.arrows")
    assert allowed._made == set()


def test_a_name_that_is_too_long(folder: BrokeredFolder) -> None:
    with pytest.raises(OSError) as failure:
        folder.create("web.arrows" + 300 * "x")
    assert failure.value.errno == errno.ENAMETOOLONG


def test_what_was_there_stays(folder: BrokeredFolder, tmp_path: Path) -> None:
    (tmp_path / "web.arrows").write_text("old")
    old = (tmp_path / "web.arrows").stat()
    with pytest.raises(AlreadyThere):
        create(tmp_path / "web.arrows", force=False, folder=folder)
    for made in (None, old):
        with pytest.raises(PermissionError):
            folder.remove("web.arrows", made)
    with pytest.raises(PermissionError), folder.created("web.arrows", replaces=True):
        pass
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_temporary_file_that_somebody_else_made_is_not_renamed(folder: BrokeredFolder, tmp_path: Path) -> None:
    (tmp_path / ".web.arrows.0123abcd").write_text("a stranger's")
    with pytest.raises(PermissionError):
        folder.rename(".web.arrows.0123abcd", "web.arrows", (tmp_path / ".web.arrows.0123abcd").stat())
    assert not (tmp_path / "web.arrows").exists()


def test_its_own_file_is_replaced(folder: BrokeredFolder, tmp_path: Path) -> None:
    os.close(folder.create("web.arrows"))
    with folder.created("web.arrows", replaces=True) as fd:
        os.write(fd, b"merged")
        os.close(fd)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["merged"]


def test_a_file_is_replaced_as_in_the_folder_itself(opened: Callable[..., BrokeredFolder], tmp_path: Path) -> None:
    folder = opened(force=True)
    (tmp_path / "web.arrows").write_text("old")
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


def test_parts_go_and_nothing_else(opened: Callable[..., BrokeredFolder], tmp_path: Path) -> None:
    folder = opened(rotates=True, force=True)
    for name in ("web.000001.arrows", "web.000002.arrows", "web.arrows", "web.1.arrows", "other"):
        (tmp_path / name).touch()
    discard_parts(tmp_path / "web.arrows", "web.000002.arrows", folder)
    assert [path.name for path in parts_of(tmp_path / "web.arrows")] == ["web.000002.arrows"]
    assert len(list(tmp_path.iterdir())) == 4
