"""What an engine, or a node, answers about a container: by its id, or by the name that its cgroup has. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from tracer.containers import cgroup_paths
from tracer.stream.metadata import Container

_ID = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Description:
    """What an engine reports of a container beyond its id. runtime: the engine itself, docker or podman; "": a node
    says it, without an engine, which does not know the runtime. owner: the user whose engine it is, a stranger; None:
    it is believed whatever it says. image_id: 64 hex digits. said_by: by what a node says it, such as crictl."""

    name: str | None
    image: str | None
    labels: dict[str, str] = field(default_factory=dict)
    runtime: str = "docker"
    owner: int | None = None
    image_id: str | None = None
    said_by: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether it has all that may be said of it: a node has the name before the image."""
        return self.name is not None and (self.image is not None or self.runtime != "")

    @property
    def engine(self) -> str:
        """Which engine says it, or what else does, as `Container.engine`."""
        if self.said_by:
            return self.said_by
        return self.runtime if self.owner is None else f"{self.runtime}:{self.owner}"


class Silence(Enum):
    """Why there is no answer about a container. NO_ENGINE: there is none, and was none. NO_ANSWER: the engine that
    runs, or ran, does not answer, or not yet: the container may be one of its own. NOT_YET: it was asked for a state a
    moment ago."""

    NO_ENGINE = 1
    NO_ANSWER = 2
    NOT_YET = 3


Answer = Description | Silence | None
"""None: the engine has no such container."""

Describe = Callable[[str], Answer]
"""Id of 64 hex digits -> what the engine reports of the container now."""


def is_id(text: str) -> bool:
    """Whether a text is an id of 64 hexadecimal digits, which two containers never share."""
    return _ID.fullmatch(text) is not None


def ids_in(name: str) -> list[str]:
    """What looks like a container's id in the name of a cgroup."""
    return _ID.findall(name)


def runtime_by(key: str, answer: Answer) -> str | None:
    """The runtime of a container whatever its cgroup is called, by the answer about a key of
    `cgroup_paths.RuntimeOf`; None: that says nothing of it. A user's engine does not make a container of what root may
    have called anything."""
    if not isinstance(answer, Description) or answer.owner is not None:
        return None
    return answer.runtime or (None if is_id(key) else cgroup_paths.CONTAINERD)


def container_of(container_id: str, answer: Answer, runtime: str = "") -> Container:
    """A container from its id and the engine's answer. runtime: where the engine reports none."""
    if not isinstance(answer, Description):
        return Container(container_id, runtime)
    return Container(
        container_id,
        answer.runtime or runtime,
        answer.name,
        answer.image,
        answer.labels,
        engine=answer.engine,
        image_id=answer.image_id,
    )
