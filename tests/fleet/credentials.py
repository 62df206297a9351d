"""An operator of NATS, with an account and its users: what nsc makes."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import nkeys

_ANY = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf", "streams", "consumer"), -1)
_LIMITS = {**_ANY, "wildcards": True, "mem_storage": -1, "disk_storage": -1}


def _key(kind: int) -> nkeys.KeyPair:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), kind)))


def _name(key: nkeys.KeyPair) -> str:
    return bytes(key.public_key).decode()


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _jwt(issuer: nkeys.KeyPair, subject: nkeys.KeyPair, claims: dict[str, Any]) -> str:
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    body = {"jti": os.urandom(8).hex(), "iat": int(time.time()), "iss": _name(issuer), "sub": _name(subject)}
    text = ".".join(
        _part(json.dumps(part).encode()) for part in (head, {**body, "name": "tests", "nats": {**claims, "version": 2}})
    )
    return f"{text}.{_part(issuer.sign(text.encode()))}"


class Operator:
    """config: of a server that lets in who shows a JWT of this operator's account."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        operator, self._account = _key(nkeys.PREFIX_BYTE_OPERATOR), _key(nkeys.PREFIX_BYTE_ACCOUNT)
        system = _key(nkeys.PREFIX_BYTE_ACCOUNT)  # without one there is no JetStream
        accounts = {
            self._account: {"type": "account", "limits": _LIMITS},
            system: {"type": "account", "limits": _ANY},
        }
        known = "\n".join(f"{_name(key)}: {_jwt(operator, key, claims)}" for key, claims in accounts.items())
        self.config = folder / "server.conf"
        self.config.write_text(
            f"operator: {_jwt(operator, operator, {'type': 'operator'})}\nsystem_account: {_name(system)}\n"
            f"resolver: MEMORY\nresolver_preload: {{\n{known}\n}}\n"
        )

    def user(self, name: str, denied: str = "") -> Path:
        """The credentials file of a user of the account. denied: a subject that it may not publish to."""
        key = _key(nkeys.PREFIX_BYTE_USER)
        claims = {"type": "user", "subs": -1, "data": -1, "payload": -1}
        jwt = _jwt(self._account, key, claims | ({"pub": {"deny": [denied]}} if denied else {}))
        file = self._folder / f"{name}.creds"
        file.write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{bytes(key.seed).decode()}\n------END USER NKEY SEED------\n"
        )
        return file
