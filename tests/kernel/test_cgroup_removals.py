"""What is known of a cgroup goes with it: its removal is reported by the kernel, and by the right hierarchy's alone."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from conftest import wait_for
from lives import cgroup_id_of
from oracle import hierarchies, pids_hierarchy
from stack import Stack

from tracer.stream import ended_spaces, removed_cgroups
from tracer.wiring import choosing

pytestmark = pytest.mark.kernel

Begin = Callable[[str], "FakeContainer"]


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "_KEEP_ENDED", 0)
    monkeypatch.setattr(removed_cgroups, "AT_ONCE", 1)
    for module in (removed_cgroups, ended_spaces):
        monkeypatch.setattr(module, "LATER_NS", 0)


class FakeContainer:
    """A process in a cgroup that is called as a container's."""

    def __init__(self, own: Path) -> None:
        own.mkdir(parents=True, exist_ok=True)
        self.own, self._process = own, subprocess.Popen(
            ["unshare", "--fork", "--pid", "--kill-child", "sh", "-c", f"echo 0 >{own}/cgroup.procs; exec sleep 600"]
        )  # fmt: skip
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        wait_for(lambda: bool(children.read_text()))
        self.init = int(children.read_text())
        wait_for(lambda: Path(f"/proc/{self.init}/comm").read_text() == "sleep\n")
        self.cgroup_id = cgroup_id_of(self.init)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        wait_for(lambda: not Path(f"/proc/{self.init}").exists())

    def remove(self) -> None:
        self.end()
        wait_for(partial(is_removed, self.own))


def is_removed(place: Path) -> bool:
    with suppress(OSError):
        place.rmdir()
    return not place.exists()


@pytest.fixture
def begin() -> Iterator[Begin]:
    """begin(id): a container; it is removed in the end."""
    top, begun = pids_hierarchy() / f"nstrace-test-{secrets.token_hex(4)}", list[FakeContainer]()

    def make(container_id: str) -> FakeContainer:
        begun.append(FakeContainer(top / "docker" / container_id))
        return begun[-1]

    yield make
    for one in begun:
        one.end()
    for one in begun:
        wait_for(partial(is_removed, one.own))
    for place in (top / "docker", top):
        wait_for(partial(is_removed, place))


def known_in(stack: Stack) -> Callable[[FakeContainer], bool]:
    def is_known(one: FakeContainer) -> bool:
        fact = stack.source.attribution.cgroups.get(one.cgroup_id)
        return fact is not None and fact.container is not None and fact.container.id == one.own.name

    return is_known


def test_it_is_known_until_its_cgroup_is_removed(begin: Begin) -> None:
    ids = [secrets.token_hex(32) for _ in range(3)]
    before, lives = begin(ids[0]), begin(ids[1])
    with Stack("all") as stack:
        is_known = known_in(stack)
        assert is_known(before)
        meanwhile = begin(ids[2])
        stack.read(lambda: is_known(meanwhile))
        for one in (before, meanwhile):
            one.end()
            stack.read(lambda one=one: stack.has_exit_of(one.init))  # type: ignore[misc]
            assert is_known(one)  # a process may come into it yet
            one.remove()
            stack.read(lambda one=one: not is_known(one))  # type: ignore[misc]
        assert is_known(lives)
        again = begin(ids[0])
        stack.read(lambda: is_known(again))
        assert again.cgroup_id not in (before.cgroup_id, lives.cgroup_id)
    assert stack.account.differences() == []


def test_a_namespace_outlives_the_cgroup_that_it_began_in(begin: Begin) -> None:
    moved, other = begin(secrets.token_hex(32)), begin(secrets.token_hex(32))
    with Stack("all") as stack:
        pidns = stack.pidns(Path(f"/proc/{moved.init}/ns/pid").stat().st_ino)
        (moved.own.parent.parent / "cgroup.procs").write_text(str(moved.init))
        wait_for(partial(is_removed, moved.own))
        child = subprocess.run(["nsenter", "-t", str(moved.init), "-p", "sh", "-c", "exit 3"], check=False)
        assert child.returncode == 3
        removed = stack.source._removed
        stack.read(lambda: moved.cgroup_id in removed._in_use)
        owner = stack.source.attribution.owner(pidns)
        assert owner is not None
        assert owner.id == moved.own.name
        moved.end()
        stack.read(lambda: stack.has_exit_of(moved.init))
        other.remove()  # with which it is looked at again
        stack.read(lambda: moved.cgroup_id not in stack.source.attribution.cgroups)
        assert not removed._in_use


def colliding(wanted: set[int], top: Path) -> int:
    """Make cgroups in another hierarchy, and remove them again, until one has had an id of these."""
    made = 0
    while made < 20_000:
        top.mkdir()
        found = top.stat().st_ino
        top.rmdir()
        made += 1
        if found in wanted:
            return found
        if found > max(wanted):
            return 0
    return 0


def test_ids_of_another_hierarchy_mean_nothing() -> None:
    """Each hierarchy of cgroup v1 counts for itself: sooner or later each has every id."""
    ours, name = pids_hierarchy(), f"nstrace-test-{secrets.token_hex(4)}"
    others = [place for place in hierarchies() if place != ours]
    if not others:
        return  # with version 2 alone there is one, and no other's ids
    made = [ours / f"{name}-{number}" for number in range(200)]
    try:
        for place in made:
            place.mkdir()
        ids = {place.stat().st_ino for place in made}
        behind = [place for place in others if last_id(place / name) < min(ids)]
        assert behind, "no other hierarchy has had fewer cgroups than ours"
        with Stack("host") as stack:
            for place in made:
                subprocess.run(["sh", "-c", f"echo 0 >{place}/cgroup.procs; exec true"], check=True)
            known = stack.source.attribution.cgroups
            stack.read(lambda: all(one in known for one in ids))
            assert any(colliding(ids, place / name) for place in behind)
            made.pop().rmdir()
            stack.read(lambda: len([one for one in ids if one in known]) < len(ids))
            assert len([one for one in ids if one in known]) == len(ids) - 1
    finally:
        for place in made:
            wait_for(partial(is_removed, place))


def last_id(top: Path) -> int:
    top.mkdir()
    found = top.stat().st_ino
    top.rmdir()
    return found
