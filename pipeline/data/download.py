"""One file from one address, by pooch, under its name only once it is verified."""

import secrets
from collections.abc import Callable
from pathlib import Path

TIMEOUT_S = 20.0  # without a byte


def download(address: str, target: Path, verify: Callable[[Path], object]) -> None:
    """Fetch `address` into `target`; `verify` raises ValueError for wrong bytes, and nothing then stays behind.

    Raises OSError where the address cannot be reached (requests' errors are OSErrors) or answers with an error.
    """
    import pooch  # and with it requests: only who downloads waits for them

    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    fetch = pooch.HTTPDownloader(progressbar=False, timeout=TIMEOUT_S)
    try:
        fetch(address, str(temporary), None)
        verify(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
