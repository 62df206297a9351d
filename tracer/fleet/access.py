"""How to get to a server: addresses, certificates and secrets. What stands in files is read here, by whoever may; the
process that speaks to the server has none of the files."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tracer.errors import ExitCode, NstraceError

_SCHEMES = {"nats": 4222, "tls": 4222}
_MAX_SECRET_BYTES = 1 << 16


@dataclass(frozen=True)
class Files:
    """The files of an access; None: there is none. ca: certificates that the server's is signed with; cert, key: our
    own; credentials: as NATS has them (JWT and seed); token: a line."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    credentials: Path | None = None
    token: Path | None = None


@dataclass(frozen=True)
class Access:
    """servers: "nats://HOST:PORT", to be tried in this order. Secrets do not appear where it is printed."""

    servers: tuple[str, ...]
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    credentials: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The servers, for people."""
        return ", ".join(self.servers)


def access_of(urls: str, files: Files) -> Access:
    """The access to the servers of these URLs, separated by commas. Raises NstraceError."""
    servers = tuple(_server(url.strip()) for url in urls.split(",") if url.strip())
    if not servers:
        raise NstraceError("no server is named", "for example --nats nats://127.0.0.1:4222", ExitCode.USAGE)
    is_tls = files.ca or files.cert or any(server.startswith("tls:") for server in servers)
    return Access(
        servers,
        _context(files) if is_tls else None,
        secret_in(files.credentials) if files.credentials else "",
        secret_in(files.token).strip() if files.token else "",
    )


def _server(url: str) -> str:
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.path.strip("/") or parts.query:
        raise NstraceError(f"{_shown(url)} is not the address of a server", "nats://HOST:PORT or tls://HOST:PORT",
                           ExitCode.USAGE)  # fmt: skip
    if parts.username is not None or parts.password is not None:
        hint = "everyone can read it there: --creds FILE or --token-file FILE"
        raise NstraceError("a secret does not belong on a command line", hint, ExitCode.USAGE)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or _SCHEMES[parts.scheme]}"


def _shown(url: str) -> str:
    """The URL without what may be a secret in it."""
    return url.rpartition("@")[2]


def _context(files: Files) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=files.ca)
        if files.cert:
            context.load_cert_chain(files.cert, files.key)
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(str(path) for path in (files.ca, files.cert, files.key) if path)
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NstraceError(f"{names} cannot be used for TLS: {why}", "they have to be PEM files") from error
    return context


def secret_in(path: Path) -> str:
    """The text of a file. Raises NstraceError."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SECRET_BYTES)
    except OSError as error:
        raise NstraceError(f"{path} cannot be read: {error.strerror}", "name a file that you may read") from error
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise NstraceError(f"{path} is no text", "name the file with the token or the credentials") from error
    if not text.strip():
        raise NstraceError(f"{path} is empty", "name the file with the token or the credentials")
    return text
