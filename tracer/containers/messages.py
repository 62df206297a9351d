"""What the process that asks the engine and the rest of nstrace say to each other: typed, and bounded in size. Pure.

Each message is one packet. An answer is any number of `Found`, then `Done`; or `First`; or `Exec`; or `Failed`. After
`Listen` come also, at any time, `Happened`, `Heard`, `Deaf` and `Missed`. What an engine may make of our memory is
bounded here: by the number of containers, and by how much is kept of each.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from tracer.containers.answers import Description
from tracer.containers.requests import MAX_IDS
from tracer.errors import NstraceError

MAX_PACKET_BYTES = 1 << 16
MAX_CONTAINERS = 1 << 16
"""As many as `Cgroups` remembers. More in one answer are an error."""
MAX_LABELS = 1 << 18
"""In one answer, of all containers together; those beyond it are left out."""
MAX_TGID = 1 << 22  # PID_MAX_LIMIT, include/linux/threads.h
MAX_PROBES, MAX_EXECS = 16, 512
_MAX_TEXT = 1024
_MAX_LABELS_BYTES = 1 << 15  # of one container
_MAX_LABELS_OF_ONE = 1024
_MAX_ATTRIBUTES = 16
_MAX_WORDS = 64
NAMING = ("create", "start", "rename", "destroy")
"""What happens to a container when its name begins or ends."""

Id = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Key = Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{64}|[a-z-]{1,16}:[^\x00-\x1f\x7f]{1,240})\Z")]
"""An id, or what a node is asked by instead: runtime:name, pod:uid."""
Text = Annotated[str, Meta(max_length=_MAX_TEXT)]
Number = Annotated[int, Meta(ge=0)]
Tgid = Annotated[int, Meta(ge=0, le=MAX_TGID)]
Time = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class _Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    number: Number


class AskList(_Message, frozen=True, array_like=True, tag=1):
    """Which of these containers exist? ids: None: all that there are. timeout_s: for the whole answer."""

    ids: Annotated[list[Key], Meta(max_length=MAX_IDS)] | None
    timeout_s: float


class AskFirst(_Message, frozen=True, array_like=True, tag=2):
    """Which is the first process of this container?"""

    id: Id
    timeout_s: float


class Ready(_Message, frozen=True, array_like=True, tag=3):
    """A process that asks has begun. Questions to the one before stay without an answer. number: 0."""


class Found(_Message, frozen=True, array_like=True, tag=4):
    """A container that the engine lists, as `Description` and `FoundContainer` have it."""

    id: Key
    name: Text | None
    image: Text | None
    state: Text
    runtime: Text
    labels: Annotated[dict[str, str], Meta(max_length=_MAX_LABELS_OF_ONE)]
    image_id: Id | None = None
    said_by: Annotated[str, Meta(max_length=32)] = ""


class Done(_Message, frozen=True, array_like=True, tag=5):
    """All containers of the answer have been passed on."""


class First(_Message, frozen=True, array_like=True, tag=6):
    """tgid: None: the container is not running."""

    tgid: Tgid | None


class Failed(_Message, frozen=True, array_like=True, tag=7):
    """There is no answer: an NstraceError. number: 0: there will be none to any question. is_nonsense: the engine has
    answered, with what cannot be (`Nonsense`)."""

    message: Text
    hint: Text
    exit_code: Annotated[int, Meta(ge=1, le=5)]
    detail: Text
    is_nonsense: bool = False


class AskExec(_Message, frozen=True, array_like=True, tag=8):
    """What is the exec with this id?"""

    id: Id
    timeout_s: float


class Exec(_Message, frozen=True, array_like=True, tag=9):
    """As `ExecFact`, with the periods of `ExecFact.probes`. container_id: None: the engine knows no such exec."""

    container_id: Id | None
    tgid: Tgid | None = None
    user: Text = ""
    command: Annotated[list[Text], Meta(max_length=_MAX_WORDS)] = []
    exit_code: int | None = None
    probes: Annotated[list[tuple[Time, Time]], Meta(max_length=MAX_PROBES)] | None = None


class AskExecs(_Message, frozen=True, array_like=True, tag=15):
    """Which execs run in this container?"""

    id: Id
    timeout_s: float


class Execs(_Message, frozen=True, array_like=True, tag=16):
    """The ids of the execs that run in a container."""

    ids: Annotated[list[Id], Meta(max_length=MAX_EXECS)]


class Listen(_Message, frozen=True, array_like=True, tag=10):
    """Report events from now on. since_ns: those from then on are not known yet, by the wall clock; 0: those to
    come. number: 0."""

    since_ns: Time


class Happened(_Message, frozen=True, array_like=True, tag=11):
    """As `EngineEvent`. labels: of the container, where it begins or ends (NAMING). number: 0."""

    id: Id
    action: Annotated[str, Meta(max_length=32)]
    time_ns: Time
    engine: Annotated[str, Meta(max_length=32)]
    name: Text | None
    image: Text | None
    attributes: Annotated[dict[Text, Text], Meta(max_length=_MAX_ATTRIBUTES)]
    labels: Annotated[dict[str, str], Meta(max_length=_MAX_LABELS_OF_ONE)] = {}


class Heard(_Message, frozen=True, array_like=True, tag=12):
    """The engine is heard from now on. since_ns, until_ns: when it was not, by the wall clock; equal: it always was.
    engine: docker or podman. number: 0."""

    engine: Annotated[str, Meta(max_length=32)]
    since_ns: Time
    until_ns: Time


class Deaf(_Message, frozen=True, array_like=True, tag=13):
    """The engine is not heard any more since then. number: 0."""

    since_ns: Time


class Missed(_Message, frozen=True, array_like=True, tag=14):
    """Events of this time were so many that not all of them were passed on. number: 0."""

    engine: Annotated[str, Meta(max_length=32)]
    since_ns: Time
    until_ns: Time


class AskLast(_Message, frozen=True, array_like=True, tag=17):
    """How did this container end last?"""

    id: Id
    timeout_s: float


class Last(_Message, frozen=True, array_like=True, tag=18):
    """The state of a container, as GET /containers/ID/json has it. state: the engine's word for it; error: why it could
    not be started; restarts: how often the engine has started it again by itself. started_ns, finished_ns: of its last
    life, by the wall clock, 0: it does not say."""

    state: Text
    exit_code: int
    oom: bool
    error: Text
    started_ns: Time
    finished_ns: Time
    restarts: Number


class Nonsense(NstraceError):
    """The engine has said of a process what cannot be."""


Question = AskList | AskFirst | AskExec | AskExecs | AskLast | Listen
Answer = Ready | Found | Done | First | Failed | Exec | Execs | Last | Happened | Heard | Deaf | Missed

encode = msgspec.msgpack.Encoder().encode
decode_question = msgspec.msgpack.Decoder(Question).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode


@dataclass(frozen=True)
class FoundContainer:
    """A container that the engine lists. running: it has processes, paused or not. state: the engine's word for it."""

    id: str
    name: str
    image: str
    running: bool
    state: str = field(default="", compare=False)
    description: Description = field(default=Description(None, None), compare=False)


_ALIVE = ("running", "paused", "stopping")


def container_from(found: Found, owner: int | None = None) -> FoundContainer:
    """The container of a message. owner: as in `Description`."""
    about = found.name, found.image, found.labels, found.runtime, owner, found.image_id, found.said_by
    description = Description(*about)
    name, image = found.name or found.id[:12], found.image or ""
    return FoundContainer(found.id, name, image, found.state in _ALIVE, found.state, description)


def cut(text: str) -> str:
    """As much of a text as a message may have."""
    return text[:_MAX_TEXT]


def cut_words(words: Iterable[str]) -> list[str]:
    """As much of a command as a message may have."""
    return [cut(word) for word in itertools.islice(words, _MAX_WORDS)]


def cut_labels(labels: Mapping[str, str], room: int) -> dict[str, str]:
    """The labels of one container, as far as there is room: the first ones. room: how many labels may follow."""
    kept: dict[str, str] = {}
    size = 0
    for key, value in labels.items():
        size += len(key.encode()) + len(value.encode())
        if size > _MAX_LABELS_BYTES or len(kept) >= min(room, _MAX_LABELS_OF_ONE):
            break
        kept[key] = value
    return kept
