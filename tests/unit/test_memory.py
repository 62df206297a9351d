"""What a process that is always there keeps in memory."""

import subprocess
import sys

from tracer.system.memory import untouched_files

SMAPS = """\
1000-3000 r-xp 00000000 fe:00 77 /lib/text.so
Rss:                   8 kB
Anonymous:             0 kB
3000-4000 r--p 00002000 fe:00 77 /lib/text.so
Rss:                   4 kB
Anonymous:             4 kB
4000-5000 rw-p 00003000 fe:00 77 /lib/text.so
Rss:                   4 kB
Anonymous:             0 kB
5000-6000 r--p 00000000 00:00 0
Rss:                   4 kB
Anonymous:             0 kB
6000-7000 r--s 00000000 00:0e 5 anon_inode:bpf-map
Rss:                   4 kB
Anonymous:             0 kB
7000-9000 r--p 00000000 fe:00 78 /a folder/with 1-2 r--p
Rss:                   8 kB
Anonymous:             0 kB
"""

IN_A_PROCESS = """
import os, re, sys
import pyarrow as pa
import pyarrow.compute as pc
from tracer.system.memory import stay_small

def of_files():
    text = open("/proc/self/smaps_rollup").read()
    return sum(int(re.search(rf"^{name}: +(\\d+)", text, re.M)[1]) for name in ("Private_Clean", "Shared_Clean"))

table = pa.table({"a": list(range(1000))})
before = of_files()
stay_small()
after = of_files()
assert pc.sum(table["a"]).as_py() == 499500
assert pa.table({"a": ["x"] * 3}).group_by("a").aggregate([("a", "count")]).to_pylist() == [{"a": "x", "a_count": 3}]
print(before, after, pa.default_memory_pool().backend_name)
"""


def test_only_what_is_as_in_the_file() -> None:
    """What was written to, shared or has no file has to stay where it is: its contents would be lost."""
    assert untouched_files(SMAPS) == [(0x1000, 0x3000), (0x7000, 0x9000)]


def test_it_works_on_in_less_memory() -> None:
    done = subprocess.run([sys.executable, "-c", IN_A_PROCESS], text=True, stdout=subprocess.PIPE, check=True)
    before, after, _pool = done.stdout.split()
    assert int(after) < int(before) / 2


def test_one_pool() -> None:
    code = "from tracer.system.memory import share_pool; share_pool()\n" + IN_A_PROCESS
    done = subprocess.run([sys.executable, "-c", code], text=True, stdout=subprocess.PIPE, check=True)
    assert done.stdout.split()[2] == "system"
