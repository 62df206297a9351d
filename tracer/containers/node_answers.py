"""What a node's log folders and the tools of runtimes say of containers -> their names. Pure, and unimpressed by
whatever they say: what cannot be read is left out.

Keys: of a container with an id of 64 hexadecimal digits, the id; of one whose runtime has no other id than a name,
runtime:name, where that is ctr containerd:namespace/name; of a pod, pod:UID, with the labels that all its containers
have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from tracer.containers.messages import MAX_CONTAINERS, Found, cut, cut_labels
from tracer.containers.pods import CONTAINER_LABEL, POD_LABEL

_HEX = re.compile("[0-9a-f]{64}")
_UID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}"
_DNS = "[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?"  # names of Kubernetes have no _ (RFC 1123)
_POD_FOLDER = re.compile(rf"({_DNS})_({_DNS})_({_UID})")
_LOG = re.compile(rf"({_DNS})_({_DNS})_({_DNS})-([0-9a-f]{{64}})\.log")
_SANDBOX = "POD"  # as the kubelet calls the container that holds the namespaces of a pod
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
_MAX_KEY = 255
_OS_COLUMNS = (3, 5)


def _pod_labels(namespace: str, pod: str, uid: str | None, container: str | None) -> dict[str, str]:
    known = {f"{POD_LABEL}namespace": namespace, f"{POD_LABEL}name": pod, f"{POD_LABEL}uid": uid}
    return {key: value for key, value in {**known, CONTAINER_LABEL: container}.items() if value}


def pods_in(names: bytes) -> Iterator[Found]:
    """From /var/log/pods: pod:UID of each NAMESPACE_POD_UID."""
    for name, _target in _pairs(names):
        if found := _POD_FOLDER.fullmatch(name):
            namespace, pod, uid = found.groups()
            yield _found(f"pod:{uid}", None, "kubelet", _pod_labels(namespace, pod, uid, None))


def logs_in(names: bytes) -> Iterator[Found]:
    """From /var/log/containers: the container of each POD_NAMESPACE_CONTAINER-ID.log, a link to
    .../NAMESPACE_POD_UID/CONTAINER/N.log, without which the uid is not known."""
    for name, target in _pairs(names):
        if found := _LOG.fullmatch(name):
            pod, namespace, container, container_id = found.groups()
            folders = (_POD_FOLDER.fullmatch(part) for part in target.split("/"))
            uids = [folder[3] for folder in folders if folder and folder.groups()[:2] == (namespace, pod)]
            labels = _pod_labels(namespace, pod, uids[0] if uids else None, container)
            yield _found(container_id, name_of(labels), "kubelet", labels)


def name_of(labels: dict[str, str], is_sandbox: bool = False) -> str | None:
    """POD_NAMESPACE_CONTAINER, as the kubelet calls a container's log: unique on a node, and the same for what follows
    it in its pod. None: the labels do not say it."""
    pod, namespace = labels.get(f"{POD_LABEL}name"), labels.get(f"{POD_LABEL}namespace")
    container = _SANDBOX if is_sandbox else labels.get(CONTAINER_LABEL)
    return f"{pod}_{namespace}_{container}" if pod and namespace and container else None


def _pairs(names: bytes) -> Iterator[tuple[str, str]]:
    parts = names.decode("utf-8", "replace").split("\0")
    return zip(parts[::2], parts[1::2], strict=False)


class _Image(msgspec.Struct, frozen=True):
    image: str = ""


class _Listed(msgspec.Struct, rename="camel"):
    """An entry of crictl ps -o json or crictl pods -o json (runtime.v1.Container, PodSandbox)."""

    id: str
    image: _Image = _Image()
    labels: dict[str, str] | None = None


class _Crictl(msgspec.Struct):
    containers: list[_Listed] | None = None
    items: list[_Listed] | None = None


class _Info(msgspec.Struct, rename="pascal"):
    """The members of ctr containers info that are read (containers.Container)."""

    id: str = msgspec.field(name="ID")
    image: str = ""
    labels: dict[str, str] | None = None


class _IncusConfig(msgspec.Struct, frozen=True):
    image: str = msgspec.field(name="image.description", default="")


class _Instance(msgspec.Struct):
    name: str
    project: str = "default"
    config: _IncusConfig = _IncusConfig()


def of_crictl(output: bytes) -> Iterator[Found]:
    """From crictl ps -a, or crictl pods."""
    said = msgspec.json.decode(output, type=_Crictl)
    for listed, is_sandbox in ((said.containers or (), False), (said.items or (), True)):
        for one in listed:
            if _HEX.fullmatch(one.id):
                labels, image = one.labels or {}, one.image.image
                is_name = bool(image) and not _HEX.fullmatch(image.removeprefix("sha256:"))
                yield _found(one.id, name_of(labels, is_sandbox), "crictl", labels, image if is_name else None)


def of_ctr_list(output: bytes, namespace: str) -> Iterator[Found]:
    """From ctr containers ls of a namespace: CONTAINER IMAGE RUNTIME behind titles; those whose id is a name."""
    for columns in map(str.split, _lines(output)[1:]):
        if len(columns) > 1 and not _HEX.fullmatch(columns[0]):
            image = None if columns[1] == "-" else columns[1]
            yield _found(f"containerd:{namespace}/{columns[0]}", columns[0], "ctr", {}, image)


def of_ctr_info(output: bytes) -> Iterator[Found]:
    """From ctr containers info."""
    said = msgspec.json.decode(output, type=_Info)
    labels = said.labels or {}
    name = labels.get("nerdctl/name") or name_of(labels, labels.get("io.cri-containerd.kind") == "sandbox")
    if _HEX.fullmatch(said.id):
        yield _found(said.id, name, "ctr", labels, said.image)


def of_machinectl(output: bytes) -> Iterator[Found]:
    """From machinectl list: MACHINE CLASS SERVICE OS VERSION ADDRESSES; what runs in a container is its image."""
    for columns in map(str.split, _lines(output)):
        if len(columns) >= _OS_COLUMNS[0] and columns[1] == "container":
            system = " ".join(part for part in columns[slice(*_OS_COLUMNS)] if part != "-")
            runtime = {"systemd-nspawn": "nspawn", "lxc": "lxc"}.get(columns[2], "nspawn")
            yield _found(f"{runtime}:{columns[0]}", columns[0], "machinectl", {}, system)


def of_lxc_ls(output: bytes) -> Iterator[Found]:
    """From lxc-ls -1: names."""
    return (_found(f"lxc:{name}", name, "lxc", {}) for name in map(str.strip, _lines(output)) if name)


def of_incus(output: bytes) -> Iterator[Found]:
    """From incus list --format json. In the path of a cgroup an instance of a project is PROJECT_NAME."""
    for one in msgspec.json.decode(output, type=list[_Instance]):
        name = one.name if one.project == "default" else f"{one.project}_{one.name}"
        yield _found(f"lxc:{name}", name, "incus", {}, one.config.image)


def is_id(text: str) -> bool:
    """Whether a text is an id of 64 hexadecimal digits."""
    return _HEX.fullmatch(text) is not None


def words_in(output: bytes) -> list[str]:
    """The first word of each line."""
    return [line.split()[0] for line in _lines(output) if line.split()]


def _lines(output: bytes) -> list[str]:
    return output.decode("utf-8", "replace").splitlines()[:MAX_CONTAINERS]


def _found(key: str, name: str | None, said_by: str, labels: dict[str, str], image: str | None = None) -> Found:
    if len(key) > _MAX_KEY or _UNSAFE.search(key):
        raise ValueError("a name that is none")
    kept = cut_labels({cut(label): cut(value) for label, value in labels.items()}, len(labels))
    return Found(0, key, cut(name) if name else None, cut(image) if image else None, "", "", kept, None, said_by)
