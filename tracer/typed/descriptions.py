"""What a TARGET says of containers, compared with what an engine reports: names, labels, images, Compose. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from tracer.errors import ExitCode, NstraceError
from tracer.stream.metadata import Container, Pod
from tracer.text.hints import shown

_COMPOSE = ("com.docker.compose.", "io.podman.compose.")
POD = "pod:"
"""Begins what is about a pod."""
_UID = re.compile("[0-9a-f-]{8,36}")
_IMAGE_ID = re.compile(r"(?:sha256:)?([0-9a-f]{12,64})")
_GLOB = re.compile(r"[*?[]")


def is_pattern(text: str) -> bool:
    """Whether a text has characters that stand for others, as in a shell."""
    return _GLOB.search(text) is not None


def like(text: str, wanted: str) -> bool:
    """Whether a text is the wanted one, or matches it as a pattern."""
    return text == wanted or fnmatchcase(text, wanted)


def names_of(container: Container) -> tuple[str, ...]:
    """The names that a container has, or had earlier in this life: a rename takes no process away."""
    own = container.name or (container.id if container.id_is_path else None)
    return (own, *container.earlier) if own else tuple(container.earlier)


def means_label(labels: Mapping[str, str], wanted: str) -> bool:
    """wanted: K, K=V or K=PATTERN."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or like(labels[key], value))


def compose_of(labels: Mapping[str, str]) -> tuple[str, str]:
    """The Compose project and service in the labels, "" where there is none. podman-compose has labels of its own."""
    project, service = (
        next((labels[prefix + name] for prefix in _COMPOSE if prefix + name in labels), "")
        for name in ("project", "service")
    )
    return project, service


def means_compose(labels: Mapping[str, str], wanted: str) -> bool:
    """wanted: SERVICE, PROJECT or PROJECT/SERVICE; each may be a pattern, and in PROJECT/SERVICE one may be missing."""
    project, service = compose_of(labels)
    wanted_project, slash, wanted_service = wanted.partition("/")
    if not slash:
        return any(found and like(found, wanted) for found in (project, service))
    pairs = ((project, wanted_project), (service, wanted_service))
    return all(bool(found) and (not value or like(found, value)) for found, value in pairs)


def not_one_of_pod(pod: str, containers: list[str]) -> NstraceError:
    """The error where a number has to be in one container of a pod, and it has several, or none. containers: as they
    are shown."""
    if not containers:
        hint = f"nstrace containers pod:{pod} lists them"
        return NstraceError(f"no container of the pod {pod!r} is known", hint, ExitCode.NO_TARGET)
    hint = f"give one of them: {shown(sorted(containers))}"
    message = f"the pod {pod!r} has {len(containers)} containers, and a number is of one"
    return NstraceError(message, hint, ExitCode.NO_TARGET)


def is_uid(text: str) -> bool:
    """Whether a text may be the uid of a pod, or the beginning of one."""
    return _UID.fullmatch(text) is not None


def means_pod(pod: Pod | None, wanted: str) -> bool:
    """wanted: the uid of a Kubernetes pod, or 8 digits of it and more, which need no engine; its name, or
    NAMESPACE/NAME, each of which may be a pattern."""
    if pod is None:
        return False
    namespace, slash, name = wanted.rpartition("/")
    if slash and not (pod.namespace and like(pod.namespace, namespace)):
        return False
    return (not slash and is_uid(wanted) and pod.uid.startswith(wanted)) or bool(pod.name and like(pod.name, name))


class _Image(NamedTuple):
    """path: with the registry; tag, digest: "" where there is none."""

    path: str
    tag: str
    digest: str

    def suffixes(self) -> Iterator[str]:
        """The path, and what is left of it without its first parts: docker.io/library/nginx, library/nginx, nginx."""
        parts = self.path.split("/")
        return ("/".join(parts[at:]) for at in range(len(parts)))


def _parsed(reference: str) -> _Image:
    name, _at, digest = reference.partition("@")
    path, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:  # of a port
        path, tag = name, ""
    return _Image(path, tag, digest)


def _whole(image: _Image) -> _Image:
    """With the registry and the tag that are meant where none is given, as Docker reads a reference."""
    first, slash, _rest = image.path.partition("/")
    if not slash:
        image = image._replace(path=f"docker.io/library/{image.path}")
    elif not ("." in first or ":" in first or first == "localhost"):
        image = image._replace(path=f"docker.io/{image.path}")
    return image if image.tag or image.digest else image._replace(tag="latest")


def means_image(container: Container, wanted: str) -> bool:
    """wanted: a name, with or without registry, tag and digest; an id (sha256:..., or 12 digits of it and more); or a
    pattern. nginx means nginx:1.27 and docker.io/library/nginx:1.27 too, and the other way round."""
    digits = _IMAGE_ID.fullmatch(wanted)
    if digits and container.image_id and container.image_id.startswith(digits[1]):
        return True
    if short := re.fullmatch(r"sha256:([0-9a-f]+)", wanted):
        return bool(container.image_id and container.image_id.startswith(short[1]))
    if container.image is None:
        return False
    image = _whole(_parsed(container.image))
    if is_pattern(wanted):
        return any(fnmatchcase(text, wanted) for path in image.suffixes() for text in (path, f"{path}:{image.tag}"))
    asked = _parsed(wanted)
    if container.image == wanted:
        return True
    is_tag, is_digest = asked.tag in ("", image.tag), asked.digest in ("", image.digest)
    return is_tag and is_digest and asked.path in image.suffixes()
