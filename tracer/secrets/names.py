"""Names of variables, options and members whose value is secret. Pure."""

from __future__ import annotations

import re

_CERTAIN = re.compile(
    r"(?<!by)(?<!com)(?<!sur)pass(?!ive|enger|through|[_-]?thru|age|ing)|pwd\Z|bearer|secret|token(?!i[sz])|passwd"
    r"|credential|creds?(?:\Z|[_.-])|api[_-]?key|access[_-]?key|account[_-]?key|authorization|authtok|connection[_-]?str"
    r"|cookie|session[_-]?id|webhook|dsn\Z|(?:^|[_.-])(?:pin|otp|jwt|sas|pat|psk)\Z|pw\Z"
    r"|pswd|mnemonic|seed[_-]?phrase|hmac|snmp[_-]?community",
    re.IGNORECASE,
)
_LIKELY = re.compile(
    r"(?<!mon)(?<!don)(?<!tur)(?<!hoc)key(?!board|map|_?name|code|ring|space|stroke|word|cloak)|auth(?!or)|private"
    r"|signature|(?:^|[_.-])sig\Z|salt(?!stack)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(
    r"(?:max|min|num|n|new)[_-]?tokens\Z|^(?:no|with|without|use|enable|disable|allow|require|skip|show|ask|prompt)[_-]"
    r"|[_.-](?:type|mode|method|enabled|length|size|ttl|timeout|policy|name|host|port|user|username|stdin|prompt)\Z",
    re.IGNORECASE,
)
_OF_FILE = re.compile(r"(?:file|path|dir)\Z", re.IGNORECASE)
# A path with an extension that keys and settings have: where a secret is, not what it is.
_PATH = re.compile(
    r"(?:~|\.{1,2})?/[\w./@+-]{1,255}\.(?:pem|key|crt|cer|der|csr|pub|json|ya?ml|txt|p12|pfx|jks|conf|ini|asc|gpg|env)\Z"
)
_IS_SETTING = re.compile(r"(?:[0-9]{1,4}(?:[.,][0-9]{1,4}){0,3}|true|false|yes|no|on|off|none)\Z", re.IGNORECASE)
_NEVER = frozenset({"PWD", "OLDPWD", "SSH_AUTH_SOCK", "SSH_ASKPASS", "GIT_ASKPASS", "SUDO_ASKPASS"})
_MAX_NAME = 256


def is_certain(name: str) -> bool:
    """Whether the name says of its value that it is secret, and hardly ever anything else."""
    return _is_named(name, _CERTAIN)


def is_secret(name: str, value: str) -> bool:
    """Whether this value is secret, by its name."""
    if not value or not (is_certain(name) or (_is_named(name, _LIKELY) and not _IS_SETTING.match(value))):
        return False
    return not _PATH.match(value) and not (_OF_FILE.search(name) and "/" in value)


def _is_named(name: str, rule: re.Pattern[str]) -> bool:
    name = name[-_MAX_NAME:]
    return bool(rule.search(name)) and name not in _NEVER and not _NO_SECRET.search(name.lstrip("-"))
