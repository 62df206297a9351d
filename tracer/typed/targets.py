"""The TARGET arguments, parsed, and whether one means a process. Pure.

web  a container's name or the beginning of its id      web-*  a glob over names
web#2  its second life, as it is shown                  name:X a container's name, whatever else the word may mean
label:K[=V]  image:NAME  compose:[PROJECT/]SERVICE      all    every container, every PID namespace but the host's
pid:N  the PID namespace of host process N              host   processes of the host that are in no container
pidns:INUM  a PID namespace and those nested in it      pod:UID or pod:[NAMESPACE/]NAME  of Kubernetes

Where a word could be two things it is `all`, `host`, then a container's name, then the beginning of an id.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from enum import StrEnum

from tracer.errors import ExitCode, NstraceError
from tracer.stream.metadata import Container
from tracer.stream.pidns import Chain, PidnsId
from tracer.system.host_pidns import INITIAL_PIDNS_INUM
from tracer.text.hints import near_names
from tracer.typed.descriptions import is_pattern, like, means_compose, means_image, means_label, means_pod, names_of

PREFIXES = ("name", "label", "image", "compose", "pod", "pidns", "pid")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*(?:(?:/[a-zA-Z0-9_.@:\\-]+)*/(?![0-9]+\Z)[a-zA-Z0-9_.@:\\-]+)?")
"""Or a path, where that is a container's id: but with a number at the end it is a process."""
_GLOB = re.compile(r"[^\s=:/]+")
_LIFE = re.compile(r"(.+)#([0-9]+)")


class TargetKind(StrEnum):
    """The forms of a TARGET."""

    ALL = "all"
    HOST = "host"
    NAME = "name"  # or the beginning of an id
    CALLED = "called"  # a name, never an id
    ID = "id"  # a full id
    GLOB = "glob"
    LABEL = "label"
    IMAGE = "image"
    COMPOSE = "compose"
    POD = "pod"
    PID = "pid"  # a host PID: live only, becomes PIDNS
    PIDNS = "pidns"


BY_NAME = (TargetKind.NAME, TargetKind.CALLED)
BY_DESCRIPTION = (TargetKind.GLOB, TargetKind.LABEL, TargetKind.IMAGE, TargetKind.COMPOSE, TargetKind.POD)
"""Forms that need what an engine reports of a container; names that cgroups have, and uids of pods, do not."""


@dataclass(frozen=True)
class Target:
    """One TARGET. value: the part after the colon, or the name; text: as the user typed it.

    gen: for PIDNS, the generation of the namespace that the number meant at the look-up; None: any. life: for NAME,
    CALLED and GLOB, which of the lives, as `Container.incarnation` counts them; None: all.
    """

    kind: TargetKind
    value: str
    text: str
    gen: int | None = None
    life: int | None = None

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

    @property
    def needs_names(self) -> bool:
        """Whether what it means depends on what an engine reports of a container."""
        return self.kind in BY_NAME or self.kind in BY_DESCRIPTION

    def _is(self, pidns: PidnsId) -> bool:
        return pidns.inum == int(self.value) and self.gen in (None, pidns.gen)

    def _names(self, container: Container) -> bool:
        if self.life not in (None, container.incarnation):
            return False
        match self.kind:
            case TargetKind.ID:
                return container.id == self.value
            case TargetKind.NAME:
                return container.has_id(self.value) or self.value in names_of(container)
            case TargetKind.CALLED:
                return self.value in names_of(container)
            case TargetKind.GLOB:
                return any(like(name, self.value) for name in names_of(container))
            case TargetKind.IMAGE:
                return means_image(container, self.value)
            case TargetKind.COMPOSE:
                return means_compose(container.labels, self.value)
            case TargetKind.POD:
                return means_pod(container.pod, self.value)
            case _:
                return means_label(container.labels, self.value)


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
    if colon and prefix in ("label", "image", "compose", "pod"):
        if not value:
            raise _usage(f"{text!r}: a value is missing after {prefix}:", "for example label:tier=web or image:nginx")
        return Target(TargetKind(prefix), value, text)
    if colon and prefix == "name":
        return _named(text, value, TargetKind.CALLED)
    return _named(text, text, TargetKind.NAME)


def _named(text: str, name: str, kind: TargetKind) -> Target:
    """A target that is a name or a pattern, with or without the number of a life."""
    name, life = split_life(name)
    if life == 0:
        raise _usage(f"{text!r}: lives are numbered from 1", f"{name}#2 is the second one")
    name = name.removeprefix("/")
    if not (_GLOB if is_pattern(name) else _NAME).fullmatch(name):
        raise _usage(f"{text!r} is not a valid target", _hint(text))
    return Target(TargetKind.GLOB if is_pattern(name) else kind, name, text, life=life)


def split_life(text: str) -> tuple[str, int | None]:
    """A name as it is shown, without and with the number of its life: web#2 is (web, 2), web is (web, None)."""
    numbered = _LIFE.fullmatch(text)
    return (numbered[1], int(numbered[2])) if numbered else (text, None)


def _hint(text: str) -> str:
    """What a text may have been meant as that is no target."""
    prefix, colon, value = text.partition(":")
    if colon and value and prefix in ("container", "id"):
        return f"a container's name or id has no prefix: {value}"
    if colon and (meant := near_names(prefix, PREFIXES)):
        return f"did you mean {shlex.quote(f'{meant[0]}:{value}')}?"
    if re.fullmatch(r"[\w./-]+=.*", text):
        return f"did you mean {shlex.quote(f'label:{text}')}?"
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
