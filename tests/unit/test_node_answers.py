"""What the tools of runtimes and the kubelet's folders say -> names of containers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import pytest

from tracer.containers import node_answers, node_source
from tracer.containers.messages import Found
from tracer.containers.node_questions import TOOLS, NodeRequest, argv_of, is_word, place_and_words, takes

ID, OTHER = "ab" * 32, "cd" * 32
UID = "3f1c2e4a-9a11-4f0e-8d5a-1d2c3b4a5f60"
STATIC = "0" * 31 + "f"
LABELS = {
    "io.kubernetes.container.name": "nginx",
    "io.kubernetes.pod.name": "web-0",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.pod.uid": UID,
}
POD_LABELS = {label: value for label, value in LABELS.items() if "container" not in label}


def names(*pairs: tuple[str, str]) -> bytes:
    return "".join(f"{name}\0{target}\0" for name, target in pairs).encode()


def said(found: Iterable[Found]) -> list[tuple[str, str | None, str | None, str]]:
    return [(one.id, one.name, one.image, one.said_by) for one in found]


def test_folders_of_pods() -> None:
    found = list(node_answers.pods_in(names((f"shop_web-0_{UID}", ""), (f"kube-system_etcd-a_{STATIC}", ""))))
    assert said(found) == [(f"pod:{UID}", None, None, "kubelet"), (f"pod:{STATIC}", None, None, "kubelet")]
    assert found[0].labels == POD_LABELS


@pytest.mark.parametrize(
    "name", ["shop_web-0", f"shop_{UID}", f"a_b_c_{UID}", f"Shop_web-0_{UID}", f"x_y_{UID}/..", ""]
)
def test_a_folder_that_is_no_pods(name: str) -> None:
    assert list(node_answers.pods_in(names((name, "")))) == []


def test_logs_of_containers() -> None:
    log, target = f"web-0_shop_nginx-{ID}.log", f"/var/log/pods/shop_web-0_{UID}/nginx/0.log"
    (found,) = node_answers.logs_in(names((log, target)))
    assert said([found]) == [(ID, "web-0_shop_nginx", None, "kubelet")]
    assert found.labels == LABELS
    (elsewhere,) = node_answers.logs_in(names((log, f"/var/log/pods/other_web-0_{UID}/nginx/0.log")))
    assert "io.kubernetes.pod.uid" not in elsewhere.labels  # of another pod than its own name says


def test_crictl() -> None:
    listed = {"id": ID, "podSandboxId": OTHER, "metadata": {"name": "nginx", "attempt": 0}, "labels": LABELS}
    listed |= {"image": {"image": "docker.io/library/nginx:1.27", "annotations": {}}, "state": "CONTAINER_RUNNING"}
    output = json.dumps({"containers": [listed, {"id": "short", "labels": LABELS}]}).encode()
    assert said(node_answers.of_crictl(output)) == [(ID, "web-0_shop_nginx", "docker.io/library/nginx:1.27", "crictl")]
    listed["image"] = {"image": "sha256:" + OTHER}  # which is no name
    assert said(node_answers.of_crictl(json.dumps({"containers": [listed]}).encode()))[0][2] is None
    pods = json.dumps({"items": [{"id": OTHER, "metadata": {"name": "web-0", "uid": UID}, "labels": POD_LABELS}]})
    assert said(node_answers.of_crictl(pods.encode())) == [(OTHER, "web-0_shop_POD", None, "crictl")]


def test_ctr() -> None:
    output = (
        f"CONTAINER    IMAGE    RUNTIME\nredis-1    docker.io/library/redis:7    x\nbare    -    x\n{ID}    -    x\n"
    )
    assert said(node_answers.of_ctr_list(output.encode(), "prod")) == [
        ("containerd:prod/redis-1", "redis-1", "docker.io/library/redis:7", "ctr"),
        ("containerd:prod/bare", "bare", None, "ctr"),
    ]
    info = {"ID": ID, "Labels": {"nerdctl/name": "db"}, "Image": "docker.io/library/redis:7"}
    assert said(node_answers.of_ctr_info(json.dumps(info).encode()))[0][1] == "db"
    info["Labels"] = LABELS
    assert said(node_answers.of_ctr_info(json.dumps(info).encode()))[0][1] == "web-0_shop_nginx"
    info["Labels"] = POD_LABELS | {"io.cri-containerd.kind": "sandbox"}
    assert said(node_answers.of_ctr_info(json.dumps(info).encode()))[0][1] == "web-0_shop_POD"


def test_machines() -> None:
    output = b"deb container systemd-nspawn debian 12 10.0.0.2...\nvm vm libvirt-qemu - - -\nbox container lxc - - -\n"
    assert said(node_answers.of_machinectl(output)) == [
        ("nspawn:deb", "deb", "debian 12", "machinectl"),
        ("lxc:box", "box", None, "machinectl"),
    ]
    assert said(node_answers.of_lxc_ls(b"box\nweb\n")) == [
        ("lxc:box", "box", None, "lxc"),
        ("lxc:web", "web", None, "lxc"),
    ]
    instances = [
        {"name": "c1", "project": "default", "config": {"image.description": "Debian 12"}},
        {"name": "c1", "project": "shop"},
    ]
    assert said(node_answers.of_incus(json.dumps(instances).encode())) == [
        ("lxc:c1", "c1", "Debian 12", "incus"),
        ("lxc:shop_c1", "shop_c1", None, "incus"),
    ]


def ctr_list(output: bytes) -> Iterable[Found]:
    return node_answers.of_ctr_list(output, "prod")


PARSERS: list[Callable[[bytes], Iterable[Found]]] = [
    *(
        node_answers.pods_in,
        node_answers.logs_in,
        node_answers.of_crictl,
        ctr_list,
    ),
    *(node_answers.of_ctr_info, node_answers.of_machinectl, node_answers.of_lxc_ls, node_answers.of_incus),
]
RUBBISH = [
    b"",
    b"\0",
    b"\xff" * 99,
    b"[" * 100_000,
    b"{}",
    b"[]",
    b'{"containers": 3}',
    b"a\n" * 9,
    b"x" * 4000 + b"\n",
]


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@pytest.mark.parametrize("output", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_names_nothing_that_a_message_could_not_hold(
    parse: Callable[[bytes], Iterable[Found]], output: bytes
) -> None:
    from tracer.containers.messages import decode_answer, encode

    for found in node_source._parsed(parse, output):  # type: ignore[arg-type]
        assert decode_answer(encode(found)) == found


def test_a_question_is_a_place_in_the_table_and_identifiers() -> None:
    place = next(at for at, tool in enumerate(TOOLS) if takes(tool) == 2)
    request = NodeRequest(place, ("k8s.io", ID))
    assert place_and_words(request.packed(7)) == (place, ("k8s.io", ID))
    assert argv_of(TOOLS[place], request.words)[-2:] == ["info", ID]
    with pytest.raises(ValueError, match="other words"):
        argv_of(TOOLS[place], ("k8s.io",))
    for word in ("--help", "a b", "a;b", "../x", "$(x)", "", "x" * 77, "é"):
        assert not is_word(word)
        with pytest.raises(ValueError):  # some are no ASCII
            place_and_words(NodeRequest(place, ("k8s.io", word)).packed())
    with pytest.raises(ValueError, match="size"):
        place_and_words(b"\0" * 8)
