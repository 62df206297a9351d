"""TARGET arguments: what they parse to, and which processes they mean."""

import pytest

from tracer.errors import ExitCode, NstraceError
from tracer.stream.metadata import Container
from tracer.stream.pidns import Chain, Number, PidnsId
from tracer.system.host_pidns import INITIAL_PIDNS_INUM
from tracer.typed.targets import Target, TargetKind, parse_target

WEB = Container("ab12" + "0" * 60, "docker", "web", "nginx:1.27", {"tier": "front", "com.docker.compose.service": "w"})
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
    ],
)
def test_parses(text: str, kind: TargetKind, value: str) -> None:
    assert parse_target(text) == Target(kind, value, text)


@pytest.mark.parametrize(
    "text", ["", "a b", "pid:", "pid:x", "pid:-1", "pid:0", "pid:²", "label:", "image:", "-x", "web:1"]
)
def test_refuses_what_can_mean_nothing(text: str) -> None:
    with pytest.raises(NstraceError) as caught:
        parse_target(text)
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("lable:tier=web", "did you mean label:tier=web?"),
        ("pidn:4026532001", "did you mean pidns:4026532001?"),
        ("container:web", "a container's name has no prefix: web"),
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
        ("compose:w", True),
        ("compose:x", False),
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


def test_a_glob_over_names_that_cgroups_have() -> None:
    box = Container("lxc-box", "lxc")
    assert parse_target("lxc-*").means((box,), INSIDE)
    assert not parse_target("lxc-*").means((Container("c" * 64, "docker"),), INSIDE)
    assert not parse_target("c*").means((Container("c" * 64, "docker"),), INSIDE)  # an id is no name
