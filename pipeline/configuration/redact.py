"""Secrets out of everything that is shown, logged or stored."""

import re

HIDDEN = "***"
# scheme://user:password@host and scheme://token@host
_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s@'\"]+@")
# ?token=..., &password=..., api_key: ..., whatever the case; in the query of an address or as a key of its own
_NAMED = re.compile(
    r"(?P<name>[A-Za-z_]*(?:token|password|passwd|secret|api[_-]?key|access[_-]?key|credential)[A-Za-z_]*['\"]?\s*[=:]\s*['\"]?)"
    r"(?P<value>[^\s&'\",;}]+)",
    re.IGNORECASE,
)
_KEEP = ("null", "none", "true", "false", HIDDEN)


def redact(text: str) -> str:
    """Return `text` with the credentials in addresses and the values of keys named like a secret replaced by ``***``.

    Interpolations such as ``${oc.env:TOKEN}`` stay: they name a secret, they do not hold it.
    """
    text = _CREDENTIALS.sub(lambda match: f"{match['scheme']}{HIDDEN}@", text)
    return _NAMED.sub(_hide_value, text)


def _hide_value(match: re.Match[str]) -> str:
    value = match["value"]
    if value.lower() in _KEEP or value.startswith("${"):
        return match[0]
    return f"{match['name']}{HIDDEN}"
