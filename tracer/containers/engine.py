"""The local container engine, asked for names, images and labels: what the process that asks knows of it.

Asks by list: inspect waits for the lock that a container holds while it starts. Only the first process of a container
is not in a list. Times are of CLOCK_MONOTONIC, and for a whole answer: connecting, and whatever is asked before.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from tracer.containers.address import no_engine
from tracer.containers.http_api import Dial, HttpApi, Malformed, Refused, TooMuch, Wait, only_wait
from tracer.containers.messages import (
    MAX_CONTAINERS,
    MAX_EXECS,
    MAX_LABELS,
    MAX_PROBES,
    MAX_TGID,
    Exec,
    Execs,
    Found,
    Id,
    Last,
    Nonsense,
    Tgid,
    cut,
    cut_labels,
    cut_words,
)
from tracer.errors import ExitCode, NstraceError

T = TypeVar("T")

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_ID = re.compile("[0-9a-f]{64}")
_SHOWN_CHARS = 40
_NOT_FOUND = 404
_SERVERS = ((b"Libpod/", "podman"), (b"Docker/", "docker"))
_SHELL = ("/bin/sh", "-c")  # what Docker runs a check by that is given as a line
_TOO_MANY = TooMuch(f"more than {MAX_CONTAINERS:,} containers")


class _Listed(msgspec.Struct, rename="pascal"):
    """An entry of GET /containers/json: the members that are read."""

    id: Id
    names: list[str] | None = None
    image: str | None = None
    image_id: str | None = msgspec.field(default=None, name="ImageID")
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
        labels, image_id = cut_labels(self.labels or {}, room), (self.image_id or "").removeprefix("sha256:")
        known = image_id if _ID.fullmatch(image_id) else None
        return Found(number, self.id, name, image, cut(self.state), runtime, labels, known)


class _State(msgspec.Struct, rename="pascal"):
    pid: msgspec.Raw = msgspec.Raw(b"0")


class _Inspected(msgspec.Struct, rename="pascal"):
    """The members of GET /containers/ID/json that are read."""

    state: _State


class _LastState(msgspec.Struct, rename="pascal"):
    status: str = ""
    exit_code: int = 0
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)
    error: str = ""
    started_at: str = ""
    finished_at: str = ""


class _InspectedLast(msgspec.Struct, rename="pascal"):
    """The members of GET /containers/ID/json that say how it ended last."""

    state: _LastState
    restart_count: int = 0


class _Probe(msgspec.Struct, frozen=True, rename="pascal"):
    start: str = ""
    end: str = ""

    def period(self) -> tuple[int, int] | None:
        """From when to when it ran, by the wall clock in ns, at most a microsecond more; None: that cannot be read."""
        try:
            begin, end = (datetime.fromisoformat(text).timestamp() for text in (self.start, self.end))
        except (ValueError, OverflowError):
            return None
        return (int(begin * 1e6) * 1000, int(end * 1e6 + 1) * 1000) if 0 < begin <= end else None


class _Health(msgspec.Struct, frozen=True, rename="pascal"):
    log: list[_Probe] | None = None


class _HealthState(msgspec.Struct, frozen=True, rename="pascal"):
    health: _Health | None = None


class _HealthCheck(msgspec.Struct, frozen=True, rename="pascal"):
    test: list[str] | None = None


class _HealthConfig(msgspec.Struct, frozen=True, rename="pascal"):
    healthcheck: _HealthCheck | None = None
    shell: list[str] | None = None
    user: str = ""

    @property
    def command(self) -> list[str]:
        """What a health check runs; []: there is none."""
        kind, *words = (self.healthcheck and self.healthcheck.test) or [""]
        return {"CMD": words, "CMD-SHELL": [*(self.shell or _SHELL), *words]}.get(kind, [])


class _WithHealth(msgspec.Struct, rename="pascal"):
    """The members of GET /containers/ID/json that health checks are known by."""

    state: _HealthState = _HealthState()
    config: _HealthConfig = _HealthConfig()


class _WithExecs(msgspec.Struct):
    """The member of GET /containers/ID/json that names the execs that run in it."""

    ids: list[Id] | None = msgspec.field(name="ExecIDs", default=None)


class _ExecProcess(msgspec.Struct, frozen=True):
    entrypoint: str = ""
    arguments: list[str] | None = None
    user: str = ""


class _InspectedExec(msgspec.Struct, rename="pascal"):
    """The members of GET /exec/ID/json that are read."""

    container_id: Id = msgspec.field(name="ContainerID")
    process: _ExecProcess = msgspec.field(name="ProcessConfig", default=_ExecProcess())
    running: bool = False
    exit_code: int | None = None
    pid: Tgid = 0


class _Component(msgspec.Struct, rename="pascal"):
    name: str = ""


class _Version(msgspec.Struct, rename="pascal"):
    """The members of GET /version that are read."""

    components: list[_Component] | None = None


class Engine:
    """The engine on a local socket. All methods raise NstraceError where it fails."""

    def __init__(self, address: str, dial: Dial, wait: Wait = only_wait) -> None:
        """address: unix:///path of its socket, for messages. dial, wait: as for `HttpApi`."""
        self.address = address
        self._api = HttpApi(dial, wait)
        self._runtime = ""

    def listed(self, number: int, ids: Collection[str] | None, until_s: float) -> list[Found]:
        """Those of these containers that exist, stopped ones too. ids: None: all. number: of the question."""
        if ids is not None and not ids:
            self._name(until_s)  # whether it answers is what is asked
            return []
        found = self._ask(lambda: _counted(self._api.containers(ids or (), until_s)), list[_Listed])
        runtime = self._name(until_s)
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

    def last(self, number: int, container_id: str, until_s: float) -> Last:
        """How a container ended last, as the engine reports it. number: of the question."""
        found = self._ask(lambda: self._api.inspect_container(container_id, until_s), _InspectedLast)
        state, times = found.state, (_wall_ns(found.state.started_at), _wall_ns(found.state.finished_at))
        texts = cut(state.status), state.exit_code, state.oom_killed, cut(state.error)
        return Last(number, *texts, *times, max(0, found.restart_count))

    def inspect_exec(self, number: int, exec_id: str, until_s: float) -> Exec:
        """What the engine reports of an exec. number: of the question."""
        try:
            found = self._ask(lambda: self._api.inspect_exec(exec_id, until_s), _InspectedExec)
        except NstraceError as error:
            if isinstance(error.__cause__, Refused) and error.__cause__.status == _NOT_FOUND:
                return Exec(number, None)
            raise
        process = found.process
        command = cut_words([process.entrypoint, *(process.arguments or ())])
        exit_code = None if found.running else found.exit_code
        probes = self._probes(found, until_s)
        return Exec(number, found.container_id, found.pid or None, cut(process.user), command, exit_code, probes)

    def _probes(self, found: _InspectedExec, until_s: float) -> list[tuple[int, int]] | None:
        """When the last health checks of a container ran, if an exec may be one of them: it has the same command and
        user; else None."""
        with contextlib.suppress(NstraceError):
            inspected = self._ask(lambda: self._api.inspect_container(found.container_id, until_s), _WithHealth)
            config, process = inspected.config, found.process
            if [process.entrypoint, *(process.arguments or ())] == config.command and process.user == config.user:
                log = (inspected.state.health and inspected.state.health.log) or []
                return [period for probe in log[-MAX_PROBES:] if (period := probe.period())]
        return None

    def execs(self, number: int, container_id: str, until_s: float) -> Execs:
        """The execs that run in a container. number: of the question."""
        found = self._ask(lambda: self._api.inspect_container(container_id, until_s), _WithExecs)
        return Execs(number, (found.ids or [])[:MAX_EXECS])

    def _name(self, until_s: float) -> str:
        """docker or podman, which has the same interface. Its last answer says it; asked for its version, Podman runs
        several programs to know theirs, which takes longer than all else."""
        self._runtime = self._runtime or next((name for mark, name in _SERVERS if mark in self._api.server), "")
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


def _wall_ns(text: str) -> int:
    """A time of an engine, in ns since the epoch, to the microsecond; 0: there is none (it says the year 1)."""
    try:
        past = msgspec.convert(text, datetime) - _EPOCH
    except (msgspec.MsgspecError, TypeError):
        return 0
    return max(0, past // _MICROSECOND * 1000)


def _one_line(words: str) -> str:
    """The engine's own message on one line."""
    return " ".join(words.split())[:200]
