"""A command's work inside somebody else's process: what commands set for a whole process, since it
is theirs, is given back.
"""

import contextlib
import logging
import os
import threading
import warnings
from collections.abc import Iterator

_ONE_AT_A_TIME = threading.RLock()
_QUIETENED = ("optuna", "mlflow", "alembic")  # loggers whose level commands change


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Give the process its environment, warnings' filters and log levels back; another thread's
    work waits, since all of it is the process's.
    """
    import optuna  # sets its logger's level when it is first imported  # noqa: F401

    with _ONE_AT_A_TIME, warnings.catch_warnings():
        environment = dict(os.environ)
        levels = {name: logging.getLogger(name).level for name in _QUIETENED}
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
            for name in os.environ.keys() - environment.keys():
                del os.environ[name]
            os.environ.update(environment)
