"""The TARGET arguments, parsed, and whether one means a process. Pure.

web  a container's name or the beginning of its id      web-*  a glob over names
label:K[=V]  image:NAME  compose:SERVICE                all    every container, every PID namespace but the host's
pid:N  the PID namespace of host process N              host   processes of the host that are in no container
pidns:INUM  a PID namespace and those nested in it
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from tracer.errors import ExitCode, NstraceError
from tracer.stream.metadata import Container
from tracer.stream.pidns import Chain, PidnsId
from tracer.system.host_pidns import INITIAL_PIDNS_INUM
from tracer.text.hints import near_names

_PREFIXES = ("label", "image", "compose", "pidns", "pid")
COMPOSE_LABEL = "com.docker.compose.service"


class TargetKind(StrEnum):
    """The forms of a TARGET."""

    ALL = "all"
    HOST = "host"
    NAME = "name"  # or the beginning of an id
    ID = "id"  # a full id
    GLOB = "glob"
    LABEL = "label"
    IMAGE = "image"
    COMPOSE = "compose"
    PID = "pid"  # a host PID: live only, becomes PIDNS
    PIDNS = "pidns"


BY_DESCRIPTION = (TargetKind.GLOB, TargetKind.LABEL, TargetKind.IMAGE, TargetKind.COMPOSE)
"""Forms that need what only an engine reports of a container."""


@dataclass(frozen=True)
class Target:
    """One TARGET. value: the part after the colon, or the name; text: as the user typed it.

    gen: for PIDNS, the generation of the namespace that the number meant at the look-up; None: any.
    """

    kind: TargetKind
    value: str
    text: str
    gen: int | None = None

    def means(self, containers: tuple[Container, ...], chain: Chain) -> bool:
        """Whether it means a process with this chain, in these containers (its own and those around it)."""
        match self.kind:
            case TargetKind.ALL:
                return bool(containers) or chain[-1].pidns.inum != INITIAL_PIDNS_INUM
            case TargetKind.HOST:
                return not containers and chain[-1].pidns.inum == INITIAL_PIDNS_INUM
            case TargetKind.PIDNS:
                if int(self.value) == INITIAL_PIDNS_INUM:
                    return True  # all processes have a number there
                return any(self._is(number.pidns) for number in chain)
            case TargetKind.PID:
                return False
            case _:
                return any(self._names(container) for container in containers)

    def waits(self, containers: tuple[Container, ...], chain: Chain) -> bool:
        """Whether the answer of `means` may still change, where an engine has yet to report the name of one of the
        containers, or that the process is in one."""
        match self.kind:
            case TargetKind.ALL | TargetKind.HOST:
                return not containers and chain[-1].pidns.inum == INITIAL_PIDNS_INUM
            case TargetKind.PIDNS | TargetKind.PID | TargetKind.ID:
                return False
            case _:
                return not self.means(containers, chain)

    def _is(self, pidns: PidnsId) -> bool:
        return pidns.inum == int(self.value) and self.gen in (None, pidns.gen)

    def _names(self, container: Container) -> bool:
        match self.kind:
            case TargetKind.ID:
                return container.id == self.value
            case TargetKind.NAME:
                return self.value == container.name or container.id.startswith(self.value)
            case TargetKind.GLOB:
                name = container.id if container.id_is_name else container.name
                return name is not None and fnmatchcase(name, self.value)
            case TargetKind.IMAGE:
                return container.image is not None and _same_image(container.image, self.value)
            case TargetKind.COMPOSE:
                return container.labels.get(COMPOSE_LABEL) == self.value
            case _:
                key, equals, value = self.value.partition("=")
                return key in container.labels and (not equals or container.labels[key] == value)


def _same_image(image: str, wanted: str) -> bool:
    """Whether the names mean one image: nginx means nginx:1.27 and docker.io/library/nginx:1.27 too."""
    return image == wanted or re.sub(r"(:[^/:]+)?(@.*)?$", "", image) == wanted or image.endswith("/" + wanted)


def parse_target(text: str) -> Target:
    """The parsed TARGET. Raises NstraceError (usage) for a text that cannot mean anything."""
    prefix, colon, value = text.partition(":")
    if text in ("all", "host"):
        return Target(TargetKind(text), "", text)
    if colon and prefix in ("pid", "pidns"):
        if not value.isascii() or not value.isdigit() or int(value) == 0:
            raise _usage(
                f"{text!r}: {prefix}: needs a positive number",
                f"for example {prefix}:{4026532180 if prefix == 'pidns' else 4711}",
            )
        return Target(TargetKind(prefix), str(int(value)), text)
    if colon and prefix in ("label", "image", "compose"):
        if not value:
            raise _usage(f"{text!r}: a value is missing after {prefix}:", "for example label:tier=web or image:nginx")
        return Target(TargetKind(prefix), value, text)
    if any(c in text for c in "*?["):
        return Target(TargetKind.GLOB, text, text)
    if not re.fullmatch(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]*", text):
        raise _usage(f"{text!r} is not a valid target", _hint(text))
    return Target(TargetKind.NAME, text.removeprefix("/"), text)


def _hint(text: str) -> str:
    """What a text may have been meant as that is no target."""
    prefix, colon, value = text.partition(":")
    if colon and value and prefix in ("name", "container", "id"):
        return f"a container's name has no prefix: {value}"
    if colon and (meant := near_names(prefix, _PREFIXES)):
        return f"did you mean {meant[0]}:{value}?"
    if re.fullmatch(r"[\w./-]+=.*", text):
        return f"did you mean label:{text}?"
    if re.fullmatch(r"[\w.-]+/[0-9]+", text):
        return f"that is one process: nstrace inspect {text}; as a target: {text.partition('/')[0]}"
    if text.endswith(".arrows"):
        return (
            f"that looks like a recording: -w {text} writes it, nstrace replay {text} shows it, --from {text} asks it"
        )
    return (
        "give a container name or id, 'web-*', label:K=V, image:NAME, compose:SERVICE, pid:N, pidns:INUM, host or all"
    )


def _usage(message: str, hint: str) -> NstraceError:
    return NstraceError(message, hint, ExitCode.USAGE)
