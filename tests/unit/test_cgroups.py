"""The tree of cgroups: paths, containers, and their lives, whatever the order in which names arrive."""

from itertools import permutations

import pytest
from builders import PIDNS, batch, fork

from tracer.containers.answers import Answer, Description, Silence
from tracer.containers.cgroups import MAX_ASKED, Cgroups
from tracer.stream.first_processes import FirstProcesses
from tracer.stream.metadata import CgroupFact, CgroupName, Container, Inner, Pod

A = "eda3b6fa0695ebf41f9c05b225403637aadbf7867d5db01b04e233028991f487"
B = "0123456789abcdef" * 4

ROOT = CgroupName(1, 0, "")
DOCKER = CgroupName(2, 1, "docker")
WEB = CgroupName(30, 2, A)


class Names:
    """An engine that knows some containers and remembers what it was asked; silence: what it does instead of that."""

    def __init__(self, **known: Description) -> None:
        self.known = known
        self.asked: list[str] = []
        self.silence: Silence | None = None

    def describe(self, container_id: str) -> Answer:
        self.asked.append(container_id)
        return self.silence or self.known.get(container_id)


def cgroups(max_cgroups: int = 100) -> Cgroups:
    return Cgroups(Names().describe, max_cgroups)


def paths_of(facts: list[tuple[int, CgroupFact]]) -> dict[int, str]:
    return {cgroup_id: fact.path for cgroup_id, fact in facts}


def lives_of(facts: list[tuple[int, CgroupFact]]) -> list[int]:
    return [fact.container.incarnation for _cgroup_id, fact in facts if fact.container]


def test_a_container_with_all_that_the_engine_tells() -> None:
    names = Names(**{A: Description("web", "nginx:1.27", {"tier": "front"})})
    facts = Cgroups(names.describe).learn([ROOT, DOCKER, WEB])
    assert facts == [
        (1, CgroupFact("/")),
        (2, CgroupFact("/docker")),
        (
            30,
            CgroupFact(
                f"/docker/{A}",
                Container(A, "docker", "web", "nginx:1.27", {"tier": "front"}, 1, engine="docker"),
                root=30,
            ),
        ),
    ]
    assert names.asked == [A]


def test_without_an_engine_there_is_still_the_id() -> None:
    facts = cgroups().learn([ROOT, DOCKER, WEB])
    assert facts[-1][1].container == Container(A, "docker")


@pytest.mark.parametrize("name", ["", "/"])
def test_the_root_has_either_name(name: str) -> None:
    facts = cgroups().learn([CgroupName(1, 0, name), CgroupName(2, 1, "init.scope")])
    assert paths_of(facts) == {1: "/", 2: "/init.scope"}


def test_cgroups_inside_a_container_share_its_life() -> None:
    names = Names()
    tree = Cgroups(names.describe)
    facts = tree.learn([ROOT, DOCKER, WEB, CgroupName(31, 30, "init.scope"), CgroupName(32, 31, "x")])
    assert paths_of(facts)[32] == f"/docker/{A}/init.scope/x"
    assert [fact.container for _cgroup_id, fact in facts[2:]] == [Container(A, "docker")] * 3
    assert names.asked == [A]


def test_each_root_cgroup_is_one_life() -> None:
    names = Names(**{A: Description("web", None)})
    tree = Cgroups(names.describe)
    tree.learn([ROOT, DOCKER, WEB])
    second = tree.learn([CgroupName(40, 2, A)])
    third = tree.learn([CgroupName(50, 2, A), CgroupName(51, 50, "x")])
    assert (lives_of(second), lives_of(third)) == ([2], [3, 3])
    assert third[0][1].container == Container(A, "docker", "web", None, {}, 3, engine="docker")
    assert third[0][1].container.label == "web#3"
    assert names.asked == [A] * 3


def test_a_name_that_comes_late_is_told_for_every_cgroup_of_the_container() -> None:
    names = Names()
    tree = Cgroups(names.describe)
    tree.learn([ROOT, DOCKER, WEB, CgroupName(31, 30, "x"), CgroupName(40, 2, B)])
    assert tree.is_open
    assert tree.renew() == []
    names.known[A] = Description("web", "nginx", {"k": "v"})
    web = Container(A, "docker", "web", "nginx", {"k": "v"}, 1, engine="docker")
    assert tree.renew() == [
        (30, CgroupFact(f"/docker/{A}", web, root=30)),
        (31, CgroupFact(f"/docker/{A}/x", web, root=30)),
    ]
    assert tree.learn([CgroupName(32, 30, "y")])[0][1].container == web


def test_one_that_no_engine_knows_is_not_asked_for_for_ever() -> None:
    names = Names()
    tree = Cgroups(names.describe)
    tree.learn([ROOT, DOCKER, WEB])
    for _ in range(50):
        assert tree.renew() == []
    assert len(names.asked) == MAX_ASKED
    assert not tree.is_open


def test_a_late_cgroup_of_an_earlier_life_belongs_to_that_one() -> None:
    tree = cgroups()
    tree.learn([ROOT, DOCKER, WEB, CgroupName(40, 2, A)])
    assert lives_of(tree.learn([CgroupName(31, 30, "x")])) == [1]
    assert lives_of(tree.learn([CgroupName(41, 40, "x")])) == [2]
    assert lives_of(tree.learn([CgroupName(50, 2, A)])) == [3]


def test_lives_are_counted_for_each_container() -> None:
    tree = cgroups()
    assert lives_of(tree.learn([ROOT, DOCKER, WEB, CgroupName(31, 2, B), CgroupName(32, 2, A)])) == [1, 1, 2]


def test_a_container_in_a_container_is_a_claim_with_a_life_of_its_own() -> None:
    tree = cgroups()
    facts = tree.learn([ROOT, DOCKER, WEB, CgroupName(31, 30, "docker"), CgroupName(32, 31, B)])
    assert [fact.container for _cgroup_id, fact in facts[2:]] == [Container(A, "docker")] * 3
    assert [fact.inner for _cgroup_id, fact in facts[2:]] == [(), (), (Inner(32, Container(B, "docker"), 30),)]
    again = tree.learn([CgroupName(33, 31, B)])
    assert [inner.container.incarnation for inner in again[0][1].inner] == [2]


# who has called it so


ALICE = 1000
HERS = [CgroupName(3, 1, "alice"), CgroupName(4, 3, "docker", ALICE)]


def claimed(facts: list[tuple[int, CgroupFact]]) -> list[list[tuple[str, str | None]]]:
    return [[(inner.container.id, inner.container.name) for inner in fact.inner] for _cgroup_id, fact in facts]


def test_what_a_user_may_have_called_so_is_a_claim() -> None:
    facts = cgroups().learn([ROOT, *HERS, CgroupName(30, 4, A, ALICE)])
    assert facts[-1][1] == CgroupFact(f"/alice/docker/{A}", None, inner=(Inner(30, Container(A, "docker")),))


@pytest.mark.parametrize("maker", [ALICE, 0o22 << 32, 0o22 << 32 | ALICE])
def test_nobody_else_is_a_container_of_roots_engine(maker: int) -> None:
    """Whether it runs or not: the engine knows it."""
    names = Names(**{A: Description("web", None)})
    tree = Cgroups(names.describe)
    facts = tree.learn([ROOT, *HERS, CgroupName(30, 4, A, maker), DOCKER, CgroupName(31, 2, A)])
    assert claimed(facts) == [[]] * len(facts)
    assert [fact.container and fact.container.label for _cgroup_id, fact in facts[-3:]] == [None, None, "web"]


def test_nobody_else_is_a_container_that_root_has_made_a_cgroup_for() -> None:
    tree = cgroups()
    tree.learn([ROOT, DOCKER, WEB])
    assert claimed(tree.learn([*HERS, CgroupName(40, 4, A, ALICE)]))[-1] == []


def test_a_claim_of_a_container_that_starts_later_ends_then() -> None:
    tree = cgroups()
    assert claimed(tree.learn([ROOT, *HERS, CgroupName(30, 4, A, ALICE)]))[-1] == [(A, None)]
    facts = tree.learn([DOCKER, CgroupName(40, 2, A)])
    assert [(cgroup_id, fact.container and fact.container.id) for cgroup_id, fact in facts[1:]] == [(40, A), (30, None)]
    assert claimed(facts)[2] == []


def test_an_engine_that_has_not_answered_may_know_it() -> None:
    names = Names()
    names.silence = Silence.NO_ANSWER
    tree = Cgroups(names.describe)
    facts = tree.learn([ROOT, *HERS, CgroupName(30, 4, A, ALICE)])
    assert (facts[-1][1].inner, facts[-1][1].pending) == ((), True)
    names.silence = None
    assert claimed(tree.renew()) == [[(A, None)]]


def test_a_users_engine_names_what_that_user_has_made_alone() -> None:
    names = Names(**{A: Description("hers", None, owner=ALICE), B: Description("hers too", None, owner=ALICE)})
    tree = Cgroups(names.describe)
    bobs = [CgroupName(5, 1, "bob"), CgroupName(6, 5, "docker", 1001), CgroupName(31, 6, A, 1001)]
    facts = tree.learn([ROOT, *HERS, CgroupName(30, 4, A, ALICE), *bobs, DOCKER, CgroupName(32, 2, B)])
    assert claimed(facts)[3] == [(A, "hers")]
    assert claimed(facts)[6] == []
    assert facts[-1][1].container == Container(B, "docker")  # root has made this one


def test_the_hosts_engine_knows_nothing_of_what_is_in_a_container() -> None:
    names = Names(**{A: Description("web", None), B: Description("db", None)})
    facts = Cgroups(names.describe).learn([ROOT, DOCKER, WEB, CgroupName(31, 30, "docker"), CgroupName(32, 31, B)])
    assert claimed(facts)[-1] == []
    assert facts[-1][1].container == facts[2][1].container


def test_a_monitor_is_no_container() -> None:
    names = Names()
    facts = Cgroups(names.describe).learn([ROOT, CgroupName(2, 1, f"libpod-conmon-{A}.scope")])
    assert facts[1] == (2, CgroupFact(f"/libpod-conmon-{A}.scope", None))
    assert names.asked == []


def test_what_is_known_gives_nothing() -> None:
    names = Names()
    tree = Cgroups(names.describe)
    assert len(tree.learn([ROOT, DOCKER, WEB, WEB])) == 3
    assert tree.learn([ROOT, DOCKER, WEB]) == []
    assert names.asked == [A]


@pytest.mark.parametrize("order", list(permutations([ROOT, DOCKER, WEB, CgroupName(31, 30, "x")])))
def test_any_order_gives_the_same_facts_parents_first(order: tuple[CgroupName, ...]) -> None:
    tree = cgroups()
    facts = [fact for name in order for fact in tree.learn([name])]
    assert [cgroup_id for cgroup_id, _fact in facts] == [1, 2, 30, 31]
    assert paths_of(facts)[31] == f"/docker/{A}/x"
    assert tree.evicted == 0


def test_who_waits_is_given_with_the_parent_once() -> None:
    tree = cgroups()
    assert tree.learn([CgroupName(5, 2, "b"), CgroupName(4, 2, "a"), CgroupName(4, 2, "a"), ROOT]) == [
        (1, CgroupFact("/"))
    ]
    facts = tree.learn([DOCKER])
    assert paths_of(facts) == {2: "/docker", 4: "/docker/a", 5: "/docker/b"}
    assert len(facts) == 3


def test_a_cgroup_that_is_its_own_parent_waits_for_ever() -> None:
    tree = cgroups()
    assert tree.learn([CgroupName(7, 7, "x"), CgroupName(8, 9, "y"), CgroupName(9, 8, "z")]) == []
    assert len(tree.learn([ROOT])) == 1


def test_names_of_strangers() -> None:
    tree = cgroups()
    names = [r"\x1b[2J\xff", "a/b", "..", "ü", "", "/"]
    facts = tree.learn([ROOT, *(CgroupName(10 + index, 1, name) for index, name in enumerate(names))])
    assert [fact.path for _cgroup_id, fact in facts[1:]] == [
        r"/\x1b[2J\xff",
        r"/a\x2fb",
        "/..",
        "/ü",
        "/",
        r"/\x2f",
    ]
    assert lives_of(facts) == []


def test_a_slash_in_a_name_does_not_make_a_container() -> None:
    tree = cgroups()
    assert lives_of(tree.learn([ROOT, CgroupName(2, 1, f"docker/{A}"), CgroupName(3, 2, "x")])) == []


def test_room_is_made_by_who_was_used_longest_ago_and_never_by_those_above() -> None:
    tree = cgroups(max_cgroups=10)
    tree.learn([ROOT, DOCKER])
    for cgroup_id in range(100, 200):
        assert paths_of(tree.learn([CgroupName(cgroup_id, 2, f"c{cgroup_id}")])) == {cgroup_id: f"/docker/c{cgroup_id}"}
    assert tree.evicted == 102 - 10
    assert tree.learn([ROOT, DOCKER, *(CgroupName(n, 2, f"c{n}") for n in range(192, 200))]) == []
    assert len(tree.learn([CgroupName(191, 2, "c191")])) == 1


def test_a_life_goes_on_when_a_part_of_it_was_forgotten() -> None:
    tree = cgroups(max_cgroups=10)
    tree.learn([ROOT, DOCKER, WEB, CgroupName(40, 2, A)])
    for cgroup_id in range(100, 200):
        tree.learn([CgroupName(cgroup_id, 40, "x")])
    assert lives_of(tree.learn([CgroupName(41, 40, "y")])) == [2]
    assert lives_of(tree.learn([CgroupName(50, 2, A)])) == [3]


def test_waiting_is_bounded() -> None:
    tree = cgroups(max_cgroups=10)
    tree.learn([CgroupName(cgroup_id, 1000 + cgroup_id, "x") for cgroup_id in range(100, 200)])
    assert tree.evicted == 90
    tree.learn([ROOT])
    assert len(tree.learn([CgroupName(1100, 1, "old"), CgroupName(1199, 1, "young")])) == 3


def test_waiting_for_one_parent_is_bounded() -> None:
    tree = cgroups(max_cgroups=10)
    tree.learn([CgroupName(cgroup_id, 2, "x") for cgroup_id in range(100, 200)])
    assert len(tree.learn([ROOT, DOCKER])) + tree.evicted == 102


# an engine that does not answer


def test_what_an_engine_has_not_said_is_pending_until_it_has() -> None:
    names = Names(**{A: Description("web", None)})
    names.silence = Silence.NO_ANSWER
    tree = Cgroups(names.describe)
    assert tree.learn([ROOT, DOCKER, WEB])[-1] == (30, CgroupFact(f"/docker/{A}", Container(A, "docker"), True, 30))
    for _ in range(2 * MAX_ASKED):
        assert tree.renew() == []  # it is asked for ever
    names.silence = None
    assert tree.renew() == [(30, CgroupFact(f"/docker/{A}", Container(A, "docker", "web", engine="docker"), root=30))]
    assert not tree.is_open


def test_where_no_engine_is_nothing_is_pending_but_one_that_comes_is_heard() -> None:
    names = Names(**{A: Description("web", None)})
    names.silence = Silence.NO_ENGINE
    tree = Cgroups(names.describe)
    assert [fact.pending for _cgroup_id, fact in tree.learn([ROOT, DOCKER, WEB])] == [False] * 3
    names.silence = None
    assert [fact.container and fact.container.name for _cgroup_id, fact in tree.renew()] == ["web"]


def test_a_container_without_a_name_is_asked_for_again() -> None:
    names = Names(**{A: Description(None, "nginx")})
    tree = Cgroups(names.describe)
    assert tree.learn([ROOT, DOCKER, WEB])[-1][1].container == Container(A, "docker", None, "nginx", engine="docker")
    names.known[A] = Description("web", "nginx")
    assert [fact.container for _cgroup_id, fact in tree.renew()] == [
        Container(A, "docker", "web", "nginx", engine="docker")
    ]


def test_a_silent_engine_does_not_make_pending_what_has_a_name() -> None:
    names = Names(**{A: Description("web", None)})
    tree = Cgroups(names.describe)
    tree.learn([ROOT, DOCKER, WEB])
    names.silence = Silence.NO_ANSWER
    (fact,) = tree.learn([CgroupName(31, 30, "x")])
    assert (fact[1].pending, fact[1].container) == (False, Container(A, "docker", "web", engine="docker"))


# whatever the path is called


@pytest.mark.parametrize("above", [("foo",), ("foo", "bar"), ("ecs", "0123456789abcdef" * 2), ("kubepods", "pod1")])
def test_what_an_engine_lists_is_its_container(above: tuple[str, ...]) -> None:
    names = Names(**{A: Description("web", None, {}, "podman")})
    folders = [CgroupName(2 + depth, 1 + depth, name) for depth, name in enumerate(above)]
    place = CgroupName(30, folders[-1].cgroup_id, A)
    facts = Cgroups(names.describe).learn([ROOT, *folders, place, CgroupName(31, 30, "init.scope")])
    task = above[1] if above[0] == "ecs" else None
    expected = Container(A, "podman", "web", engine="podman", task=task)
    assert [fact.container for _cgroup_id, fact in facts[-2:]] == [expected] * 2
    assert [fact.container for _cgroup_id, fact in facts[:-2]] == [None] * (1 + len(above))
    assert [one for one in names.asked if not one.startswith("containerd:")] == [A]


def test_a_path_that_only_an_engine_can_tell_is_pending_until_it_has() -> None:
    names = Names(**{A: Description("web", None)})
    names.silence = Silence.NO_ANSWER
    tree = Cgroups(names.describe)
    folders = [CgroupName(2, 1, "foo"), CgroupName(3, 2, "bar")]
    facts = tree.learn([ROOT, *folders, CgroupName(30, 3, A), CgroupName(40, 3, B)])
    assert [(fact.container, fact.pending) for _cgroup_id, fact in facts[-2:]] == [(None, True)] * 2
    names.silence = None
    assert tree.renew() == [
        (30, CgroupFact(f"/foo/bar/{A}", Container(A, "docker", "web", engine="docker"), root=30)),
        (40, CgroupFact(f"/foo/bar/{B}")),
    ]


# labels


def shown(facts: list[tuple[int, CgroupFact]]) -> list[str]:
    return [fact.container.label for _cgroup_id, fact in facts if fact.container]


def test_a_new_container_of_a_name_goes_on_behind_the_lives_of_the_one_before() -> None:
    names = Names(**{A: Description("web", None), B: Description("web", None)})
    tree = Cgroups(names.describe)
    lives = [ROOT, DOCKER, WEB, CgroupName(40, 2, A), CgroupName(50, 2, B), CgroupName(60, 2, A)]
    assert shown(tree.learn(lives)) == ["web", "web#2", "web#3", "web#4"]


def test_a_name_that_comes_late_collides_with_none() -> None:
    names = Names(**{B: Description("web", None)})
    tree = Cgroups(names.describe)
    assert shown(tree.learn([ROOT, DOCKER, WEB, CgroupName(31, 30, "x"), CgroupName(40, 2, B)])) == [
        A[:12],
        A[:12],
        "web",
    ]
    names.known[A] = Description("web", None)
    assert shown(tree.renew()) == ["web#2", "web#2"]
    assert shown(tree.learn([CgroupName(50, 2, A)])) == ["web#3"]


def test_a_name_that_looks_like_the_label_of_a_life_collides_with_none() -> None:
    names = Names(**{A: Description("web", None)})
    tree = Cgroups(names.describe)
    assert shown(tree.learn([ROOT, DOCKER, WEB, CgroupName(4, 1, "lxc.payload.web#2")])) == ["web", "web#2"]
    assert shown(tree.learn([CgroupName(40, 2, A)])) == ["web#3"]


def test_containers_of_one_name_are_not_lives_of_each_other() -> None:
    tree = Cgroups(Names(**{A: Description("web", None)}).describe)
    folders = [(3, 1, "default"), (4, 3, "web"), (5, 1, "k8s.io"), (6, 5, "web"), (7, 1, "lxc"), (8, 7, "web")]
    facts = tree.learn([ROOT, *(CgroupName(*one) for one in folders), CgroupName(9, 1, "lxc.payload.web"), DOCKER, WEB])
    found = [fact.container for _id, fact in facts if fact.container]
    assert [one.name for one in found] == ["web"] * 5
    assert [one.incarnation for one in found] == [1] * 5
    assert [one.label for one in found] == ["web", "k8s.io/web", "lxc/web", "lxc.payload.web", A[:12]]
    assert len({one.id for one in found}) == 5
    again = tree.learn([CgroupName(10, 5, "web")])
    assert shown(again) == ["k8s.io/web#2"]


def test_a_namespace_of_containerds_is_one_where_the_node_says_so() -> None:
    known = {"containerd:prod/api": Description("api", "img:1", {}, "", said_by="ctr")}
    tree = Cgroups(Names(**known).describe)
    facts = tree.learn([ROOT, CgroupName(2, 1, "prod"), CgroupName(3, 2, "api"), CgroupName(4, 2, "none")])
    api = facts[2][1].container
    assert api and (api.id, api.name, api.runtime, api.image, api.engine) == (
        *("prod/api", "api", "containerd", "img:1", "ctr"),
    )
    assert [fact.container for _id, fact in facts] == [None, None, api, None]


def test_an_image_is_that_of_the_container_in_its_namespace() -> None:
    known = {"containerd:default/web": Description("web", "img:1", {}, "", said_by="ctr")}
    tree = Cgroups(Names(**known).describe)
    folders = [(2, 1, "default"), (3, 2, "web"), (4, 1, "k8s.io"), (5, 4, "web")]
    facts = tree.learn([ROOT, *(CgroupName(*one) for one in folders)])
    assert [fact.container.image for _id, fact in facts if fact.container] == ["img:1", None]


def test_a_life_that_gets_its_name_late_keeps_its_number() -> None:
    names = Names()
    names.silence = Silence.NO_ANSWER
    tree = Cgroups(names.describe)
    lives = tree.learn([ROOT, DOCKER, WEB, CgroupName(40, 2, A), CgroupName(50, 2, A)])
    short = A[:12]
    assert shown(lives) == [short, f"{short}#2", f"{short}#3"]
    names.silence, names.known = None, {A: Description("web", "nginx")}
    assert shown(tree.renew()) == ["web", "web#2", "web#3"]
    assert shown(tree.learn([CgroupName(60, 2, A)])) == ["web#4"]


# how they are shown


def test_ids_that_share_twelve_digits_are_shown_longer() -> None:
    other = A[:12] + "f" * 52
    facts = cgroups().learn([ROOT, DOCKER, WEB, CgroupName(31, 2, other), CgroupName(32, 2, A)])
    assert [fact.container.label for _id, fact in facts if fact.container] == [A[:12], other[:16], f"{A[:12]}#2"]


@pytest.mark.parametrize("name", ["host", "all"])
def test_a_name_that_is_a_word_is_not_shown(name: str) -> None:
    facts = Cgroups(Names(**{A: Description(name, None)}).describe).learn(
        [ROOT, DOCKER, WEB, CgroupName(40, 1, f"lxc.payload.{name}")]
    )
    labels = [fact.container.label for _id, fact in facts if fact.container]
    assert labels == [A[:12], f"lxc.payload.{name}"]


def test_pods_and_tasks() -> None:
    uid = "3f1c2e4a-9a11-4f0e-8d5a-1d2c3b4a5f60"
    labels = {"io.kubernetes.pod.name": "web-1", "io.kubernetes.pod.namespace": "shop",
              "io.kubernetes.container.name": "nginx", "io.kubernetes.pod.uid": uid}  # fmt: skip
    pods = [CgroupName(2, 1, "kubepods"), CgroupName(3, 2, f"pod{uid}"), CgroupName(4, 3, A)]
    for described, expected in (
        (Description("k8s", None, labels), Pod(uid, "web-1", "shop", "nginx")),
        (Description("k8s", None, labels | {"io.kubernetes.pod.uid": "another"}), Pod(uid)),
        (None, Pod(uid)),
    ):
        names = Names(**({A: described} if described else {}))
        [*_, (_id, fact)] = Cgroups(names.describe).learn([ROOT, *pods])
        assert fact.container and fact.container.pod == expected
    arn = "arn:aws:ecs:eu-central-1:1:task/cluster/0123"
    for task, said in ((B[:32], {}), ("0123", {"com.amazonaws.ecs.task-arn": arn})):
        tasks = [CgroupName(2, 1, "ecs"), CgroupName(3, 2, B[:32])] if not said else [CgroupName(3, 1, "docker")]
        names = Names(**{A: Description("ecs", None, said)})
        [*_, (_id, fact)] = Cgroups(names.describe).learn([ROOT, *tasks, CgroupName(4, 3, A)])
        assert fact.container and fact.container.task == task


# renames


def test_a_rename_changes_the_name_of_the_last_life_and_of_all_that_is_below_it() -> None:
    names = Names(**{A: Description("web", None)})
    tree = Cgroups(names.describe)
    tree.learn([ROOT, DOCKER, CgroupName(20, 2, A), WEB, CgroupName(31, 30, "init.scope")])
    facts = tree.rename(A, "api")
    assert [cgroup_id for cgroup_id, _fact in facts] == [30, 31]
    renamed = Container(A, "docker", "api", incarnation=2, engine="docker", earlier=["web"])
    assert [fact.container for _id, fact in facts] == [renamed] * 2
    assert tree.rename(A, "api") == []
    assert tree.rename(B, "db") == []
    (late,) = tree.learn([CgroupName(32, 30, "late")])
    assert late[1].container == facts[0][1].container


def test_one_that_was_created_has_the_number_of_its_first_life() -> None:
    """Its name may be that of a container whose lives are shown already."""
    names = Names(**{A: Description("web", None), B: Description("web", None)})
    tree = Cgroups(names.describe)
    tree.learn([ROOT, DOCKER, WEB])
    anew = Container(B, "docker", "web", incarnation=0)
    assert tree.to_come(anew, is_new=False) == anew
    assert [tree.to_come(anew, is_new).label for is_new in (True, True, False)] == ["web#2"] * 3
    assert shown(tree.learn([CgroupName(40, 2, B), CgroupName(41, 2, B)])) == ["web#2", "web#3"]
    assert tree.to_come(Container("c" * 64, "docker", "db", incarnation=0), is_new=True).label == "db"


def test_a_life_that_gets_its_name_back_has_its_number_back() -> None:
    names = Names(**{A: Description("web", None)})
    tree = Cgroups(names.describe)
    tree.learn([ROOT, DOCKER, WEB, CgroupName(40, 2, A)])
    assert shown(tree.rename(A, "api")) == ["api#2"]
    assert shown(tree.rename(A, "web")) == ["web#2"]


def test_a_new_container_with_the_name_that_was_given_up_continues_the_count() -> None:
    names = Names(**{A: Description("web", None), B: Description("web", None)})
    tree = Cgroups(names.describe)
    tree.learn([ROOT, DOCKER, WEB])
    assert shown(tree.rename(A, "old")) == ["old"]
    assert shown(tree.learn([CgroupName(40, 2, B)])) == ["web#2"]
    assert shown(tree.rename(A, "web")) == ["web"]
    assert shown(tree.rename(A, "old")) == ["old"]


def test_of_very_many_names_the_last_are_kept() -> None:
    tree = Cgroups(Names(**{A: Description("web", None)}).describe)
    tree.learn([ROOT, DOCKER, WEB])
    for number in range(100):
        facts = tree.rename(A, f"n{number}")
    container = facts[0][1].container
    assert container and container.earlier == [f"n{number}" for number in range(91, 99)]


def test_a_rename_of_a_container_without_a_name_waits_for_the_engine() -> None:
    names = Names()
    tree = Cgroups(names.describe)
    tree.learn([ROOT, DOCKER, WEB])
    assert tree.rename(A, "api") == []
    names.known[A] = Description("api", None)
    assert shown(tree.renew()) == ["api"]


AGENT, SECOND = CgroupName(40, 1, "agent"), CgroupName(41, 40, f"docker-{A}.scope")


@pytest.mark.parametrize("order", list(permutations([WEB, AGENT, SECOND])), ids=str)
def test_a_second_cgroup_of_a_living_container_is_nobodys(order: tuple[CgroupName, ...]) -> None:
    firsts = FirstProcesses(lambda _tgid: True)
    firsts.note(batch(fork(100, [(PIDNS, 1)], cgroup_id=WEB.cgroup_id)))
    tree = Cgroups(Names().describe, firsts=firsts.living)
    facts: dict[int, CgroupFact] = {}
    for name in (ROOT, DOCKER, *order):
        facts |= dict(tree.learn([name]))
    assert facts[WEB.cgroup_id].container
    assert facts[SECOND.cgroup_id].container is None


def test_a_second_cgroup_that_was_there_before_loses_the_name_when_the_container_begins() -> None:
    firsts = FirstProcesses(lambda _tgid: True)
    tree = Cgroups(Names().describe, firsts=firsts.living)
    facts = dict(tree.learn([ROOT, DOCKER, AGENT, SECOND, WEB]))
    assert facts[SECOND.cgroup_id].container  # nobody has begun anywhere
    firsts.note(batch(fork(100, [(PIDNS, 1)], cgroup_id=WEB.cgroup_id)))
    assert {cgroup_id: fact.container for cgroup_id, fact in tree.renew()} == {SECOND.cgroup_id: None}
    assert tree.renew() == []
