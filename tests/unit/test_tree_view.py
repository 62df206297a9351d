"""tree as text: branches of containers and nested namespaces, orphans, depth."""

import msgspec
from builders import PIDNS, WEB, entry

from tracer.answers.census import Census, Entry
from tracer.text.width import width
from tracer.views.tree import ASCII, branches, processes, tree

SHIM = entry([100], args=b"shim\0")
INIT = entry([200, 1], SHIM, WEB, args=b"init\0")
WORKER = entry([201, 7], INIT, WEB, args=b"worker\0")
ZOMBIE = entry([202, 8], WORKER, WEB, args=b"", comm=b"job", state="Z")
NESTED = entry([203, 9, 1], WORKER, WEB, args=b"nested\0")
DEEPER = entry([204, 10, 2], NESTED, WEB, args=b"deeper\0")
JOINED = entry([205, 11], SHIM, WEB, args=b"exec\0")
ALONE = entry([300, 1], SHIM, args=b"alone\0", inums=[77])
EVERYONE = [SHIM, INIT, WORKER, ZOMBIE, NESTED, DEEPER, JOINED, ALONE]


def drawn(shown: list[Entry], line_width: int | None = None) -> list[str]:
    return tree(Census(EVERYONE), shown, line_width).splitlines()


def test_containers_and_nested_namespaces_are_branches() -> None:
    assert drawn(EVERYONE) == [
        "100 shim",
        "├─ pidns:77",
        "│  └─ 300>1 alone",
        f"└─ web (docker aaaaaaaaaaaa, pidns:{PIDNS})",
        "   ├─ 200>1 init",
        "   │  └─ 201>7 worker",
        "   │     ├─ 202>8 [job] zombie, not reaped by 201>7 sh",
        f"   │     └─ pidns:{PIDNS + 1}, level 2",
        "   │        └─ 203>9>1 nested",
        "   │           └─ 204>10>2 deeper",
        "   └─ 205>11 exec",
    ]


def test_a_container_alone_has_its_heading_at_the_top() -> None:
    assert drawn([INIT, WORKER, JOINED]) == [
        f"web (docker aaaaaaaaaaaa, pidns:{PIDNS})",
        "├─ 200>1 init",
        "│  └─ 201>7 worker",
        "└─ 205>11 exec",
    ]


def test_orphans_stand_at_the_top() -> None:
    assert drawn([DEEPER, WORKER]) == [
        f"web (docker aaaaaaaaaaaa, pidns:{PIDNS})",
        "└─ 201>7 worker",
        f"web (docker aaaaaaaaaaaa, pidns:{PIDNS + 1}, level 2)",
        "└─ 204>10>2 deeper",
    ]


def test_a_container_without_a_namespace_of_its_own() -> None:
    guest = msgspec.structs.replace(WEB, name="guest")
    shared = entry([400], SHIM, guest, args=b"shared\0")
    assert drawn([SHIM, shared]) == ["100 shim", "└─ guest (docker aaaaaaaaaaaa)", "   └─ 400 shared"]


def test_names_are_made_safe() -> None:
    hostile = entry([400, 1], None, msgspec.structs.replace(WEB, name="a\x1b]0;x\x07\u202e"), args=b"\x9b2J\n\0")
    assert all(line.isprintable() for line in drawn([hostile]))


def test_a_circle_of_parents_is_shown_all_the_same() -> None:
    first, second = entry([10]), entry([11])
    entries = [first, entry([12], second), *(entry([tgid], other) for tgid, other in ((10, second), (11, first)))][1:]
    assert {branch.entry.proc_id.tgid for branch in branches(entries) if branch.entry} == {10, 11, 12}
    assert len(list(branches(entries))) == 3


def test_a_chain_of_five_thousand_stays_small() -> None:
    chain = [entry([1000])]
    for tgid in range(1001, 6000):
        chain.append(entry([tgid], chain[-1]))
    on_terminal, piped = drawn(chain, 80), drawn(chain)
    assert [line.split("─ ")[-1].split()[0] for line in piped] == [str(tgid) for tgid in range(1000, 6000)]
    assert max(map(width, on_terminal)) <= 80
    assert all(str(tgid) in line for tgid, line in zip(range(1000, 6000), on_terminal, strict=True))
    assert max(map(len, piped)) < 200


def test_a_thousand_branches_side_by_side() -> None:
    many = [msgspec.structs.replace(WEB, id=f"{n:064x}", name=f"c{n}") for n in range(1000)]
    lines = drawn([entry([1000 + n, 1], None, one) for n, one in enumerate(many)])
    assert len(lines) == 2000


def siblings(*names: str, start: int = 400) -> list[Entry]:
    return [entry([start + n, 20 + n], INIT, WEB, args=f"{name}\0".encode()) for n, name in enumerate(names)]


def test_equal_siblings_share_a_line() -> None:
    many = siblings("job", "other", "job", "job", "two", "two")
    assert drawn([INIT, *many])[1:] == [
        "└─ 200>1 init",
        "   ├─ 400>20..403>23 3*[job]",
        "   ├─ 401>21 other",
        "   ├─ 404>24 two",
        "   └─ 405>25 two",
    ]


def test_what_differs_or_has_children_has_a_line_of_its_own() -> None:
    jobs = siblings("job", "job", "job", "job")
    child = entry([500, 50], jobs[1], WEB, args=b"child\0")
    zombies = [entry([600 + n, 60 + n], INIT, WEB, args=b"", comm=b"job", state="Z") for n in range(3)]
    assert drawn([INIT, *jobs, child, *zombies])[2:] == [
        "   ├─ 400>20..403>23 3*[job]",
        "   ├─ 401>21 job",
        "   │  └─ 500>50 child",
        "   └─ 600>60..602>62 3*[[job] zombie, not reaped by 200>1 sh]",
    ]


def test_unfolded_each_has_its_line_in_the_order_of_start() -> None:
    many = siblings("job", "other", "job", "job")
    lines = tree(Census([INIT, *many]), [INIT, *many], fold=False).splitlines()
    assert [line.split()[-1] for line in lines[2:]] == ["job", "other", "job", "job"]
    assert [entry.numbers[0] for _depth, entry in processes([INIT, *many])] == [200, 400, 401, 402, 403]


def test_ten_thousand_equal_siblings_are_one_line() -> None:
    assert drawn([INIT, *siblings(*["job"] * 10_000, start=10_000)], 80)[2:] == [
        "   └─ 10000>20..19999>10019 10000*[job]"
    ]


def test_a_long_name_gives_way_to_the_ids_behind_it() -> None:
    long = msgspec.structs.replace(WEB, name="n" * 100)
    lines = drawn([entry([200, 1], None, long)], 80)
    assert lines[0].endswith(f"n…{'n' * 19} (docker aaaaaaaaaaaa, pidns:{PIDNS})")
    assert width(lines[0]) == 80


def test_in_ascii() -> None:
    lines = tree(Census(EVERYONE), [SHIM, INIT, WORKER, ALONE], marks=ASCII).splitlines()
    assert lines[:3] == ["100 shim", "|- pidns:77", "|  `- 300>1 alone"]
    assert all(line.isascii() for line in lines)


def test_depth_counts_ancestors_that_are_shown() -> None:
    told = [(depth, entry.proc_id.tgid) for depth, entry in processes(EVERYONE)]
    assert told == [(0, 100), (1, 300), (1, 200), (2, 201), (3, 202), (3, 203), (4, 204), (1, 205)]
    assert [depth for depth, _entry in processes([WORKER, DEEPER])] == [0, 0]


def test_whatever_a_recording_says_of_a_container_has_no_effect_on_a_terminal() -> None:
    hostile = msgspec.structs.replace(WEB, id="\x1b[31m", name="n\x1b[2J", runtime="r\x1b")
    heading, _process = drawn([entry([200, 1], SHIM, hostile)])
    assert heading == rf"n\x1b[2J (r\x1b \x1b[31m, pidns:{PIDNS})"
