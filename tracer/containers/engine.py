"""The local container engine, asked for names, images and labels: what the process that asks knows of it.

Asks by list: inspect waits for the lock that a container holds while it starts. Only the first process of a container
is not in a list. Times are of CLOCK_MONOTONIC, and for a whole answer: connecting, and whatever is asked before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from tracer.containers.address import no_engine
from tracer.containers.http_api import HttpApi, Malformed, Refused, TooMuch
from tracer.containers.messages import MAX_CONTAINERS, MAX_LABELS, MAX_TGID, Found, Id, Nonsense, Tgid, cut, cut_labels
from tracer.containers.requests import Request
from tracer.errors import ExitCode, NstraceError

T = TypeVar("T")

Dial = Callable[[int, Request, float], int]
"""The number of an address, what to ask, and until when -> the descriptor of a connection on which that was asked.
Raises OSError."""

_SHOWN_CHARS = 40
_TOO_MANY = TooMuch(f"more than {MAX_CONTAINERS:,} containers")


class _Listed(msgspec.Struct, rename="pascal"):
    """An entry of GET /containers/json: the members that are read."""

    id: Id
    names: list[str] | None = None
    image: str | None = None
    labels: dict[str, str] | None = None
    state: str = ""

    @property
    def name(self) -> str | None:
        """The name without its leading slash, and not a link's (/other/alias); None while the container is removed."""
        names = [name.removeprefix("/") for name in self.names or ()]
        return next((name for name in names if "/" not in name), None)

    def found(self, number: int, runtime: str, room: int) -> Found:
        """room: for how many labels there is room."""
        name, image = (None if text is None else cut(text) for text in (self.name, self.image))
        return Found(number, self.id, name, image, cut(self.state), runtime, cut_labels(self.labels or {}, room))


class _State(msgspec.Struct, rename="pascal"):
    pid: msgspec.Raw = msgspec.Raw(b"0")


class _Inspected(msgspec.Struct, rename="pascal"):
    """The members of GET /containers/ID/json that are read."""

    state: _State


class _Component(msgspec.Struct, rename="pascal"):
    name: str = ""


class _Version(msgspec.Struct, rename="pascal"):
    """The members of GET /version that are read."""

    components: list[_Component] | None = None


class Engine:
    """An engine that has answered on its local socket. All methods raise NstraceError where it fails."""

    def __init__(self, address: str, dial: Callable[[Request, float], int]) -> None:
        """address: unix:///path of its socket, for messages."""
        self.address = address
        self._api = HttpApi(dial)
        self._runtime = ""

    @staticmethod
    def connect(addresses: Sequence[str], dial: Dial, until_s: float) -> Engine:
        """The engine on the first of these addresses that answers; each but the last has half of the time. An error is
        that of the first."""
        failure: NstraceError | None = None
        for number, address in enumerate(addresses):
            engine = Engine(address, partial(dial, number))
            now_s = time.monotonic()
            is_last = number + 1 == len(addresses)
            try:
                engine._name(until_s if is_last else now_s + (until_s - now_s) / 2)
            except NstraceError as error:
                failure = failure or error
                if error.exit_code == ExitCode.NOT_PERMITTED:
                    break
            else:
                return engine
        assert failure, "there is an address"
        raise failure

    def listed(self, number: int, ids: Collection[str] | None, until_s: float) -> list[Found]:
        """Those of these containers that exist, stopped ones too. ids: None: all. number: of the question."""
        runtime = self._name(until_s)
        if ids is not None and not ids:
            return []
        found = self._ask(lambda: _counted(self._api.containers(ids or (), until_s)), list[_Listed])
        if len(found) > MAX_CONTAINERS:
            raise _failure(self.address, _TOO_MANY)
        room, kept = MAX_LABELS, []
        for one in found:
            if ids is None or one.id in ids:
                kept.append(one.found(number, runtime, room))
                room -= len(kept[-1].labels)
        return kept

    def init_tgid(self, container_id: str, until_s: float) -> int | None:
        """The host PID of a container's first process, as the engine reports it; None: the container is not running.
        Raises Nonsense for what can be no PID."""
        state = self._ask(lambda: self._api.inspect_container(container_id, until_s), _Inspected).state
        try:
            return msgspec.json.decode(state.pid, type=Tgid) or None
        except msgspec.MsgspecError as error:
            shown = _one_line(bytes(state.pid)[: _SHOWN_CHARS + 1].decode(errors="backslashreplace"))
            raise Nonsense(
                f"the container engine says that the first process of {container_id[:12]} is"
                f" {shown[:_SHOWN_CHARS]}{'...' * (len(shown) > _SHOWN_CHARS)}, which is no PID",
                f"a PID is a number up to {MAX_TGID}; is this an engine?",
                detail=cut(str(error)),
            ) from error

    def _name(self, until_s: float) -> str:
        """docker or podman, which has the same interface."""
        if not self._runtime:
            version = self._ask(lambda: self._api.version(until_s), _Version)
            names = [component.name for component in version.components or ()]
            self._runtime = "podman" if any(name.startswith("Podman") for name in names) else "docker"
        return self._runtime

    def _ask(self, question: Callable[[], bytearray], answer: type[T]) -> T:
        try:
            return msgspec.json.decode(question(), type=answer)
        except (OSError, Refused, TooMuch, MemoryError) as error:
            raise _failure(self.address, error) from error
        except (Malformed, msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise _failure(self.address, error) from error


_ODD = "is it a container engine? DOCKER_HOST names its socket; pid:N and pidns:INUM need none"


def _counted(answer: bytearray) -> bytearray:
    """The answer. Raises TooMuch where it lists too many containers, before they become objects; how much becomes of
    one that hides their number is limited by the memory of this process."""
    if answer.count(b'"Id":') > MAX_CONTAINERS:
        raise _TOO_MANY
    return answer


def _failure(address: str, error: Exception) -> NstraceError:
    """The error, with what the user can do about it."""
    detail = f"{type(error).__name__}: {error}"
    if isinstance(error, PermissionError):
        return NstraceError(
            f"no permission to ask the container engine on {address}",
            "run it with sudo",
            ExitCode.NOT_PERMITTED,
            detail,
        )
    if isinstance(error, TooMuch | MemoryError):
        what = str(error) or "more than there is memory for"
        return NstraceError(f"the container engine on {address} sent {what}", _ODD, detail=detail)
    if isinstance(error, Refused) and (explanation := _one_line(error.explanation)):
        return NstraceError(f"the container engine on {address} fails: {explanation}", _ODD, detail=detail)
    if not isinstance(error, OSError):
        message = f"the container engine on {address} sent an answer that cannot be read"
        return NstraceError(message, _ODD, detail=detail)
    return no_engine(address, detail)


def _one_line(words: str) -> str:
    """The engine's own message on one line."""
    return " ".join(words.split())[:200]
