"""Which hierarchy of cgroups counts, on hosts of every kind."""

import pytest

from tracer.system.cgroup_hierarchy import UNIFIED, choose, paths

V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0"
TMPFS = "tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0"
BESIDE = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0"
PIDS = "cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0"
MEMORY = "cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0"
CPU = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0"
NAMED = "cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0"

HOSTS = [
    ("version 2", [V2], UNIFIED),
    ("version 2, an old controller beside", [V2, PIDS], UNIFIED),
    ("both", [TMPFS, MEMORY, PIDS, NAMED, BESIDE], "pids"),
    ("version 1 without pids", [TMPFS, CPU, MEMORY], "memory"),
    ("two controllers in one", [TMPFS, CPU, NAMED], "cpu"),
    ("none", [], UNIFIED),
]

FILES = [
    (UNIFIED, "0::/web\n", ("/web",)),
    ("pids", "9:name=systemd:/a\n8:pids:/b\n4:memory:/c\n0::/d\n", ("/b", "/d", "/a", "/c")),
    ("cpu", "3:cpu,cpuacct:/b:c\n0::/\n", ("/b:c", "/")),
    ("pids", "8:pids:/\n0::/\n", ("/",)),
    ("pids", "0::/gone (deleted)\n", ("/gone (deleted)",)),
    (UNIFIED, "0::/a\x1db\x85c\u2028d\n", ("/a\x1db\x85c\u2028d",)),
    (UNIFIED, "", ()),
]


@pytest.mark.parametrize(("mounts", "expected"), [pytest.param(*host[1:], id=host[0]) for host in HOSTS])
def test_one_counts(mounts: list[str], expected: str) -> None:
    assert choose(mounts) == expected


@pytest.mark.parametrize(("counting", "text", "expected"), FILES)
def test_its_path_comes_first(counting: str, text: str, expected: tuple[str, ...]) -> None:
    assert paths(text, counting) == expected
