"""TARGET arguments: what they parse to, and which processes they mean."""

import pytest
from msgspec.structs import replace

from tracer.errors import ExitCode, NstraceError
from tracer.stream.metadata import Container, Pod
from tracer.stream.pidns import Chain, Number, PidnsId
from tracer.system.host_pidns import INITIAL_PIDNS_INUM
from tracer.typed.targets import Target, TargetKind, parse_target

WEB = Container(
    "ab12" + "0" * 60,
    "docker",
    "web",
    "nginx:1.27",
    {"tier": "front", "com.docker.compose.service": "w", "com.docker.compose.project": "shop"},
    image_id="cafe" + "1" * 60,
)
HOST: Chain = (Number(PidnsId(INITIAL_PIDNS_INUM, 1), 40),)
INSIDE: Chain = (Number(PidnsId(4026532001, 7), 15),)
NESTED: Chain = (*INSIDE, Number(PidnsId(4026532002, 8), 3))


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("web", TargetKind.NAME, "web"),
        ("/web", TargetKind.NAME, "web"),
        ("all", TargetKind.ALL, ""),
        ("host", TargetKind.HOST, ""),
        ("web-*", TargetKind.GLOB, "web-*"),
        ("pid:0042", TargetKind.PID, "42"),
        ("pidns:4026532001", TargetKind.PIDNS, "4026532001"),
        ("label:tier=front", TargetKind.LABEL, "tier=front"),
        ("image:nginx", TargetKind.IMAGE, "nginx"),
        ("compose:w", TargetKind.COMPOSE, "w"),
        ("compose:shop/w", TargetKind.COMPOSE, "shop/w"),
        ("pod:shop/web-0", TargetKind.POD, "shop/web-0"),
        ("name:host", TargetKind.CALLED, "host"),
        ("name:w*", TargetKind.GLOB, "w*"),
    ],
)
def test_parses(text: str, kind: TargetKind, value: str) -> None:
    assert parse_target(text) == Target(kind, value, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "pid:",
        "pid:x",
        "pid:-1",
        "pid:0",
        "pid:²",
        "label:",
        "image:",
        "-x",
        "web:1",
        "web#",
        "web#0",
        "#2",
        "name:",
    ],
)
def test_refuses_what_can_mean_nothing(text: str) -> None:
    with pytest.raises(NstraceError) as caught:
        parse_target(text)
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "kind", "value", "life"),
    [
        ("web#2", TargetKind.NAME, "web", 2),
        ("name:all#1", TargetKind.CALLED, "all", 1),
        ("web-*#3", TargetKind.GLOB, "web-*", 3),
    ],
)
def test_parses_the_number_of_a_life(text: str, kind: TargetKind, value: str, life: int) -> None:
    assert parse_target(text) == Target(kind, value, text, life=life)


def test_a_life_is_the_one_that_is_shown_by_this_number() -> None:
    first, second = WEB, replace(WEB, incarnation=2)
    for text in ("web#2", "name:web#2", "w*#2", "ab12#2"):
        assert [parse_target(text).means((life,), INSIDE) for life in (first, second)] == [False, True], text
    assert parse_target("web#1").means((first,), INSIDE)
    assert parse_target("web").means((second,), INSIDE)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("lable:tier=web", "did you mean label:tier=web?"),
        ("pidn:4026532001", "did you mean pidns:4026532001?"),
        ("container:web", "a container's name or id has no prefix: web"),
        ("tier=web", "did you mean label:tier=web?"),
        ("web/15", "that is one process: nstrace inspect web/15; as a target: web"),
        ("a b", "give a container name or id"),
    ],
)
def test_what_may_have_been_meant(text: str, hint: str) -> None:
    with pytest.raises(NstraceError, match="is not a valid target") as caught:
        parse_target(text)
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("web", True),
        ("ab12", True),
        ("b12", False),
        ("w*", True),
        ("x*", False),
        ("label:tier", True),
        ("label:tier=front", True),
        ("label:tier=back", False),
        ("image:nginx", True),
        ("image:nginx:1.27", True),
        ("image:nginx:1.2", False),
        ("image:nginx:*", True),
        ("image:docker.io/library/nginx", True),
        ("image:library/nginx:1.27", True),
        ("image:ngin", False),
        ("image:sha256:cafe", True),
        ("image:sha256:beef", False),
        ("image:cafe11111111", True),
        ("image:cafe", False),
        ("compose:w", True),
        ("compose:x", False),
        ("compose:shop", True),
        ("compose:shop/w", True),
        ("compose:shop/x", False),
        ("compose:w/shop", False),
        ("compose:shop/*", True),
        ("compose:shop/", True),
        ("compose:/w", True),
        ("name:web", True),
        ("name:ab12", False),
        ("label:tier=f*", True),
        ("label:tier=b*", False),
        ("label:tier=", False),
        ("all", True),
        ("host", False),
        ("pidns:4026532001", True),
        ("pidns:4026532002", False),
        (f"pidns:{INITIAL_PIDNS_INUM}", True),
    ],
)
def test_a_process_of_a_container(text: str, means: bool) -> None:
    assert parse_target(text).means((WEB,), INSIDE) is means


def test_a_namespace_means_those_nested_in_it_too() -> None:
    assert parse_target("pidns:4026532001").means((), NESTED)
    assert not parse_target("pidns:4026532002").means((), INSIDE)


def test_a_bound_namespace_is_not_a_later_one_of_the_same_number() -> None:
    assert Target(TargetKind.PIDNS, "4026532001", "", 7).means((), INSIDE)
    assert not Target(TargetKind.PIDNS, "4026532001", "", 6).means((), INSIDE)


def test_host_and_all_without_container() -> None:
    assert parse_target("host").means((), HOST)
    assert not parse_target("all").means((), HOST)
    assert parse_target("all").means((), INSIDE)  # a namespace that no engine knows
    assert not parse_target("host").means((), INSIDE)
    assert parse_target("all").means((WEB,), HOST)  # --pid=host
    assert not parse_target("host").means((WEB,), HOST)


@pytest.mark.parametrize("image", ["nginx:1.27", "docker.io/library/nginx:1.27", "localhost:5000/nginx@sha256:00"])
def test_an_image_by_its_short_name(image: str) -> None:
    container = Container("c" * 64, "docker", "x", image)
    assert parse_target(f"image:{image}").means((container,), INSIDE)


@pytest.mark.parametrize(
    ("image", "wanted", "means"),
    [
        ("docker.io/library/nginx:1.27", "nginx", True),
        ("nginx", "docker.io/library/nginx:latest", True),
        ("nginx", "nginx:1.27", False),
        ("registry.test:5000/team/api:3", "api", True),
        ("registry.test:5000/team/api:3", "team/api:3", True),
        ("registry.test:5000/team/api:3", "team/*", True),
        ("registry.test:5000/team/api:3", "*/team/*", True),
        ("registry.test:5000/team/api:3", "registry.test:5000/team/api", True),
        ("registry.test:5000/team/api:3", "other.test/team/api", False),
        ("registry.test:5000/team/api", "registry.test", False),
        ("team/api", "docker.io/team/api", True),
        ("localhost/api", "docker.io/localhost/api", False),
        ("nginx@sha256:0011", "nginx", True),
        ("nginx@sha256:0011", "nginx@sha256:0011", True),
        ("nginx@sha256:0011", "nginx@sha256:0012", False),
        ("0123456789ab", "0123456789ab", True),  # docker run by id
    ],
)
def test_an_image_by_a_part_of_its_name_or_all_of_it(image: str, wanted: str, means: bool) -> None:
    assert parse_target(f"image:{wanted}").means((Container("c" * 64, "docker", "x", image),), INSIDE) is means


def test_podman_compose_has_labels_of_its_own() -> None:
    labels = {"io.podman.compose.project": "shop", "io.podman.compose.service": "api"}
    api = Container("c" * 64, "podman", "shop_api_1", None, labels)
    assert parse_target("compose:shop/api").means((api,), INSIDE)
    assert not parse_target("compose:shop/db").means((api,), INSIDE)
    assert not parse_target("compose:*").means((Container("c" * 64, "podman", "x"),), INSIDE)


@pytest.mark.parametrize(
    ("wanted", "means"),
    [
        ("3f1c2e4a-9a11-4f0e-8d5a-1d2c3b4a5f60", True),
        ("3f1c2e4a", True),
        ("3f1c2e4", False),
        ("9a11-4f0e", False),
        ("web-0", True),
        ("web-*", True),
        ("shop/web-0", True),
        ("*/web-0", True),
        ("bar/web-0", False),
        ("shop/3f1c2e4a", False),
        ("shop/", False),
    ],
)
def test_a_pod_by_its_uid_or_its_name(wanted: str, means: bool) -> None:
    pod = Pod("3f1c2e4a-9a11-4f0e-8d5a-1d2c3b4a5f60", "web-0", "shop")
    assert parse_target(f"pod:{wanted}").means((Container("c" * 64, "containerd", pod=pod),), INSIDE) is means
    assert not parse_target(f"pod:{wanted}").means((WEB,), INSIDE)


def test_a_renamed_container_still_is_what_its_earlier_names_mean() -> None:
    old = replace(WEB, name="old", earlier=["web"])
    for text in ("web", "old", "name:web", "w*", "o*", "ab12"):
        assert parse_target(text).means((old,), INSIDE), text


def test_the_beginning_of_a_name_is_not_the_name() -> None:
    box = Container("lxc-box", "lxc")  # as recordings of before have it
    assert parse_target("lxc-box").means((box,), INSIDE)
    ours = [Container(f"{where}/web", "containerd", "web") for where in ("default", "k8s.io")]
    assert [parse_target("k8s.io/web").means((one,), INSIDE) for one in ours] == [False, True]
    assert [parse_target("web").means((one,), INSIDE) for one in ours] == [True, True]
    assert not parse_target("k8s.io").means((ours[1],), INSIDE)
    assert not parse_target("lxc-b").means((box,), INSIDE)


def test_a_glob_over_names_that_cgroups_have() -> None:
    box = Container("lxc-box", "lxc")
    assert parse_target("lxc-*").means((box,), INSIDE)
    assert not parse_target("lxc-*").means((Container("c" * 64, "docker"),), INSIDE)
    assert not parse_target("c*").means((Container("c" * 64, "docker"),), INSIDE)  # an id is no name
