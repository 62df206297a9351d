"""A socket between nstrace and the engine of the tests, which hangs, talks rubbish or lies where that one does not."""

from __future__ import annotations

import re
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from conftest import ENGINE

_RUBBISH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n[rubbish"
Change = Callable[[bytes], bytes]


class Proxy:
    """address: for DOCKER_HOST. What it does holds from then on; `pass_on` answers those that wait, too."""

    def __init__(self, path: Path) -> None:
        self.address = f"unix://{path}"
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._open = threading.Event()
        self._change: Change = bytes
        self._is_rubbish = False
        self.pass_on()
        threading.Thread(target=self._serve, daemon=True).start()

    def pass_on(self) -> None:
        """As if it were not there."""
        self._change, self._is_rubbish = bytes, False
        self._open.set()

    def hang(self) -> None:
        """Take questions and say nothing."""
        self._open.clear()

    def talk_rubbish(self) -> None:
        """Answer what no engine does."""
        self._is_rubbish = True

    def lie(self, pattern: bytes, answer: bytes) -> None:
        """Put something of at most that length in the place of what its answers say."""
        self._change = lambda piece: re.sub(pattern, lambda found: answer.ljust(len(found[0])), piece)

    def close(self) -> None:
        self.pass_on()
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=[self._listener.accept()[0]], daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        engine = socket.socket(socket.AF_UNIX)
        with client, engine, suppress(OSError):
            engine.connect(ENGINE.removeprefix("unix://"))
            while True:
                readable, _, _ = select.select([client, engine], [], [])
                piece = readable[0].recv(1 << 20)
                if not piece:
                    return
                if readable[0] is engine:
                    client.sendall(self._change(piece))
                elif self._is_rubbish:
                    client.sendall(_RUBBISH)
                    return
                else:
                    self._open.wait()
                    engine.sendall(piece)


@contextmanager
def proxy_to_engine(path: Path) -> Iterator[Proxy]:
    """Until the end."""
    proxy = Proxy(path)
    try:
        yield proxy
    finally:
        proxy.close()
