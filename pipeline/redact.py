"""Remove secrets from everything that is shown, logged or stored."""

import os
import re

HIDDEN = "***"
# scheme://user:password@host and scheme://token@host
_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s@'\"]+@")
# ?token=..., &password=..., api_key: ..., in any case; in a URL's query or as a key
_NAMED = re.compile(
    r"(?P<name>[A-Za-z_]*(?:token|password|passwd|secret|api[_-]?key|access[_-]?key|credential)[A-Za-z_]*['\"]?\s*[=:]\s*['\"]?)"
    r"(?P<value>[^\s&'\",;}]+)",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(r"TOKEN|PASSWORD|PASSWD|SECRET|API_?KEY", re.IGNORECASE)
# Least length of an environment variable's value to count as a secret: shorter ones occur in
# ordinary text.
_SHORTEST = 6
_KEEP = ("null", "none", "true", "false", HIDDEN)


def redact(text: str) -> str:
    """Return `text` with each secret in it replaced by ``***``: the only such function.

    Secrets are the credentials in URLs, the values of keys named like a secret, and whatever the
    environment holds under such a name (MLFLOW_TRACKING_TOKEN). Interpolations such as
    ``${oc.env:TOKEN}`` stay: they name a secret without holding it.
    """
    text = _CREDENTIALS.sub(lambda match: f"{match['scheme']}{HIDDEN}@", text)
    text = _NAMED.sub(_hide_value, text)
    for secret in _environment_secrets():
        text = text.replace(secret, HIDDEN)
    return text


def _hide_value(match: re.Match[str]) -> str:
    value = match["value"]
    if value.lower() in _KEEP or value.startswith("${"):
        return match[0]
    return f"{match['name']}{HIDDEN}"


def _environment_secrets() -> list[str]:
    return [
        value
        for name, value in os.environ.items()
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST
    ]
