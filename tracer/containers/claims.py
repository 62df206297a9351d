"""What the path of a cgroup claims, and what engines answer about it -> the container. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tracer.containers import cgroup_paths
from tracer.containers.answers import Answer, Description, Silence, container_of
from tracer.containers.believing import Claim
from tracer.containers.pods import in_its_pod, key_of_pod
from tracer.stream.metadata import Container, Pod


def claim_of(found: cgroup_paths.Found, own: str, root: int, maker: int, answer: Answer) -> Claim:
    """What a path names, with what an engine answers about it. own: the path of the container's cgroup."""
    is_listed = isinstance(answer, Description)
    owner = answer.owner if isinstance(answer, Description) else None
    return Claim(found, own, root, maker, is_listed, owner, answer is Silence.NO_ANSWER)


def keys_of(found: cgroup_paths.Found, own: str) -> list[str]:
    """By what a node is asked for a container, beside its id: its name, where its runtime has no id, and its pod. own:
    the path of its own cgroup."""
    by_name = [found.key] if found.name else []
    return by_name + ([pod] if (pod := key_of_pod(own)) else [])


def claimed(claim: Claim, answers: Mapping[str, Answer]) -> Container:
    """The container of a claim. answers: what engines report of its id, and a node of `keys_of`: of what root has
    made."""
    found, keys = claim.found, [] if claim.maker else keys_of(claim.found, claim.own)
    answer = answers.get(found.id) if claim.is_by_its_engine() else None
    of_pod: dict[str, str] = {}
    for key in keys:
        said = answers.get(key)
        if isinstance(said, Description) and key == key_of_pod(claim.own):
            of_pod = said.labels
        elif isinstance(said, Description):
            answer = said
    container = container_of(found.id, answer, found.runtime)
    if found.name and container.name is None:
        container = msgspec.structs.replace(container, name=found.name)
    return in_its_pod(container, claim.own, of_pod)


def enriched(before: Container, now: Container) -> Container:
    """A container as it was described before, with what is known of it only now: its image, the names of its pod."""
    if (before.image is None and now.image is not None) or (before.engine is None and now.engine is not None):
        before = msgspec.structs.replace(
            before, image=now.image, image_id=now.image_id, labels=now.labels or before.labels, engine=now.engine
        )
    is_more = now.pod is not None and (before.pod is None or _names_in(now.pod) > _names_in(before.pod))
    return msgspec.structs.replace(before, pod=now.pod) if is_more else before


def _names_in(pod: Pod) -> int:
    return sum(name is not None for name in (pod.name, pod.namespace, pod.container))
