"""How to get to a server: addresses, certificates and secrets. What stands in files is read here, by whoever may; the
process that speaks to the server has none of the files."""

from __future__ import annotations

import base64
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tracer.errors import ExitCode, NstraceError

_SCHEMES = {"nats": 4222, "tls": 4222}
_MAX_SECRET_BYTES = 1 << 16
_BLOCK = re.compile(r"-{3,} *BEGIN ([A-Z ]+?) *-{3,}\s+(\S+)")  # of a credentials file


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
class Credentials:
    """Who we are, as NATS has it: a JWT, and the seed of the key that signs for it."""

    jwt: str = field(repr=False)
    seed: str = field(repr=False)

    def signature(self, nonce: str) -> bytes:
        """What shows a server that we have the key."""
        from nkeys import from_seed

        signed: bytes = from_seed(bytearray(self.seed.encode())).sign(nonce.encode())
        return base64.b64encode(signed)


@dataclass(frozen=True)
class Access:
    """servers: "nats://HOST:PORT", to be tried in this order. tls: nothing is said to a server without it; None: a
    server may do without. Secrets do not appear where it is printed."""

    servers: tuple[str, ...]
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    credentials: Credentials | None = field(default=None, repr=False)
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
        _credentials(files.credentials) if files.credentials else None,
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


def _credentials(path: Path) -> Credentials:
    """What is in a credentials file. Raises NstraceError."""
    blocks = dict(_BLOCK.findall(secret_in(path)))
    found = Credentials(blocks.get("NATS USER JWT", ""), blocks.get("USER NKEY SEED", ""))
    try:
        found.signature("")  # which also imports what signs, while that can be read
    except ModuleNotFoundError as error:
        raise NstraceError("credentials of NATS need the library nkeys", "pip install 'nstrace[fleet]'") from error
    except Exception as error:  # nkeys raises whatever comes: ValueError, IndexError, ...
        raise NstraceError(f"{path} is no credentials file of NATS", "nsc generate creds makes one") from error
    if not found.jwt:
        raise NstraceError(f"{path} has no JWT of a user", "nsc generate creds makes a file that has")
    return found


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
