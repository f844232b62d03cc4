"""Which Dask scheduler is trusted: both sides unpickle, and so run, what they receive.

One that TLS proves to be known, or that this process has started: a port of this machine may be any
user's.
"""

import contextlib
import socket
from typing import Any
from urllib.parse import urlsplit

import psutil

from cnn_core.errors import InputError
from pipeline.configuration.sections import SlotSettings
from pipeline.redact import redact


def security_of(settings: SlotSettings) -> Any:
    """Return what a client must connect with, None within this machine. Raises InputError for a
    scheduler that is not trusted.
    """
    from distributed import Security

    got = redact(settings.address or "")
    try:
        parts = urlsplit(settings.address or "")
        port = parts.port
    except ValueError:
        raise InputError(f"slots.address: must be tls://host:port, got {got}") from None
    if parts.scheme == "tls":
        if not (settings.tls_ca and settings.tls_cert and settings.tls_key):
            raise InputError(
                f"slots.tls_ca, tls_cert, tls_key: must be given with a tls address, got {got}"
            )
        return Security(  # type: ignore[no-untyped-call]
            tls_ca_file=settings.tls_ca,
            tls_client_cert=settings.tls_cert,
            tls_client_key=settings.tls_key,
            require_encryption=True,
        )
    if parts.scheme != "tcp" or not _is_ours(parts.hostname or "", port or 0):
        raise InputError(
            "slots.address: must be tls://host:port, or the tcp:// address of a scheduler that "
            f"this process has started (a LocalCluster in Python), got {got}; any other may be "
            "anybody's, and what it sends is run"
        )
    return None


def _is_ours(host: str, port: int) -> bool:
    """Tell whether this process, or one that it has started, listens at the address."""
    try:
        with socket.create_server((host, 0)):  # only this machine's addresses can be bound
            pass
    except (OSError, UnicodeError):
        return False
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            for one in process.net_connections("tcp"):
                if one.status == psutil.CONN_LISTEN and one.laddr.port == port:
                    return True
    return False
