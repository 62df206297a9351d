"""Secrets in any text: what is assigned to a secret's name, passwords in URLs, tokens that show by their form. Pure.

Forms come from two lists: detect-secrets' plugins, which others maintain, and those below that it does not have. All
patterns have bounded repetitions, and begin where a word does: the text is a stranger's, and must not cost time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from tracer.secrets.names import is_certain, is_secret
from tracer.secrets.spans import MASK, Span, covered, merged

_PRIVATE_KEY = re.compile(
    r"(?:-----BEGIN[A-Z0-9 ]{0,40} PRIVATE KEY|PuTTY-User-Key-File-\d|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY)"
    r"(?s:.*?)(?:-----END[A-Z0-9 ]{0,40}-----|\Z)"
)
# name = value, name: value, "name": "value", and with the quotes of a text in a text: \"name\": \"value\".
_ASSIGNED = re.compile(
    r"""(?<![\w.$/-])(?P<name>-{0,2}[A-Za-z_$][\w.$-]{0,255})(?P<quote>\\{0,3}["']?)"""
    r"""(?P<sign>\s{0,3}(?::=|=>|[=:])\s{0,3})(?P<opening>\\{0,3}["'])?"""
)
_PLAIN = re.compile(r"""(?:[^\s&;,"'<>]|[&;,](?=[^\s&;,"'<>=]{1,64}(?:[\s&;,"'<>]|\Z)))+""")
_JSON_PLAIN = re.compile(r"[^\s,}\]]+")
_HEADER = re.compile(r"""[^\n"']+""")
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,31})?://[^\s/:\"'<>]{0,256}:(?P<password>(?:(?!://)[^\s\"'<>]){1,1024})@"
)
_URL_USER = re.compile(r"://(?P<user>[\w.~%+-]{16,512})(?=@|:[^\s@]{0,512}@)")
_PORT = re.compile(r"\d{1,5}/")
_SCHEME = re.compile(r"\b(?:Bearer|Basic|Token|Digest) {1,3}(?P<value>[\w.~+/=-]{8,4096})", re.IGNORECASE)
_HOOK = re.compile(
    r"(?:hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)|discord(?:app)?\.com/api/webhooks"
    r"|\.webhook\.office\.com/webhookb2|api\.telegram\.org/bot|hooks\.zapier\.com/hooks/catch)/?(?P<path>[\w/:.~%+@-]{1,1024})"
)
# netrc(5), and SQL's IDENTIFIED BY 'x', WITH PASSWORD 'x'
_SPOKEN = re.compile(
    r"\b(?:login\s{1,8}\S{1,256}\s{1,8}password\s{1,8}(?P<netrc>\S+)"
    r"|(?:identified\s{1,8}(?:with\s{1,8}\w{1,64}\s{1,8})?by|password)\s{1,8}'(?P<sql>[^']+)')",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    r"hv[sbr]\.[\w-]{16,}|s\.[A-Za-z0-9]{24}(?!\w)|AIza[\w-]{30,}|ya29\.[\w-]{16,}|GOCSPX-[\w-]{16,}"
    r"|gh[opsur]_[A-Za-z0-9]{16,}|github_pat_\w{10,}|gl(?:pat|dt|ft|soat|rt|cbt|ptt|agent|oas|imt|ffct)-[\w-]{16,}|xox[a-z](?:\.xox[a-z])?-[\w-]{8,}|xapp-[\w-]{8,}"
    r"|sk-[\w-]{16,}|[rsp]k_(?:live|test)_\w{10,}|whsec_\w{16,}|npm_[A-Za-z0-9]{16,}|hf_[A-Za-z0-9]{16,}|do[opr]_v1_\w{16,}"
    r"|shp(?:at|ca|pa|ss)_\w{16,}|dckr_[po]at_[\w-]{16,}|AGE-SECRET-KEY-1\w{16,}|tskey-[\w-]{10,}|NRAK-\w{16,}"
    r"|sntry[su]_[\w+/=-]{16,}|PMAK-[\w-]{16,}|lin_api_\w{16,}|figd_[\w-]{16,}|pul-\w{32,}|rubygems_\w{32,}|dapi[0-9a-f]{32}"
    r"|gl(?:sa|c)_[\w+/=]{20,}|EAA[A-Za-z0-9]{40,}|AT[AC]TT3[\w=-]{20,}|ATBB\w{20,}|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"
    r"|SG\.[\w-]{16,}\.[\w-]{16,}|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*){0,3}|pypi-[\w-]{20,}|key-[0-9a-f]{32}"
    r"|sq0(?:csp|atp|idp)-[\w-]{16,}|ops_eyJ[\w-]{16,}|(?:IQoJb3JpZ2lu|FwoGZXIvYXdz)[\w/+=]{20,})"
)
_RUN = re.compile(r"[A-Za-z0-9_-]{12,}")
_SHORTEST = 12
_WINDOW, _OVERLAP = 4096, 512
# Those of these take time that grows with the square of the text, or take a whole line: ours are bounded.
_NOT_THEIRS = ("basic_auth", "jwt", "npm", "openai", "private_key", "ip_public")


def masked(name: str, value: str) -> str:
    """The value of a variable, or as much of it as may be shown."""
    if is_secret(name, value):
        return MASK
    return covered(value, merged(spans(value)))


def load() -> None:
    """Import what is imported at the first question: before files are out of reach."""
    _theirs()


def spans(text: str) -> Iterator[Span]:
    """The secrets in a text."""
    if "PRIVATE KEY" in text or "PuTTY" in text:
        yield from (match.span() for match in _PRIVATE_KEY.finditer(text))
    if "=" in text or ":" in text:
        yield from _assigned(text)
        if "://" in text:
            yield from _in_urls(text)
        yield from (match.span("path") for match in _HOOK.finditer(text))
    if " " in text:
        yield from (match.span(match.lastgroup or 0) for match in _SPOKEN.finditer(text))
        yield from (match.span("value") for match in _SCHEME.finditer(text) if _is_mixed(match["value"]))
    if (len(text) >= _SHORTEST and any(map(_is_mixed, _RUN.findall(text)))) or "xox" in text:
        yield from (match.span() for match in _TOKEN.finditer(text))
        for start in range(0, max(1, len(text) - _OVERLAP), _WINDOW - _OVERLAP):
            part = text[start : start + _WINDOW]
            for pattern in _theirs():
                yield from (_bare(text, start + match.start(), start + match.end()) for match in pattern.finditer(part))


def _bare(text: str, start: int, end: int) -> Span:
    """A match without what stands around the secret: some of the patterns begin with an equals sign."""
    found = text[start:end]
    return end - len(found.lstrip(" \t=:\"'")), start + len(found.rstrip(" \t\"'"))


def _is_mixed(value: str) -> bool:
    """Whether it is no word of a language: "Basic installation"."""
    return not value.isalpha() or not (value.islower() or value.istitle())


def _assigned(text: str) -> Iterator[Span]:
    """Values behind a secret's name and = or :."""
    done = 0
    for match in _ASSIGNED.finditer(text):
        if match.start() >= done and is_secret(match["name"], text[match.end() : match.end() + 256]):
            start, done = _value(text, match)
            yield start, done


def _value(text: str, match: re.Match[str]) -> Span:
    """Where the value ends whose assignment has matched."""
    start = match.end()
    if match["opening"]:
        return start, _closing(text, start, match["opening"])
    if ":" not in match["sign"] or match["quote"]:
        return _behind(_JSON_PLAIN if match["quote"] else _PLAIN, text, start)
    if match["sign"] != ":":
        return _behind(_HEADER, text, start)
    return _behind(_PLAIN, text, start) if is_certain(match["name"]) else (start, start)


def _behind(pattern: re.Pattern[str], text: str, start: int) -> Span:
    found = pattern.match(text, start)
    return found.span() if found else (start, start)


def _closing(text: str, start: int, opening: str) -> int:
    """Where the text in quotes ends that begins at start; at the text's end where they are not closed."""
    at = text.find(opening, start)
    while at > start and len(opening) == 1 and text[at - 1] == "\\":
        at = text.find(opening, at + 1)
    return at if at >= 0 else len(text)


def _in_urls(text: str) -> Iterator[Span]:
    """Passwords in scheme://user:password@host, with @ or / in them too, and tokens in the place of the user."""
    for match in _URL.finditer(text):
        is_port = (match["scheme"] or "").lower() in ("http", "https") and _PORT.match(match["password"])
        if not is_port:
            yield match.span("password")
    yield from (match.span("user") for match in _URL_USER.finditer(text) if not match["user"].isalpha())


@cache
def _theirs() -> tuple[re.Pattern[str], ...]:
    """The patterns of detect-secrets: its import takes some 0.1 s and 17 MB."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.base import RegexBasedDetector

    found: list[re.Pattern[str]] = []
    plugins: dict[str, Any] = get_mapping_from_secret_type_to_class()
    for plugin in plugins.values():
        if issubclass(plugin, RegexBasedDetector) and plugin.__module__.rpartition(".")[2] not in _NOT_THEIRS:
            found += plugin.denylist
    return tuple(found)
