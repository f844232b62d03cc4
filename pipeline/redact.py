"""Removes secrets from everything that is shown, logged or stored, and control characters from what
a terminal shows.
"""

import html
import json
import os
import re
from bisect import bisect_left
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from cnn_core.plain_text import controls

HIDDEN = "***"
# An address ends at whitespace, or where another begins after a sign that separates the two. What
# follows its scheme up to the last @ is user information, whatever is in it: passwords are typed
# with slashes, quotes and at signs, and every driver takes them. Without a host (sqlite:///) there
# is none.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:(?://|\\/\\/)(?![/\\])")
_ADDRESS_END = re.compile(r"\s|[,;|(\[{<>\"'][A-Za-z][A-Za-z0-9+.-]{1,30}://")
_WHOLE_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://")
_QUOTED_SCHEME = re.compile(r"%3A%2F%2F(?!%2F)", re.IGNORECASE)
_QUOTED_END = re.compile(r"[\s&]")
# What only looks like an address, since it is misspelt: user:password@host behind any slashes, or
# none. Bounded, so that a long text of colons or slashes takes no longer than its length.
_ALMOST_ADDRESS = re.compile(
    r"(?P<before>(?:[A-Za-z][\w+.-]{0,30}:)?(?:[/\\]|\\?\\u002f|%2f){0,12}[\w.~%+-]{0,64}:)"
    r"(?P<secret>(?![/\\]|%2f)\S{1,512})@(?=[\w\[])",
    re.IGNORECASE,
)
_SECRET_WORD = (
    r"(?:token|password|passwd|passphrase|pwd|secret|credential|authorization|signature"
    r"|(?:api|access|private|account|shared)[_-]?key)"
)
# password=..., "api_key": ..., Authorization: Bearer ...; a quoted value to its closing quote, any
# other to whitespace or the next part of a query, without the sign that closes a sentence
_NAMED = re.compile(
    rf"(?P<name>(?:{_SECRET_WORD}[\w-]{{0,40}}\\?['\"]?|['\"](?:pass|pw)\\?['\"])"
    r"\s*(?:=|:(?!//)|%3D)\s*(?:(?:bearer|basic|digest|token|api-?key|negotiate)\s+)?)"
    r"(?P<value>\$\{[^{}]*\}|\"(?:\\.|[^\"\\])+\"[^\s&,;)\]}]*|'(?:''|\\.|[^'\\])+'[^\s&,;)\]}]*"
    r"|\\\"(?:(?!\\\").)+\\\"|[^\s&]*[^\s&,;:.)\]}'\"\\]|[^\s&]+)",
    re.IGNORECASE,
)
_SIGNED = re.compile(r"(?P<name>[?&;](?:sig|key|auth|pass|pw)=)(?P<value>[^\s&]+)", re.IGNORECASE)
_BEARER = re.compile(r"(?P<name>\bbearer\s+)(?P<value>(?=\S*\d|\S{16})\S+)", re.IGNORECASE)
_OPTION = re.compile(
    rf"(?P<name>--[\w-]{{0,40}}{_SECRET_WORD}[\w-]{{0,40}}\s+|\b(?:set-)?cookie\s*:\s*)"
    r"(?P<value>[^\s;]+)",
    re.IGNORECASE,
)
_QUERY = re.compile(
    rf"[?&;](?:{_SECRET_WORD}[\w-]{{0,40}}|sig|key|auth|pass|pw)=(?P<value>[^&]+)", re.IGNORECASE
)
_ENVIRONMENT_NAME = re.compile(
    r"TOKEN|PASSWORD|PASSWD|PASSPHRASE|SECRET|(?:API|ACCESS|PRIVATE)_?KEY", re.IGNORECASE
)
_INTERPOLATION = re.compile(r"\$\{oc\.env:(?P<name>[^,{}]*)(?P<default>,[^{}]*)?\}")
_SHORTEST = 6  # of a secret that is hidden wherever it stands: shorter ones occur in ordinary text
_SHORTEST_WORD = 10  # of a password of letters alone: postgres and mlflow are words of their own
_KEEP = ("null", "none", "true", "false", HIDDEN)

_remembered: dict[str, None] = {}


def redact(text: str) -> str:
    """Return `text` with each secret in it replaced by ``***``: the only such function.

    Secrets are the user information of addresses (up to the last @), what stands between a colon
    and an @ elsewhere, since addresses are mistyped, the values of keys named like a secret, what
    the environment holds under such a name (MLFLOW_TRACKING_TOKEN), and passwords of addresses that
    were given to `remember`. Interpolations such as ``${oc.env:TOKEN}`` stay: they name a secret
    but do not contain it.
    """
    for secret in _known_secrets():
        text = text.replace(secret, HIDDEN)
    if "@" in text or "%40" in text:
        text = _without_users(text, _SCHEME, "@", _ADDRESS_END)
        text = _without_users(text, _QUOTED_SCHEME, "%40", _QUOTED_END)
        text = _ALMOST_ADDRESS.sub(rf"\g<before>{HIDDEN}@", text)
    for pattern in (_NAMED, _BEARER, _OPTION, _SIGNED):
        text = pattern.sub(_hide_value, text)
    return text


def _without_users(text: str, scheme: re.Pattern[str], at: str, end: re.Pattern[str]) -> str:
    """Return `text` without what stands between a scheme and the last `at` before an `end`, looking
    at each character a few times only: anybody may have written it.
    """
    ends = [found.start() for found in end.finditer(text)]
    parts, done, nothing_before = [], 0, 0
    for found in scheme.finditer(text):
        begin = found.end()
        if begin < max(done, nothing_before):  # inside what is hidden, or no `at` follows
            continue
        place = bisect_left(ends, begin)
        stop = ends[place] if place < len(ends) else len(text)
        last = text.rfind(at, begin, stop)
        nothing_before = stop
        if last >= 0:
            parts += [text[done:begin], HIDDEN]
            done = last
    return "".join([*parts, text[done:]])


def redacted(value: Any, name: str = "") -> Any:
    """Return a tree of mappings and lists with the secrets in its texts hidden; `name`: its key,
    which may say that all of it is one.
    """
    if isinstance(value, Mapping):
        return {key: redacted(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item, name) for item in value]
    if not isinstance(value, str):
        return value
    if re.search(_SECRET_WORD, name, re.IGNORECASE) and not value.startswith("${"):
        return value if value.lower() in _KEEP else HIDDEN
    return redact(value)


def shown(text: str) -> str:
    """Return `text` as a terminal may show it: redacted, with control characters (and those that
    reverse the direction of writing) written as Python does, but for tabs and ends of lines.
    """
    return visible(redact(text))


def visible(text: str) -> str:
    """Return `text` with its control characters written out, such as ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(_escaped(sign) if controls(sign) else sign for sign in text)


def remember(address: str) -> None:
    """Hide the password of an address from now on wherever it occurs: drivers repeat it decoded,
    quoted or alone. `address` is a whole text that ends with the address.
    """
    if "://" not in address:
        return
    for secret in (*_passwords(address), *_in_query(address)):
        _remembered[secret] = None


def _hide_value(match: re.Match[str]) -> str:
    value = match["value"]
    inner = value.strip("'\"\\")
    if inner.lower() in _KEEP:
        return match[0]
    if (found := _INTERPOLATION.fullmatch(inner)) is not None:
        default = f",{HIDDEN}" if found["default"] else ""
        return f"{match['name']}${{oc.env:{found['name']}{default}}}"
    mark = value[0] if value[0] in "'\"" and value[-1] == value[0] and len(value) > 1 else ""
    return f"{match['name']}{mark}{HIDDEN}{mark}"


def _known_secrets() -> list[str]:
    """Return every form of the secrets of this process, the longest first."""
    found: set[str] = set()
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and _names_secret(name):
            found.update(_forms(value))
        elif "@" in value and _WHOLE_ADDRESS.match(value):
            for secret in _passwords(value):
                found.update(_forms(secret))
    for secret in list(_remembered):
        found.update(_forms(secret))
    return sorted(found, key=len, reverse=True)


@lru_cache(maxsize=4096)
def _names_secret(name: str) -> bool:
    return _ENVIRONMENT_NAME.search(name) is not None


@lru_cache(maxsize=1024)
def _passwords(address: str) -> tuple[str, ...]:
    """Return the password of an address where it is long enough to be told from ordinary words."""
    user = address.partition("://")[2].rpartition("@")[0]
    if user.startswith("/"):  # sqlite:///: a path
        return ()
    secret = user.partition(":")[2] or user
    return (secret,) if _is_long(secret) else ()


def _in_query(address: str) -> list[str]:
    """Return the secrets of an address's query, with the blanks that are in them."""
    found = (match["value"].strip("'\" ") for match in _QUERY.finditer(address))
    return [secret for secret in found if _is_long(secret)]


def _is_long(secret: str) -> bool:
    """Tell a secret that would not be taken for an ordinary word."""
    long = len(secret) >= (_SHORTEST_WORD if secret.isalpha() else _SHORTEST)
    return long and HIDDEN not in secret and "${" not in secret


@lru_cache(maxsize=1024)
def _forms(secret: str) -> frozenset[str]:
    """Return the ways in which a secret is written in addresses, JSON, YAML, shells and HTML."""
    plain = {secret, secret.strip(), unquote(secret), unquote_plus(secret)}
    written = {
        form
        for text in plain
        for form in (
            text,
            quote(text),
            quote(text, safe=""),
            quote_plus(text),
            json.dumps(text)[1:-1],
            json.dumps(text, ensure_ascii=False)[1:-1],
            repr(text)[1:-1],
            text.replace("'", "''"),
            text.replace("'", "\\'"),
            text.replace("'", "'\"'\"'"),
            html.escape(text),
        )
    }
    return frozenset(form for form in written if len(form) >= _SHORTEST)


def _escaped(sign: str) -> str:
    return sign if sign in "\n\t" else sign.encode("unicode_escape").decode("ascii")
