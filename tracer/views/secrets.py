"""Environment variables whose value looks secret are masked. Pure."""

from __future__ import annotations

import re

MASK = "****"

_NAME = re.compile(
    r"pass|pwd\Z|passphrase|secret|token|key(?!board|map|_?name|code|s?_?file\Z)|credential|auth(?!or)|private"
    r"|cookie|session_?id|signature|salt|dsn\Z|connection_?string|webhook|(?:^|_)(?:pw|pin|otp|jwt|sas)\Z",
    re.IGNORECASE,
)
# Values that are recognised as secret by themselves: keys in PEM, JWTs, tokens with a known beginning.
_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\beyJ[\w-]{8,}\.[\w-]{8,}\.|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\b(?:gh[opsur]_|github_pat_|glpat-|xox[abprs]-|sk-|sk_live_|npm_|hf_)[\w-]{10,}"
)
# Repetitions are bounded: the values are not trusted.
_URL_PASSWORD = re.compile(r"(://[^\s/@:]{0,256}):[^\s/@]{1,1024}@")  # scheme://user:password@host
_URL_PARAMETER = re.compile(
    r"([?&;](?:[\w-]{0,32}(?:pass|secret|token|key|sig)[\w-]{0,32}|auth)=)[^&;\s]+", re.IGNORECASE
)
_NEVER = frozenset({"PWD", "OLDPWD", "SSH_AUTH_SOCK"})


def masked(name: str, value: str) -> str:
    """The value, or as much of it as may be shown."""
    if not value or name in _NEVER:
        return value
    if _NAME.search(name) or _VALUE.search(value):
        return MASK
    return _URL_PARAMETER.sub(rf"\1{MASK}", _URL_PASSWORD.sub(rf"\1:{MASK}@", value))
