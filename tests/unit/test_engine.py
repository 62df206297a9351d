"""The engine's answers and failures, against a small engine on a socket."""

from __future__ import annotations

import itertools
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for
from fake_engine import A, B, C, FakeEngine, container, serving

from tracer.containers import engine as engine_module
from tracer.containers import http_api
from tracer.containers.cgroups import Description
from tracer.containers.engine import Engine, FoundContainer
from tracer.errors import ExitCode, NstraceError

Serve = Callable[[str], FakeEngine]
NONSENSE = "gives an answer that cannot be read"


@pytest.fixture(autouse=True)
def no_engine_of_this_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine_module, "DOCKER", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setattr(engine_module, "PODMAN", f"unix://{tmp_path}/podman.sock")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts an engine on a socket of this name."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(serving(tmp_path / name))


@pytest.fixture
def fake(serve: Serve) -> FakeEngine:
    return serve("docker.sock")


@pytest.fixture
def engine(fake: FakeEngine) -> Engine:
    connected = Engine.connect()
    fake.asked.clear()
    return connected


def failure(call: Callable[[], object]) -> NstraceError:
    with pytest.raises(NstraceError) as caught:
        call()
    for line in (caught.value.message, caught.value.hint):
        assert line.isprintable()
    return caught.value


# connect


@pytest.mark.parametrize(
    "host",
    ["tcp://10.0.0.1:2375", "ssh://me@far", "npipe:////./pipe/docker", "http://far:2375", "https://far", "far:2375"],
)
def test_a_remote_engine_is_refused_without_asking_it(
    host: str, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    error = failure(Engine.connect)
    assert error.message == f"DOCKER_HOST={host!r} is a remote engine: its PIDs mean nothing on this host"
    assert "unset DOCKER_HOST" in error.hint and "unix://" in error.hint
    assert error.exit_code == ExitCode.FAILURE
    assert fake.asked == []


@pytest.mark.parametrize("host", ["unix://", "unix://run/docker.sock", "unix:/run/docker.sock"])
def test_a_socket_has_an_absolute_path(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert failure(Engine.connect).message == f"DOCKER_HOST={host!r} is not an absolute path"


def test_docker_host_goes_before_the_default(fake: FakeEngine, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    other = serve("other.sock")
    monkeypatch.setenv("DOCKER_HOST", other.address)
    connected = Engine.connect()
    assert (connected.address, other.asked, fake.asked) == (other.address, ["/version"], [])


@pytest.mark.parametrize("host", [None, "", " "])
def test_the_default_goes_before_podman(
    host: str | None, fake: FakeEngine, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    podman = serve("podman.sock")
    if host is not None:
        monkeypatch.setenv("DOCKER_HOST", host)
    connected = Engine.connect()
    assert (connected.address, fake.asked, podman.asked) == (fake.address, ["/version"], [])


def test_podman_answers_where_docker_does_not(serve: Serve) -> None:
    podman = serve("podman.sock")
    connected = Engine.connect()
    assert (connected.address, podman.asked) == (podman.address, ["/version"])


def test_podman_is_not_asked_for_the_engine_of_docker_host(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    podman = serve("podman.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert failure(Engine.connect).message == f"no container engine answers on unix://{tmp_path}/none.sock"
    assert podman.asked == []


def test_no_engine(tmp_path: Path) -> None:
    error = failure(Engine.connect)
    assert error.message == f"no container engine answers on unix://{tmp_path}/docker.sock"
    assert error.hint.startswith("start it (systemctl start docker), or name pid:N, pidns:INUM")
    assert error.exit_code == ExitCode.FAILURE
    assert "No such file" in error.detail


def test_a_socket_that_nobody_serves(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(f"{tmp_path}/docker.sock")
    error = failure(Engine.connect)
    assert error.message == f"no container engine answers on unix://{tmp_path}/docker.sock"
    assert "refused" in error.detail


def test_an_engine_that_hangs(fake: FakeEngine) -> None:
    fake.hangs = True
    began = time.monotonic()
    error = failure(lambda: Engine.connect(timeout_s=0.1))
    assert error.message == f"no container engine answers on {fake.address}"
    assert error.exit_code == ExitCode.FAILURE
    assert time.monotonic() - began < 5


def test_an_engine_that_answers_byte_by_byte(fake: FakeEngine, engine: Engine) -> None:
    fake.containers, fake.trickles = [container(A, "web")], True
    began = time.monotonic()
    error = failure(lambda: engine.listed([A], 0.2))
    assert error.message == f"no container engine answers on {fake.address}"
    assert time.monotonic() - began < 5


def test_an_answer_without_end(fake: FakeEngine, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_api, "MAX_ANSWER_BYTES", 1000)
    fake.containers = [container(A, "web", Labels={"long": "x" * 1000})]
    assert failure(engine.all).message == f"the container engine on {fake.address} {NONSENSE}"


def test_not_permitted(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(_self: object, _path: str) -> None:
        raise PermissionError(13, "Permission denied")

    podman = serve("podman.sock")
    monkeypatch.setattr(http_api._Socket, "connect", connect)
    error = failure(Engine.connect)
    assert error.message == f"no permission to ask the container engine on unix://{tmp_path}/docker.sock"
    assert (error.hint, error.exit_code) == ("run it with sudo", ExitCode.NOT_PERMITTED)
    assert podman.asked == []


@pytest.mark.parametrize("hangs", [False, True])
def test_a_socket_must_answer(hangs: bool, fake: FakeEngine, serve: Serve) -> None:
    podman = serve("podman.sock")
    fake.hangs = hangs
    connected = Engine.connect(timeout_s=0.1)
    assert (connected.address, podman.asked) == ((podman if hangs else fake).address, ["/version"] if hangs else [])


def test_no_connection_stays_open(engine: Engine, fake: FakeEngine) -> None:
    fake.containers = [container(A, "web"), container(B, "db"), container(C, "job")]
    before = open_files()
    for asked in (A, B, C):
        assert engine.listed([asked], 1.0)
    wait_for(lambda: open_files() <= before)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# all, find, listed


def test_all_lists_stopped_ones_too(fake: FakeEngine, engine: Engine) -> None:
    fake.containers = [container(A, "web"), container(B, "db", "exited"), container(C, "job", "paused")]
    assert engine.all() == [
        FoundContainer(A, "web", "nginx:1.27", True),
        FoundContainer(B, "db", "nginx:1.27", False),
        FoundContainer(C, "job", "nginx:1.27", True),
    ]
    assert [path.removeprefix("/v1.41") for path in fake.asked][-1:] == ["/containers/json"]


@pytest.mark.parametrize(("told", "tgid"), [(4711, 4711), (0, None)])
def test_the_first_process(told: int, tgid: int | None, fake: FakeEngine, engine: Engine) -> None:
    fake.state_of_a = {"Pid": told}
    assert engine.init_tgid(A) == tgid


@pytest.mark.parametrize("told", [-1, "4711", 4711.5, [4711]])
def test_a_first_process_that_is_none_is_no_answer(told: Any, fake: FakeEngine, engine: Engine) -> None:
    fake.state_of_a = {"Pid": told}
    assert failure(lambda: engine.init_tgid(A)).message == f"the container engine on {fake.address} {NONSENSE}"


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["/web"], "web"),
        (["web"], "web"),
        (["/proxy/backend", "/web"], "web"),
        ([], A[:12]),
        (None, A[:12]),
    ],
)
def test_names(fake: FakeEngine, engine: Engine, names: list[str] | None, name: str) -> None:
    fake.containers = [container(A, "", Names=names)]
    assert [found.name for found in engine.all()] == [name]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("web", [A]),
        (A, [A]),
        ("eda3", [A]),
        ("eda", [A, B]),
        ("eda4", [C]),  # a name goes before the beginning of an id
        ("we", []),
        ("da3", []),
        (".*", []),
        (C, [C]),
        (B, [B]),  # a whole id goes before a name
    ],
)
def test_find_resolves_as_docker_does(fake: FakeEngine, engine: Engine, text: str, ids: list[str]) -> None:
    fake.containers = [container(A, "web"), container(B, "db"), container(C, "eda4"), container("f" * 64, B)]
    assert [found.id for found in engine.find(text)] == ids


@pytest.mark.parametrize(("product", "runtime"), [("Engine", "docker"), ("Podman Engine", "podman")])
def test_listed(product: str, runtime: str, fake: FakeEngine, engine: Engine) -> None:
    fake.product = product
    engine = Engine.connect()
    labels = {"tier": "front"}
    fake.containers = [container(A, "web", Labels=labels), container(B, "db", "created", Labels=None)]
    listed = engine.listed([A, B, C, A[:12]], 1.0)
    assert {found.id: (found.state, found.description) for found in listed.values()} == {
        A: ("running", Description("web", "nginx:1.27", labels, runtime)),
        B: ("created", Description("db", "nginx:1.27", {}, runtime)),
    }
    assert engine.listed([], 1.0) == {}


def test_a_container_without_a_name_is_described_without(fake: FakeEngine, engine: Engine) -> None:
    fake.containers = [container(A, "", Names=None, Image=None)]
    assert engine.listed([A], 1.0)[A].description == Description(None, None, {})


def test_an_engine_that_fails(fake: FakeEngine, engine: Engine) -> None:
    fake.status = 500
    for call in (engine.all, lambda: engine.find("web"), lambda: engine.listed([A], 1.0)):
        error = failure(call)
        assert error.message == rf"the container engine on {fake.address} fails: the store is \x1b[31mbroken"
        assert error.exit_code == ExitCode.FAILURE


@pytest.mark.parametrize("answer", [{}, None, "x", [{"Id": 5}], [{}], [container(A, "web", Labels=[1])]])
def test_an_engine_that_talks_nonsense(
    fake: FakeEngine, engine: Engine, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    monkeypatch.setattr(fake, "listing", lambda _query: answer)
    assert failure(engine.all).message == f"the container engine on {fake.address} {NONSENSE}"


def answered(body: bytes, status: str = "200 OK") -> list[bytes]:
    return [b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status.encode(), len(body)), body]


def chunked(*parts: bytes) -> list[bytes]:
    return [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *parts]


@pytest.mark.parametrize(
    "raw",
    [
        answered(b"[" * 200_000),
        answered(b'[{"Unknown":' + b"[" * 200_000),
        answered(b'[{"Id":"\xff\xfe","Names":["/x"]}]'),
        answered(b"[" + b"[]," * 1000 + b"[]]"),
        chunked(b"-5\r\n", b"x" * 100),
        chunked(b"-1\r\n", b"x" * 100),
        chunked(b"-fffffffffffffffff\r\n", b"x" * 100),
        chunked(b"fffffffffffffffff\r\n", b"x" * 100),
        [b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"["],
    ],
    ids=range(9),
)
def test_answers_that_nobody_can_read(raw: list[bytes], fake: FakeEngine, engine: Engine) -> None:
    fake.raw = raw
    assert failure(engine.all).message == f"the container engine on {fake.address} {NONSENSE}"
    assert failure(lambda: engine.init_tgid(A)).message == f"the container engine on {fake.address} {NONSENSE}"


@pytest.mark.parametrize("body", [b'{"x":' + b"[" * 200_000, b'{"message":"\xff"}', b"\xff", b"["])
def test_a_failure_without_an_explanation_that_can_be_read(body: bytes, fake: FakeEngine, engine: Engine) -> None:
    fake.raw = answered(body, "500 no")
    assert failure(engine.all).message == f"the container engine on {fake.address} {NONSENSE}"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 500 no\r\n\r\n",
    ],
)
def test_of_a_flood_only_so_much_is_taken(
    head: bytes, fake: FakeEngine, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_api, "MAX_ANSWER_BYTES", 1 << 20)
    fake.raw = itertools.chain([head], itertools.repeat(b"x" * 65536, 1000))
    assert failure(engine.all).message == f"the container engine on {fake.address} {NONSENSE}"
    assert fake.sent_bytes < 4 << 20


def test_the_socket_itself_has_a_limit(fake: FakeEngine, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_api, "MAX_ANSWER_BYTES", 0)
    monkeypatch.setattr(http_api, "_MAX_AROUND_BYTES", 10_000)
    fake.raw = itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 10_000)
    error = failure(engine.all)
    assert (error.message, "more than" in error.detail) == (f"the container engine on {fake.address} {NONSENSE}", True)


def test_what_is_not_needed_of_an_answer_becomes_no_object(fake: FakeEngine, engine: Engine) -> None:
    unneeded = b"[" + b"[]," * 300_000 + b"[]]"
    fake.raw = answered(b'[{"Id":"%s","Names":["/web"],"State":"running","Mounts":%s}]' % (A.encode(), unneeded))
    tracemalloc.start()
    try:
        assert [found.name for found in engine.all()] == ["web"]
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5 * len(unneeded)


def test_chunks_are_joined(fake: FakeEngine, engine: Engine) -> None:
    body = b'[{"Id":"%s","Names":["/web"],"State":"running"}]' % A.encode()
    fake.raw = chunked(*(b"1\r\n%c\r\n" % byte for byte in body), b"0\r\n\r\n")
    assert [found.name for found in engine.all()] == ["web"]


def test_an_engine_that_has_gone(fake: FakeEngine, engine: Engine) -> None:
    fake.shutdown()
    fake.server_close()
    assert failure(engine.all).message == f"no container engine answers on {fake.address}"
