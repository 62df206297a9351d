"""Pods and tasks: what the path of a container's cgroup, and its labels, say of what it is a part of. Pure."""

from __future__ import annotations

import msgspec

from tracer.containers.cgroup_paths import ecs_task, pod_uid
from tracer.stream.metadata import Container, Pod

_POD_LABEL = "io.kubernetes.pod."  # set by the kubelet's runtimes: cri-dockerd, containerd, CRI-O
_CONTAINER_LABEL = "io.kubernetes.container.name"
_TASK_LABEL = "com.amazonaws.ecs.task-arn"


def in_its_pod(container: Container, own: str) -> Container:
    """The container with its pod and task. own: the path of its own cgroup, which is the kubelet's word; labels add
    names to it, and count alone where the path names no pod."""
    pod, labels = pod_uid(own), container.labels
    labelled = labels.get(f"{_POD_LABEL}uid")
    uid = pod or labelled
    task = ecs_task(own) or labels.get(_TASK_LABEL, "").rpartition("/")[2] or None
    if uid is None:
        return msgspec.structs.replace(container, task=task) if task else container
    names = labels if uid == labelled else {}
    found = Pod(uid, names.get(f"{_POD_LABEL}name"), names.get(f"{_POD_LABEL}namespace"), names.get(_CONTAINER_LABEL))
    return msgspec.structs.replace(container, pod=found, task=task)
