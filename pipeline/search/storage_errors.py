"""The study's database cannot be read or written: one exception with the underlying cause."""

import contextlib
from collections.abc import Iterator

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from cnn_core.errors import InputError
from pipeline.redact import redact


class StorageFailed(Exception):  # noqa: N818 - named like the other ways a sweep ends
    """The study's database cannot be read or written; the message holds the underlying cause."""


@contextlib.contextmanager
def storage_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Turn Optuna's and SQLAlchemy's database errors, or those of `kinds` alone, into StorageFailed
    with the root message.
    """
    caught = kinds or (StorageInternalError, SQLAlchemyError)
    try:
        yield
    except caught as error:
        cause: BaseException = error
        while cause.__cause__ is not None or getattr(cause, "orig", None) is not None:
            cause = cause.__cause__ or cause.orig  # type: ignore[attr-defined]
        raise StorageFailed(f"the study's database: {redact(str(cause)).strip()}") from error


@contextlib.contextmanager
def unreadable_refused() -> Iterator[None]:
    """Turn a database's error into an InputError, unless the database is locked."""
    try:
        with storage_errors():
            yield
    except StorageFailed as error:
        if "locked" in str(error):
            raise
        raise InputError(f"study: its database must be readable, got: {error}") from error
