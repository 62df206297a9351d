"""What runs: containers of every kind and plain namespaces, from processes alone."""

import json

import msgspec
from builders import PIDNS, SECOND_NS, WEB, entry

from tracer.answers.census import Census, Entry
from tracer.answers.inventory import Running, running
from tracer.text.width import width
from tracer.typed.targets import parse_target
from tracer.views.containers import container_json, container_table, identifier
from tracer.views.objects import json_line

HOSTILE = msgspec.structs.replace(WEB, name="n\x1b[2J", image="i\x07", runtime="r\x1b[31m\u202e")
NOW_NS = 1_700_000_500 * SECOND_NS
LXC = msgspec.structs.replace(WEB, id="box", name=None, image=None, runtime="lxc")
GUEST = msgspec.structs.replace(WEB, id="b" * 64, name="guest")


def found(*entries: Entry) -> list[Running]:
    return running(Census(entries))


def facts(one: Running) -> tuple[str | None, int, int]:
    return one.container.label if one.container else None, one.init.numbers[0], one.processes


def test_a_container_its_init_and_everyone_in_it() -> None:
    init = entry([200, 1], None, WEB)
    nested = entry([210, 11, 1], init, WEB)
    assert [facts(one) for one in found(entry([1]), init, entry([201, 7], init, WEB), nested)] == [("web", 200, 3)]


def test_number_one_of_the_outermost_namespace_is_init() -> None:
    older = entry([150, 9], None, WEB)  # its number was given after a wrap-around
    assert [facts(one) for one in found(older, entry([200, 1], None, WEB), entry([190, 8, 1], None, WEB))] == [
        ("web", 200, 3)
    ]


def test_in_a_shared_namespace_the_first_who_came_from_elsewhere() -> None:
    shim = entry([100])
    main = entry([300], shim, GUEST)
    assert [facts(one) for one in found(shim, main, entry([301], main, GUEST))] == [("guest", 300, 2)]


def test_a_process_of_the_host_that_was_moved_into_the_cgroup_is_not_the_first() -> None:
    helper = entry([120], None, WEB)
    init = entry([200, 1], None, WEB)
    assert [facts(one) for one in found(helper, init, entry([121], helper, WEB))] == [("web", 200, 3)]


def test_a_namespace_that_was_begun_inside_is_not_the_containers() -> None:
    shell = entry([200], None, GUEST)  # --pid=host
    inner = entry([210, 1], shell, GUEST)
    assert [facts(one) for one in found(shell, inner)] == [("guest", 200, 2)]


def test_the_engine_knows_where_several_came_from_outside() -> None:
    helper, first, other = entry([120], None, GUEST), entry([200], None, GUEST), entry([90, 1], None, WEB)
    asked = []

    def init_of(container_id: str) -> int:
        asked.append(container_id)
        return 200

    listed = running(Census([helper, first, other]), init_of)
    assert [facts(one) for one in listed] == [("web", 90, 1), ("guest", 200, 2)]
    assert asked == [GUEST.id]
    assert running(Census([helper, first]), lambda _id: 4711)[0].init == helper  # nobody here


def test_who_starts_a_container_is_not_in_it_yet() -> None:
    runc = entry([120], None, GUEST, comm=b"runc:[1:CHILD]")
    assert [facts(one) for one in found(runc, entry([200], None, GUEST))] == [("guest", 200, 2)]


def test_plain_namespaces_come_last_each_by_itself() -> None:
    outer = entry([400, 1], None, inums=[77, 78])
    inner = entry([401, 2, 1], outer, inums=[77, 78])
    box = entry([500, 1], None, LXC)
    assert [facts(one) for one in found(outer, inner, box)] == [("box", 500, 1), (None, 400, 1), (None, 401, 1)]


def test_without_root_namespaces_are_told_apart_by_parents() -> None:
    shell = entry([50])
    first, other = (entry([nr, 1], shell, visible=False, started_ns=nr) for nr in (60, 70))
    child = entry([61, 2], first, visible=False, started_ns=61)
    assert [facts(one) for one in found(shell, first, child, other)] == [(None, 60, 2), (None, 70, 1)]


def test_nothing() -> None:
    assert found(entry([1])) == []
    assert container_table([], NOW_NS).text == ""


def test_text_and_json() -> None:
    web = msgspec.structs.replace(WEB, engine="podman:1000")
    one, plain = found(entry([200, 1], None, web), entry([400, 1], None, inums=[77], comm=b"bwrap\x1b[31m"))
    table = container_table([one, plain], NOW_NS)
    assert table.header.split() == [
        "NAME",
        "ID",
        "RUNTIME",
        "ENGINE",
        "INIT",
        "PIDNS",
        "LEVEL",
        "PROCS",
        "SINCE",
        "IMAGE",
    ]
    assert table.lines[0].split()[:8] == ["web", "a" * 12, "docker", "podman:1000", "200", str(PIDNS), "1", "1"]
    assert table.lines[0].endswith(" nginx:1.27")
    assert table.lines[1].split()[:6] == ["pidns:77", "-", "-", "-", "400", "77"]
    assert table.lines[1].endswith(r" (bwrap\x1b[31m)")
    assert [identifier(one), identifier(plain)] == ["a" * 12, "pidns:77"]
    told = json.loads(json_line(container_json(one)))
    assert (told["name"], told["init_pid"], told["pidns"], told["level"], told["processes"]) == (
        "web",
        200,
        PIDNS,
        1,
        1,
    )
    assert (told["runtime"], told["engine"]) == ("docker", "podman:1000")
    assert (told["since"], told["labels"]) == ("2023-11-14T22:13:20.000000000Z", {"tier": "front"})
    assert json.loads(json_line(container_json(plain)))["name"] is None


def test_a_terminal_cuts_the_image_and_nothing_that_is_copied() -> None:
    long = msgspec.structs.replace(WEB, name="n" * 40, image="registry.example.com/team/image:1.27")
    ones = found(entry([200, 1], None, long), entry([400, 1], None, inums=[4026532472]))
    for line, kept in zip(container_table(ones, NOW_NS, 80).lines, (long.name, "pidns:4026532472"), strict=True):
        assert width(line) <= 80
        assert line.split()[0] == kept
    assert container_table(ones, NOW_NS, 80).lines[0].split()[1:5] == ["a" * 12, "docker", "200", str(PIDNS)]


def test_targets_mean_containers_by_their_init() -> None:
    hidden = entry([400, 1], None, visible=False)
    assert hidden.is_meant(parse_target("all"))
    assert not hidden.is_meant(parse_target("host"))
    assert entry([200, 1], None, WEB).is_meant(parse_target("label:tier=front"))


def test_whatever_a_recording_says_of_a_container_has_no_effect_on_a_terminal() -> None:
    (one,) = found(entry([200, 1], None, HOSTILE))
    (line,) = container_table([one], NOW_NS).lines
    assert line.isprintable()
    assert r"r\x1b[31m\u202e" in line
