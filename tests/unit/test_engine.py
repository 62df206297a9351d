"""The engine's answers and failures, against a small engine on a socket."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for
from fake_engine import A, B, C, FakeEngine, container, serving

from tracer.containers import address as address_module
from tracer.containers import connector, http_api
from tracer.containers.address import Address, addresses
from tracer.containers.engine import Engine
from tracer.containers.messages import MAX_TGID, Found, Last
from tracer.errors import ExitCode, NstraceError

Serve = Callable[[str], FakeEngine]
NONSENSE = "sent an answer that cannot be read"
TOO_MUCH = "sent more than 0 MiB"  # with the limits of these tests


@pytest.fixture(autouse=True)
def no_engine_of_this_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(address_module, "DOCKER", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setattr(address_module, "PODMAN", f"unix://{tmp_path}/podman.sock")
    monkeypatch.setattr(address_module, "USERS", f"{tmp_path}/users")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts an engine on a socket of this name."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(serving(tmp_path / name))


@pytest.fixture
def fake(serve: Serve) -> FakeEngine:
    return serve("docker.sock")


Connect = Callable[..., Engine]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connects as the process that asks does: another one, here a thread, makes the connections."""
    with ExitStack() as stack:

        def connected(timeout_s: float = 2.0) -> Engine:
            where = addresses()[0]
            pairs = [*socket.socketpair(type=socket.SOCK_SEQPACKET), *socket.socketpair(type=socket.SOCK_SEQPACKET)]
            ours, theirs, _asking, asked = (stack.enter_context(end) for end in pairs)
            threading.Thread(target=connector.serve_connections, args=[theirs, asked, where], daemon=True).start()
            engine = Engine(where.url, partial(connector.dial, ours))
            engine.listed(0, [], in_s(timeout_s))
            return engine

        yield connected


def in_s(seconds: float = 2.0) -> float:
    return time.monotonic() + seconds


def all_of(engine: Engine, timeout_s: float = 2.0) -> list[Found]:
    return engine.listed(1, None, in_s(timeout_s))


@pytest.fixture
def engine(fake: FakeEngine, connect: Connect) -> Engine:
    connected = connect()
    fake.asked.clear()
    return connected


def failure(call: Callable[[], object]) -> NstraceError:
    with pytest.raises(NstraceError) as caught:
        call()
    for line in (caught.value.message, caught.value.hint):
        assert line.isprintable()
    return caught.value


# connect


def test_the_last_word(fake: FakeEngine, connect: Connect) -> None:
    fake.containers = [container(A, "web", "exited")]
    fake.state_of_a = {
        **{"Status": "exited", "ExitCode": 137, "OOMKilled": True, "Error": "no\x1b", "Pid": 0, "Dead": False},
        **{"StartedAt": "2026-11-29T04:29:50.206639123Z", "FinishedAt": "2026-11-29T05:29:51+01:00"},
    }
    last = connect().last(3, A, in_s())
    assert last == Last(3, "exited", 137, True, "no\x1b", 1795926590206639000, 1795926591000000000, 0)


@pytest.mark.parametrize("told", ["0001-01-01T00:00:00Z", "", "yesterday", "2026-11-29T04:29:50"])
def test_a_time_that_is_none(told: str, fake: FakeEngine, connect: Connect) -> None:
    fake.state_of_a = {"Status": "created", "StartedAt": told, "FinishedAt": told}
    assert connect().last(3, A, in_s()) == Last(3, "created", 0, False, "", 0, 0, 0)


@pytest.mark.parametrize("state", [{"ExitCode": "0"}, {"OOMKilled": 1}, {"Status": None}, []])
def test_a_last_word_that_cannot_be(state: Any, fake: FakeEngine, connect: Connect) -> None:
    fake.state_of_a = state
    with pytest.raises(NstraceError, match=NONSENSE):
        connect().last(3, A, in_s())


@pytest.mark.parametrize(
    "host",
    ["tcp://10.0.0.1:2375", "ssh://me@far", "npipe:////./pipe/docker", "http://far:2375", "https://far", "far:2375"],
)
def test_a_remote_engine_is_refused_without_asking_it(
    host: str, fake: FakeEngine, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    error = failure(connect)
    assert error.message == f"DOCKER_HOST={host!r} is a remote engine: its PIDs mean nothing on this host"
    assert "unset DOCKER_HOST" in error.hint and "unix://" in error.hint
    assert error.exit_code == ExitCode.FAILURE
    assert fake.asked == []


@pytest.mark.parametrize("host", ["unix://", "unix://run/docker.sock", "unix:/run/docker.sock"])
def test_a_socket_has_an_absolute_path(host: str, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert failure(connect).message == f"DOCKER_HOST={host!r} is not an absolute path"


def test_docker_host_goes_before_the_default(
    fake: FakeEngine, serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = serve("other.sock")
    monkeypatch.setenv("DOCKER_HOST", other.address)
    connected = connect()
    assert (connected.address, other.asked, fake.asked) == (other.address, ["/version"], [])


@pytest.mark.parametrize("host", [None, "", " "])
def test_docker_goes_before_podman(
    host: str | None, fake: FakeEngine, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    podman = serve("podman.sock")
    if host is not None:
        monkeypatch.setenv("DOCKER_HOST", host)
    assert addresses() == (Address(fake.address), Address(podman.address))


def test_podman_is_asked_where_it_is_there(fake: FakeEngine) -> None:
    assert addresses() == (Address(fake.address),)


def test_one_engine_is_asked_once(fake: FakeEngine, tmp_path: Path) -> None:
    """podman-docker makes docker's socket a link to podman's."""
    (tmp_path / "podman.sock").symlink_to(tmp_path / "docker.sock")
    assert addresses() == (Address(fake.address),)


def test_nobody_else_is_asked_where_docker_host_names_one(
    fake: FakeEngine, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve("podman.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert addresses() == (Address(f"unix://{tmp_path}/none.sock"),)


def test_the_sockets_of_users(fake: FakeEngine, serve: Serve, tmp_path: Path) -> None:
    for name in ("1000/podman", "1001", "0/podman", "x/podman", "1002/podman"):
        (tmp_path / "users" / name).mkdir(parents=True)
    (tmp_path / "users/1002/podman/podman.sock").touch()  # no socket
    for name in ("1000/podman/podman.sock", "1001/docker.sock", "0/podman/podman.sock", "x/podman/podman.sock"):
        serve(f"users/{name}")
    users = [Address(f"unix://{tmp_path}/users/{name}", uid) for uid, name in USERS.items()]
    assert addresses() == (Address(fake.address), *users)


USERS = {1000: "1000/podman/podman.sock", 1001: "1001/docker.sock"}


def test_who_listens_at_a_users_path_is_that_user(fake: FakeEngine, connect: Connect, monkeypatch: Any) -> None:
    """It may be a link to the socket of somebody else, who must not be asked for them."""
    ours, theirs = Address(fake.address, os.geteuid()), Address(fake.address, os.geteuid() + 1)
    for where in (ours, theirs):
        monkeypatch.setattr("test_engine.addresses", lambda where=where: [where])
        if where is ours:
            assert connect()
        else:
            assert "refused" in failure(connect).detail
    assert fake.asked == ["/version"]


def test_no_engine(tmp_path: Path, connect: Connect) -> None:
    error = failure(connect)
    assert error.message == f"no container engine answers on unix://{tmp_path}/docker.sock"
    assert error.hint.startswith("start it (systemctl start docker), or use a TARGET that needs none: pid:N")
    assert error.exit_code == ExitCode.FAILURE
    assert "No such file" in error.detail


def test_a_socket_that_nobody_serves(tmp_path: Path, connect: Connect) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(f"{tmp_path}/docker.sock")
    error = failure(connect)
    assert error.message == f"no container engine answers on unix://{tmp_path}/docker.sock"
    assert "refused" in error.detail


def test_an_engine_that_hangs(fake: FakeEngine, connect: Connect) -> None:
    fake.hangs = True
    began = time.monotonic()
    error = failure(lambda: connect(0.1))
    assert error.message == f"no container engine answers on {fake.address}"
    assert error.exit_code == ExitCode.FAILURE
    assert time.monotonic() - began < 5


def test_an_engine_that_answers_byte_by_byte(fake: FakeEngine, engine: Engine) -> None:
    fake.containers, fake.trickles = [container(A, "web")], True
    began = time.monotonic()
    error = failure(lambda: engine.listed(1, [A], in_s(0.2)))
    assert error.message == f"no container engine answers on {fake.address}"
    assert time.monotonic() - began < 5


def test_an_answer_without_end(fake: FakeEngine, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_api, "MAX_ANSWER_BYTES", 1000)
    fake.containers = [container(A, "web", Labels={"long": "x" * 1000})]
    assert failure(lambda: all_of(engine)).message == f"the container engine on {fake.address} {TOO_MUCH}"


def test_not_permitted(connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "_connected", lambda _made, _path: errno.EACCES)
    error = failure(connect)
    assert error.message == f"no permission to ask the container engine on unix://{tmp_path}/docker.sock"
    assert (error.hint, error.exit_code) == ("run it with sudo", ExitCode.NOT_PERMITTED)


def test_no_connection_stays_open(engine: Engine, fake: FakeEngine) -> None:
    fake.containers = [container(A, "web"), container(B, "db"), container(C, "job")]
    before = open_files()
    for asked in (A, B, C):
        assert engine.listed(1, [asked], in_s())
    wait_for(lambda: open_files() <= before)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# all, find, listed


def test_all_lists_stopped_ones_too(fake: FakeEngine, engine: Engine) -> None:
    fake.containers = [container(A, "web"), container(B, "db", "exited"), container(C, "job", "paused")]
    assert [(found.id, found.name, found.image, found.state) for found in all_of(engine)] == [
        (A, "web", "nginx:1.27", "running"),
        (B, "db", "nginx:1.27", "exited"),
        (C, "job", "nginx:1.27", "paused"),
    ]
    assert [path.removeprefix("/v1.41") for path in fake.asked][-1:] == ["/containers/json"]


@pytest.mark.parametrize(("calls_itself", "runtime"), [("Libpod/4.3.1 (linux)", "podman"), ("Docker/20.10", "docker")])
def test_what_an_answer_says_of_its_engine_is_not_asked_for(
    calls_itself: str, runtime: str, fake: FakeEngine, engine: Engine
) -> None:
    fake.containers, fake.calls_itself = [container(A, "web")], calls_itself
    engine._runtime = ""  # as if it had not been asked whether it is there
    assert [found.runtime for found in all_of(engine)] == [runtime]
    assert fake.asked == ["/containers/json"]


@pytest.mark.parametrize(("told", "tgid"), [(4711, 4711), (0, None)])
def test_the_first_process(told: int, tgid: int | None, fake: FakeEngine, engine: Engine) -> None:
    fake.state_of_a = {"Pid": told}
    assert engine.init_tgid(A, in_s()) == tgid


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (-1, "-1"),
        (MAX_TGID + 1, "4194305"),
        (10**400, "1" + "0" * 39 + "..."),
        ("4711", '"4711"'),
        (True, "true"),
        (None, "null"),
        (4711.5, "4711.5"),
        ([4711], "[4711]"),
        ("\x1b]52;\n", r'"\u001b]52;\n"'),
    ],
)
def test_a_first_process_that_is_none_is_no_answer(told: Any, shown: str, fake: FakeEngine, engine: Engine) -> None:
    fake.state_of_a = {"Pid": told}
    message = failure(lambda: engine.init_tgid(A, in_s())).message
    assert message == f"the container engine says that the first process of {A[:12]} is {shown}, which is no PID"


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["/web"], "web"),
        (["web"], "web"),
        (["/proxy/backend", "/web"], "web"),
        ([], None),
        (None, None),
    ],
)
def test_names(fake: FakeEngine, engine: Engine, names: list[str] | None, name: str | None) -> None:
    fake.containers = [container(A, "", Names=names)]
    assert [found.name for found in all_of(engine)] == [name]


@pytest.mark.parametrize(("product", "runtime"), [("Engine", "docker"), ("Podman Engine", "podman")])
def test_listed(product: str, runtime: str, fake: FakeEngine, connect: Connect) -> None:
    fake.product = product
    engine = connect()
    labels = {"tier": "front"}
    fake.containers = [container(A, "web", Labels=labels), container(B, "db", "created", Labels=None)]
    listed = engine.listed(7, [A, B, C], in_s())
    assert listed == [
        Found(7, A, "web", "nginx:1.27", "running", runtime, labels),
        Found(7, B, "db", "nginx:1.27", "created", runtime, {}),
    ]
    assert engine.listed(7, [], in_s()) == []


@pytest.mark.parametrize(
    ("said", "image_id"),
    [(f"sha256:{B}", B), (B, B), ("sha256:12", None), (f"sha256:{B}\n", None), (None, None)],
)
def test_the_id_of_an_image_is_64_digits(said: Any, image_id: str | None, fake: FakeEngine, engine: Engine) -> None:
    fake.containers = [container(A, "web", ImageID=said)]
    assert [found.image_id for found in all_of(engine)] == [image_id]


def test_a_container_without_a_name_is_described_without(fake: FakeEngine, engine: Engine) -> None:
    fake.containers = [container(A, "", Names=None, Image=None)]
    assert engine.listed(1, [A], in_s()) == [Found(1, A, None, None, "running", "docker", {})]


def test_an_engine_that_fails(fake: FakeEngine, engine: Engine) -> None:
    fake.status = 500
    for call in (lambda: all_of(engine), lambda: engine.listed(1, [A], in_s())):
        error = failure(call)
        assert error.message == rf"the container engine on {fake.address} fails: the store is \x1b[31mbroken"
        assert error.exit_code == ExitCode.FAILURE


@pytest.mark.parametrize(
    "answer", [{}, None, "x", [{"Id": 5}], [{}], [container(A, "web", Labels=[1])], [container("../x", "web")]]
)
def test_an_engine_that_talks_nonsense(
    fake: FakeEngine, engine: Engine, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    monkeypatch.setattr(fake, "listing", lambda _query: answer)
    assert failure(lambda: all_of(engine)).message == f"the container engine on {fake.address} {NONSENSE}"


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
    assert failure(lambda: all_of(engine)).message == f"the container engine on {fake.address} {NONSENSE}"
    assert failure(lambda: engine.init_tgid(A, in_s())).message == f"the container engine on {fake.address} {NONSENSE}"


@pytest.mark.parametrize("body", [b'{"x":' + b"[" * 200_000, b'{"message":"\xff"}', b"\xff", b"["])
def test_a_failure_without_an_explanation_that_can_be_read(body: bytes, fake: FakeEngine, engine: Engine) -> None:
    fake.raw = answered(body, "500 no")
    assert failure(lambda: all_of(engine)).message == f"the container engine on {fake.address} {NONSENSE}"


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
    said = failure(lambda: all_of(engine)).message.removeprefix(f"the container engine on {fake.address} ")
    assert said in ("sent more than 1 MiB", NONSENSE)
    assert fake.sent_bytes < 4 << 20


def test_the_socket_itself_has_a_limit(fake: FakeEngine, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_api, "MAX_ANSWER_BYTES", 0)
    monkeypatch.setattr(http_api, "_MAX_AROUND_BYTES", 10_000)
    fake.raw = itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 10_000)
    assert failure(lambda: all_of(engine)).message == f"the container engine on {fake.address} {TOO_MUCH}"


def test_what_is_not_needed_of_an_answer_becomes_no_object(fake: FakeEngine, engine: Engine) -> None:
    unneeded = b"[" + b"[]," * 300_000 + b"[]]"
    fake.raw = answered(b'[{"Id":"%s","Names":["/web"],"State":"running","Mounts":%s}]' % (A.encode(), unneeded))
    tracemalloc.start()
    try:
        assert [found.name for found in all_of(engine)] == ["web"]
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5 * len(unneeded)


def test_chunks_are_joined(fake: FakeEngine, engine: Engine) -> None:
    body = b'[{"Id":"%s","Names":["/web"],"State":"running"}]' % A.encode()
    fake.raw = chunked(*(b"1\r\n%c\r\n" % byte for byte in body), b"0\r\n\r\n")
    assert [found.name for found in all_of(engine)] == ["web"]


def test_an_engine_that_has_gone(fake: FakeEngine, engine: Engine) -> None:
    fake.shutdown()
    fake.server_close()
    assert failure(lambda: all_of(engine)).message == f"no container engine answers on {fake.address}"
