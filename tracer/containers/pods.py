"""Pods and tasks: what the path of a container's cgroup, and its labels, say of what it is a part of. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tracer.containers.cgroup_paths import ecs_task, pod_uid
from tracer.stream.metadata import Container, Pod

POD = "pod:"
"""What a node is asked for a pod by begins so; the uid follows."""
POD_LABEL = "io.kubernetes.pod."  # set by the kubelet's runtimes: cri-dockerd, containerd, CRI-O
CONTAINER_LABEL = "io.kubernetes.container.name"
_TASK_LABEL = "com.amazonaws.ecs.task-arn"


def key_of_pod(own: str) -> str | None:
    """By what a node is asked for the pod of a container; None: it is in none. own: the path of its own cgroup."""
    uid = pod_uid(own)
    return f"{POD}{uid}" if uid else None


def in_its_pod(container: Container, own: str, of_pod: Mapping[str, str]) -> Container:
    """The container with its pod and task. own: the path of its own cgroup, which is the kubelet's word; labels add
    names to it, and count alone where the path names no pod. of_pod: labels that a node has for the whole pod."""
    pod, labels = pod_uid(own), {**of_pod, **container.labels}
    labelled = labels.get(f"{POD_LABEL}uid")
    uid = pod or labelled
    task = ecs_task(own) or labels.get(_TASK_LABEL, "").rpartition("/")[2] or None
    if uid is None:
        return msgspec.structs.replace(container, task=task) if task else container
    names = labels if uid == labelled else {}
    found = Pod(uid, names.get(f"{POD_LABEL}name"), names.get(f"{POD_LABEL}namespace"), names.get(CONTAINER_LABEL))
    return msgspec.structs.replace(container, pod=found, task=task)
