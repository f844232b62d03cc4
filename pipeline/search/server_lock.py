"""One coordinator a study where the study lies on a database server: the server's own lock, dropped with the connection."""

import hashlib

from sqlalchemy import Connection, Engine, text

from cnn_core.errors import InputError


def hold(engine: Engine, study: str) -> Connection | None:
    """Take a study for as long as the returned connection lives. Raises InputError when another coordinator, anywhere, has it.

    The folder's lock cannot see a coordinator with another root. Returns None for a server without advisory locks.
    """
    if engine.dialect.name != "postgresql":
        return None
    number = int.from_bytes(hashlib.sha256(f"cnn-sweep {study}".encode()).digest()[:8], "big", signed=True)
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    if not connection.execute(text("select pg_try_advisory_lock(:number)"), {"number": number}).scalar():
        connection.close()
        raise InputError(f"study {study!r}: one sweep at a time may own a study, got a second while another runs it on the same database")
    return connection
