"""How nstrace gets to a server: credentials files, and what is never said in the clear."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, wait_for
from credentials import Operator
from publishing import Recorder
from recordings import storm
from servers import Nats, Process, needs_server

from tracer.errors import NstraceError
from tracer.fleet.access import Files, access_of


def nstrace(*words: object) -> tuple[int, str]:
    """The exit code of a command, and all that it writes."""
    line = [sys.executable, "-m", "tracer", "fleet", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=60)
    return done.returncode, done.stdout + done.stderr


class OfOperator(Nats):
    """A server with an operator, an account, and a user who may do anything."""

    def __init__(self, folder: Path) -> None:
        self.operator = Operator(folder)
        self.creds = self.operator.user("all")
        super().__init__(folder, options=("-c", str(self.operator.config)), files=Files(credentials=self.creds))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OfOperator]:
    made = OfOperator(tmp_path)
    try:
        made.make_streams()
        yield made
    finally:
        made.close()


@needs_server
def test_credentials(tmp_path: Path, server: OfOperator) -> None:
    """Every command gets in with them, and root's files are not read after root was given up."""
    (tmp_path / "spool").mkdir(0o700)
    Recorder(tmp_path / "spool").take(storm(1, 10))
    with_creds = ("--nats", server.urls, "--creds", str(server.creds))
    server.creds.chmod(0o600)
    assert nstrace("init", *with_creds)[0] == 0
    publisher = Process(
        tmp_path / "log", "fleet", "publish", *with_creds, "--from", str(tmp_path / "spool"), "--host", "web1"
    )
    follower = Process(tmp_path / "followed", "fleet", "follow", *with_creds)
    try:
        follower.start()
        publisher.start()
        wait_for(lambda: len(server.messages()) > 0)
        assert "web1" in nstrace("hosts", *with_creds)[1]
        assert "Traceback" not in follower.said() and "unexpected" not in follower.said()
        assert publisher.end() == follower.end() == 0
    finally:
        publisher.close()
        follower.close()


@needs_server
def test_wrong_credentials(tmp_path: Path, server: OfOperator) -> None:
    (tmp_path / "other").mkdir()
    stranger = Operator(tmp_path / "other").user("stranger")
    code, said = nstrace("hosts", "--nats", server.urls, "--creds", stranger)
    assert code == 1 and "does not let us in" in said
    code, said = nstrace("hosts", "--nats", server.urls)
    assert code == 1 and "does not let us in" in said


@needs_server
def test_what_credentials_do_not_permit(tmp_path: Path, server: OfOperator) -> None:
    """It is said, and no server is waited for."""
    (tmp_path / "spool").mkdir()
    Recorder(tmp_path / "spool").take(storm(1, 10))
    creds = server.operator.user("silent", denied="nstrace.>")
    code, said = nstrace(
        "publish", "--nats", server.urls, "--creds", creds, "--from", tmp_path / "spool", "--host", "web1"
    )
    assert code == 1 and "permissions violation" in said.lower() and "what they permit" in said


@pytest.mark.parametrize("text", ["no credentials", "-----BEGIN NATS USER JWT-----\neyJ0\n", "\n"])
def test_what_are_no_credentials(text: str, tmp_path: Path) -> None:
    (tmp_path / "creds").write_text(text)
    with pytest.raises(NstraceError, match="creds"):
        access_of("nats://127.0.0.1", Files(credentials=tmp_path / "creds"))


@pytest.mark.parametrize("words", [("--nats", "tls://{}"), ("--nats", "nats://{}", "--tls-ca", "{ca}")])
def test_nothing_is_said_in_the_clear(words: tuple[str, ...], tmp_path: Path) -> None:
    """Where TLS is asked for, to a server that has none: it would read the token."""
    (tmp_path / "token").write_text("open-sesame\n")
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"

        def serve() -> None:
            connected, _address = listener.accept()
            with connected:
                info = {"server_id": "x", "version": "2.9.0", "max_payload": 1 << 20, "auth_required": True}
                connected.sendall(b"INFO %b\r\n" % json.dumps(info).encode())
                while data := connected.recv(1 << 16):
                    heard.append(data)

        thread = threading.Thread(target=serve)
        thread.start()
        ca = "/etc/ssl/certs/ca-certificates.crt"
        code, said = nstrace(
            "hosts", *(word.format(address, ca=ca) for word in words), "--token-file", tmp_path / "token"
        )
        thread.join(30)
    assert code == 1 and "does not encrypt" in said
    assert heard == []


@needs_server
def test_init_leaves_what_is_not_said(tmp_path: Path) -> None:
    """A stream of three replicas does not become one of one by an option about something else."""
    servers = Nats(tmp_path, 3)
    try:
        servers.make_streams(replicas=3)
        code, said = nstrace("init", "--nats", servers.urls, "--keep", "3h", "--max-bytes", "1GB")
        assert code == 0 and "nstrace-events is as it should be: 3 replicas, kept for 3 h, at most 1 GB" in said
        code, said = nstrace("init", "--nats", servers.urls)
        assert code == 0 and "3 replicas, kept for 3 h, at most 1 GB" in said
        assert "nstrace-alive is as it should be: 3 replicas, kept for ever" in said
    finally:
        servers.close()
