"""A small engine on a socket, for what a real one cannot be made to say."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

A = "eda3b6fa0695ebf41f9c05b225403637aadbf7867d5db01b04e233028991f487"
B = "eda4" * 16
C = "0123456789abcdef" * 4


def container(container_id: str, name: str, state: str = "running", **more: Any) -> dict[str, Any]:
    return {"Id": container_id, "Names": [f"/{name}"], "Image": "nginx:1.27", "Labels": {}, "State": state} | more


def event(container_id: str, action: str, time_ns: int, name: str = "web", **attributes: str) -> dict[str, Any]:
    """As docker streams it."""
    said = {"image": "nginx:1.27", "name": name, "a.label": "x"} | attributes
    return {
        **{"status": action, "id": container_id, "from": "nginx:1.27", "Type": "container", "Action": action},
        **{"Actor": {"ID": container_id, "Attributes": said}, "scope": "local"},
        **{"time": time_ns // 10**9, "timeNano": time_ns},
    }


class FakeEngine(ThreadingUnixStreamServer):
    """Answers GET /version and /containers/json as Docker does. hangs: takes requests and says nothing;
    trickles: answers, a byte at a time. raw: sent in place of an answer, headers and all, but for the version;
    raw_version: for the version; calls_itself: the header Server; sent_bytes: how much of either was taken. hangs_up:
    nobody hears its events."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.address = f"unix://{path}"
        self.containers: Any = []
        self.state_of_a: dict[str, Any] = {}
        self.pids: dict[str, Any] = {}  # of the others
        self.status = 200
        self.pause_s = 0.0
        self.hangs = self.trickles = False
        self.released = threading.Event()
        self.asked: list[str] = []
        self.product = "Engine"
        self.calls_itself = "Fake/1.0"
        self.raw: Iterable[bytes] | None = None
        self.raw_version: Iterable[bytes] | None = None
        self.sent_bytes = 0
        self.events: list[dict[str, Any]] = []
        self.since: list[str | None] = []  # which each that listened has asked for
        self.listeners = 0
        self.is_cut_off = self.hangs_up = False
        self.raw_events: Iterable[bytes] | None = None
        self.execs: dict[str, dict[str, Any]] = {}
        super().__init__(str(path), _Handler)

    def listing(self, query: dict[str, list[str]]) -> Any:
        if self.status != 200:
            return {"message": "the store\n is \x1b[31mbroken"}
        ids = json.loads(query["filters"][0])["id"] if "filters" in query else [""]
        assert query["all"] == ["1"]
        if not isinstance(self.containers, list):
            return self.containers
        return [item for item in self.containers if any(item["Id"].startswith(wanted) for wanted in ids)]


class _Handler(BaseHTTPRequestHandler):
    server: FakeEngine

    def version_string(self) -> str:
        return self.server.calls_itself

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/events":
            self._stream(parse_qs(url.query))
            return
        self.server.asked.append(url.path)
        if self.server.hangs:
            self.server.released.wait(60)
            self.close_connection = True
            return
        time.sleep(self.server.pause_s)
        is_version = url.path.removeprefix("/v1.41") == "/version"
        raw = self.server.raw_version if is_version else self.server.raw
        if raw is not None:
            self._send_raw(raw)
        elif is_version:
            self._answer({"ApiVersion": "1.41", "Components": [{"Name": self.server.product}]}, 200)
        elif url.path.startswith("/exec/"):
            found = self.server.execs.get(url.path.split("/")[-2])
            self._answer(found or {"message": "no such exec"}, 200 if found else 404)
        elif url.path.endswith(f"/containers/{A}/json"):
            self._answer({"Id": A, "State": self.server.state_of_a}, 200)
        elif url.path.endswith("/json") and url.path.removeprefix("/v1.41") != "/containers/json":
            self._answer({"State": {"Pid": self.server.pids.get(url.path.split("/")[-2], 0)}}, 200)
        else:
            assert url.path.removeprefix("/v1.41") == "/containers/json"
            self._answer(self.server.listing(parse_qs(url.query)), self.server.status)

    def _stream(self, query: dict[str, list[str]]) -> None:
        assert json.loads(query["filters"][0]) == {"type": ["container"]}
        self.close_connection = True
        self.server.since.append(query.get("since", [None])[0])
        if self.server.hangs:
            self.server.released.wait(60)
            return
        if self.server.hangs_up:
            return
        if self.server.raw_events is not None:
            self._send_raw(self.server.raw_events)
            return
        since = self.server.since[-1]
        since_ns = time.time_ns() if since is None else int(since.replace(".", ""))
        before = [event for event in self.server.events if event["timeNano"] < since_ns]
        self.server.listeners += 1  # what happens from here on is heard
        try:
            self.connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            self._stream_on(len(before))
        except OSError:
            pass
        finally:
            self.server.listeners -= 1

    def _stream_on(self, sent: int) -> None:
        while not self.server.released.is_set() and not (self.server.is_cut_off or self.server.hangs_up):
            for event in self.server.events[sent:]:
                line = json.dumps(event).encode() + b"\n"
                self.connection.sendall(b"%x\r\n%s\r\n" % (len(line), line))
                sent += 1
            time.sleep(0.01)

    def _send_raw(self, raw: Iterable[bytes]) -> None:
        self.close_connection = True
        with suppress(OSError):
            for part in raw:
                self.connection.sendall(part)
                self.server.sent_bytes += len(part)

    def _answer(self, what: Any, status: int) -> None:
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for part in map(bytes, zip(body)) if self.server.trickles else [body]:
            time.sleep(0.01 if self.server.trickles else 0)
            self.wfile.write(part)

    def log_message(self, *_args: Any) -> None:
        pass


@contextmanager
def serving(path: Path) -> Iterator[FakeEngine]:
    """An engine on this socket, until the end."""
    server = FakeEngine(path)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
